"""Every worker of a hub answers for all of them."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.processes import TIMEOUT_S, Hub, tidings
from tests.cli.serve.worker_processes import EVENT, WorkersHub, has_history, wait_until
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tidings.log.sqlite.inspect import stored_envelopes


class AdminHub:
    """A hub of two workers with API keys, and a client for each of them with the first key."""

    def __init__(self, hub: WorkersHub, folder: Path, stack: ExitStack) -> None:
        self.hub = hub
        self.key = (folder / "admin-key").read_text().strip()
        self.clients = list(hub.connect_to_each(stack).values())
        for client in self.clients:
            client.headers["authorization"] = f"Bearer {self.key}"
            wait_until(partial(self._knows_key, client))

    def _knows_key(self, client: httpx.Client) -> bool:
        return client.get(f"{self.hub.http}v1/events").status_code == 200

    def get(self, path: str) -> list[httpx.Response]:
        """Return the answer of each worker."""
        return [client.get(f"{self.hub.http}{path}") for client in self.clients]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminHub]:
    folder = tmp_path_factory.mktemp("workers") / "data"
    with WorkersHub(folder, 2, "--auth", "keys") as hub, ExitStack() as stack:
        yield AdminHub(hub, folder, stack)


def open_streams(admin: AdminHub, stack: ExitStack) -> None:
    """Open WebSockets until each worker has one."""

    def counts() -> list[int]:
        workers = admin.get("v1/system")[0].json()["workers"]
        return [worker["connections"] for worker in workers]

    def add() -> bool:
        opened: ClientConnection = connect(
            admin.hub.url,
            subprotocols=[Subprotocol("tidings.v1")],
            additional_headers={"authorization": f"Bearer {admin.key}"},
        )
        stack.enter_context(opened)
        opened.recv()
        return all(counts())

    wait_until(add)


def test_metrics_of_each_worker_are_those_of_all_with_their_source(admin: AdminHub) -> None:
    for answer in admin.get("metrics"):
        assert answer.status_code == 200
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        for name in ("tidings_connections", "process_cpu_seconds", "tidings_log_head", "tidings_info"):
            sources = [sample.labels["source"] for sample in families[name].samples]
            assert sorted(set(sources)) == ["worker-1", "worker-2"], name
        assert answer.text.count("# TYPE tidings_connections gauge") == 1


def test_system_counts_all_workers_and_names_each(admin: AdminHub) -> None:
    with ExitStack() as stack:
        open_streams(admin, stack)
        for answer in admin.get("v1/system"):
            view = answer.json()
            assert [worker["source"] for worker in view["workers"]] == ["worker-1", "worker-2"]
            assert all(worker["ready"] for worker in view["workers"])
            assert len({worker["pid"] for worker in view["workers"]}) == 2
            assert all(worker["behind_events"] >= 0 for worker in view["workers"])
            assert view["connections"]["open"] == sum(worker["connections"] for worker in view["workers"])
            assert {client["source"] for client in view["clients"]} == {"worker-1", "worker-2"}
            assert len(view["clients"]) == view["connections"]["websockets"]


def test_worker_that_does_not_answer_is_listed_without_figures(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub, ExitStack() as stack:
        (pid, client), (stopped, _) = hub.connect_to_each(stack).items()

        def workers() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.get(f"{hub.http}v1/system").json()["workers"]
            return found

        names = {worker["pid"]: worker["source"] for worker in workers()}
        os.kill(stopped, signal.SIGSTOP)
        unanswered = {"source": names[stopped], "ready": False}
        wait_until(lambda: unanswered in workers())  # the parent kills it after 10 s, and starts another one
        wait_until(lambda: all(worker["ready"] for worker in workers()))
        again = {worker["source"]: worker["pid"] for worker in workers()}
        assert again[names[pid]] == pid
        assert again[names[stopped]] != stopped


def test_status_counts_all_workers_and_metrics_name_theirs(admin: AdminHub) -> None:
    def newest(type: str) -> list[dict[str, Any]]:
        events = admin.get("v1/snapshot?channel=system")[0].json()["events"]
        return [event["data"] for event in events if event["type"] == type]

    with ExitStack() as stack:
        open_streams(admin, stack)

        def counts_all() -> bool:
            total = admin.get("v1/system")[0].json()["connections"]["open"]
            statuses = newest("system:status")
            return [status["metrics"]["connections"] for status in statuses] == [total]

        wait_until(counts_all)
    wait_until(lambda: {each["source"] for each in newest("system:metrics")} == {"worker-1", "worker-2"})


def test_sessions_of_all_workers_are_listed_page_by_page(admin: AdminHub) -> None:
    with ExitStack() as stack:
        open_streams(admin, stack)
        open_streams(admin, stack)
        whole = admin.get("v1/admin/sessions")[0].json()["sessions"]
        assert len(whole) >= 3
        for client in admin.clients:
            paged, after = [], ""
            while True:
                page = client.get(f"{admin.hub.http}v1/admin/sessions?limit=1{after}").json()
                paged += page["sessions"]
                if "next" not in page:
                    break
                after = f"&after={page['next']}"
            assert paged == whole


def test_audit_trail_of_all_workers_has_the_same_numbers_everywhere(admin: AdminHub) -> None:
    for client in admin.clients:
        assert client.post(f"{admin.hub.http}v1/tickets").status_code == 200

    def read(client: httpx.Client) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        with client.stream("GET", f"{admin.hub.http}v1/admin/audit") as stream:
            number = ""
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    number = line
                elif line.startswith("data: "):
                    found.append((number, json.loads(line[6:])["data"]["action"]))
                    if [action for _, action in found].count("ticket") >= 2:
                        return found
        raise AssertionError("the stream ended")

    first, second = (read(client) for client in reopened(admin))
    assert first == second


def reopened(admin: AdminHub) -> Iterator[httpx.Client]:
    """Yield a client of each worker, whose connection may be given up."""
    with ExitStack() as stack:
        for client in admin.hub.connect_to_each(stack).values():
            client.headers["authorization"] = f"Bearer {admin.key}"
            yield client


def test_ticket_of_one_worker_is_used_once_at_another(admin: AdminHub) -> None:
    first, second = admin.clients
    ticket = first.post(f"{admin.hub.http}v1/tickets").json()["ticket"]
    del second.headers["authorization"]
    try:
        url = f"{admin.hub.http}v1/stream?channel=data&ticket={ticket}"
        with second.stream("GET", url) as stream:
            assert stream.status_code == 200
    finally:
        second.headers["authorization"] = f"Bearer {admin.key}"
    for client in reopened(admin):
        del client.headers["authorization"]
        with client.stream("GET", f"{admin.hub.http}v1/stream?channel=data&ticket={ticket}") as again:
            assert again.status_code == 401


def test_ticket_that_races_at_all_workers_opens_one_stream(admin: AdminHub) -> None:
    issuer = admin.clients[0]
    for _ in range(5):
        ticket = issuer.post(f"{admin.hub.http}v1/tickets").json()["ticket"]
        url = f"{admin.hub.http}v1/stream?channel=data&ticket={ticket}"
        with ExitStack() as stack, ThreadPoolExecutor() as threads:
            racing = [client for _ in range(3) for client in admin.hub.connect_to_each(stack).values()]
            start = Barrier(len(racing))

            def open_stream(client: httpx.Client, start: Barrier = start, url: str = url) -> int:
                start.wait(TIMEOUT_S)
                with client.stream("GET", url) as stream:
                    return stream.status_code

            assert sorted(threads.map(open_stream, racing)) == [200] + [401] * (len(racing) - 1)


def test_revocation_at_one_worker_ends_sessions_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2, "--auth", "keys") as hub, ExitStack() as stack:
        admin = AdminHub(hub, folder, stack)
        with ExitStack() as streams:
            open_streams(admin, streams)
            body = {"subject": "admin"}
            assert admin.clients[0].post(f"{hub.http}v1/admin/revocations", json=body).status_code == 200
            wait_until(lambda: {answer.status_code for answer in admin.get("v1/events")} == {401})
        assert hub.stop()[0] == 0


def test_backup_of_workers_restores_as_the_log_of_one_process(tmp_path: Path) -> None:
    folder, copy, restored = tmp_path / "data", tmp_path / "copy.db", tmp_path / "restored"
    with WorkersHub(folder, 2) as hub:
        positions = [httpx.post(f"{hub.http}v1/events", json=EVENT).json()["position"] for _ in range(3)]
        with ExitStack() as stack:
            for client in hub.connect_to_each(stack).values():
                wait_until(partial(has_history, hub, client, positions))
        made = tidings("data", "backup", str(copy), "--data", str(folder), "--json")
        assert json.loads(made.stdout)["position"].startswith(positions[0].split(":")[0])
        info = json.loads(tidings("data", "info", "--data", str(folder), "--json").stdout)
        stored = [each.position for each in stored_envelopes(folder) if each.type == EVENT["type"]]
        assert stored == positions
        assert (info["epoch"], info["process"]) == (positions[0].split(":")[0], hub.process.pid)
        assert hub.stop()[0] == 0
    assert tidings("data", "restore", str(copy), "--data", str(restored)).returncode == 0
    with Hub("--data", str(restored), memory=False) as hub:
        page = httpx.get(f"{hub.http}v1/events?channel=data&since={positions[0]}").json()
        assert [event["position"] for event in page["events"]] == positions[1:]
        assert "gap" not in page
