"""Revocations, keys and the license of several machines: a change at one node holds at the others."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, tidings
from tests.cli.serve.cluster_processes import NodeHub
from tests.cli.serve.test_license import Files
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tidings.access.key_file import KeyFile
from tidings.cli.serve.access import MAX_SHARED_KEYS

MAX_DELAY_S = 10.0
"""A second is promised, and logged; a machine with a high load takes longer."""

logger = logging.getLogger(__name__)


@dataclass
class TwoMachines:
    """Two nodes, each with copies of the same files of keys and licenses."""

    hubs: list[NodeHub]
    files: list[Files]
    keys: list[str]
    """The two files of API keys."""
    key_of: dict[str, str]
    journal: str

    def headers(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key_of[name]}"}

    def alerts(self, hub: NodeHub) -> list[tuple[str, str]]:
        """Return the ids and states of all alerts about the license, in order."""
        url = f"{hub.http}v1/events?channel=system&limit=1000"
        events = httpx.get(url, headers=self.headers("admin"), timeout=TIMEOUT_S).json()["events"]
        data = [event["data"] for event in events if event["type"] == "system:alert"]
        return [(each["alert_id"], each["state"]) for each in data if each["alert_id"].startswith("tidings:license")]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoMachines]:
    folder = tmp_path_factory.mktemp("machines")
    server = NatsServer(folder / "nats")
    server.start()
    keys = [str(folder / f"{name}.jsonl") for name in "ab"]
    key_of = {}
    for name, grant in (("admin", "admin"), ("eve", "read *"), ("mallory", "read *")):
        key_of[name] = tidings("key", "add", name, "--grant", grant, "--keys", keys[0]).stdout.strip()
    shutil.copy2(*keys)
    files = []
    for name in "ab":
        (folder / f"license-{name}").mkdir()
        files.append(Files(folder / f"license-{name}"))
        files[-1].issue(6.5)
    with ExitStack() as stack:
        stack.callback(server.stop)
        hubs = [
            stack.enter_context(
                NodeHub(folder / name, f"{server.url}/hubs", "--auth", "keys", "--keys", file, *license.options)
            )
            for name, file, license in zip("ab", keys, files, strict=True)
        ]
        yield TwoMachines(hubs, files, keys, key_of, f"{server.url}/hubs")


def wait_for_end(machines: TwoMachines, hub: NodeHub, name: str, revoke: Callable[[], object]) -> float:
    """Open a WebSocket and an event stream, revoke the credential, and return the seconds until both have ended."""
    headers = machines.headers(name)
    stream_url = f"{hub.http}v1/stream?channel=data"
    with (
        connect(hub.url, subprotocols=[Subprotocol("tidings.v1")], additional_headers=headers) as socket,
        httpx.stream("GET", stream_url, headers=headers, timeout=TIMEOUT_S) as stream,
    ):
        assert stream.status_code == 200
        socket.recv(TIMEOUT_S)
        begun = time.monotonic()
        revoke()
        with suppress(ConnectionClosed):
            while True:
                socket.recv(TIMEOUT_S)
        for _ in stream.iter_bytes():
            pass
        return time.monotonic() - begun


def test_revocation_at_one_node_closes_clients_of_the_other(machines: TwoMachines) -> None:
    first, second = machines.hubs
    url, headers = f"{first.http}v1/admin/revocations", machines.headers("admin")
    revoke = partial(httpx.post, url, json={"subject": "eve"}, headers=headers, timeout=TIMEOUT_S)
    delay_s = wait_for_end(machines, second, "eve", revoke)
    logger.info("clients of the other node were closed after %.3f s", delay_s)
    assert delay_s < MAX_DELAY_S


def test_key_that_one_file_revokes_is_refused_by_the_other_node(machines: TwoMachines) -> None:
    revoke = partial(tidings, "key", "revoke", "mallory", "--keys", machines.keys[0])
    delay_s = wait_for_end(machines, machines.hubs[1], "mallory", revoke)
    logger.info("clients of the other node were closed after %.3f s", delay_s)
    assert delay_s < MAX_DELAY_S
    listed = tidings("key", "list", "--keys", machines.keys[1]).stdout
    assert "mallory" in listed, "the other file still has the key"
    answer = httpx.get(
        f"{machines.hubs[1].http}v1/events?channel=data", headers=machines.headers("mallory"), timeout=TIMEOUT_S
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_revoked")


def test_many_keys_that_were_revoked_before_the_start_are_revoked_at_all_nodes(
    machines: TwoMachines, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "many.jsonl")
    for number in range(2 * MAX_SHARED_KEYS + 1):
        file.add(f"user-{number}", ("read *",), now_ns=time.time_ns())
        file.revoke(f"user-{number}", now_ns=time.time_ns())
    ids = {key.id for key in file.read()}

    def is_revoked() -> bool:
        url = f"{machines.hubs[0].http}v1/admin/revocations?limit=1000"
        answer = httpx.get(url, headers=machines.headers("admin"), timeout=TIMEOUT_S).json()
        return ids <= {revocation["name"] for revocation in answer["revocations"]}

    with NodeHub(tmp_path / "c", machines.journal, "--auth", "keys", "--keys", str(tmp_path / "many.jsonl")):
        wait_until(is_revoked)


def test_license_that_was_issued_last_holds_at_both_nodes(machines: TwoMachines) -> None:
    second = machines.hubs[1]

    def expect(status: int, *alerts: tuple[str, str]) -> None:
        wait_until(lambda: all(hub.readiness()[0] == status for hub in machines.hubs))
        wait_until(lambda: all(len(machines.alerts(hub)) >= len(alerts) for hub in machines.hubs))
        assert [machines.alerts(hub) for hub in machines.hubs] == [list(alerts)] * 2

    week, expired = "tidings:license:7d", "tidings:license:expired"
    expect(200, (week, "raised"))
    machines.files[1].issue(-1, id="lic-2", begins_days=-99)
    expect(403, (week, "raised"), (week, "cleared"), (expired, "raised"))
    machines.files[0].issue(300, id="lic-3", begins_days=-98)
    alerts = [(week, "raised"), (week, "cleared"), (expired, "raised"), (expired, "cleared")]
    expect(200, *alerts)
    machines.files[1].issue(6.5, begins_days=-100)  # an older one is put back
    wait_until(lambda: "license reloaded" in second.wait_for_log("the license of another node is used"))
    expect(200, *alerts)
