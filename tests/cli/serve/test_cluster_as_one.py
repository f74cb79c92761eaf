"""Access and figures of a hub of several machines: what one node knows, the others know."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Barrier

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, tidings
from tests.cli.serve.cluster_processes import NodeHub
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tidings.version import __version__


@dataclass
class TwoNodes:
    """Two nodes with one file of API keys."""

    hubs: list[NodeHub]
    key: str
    keys: str
    """The file of the keys."""
    server: NatsServer

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def issue(self, hub: NodeHub) -> str:
        """Return a new ticket of a node."""
        answer = httpx.post(f"{hub.http}v1/tickets", headers=self.headers, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    folder = tmp_path_factory.mktemp("nodes")
    server = NatsServer(folder / "nats")
    server.start()
    keys = str(folder / "keys.jsonl")
    made = tidings("key", "add", "admin", "--grant", "admin", "--keys", keys)
    assert made.returncode == 0, made.stderr
    options = ("--auth", "keys", "--keys", keys)
    with ExitStack() as stack:
        stack.callback(server.stop)
        hubs = [stack.enter_context(NodeHub(folder / name, f"{server.url}/hubs", *options)) for name in "ab"]
        yield TwoNodes(hubs, made.stdout.strip(), keys, server)


def open_stream(hub: NodeHub, ticket: str) -> int:
    with httpx.stream("GET", f"{hub.http}v1/stream?channel=data&ticket={ticket}", timeout=TIMEOUT_S) as stream:
        return stream.status_code


def test_ticket_of_one_node_is_used_once_at_another(nodes: TwoNodes) -> None:
    first, second = nodes.hubs
    ticket = nodes.issue(first)
    assert open_stream(second, ticket) == 200
    assert [open_stream(hub, ticket) for hub in nodes.hubs] == [401, 401]
    other = nodes.issue(first)
    assert open_stream(second, other[:-1] + ("-" if other.endswith("_") else "_")) == 401


def test_ticket_that_races_at_two_nodes_opens_one_stream(nodes: TwoNodes) -> None:
    for number in range(4):
        ticket = nodes.issue(nodes.hubs[number % 2])
        racing = [*nodes.hubs, *nodes.hubs]
        start = Barrier(len(racing))

        def race(hub: NodeHub, ticket: str = ticket, start: Barrier = start) -> int:
            start.wait(TIMEOUT_S)
            return open_stream(hub, ticket)

        with ThreadPoolExecutor(len(racing)) as threads:
            assert sorted(threads.map(race, racing)) == [200, 401, 401, 401]


def test_journal_holds_no_credential_and_no_ticket(nodes: TwoNodes) -> None:
    first, second = nodes.hubs
    ticket = nodes.issue(first)
    assert open_stream(second, ticket) == 200
    stored = nodes.server.read_files()
    assert b"ticket asked" in stored, "the journal was read"
    assert nodes.key.encode() not in stored
    assert ticket.encode() not in stored


def test_status_counts_the_connections_of_both_nodes(nodes: TwoNodes) -> None:
    with ExitStack() as stack:
        for hub in nodes.hubs:
            opened = stack.enter_context(
                connect(hub.url, subprotocols=[Subprotocol("tidings.v1")], additional_headers=nodes.headers)
            )
            opened.recv()
        wait_until(partial(_counts, nodes, 2.0))


def _counts(nodes: TwoNodes, connections: float) -> bool:
    url = f"{nodes.hubs[0].http}v1/snapshot?channel=system"
    events = httpx.get(url, headers=nodes.headers, timeout=TIMEOUT_S).json()["events"]
    statuses = [event["data"] for event in events if event["type"] == "system:status"]
    return [status["metrics"]["connections"] for status in statuses] == [connections]


def test_system_of_each_node_lists_both(nodes: TwoNodes) -> None:
    first, second = nodes.hubs

    def list_nodes(hub: NodeHub) -> list[dict[str, object]]:
        answer = httpx.get(f"{hub.http}v1/system", headers=nodes.headers, timeout=TIMEOUT_S)
        return [dict(node) for node in answer.json()["nodes"]]

    def is_complete(hub: NodeHub) -> bool:
        return all("connections" in node and node["ready"] for node in list_nodes(hub))

    for hub, number in ((first, 0), (second, 1)):
        wait_until(partial(is_complete, hub))
        found = list_nodes(hub)
        assert [node.get("here", False) for node in found] == [number == 0, number == 1]
        assert [node.get("leads", False) for node in found] == [True, False]
        assert {node["version"] for node in found} == {__version__}
        assert all(0 <= int(str(node["behind_entries"])) < 100 for node in found)
    with NodeHub(first.folder.parent / "c", f"{nodes.server.url}/hubs", "--auth", "keys", "--keys", nodes.keys):
        wait_until(lambda: len(list_nodes(first)) == 3)
    wait_until(lambda: len(list_nodes(second)) == 2)


def test_revocation_at_one_node_ends_sessions_at_the_other(nodes: TwoNodes) -> None:
    first, second = nodes.hubs
    made = tidings("key", "add", "eve", "--grant", "read *", "--keys", str(second.folder.parent / "keys.jsonl"))
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}

    def status() -> int:
        return httpx.get(f"{second.http}v1/events?channel=data", headers=headers, timeout=TIMEOUT_S).status_code

    wait_until(lambda: status() == 200)
    answer = httpx.post(f"{first.http}v1/admin/revocations", json={"subject": "eve"}, headers=nodes.headers)
    assert answer.status_code == 200
    wait_until(lambda: status() == 401)
