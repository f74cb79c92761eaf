"""The license of a hub of several processes: its alerts are those of one hub."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
from tests.cli.serve.test_license import Files
from tests.cli.serve.worker_processes import WorkersHub, is_ready, kill, wait_until


def alerts(hub: WorkersHub, client: httpx.Client) -> list[tuple[str, str]]:
    """Return the ids and states of all alerts about the license, in order."""
    events = client.get(f"{hub.http}v1/events?channel=system").json()["events"]
    data = [event["data"] for event in events if event["type"] == "system:alert"]
    return [(each["alert_id"], each["state"]) for each in data if each["alert_id"].startswith("tidings:license")]


def is_refused(hub: WorkersHub, client: httpx.Client) -> bool:
    return client.get(f"{hub.http}readyz").status_code == 403


def test_alerts_about_the_license_of_workers_are_published_once(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.issue(6.5)
    with WorkersHub(tmp_path / "data", 2, *files.options) as hub, ExitStack() as stack:
        clients = list(hub.connect_to_each(stack).values())

        def expect(*expected: tuple[str, str]) -> None:
            wait_until(lambda: all(len(alerts(hub, client)) >= len(expected) for client in clients))
            assert [alerts(hub, client) for client in clients] == [list(expected)] * len(clients)

        expect(("tidings:license:7d", "raised"))
        kill(hub.workers()[0])
        clients = list(hub.connect_to_each(stack).values())
        for client in clients:
            wait_until(partial(is_ready, hub, client))
        files.issue(300, id="lic-2")
        expect(("tidings:license:7d", "raised"), ("tidings:license:7d", "cleared"))
        files.issue(-1, id="lic-3")
        for client in clients:
            wait_until(partial(is_refused, hub, client))
        expect(
            ("tidings:license:7d", "raised"),
            ("tidings:license:7d", "cleared"),
            ("tidings:license:expired", "raised"),
        )
        assert hub.stop()[0] == 0
