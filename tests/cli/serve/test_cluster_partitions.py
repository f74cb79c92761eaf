"""Nodes and servers that lose the network between them, on machines with networks of their own."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import nats
import pytest
from tests.cli.processes import TIMEOUT_S
from tests.cli.serve.cluster_processes import EVENT, NodeHub, wait_for_positions
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer
from tests.network import Machine, Network, needs_network

pytestmark = [pytest.mark.alone, needs_network]
_PORT, _CLUSTER_PORT = 4222, 6222
_EVENTS = 20
"""Number of events that each node accepts before a cut, and after it."""
_RETRY_S = 0.2

logger = logging.getLogger(__name__)


class Publisher(threading.Thread):
    """Publishes events at a node, one after the other, each with its id until it is acknowledged.

    Args:
        hub: The node.
        machine: Its machine.
    """

    def __init__(self, hub: NodeHub, machine: Machine) -> None:
        super().__init__()
        self.hub = hub
        self.machine = machine
        self.positions: list[str] = []
        """Positions of the events that were acknowledged."""
        self.longest_s = 0.0
        """The longest time from one acknowledgement to the next."""
        self._stopping = threading.Event()

    def run(self) -> None:
        before = time.monotonic()
        with self.machine.entered(), httpx.Client(timeout=TIMEOUT_S) as client:
            while not self._stopping.is_set():
                event = {**EVENT, "event_id": str(uuid4())}
                while not (position := self._publish(client, event)):
                    self._stopping.wait(_RETRY_S)  # each refusal is a line in the log of the node, which no one reads
                self.positions.append(position)
                now = time.monotonic()
                self.longest_s, before = max(self.longest_s, now - before), now

    def _publish(self, client: httpx.Client, event: Mapping[str, object]) -> str:
        """Return the position of the event; nothing if it was refused, or the node closed the connection."""
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            answer = client.post(f"{self.hub.http}v1/events", json=event)
            if answer.status_code == 200:
                return str(answer.json()["position"])
            assert answer.json()["code"] in ("log_unavailable", "log_busy"), answer.text
        return ""

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def readiness(self) -> tuple[int, str]:
        with self.machine.entered():
            return self.hub.readiness()


def wait_published(publishers: Sequence[Publisher]) -> None:
    goals = [len(publisher.positions) + _EVENTS for publisher in publishers]
    wait_until(lambda: all(len(each.positions) >= goal for each, goal in zip(publishers, goals, strict=True)))


def measure_recovery(name: str, publishers: Sequence[Publisher]) -> None:
    """Wait until all nodes are ready and accept events, and log how long it took."""
    healed = time.monotonic()
    wait_published(publishers)
    wait_until(lambda: all(publisher.readiness() == (200, "") for publisher in publishers))
    longest_s = max(publisher.longest_s for publisher in publishers)
    logger.info(
        "%s: silent for %.1f s at most, ready %.1f s after it healed", name, longest_s, time.monotonic() - healed
    )
    for publisher in publishers:
        publisher.longest_s = 0.0


@contextmanager
def start_servers(folder: Path, machines: Sequence[Machine]) -> Iterator[list[NatsServer]]:
    """Start a server on each machine, as one cluster."""
    routes = ",".join(f"nats://{machine.address}:{_CLUSTER_PORT}" for machine in machines)
    servers = []
    with ExitStack() as stack:
        for machine in machines:
            cluster = ["-cluster_name", "test", "-cluster", f"nats://{machine.address}:{_CLUSTER_PORT}"]
            name = machine.address
            server = NatsServer(folder / name, name=name, host=name, arguments=[*cluster, "-routes", routes])
            server.port = _PORT
            with machine.entered():
                server.start()
            stack.callback(server.stop)
            servers.append(server)
        yield servers


def find_leader(servers: Sequence[NatsServer], machines: Sequence[Machine]) -> Machine:
    """Return the machine whose server leads the stream."""

    async def ask() -> str:
        connection = await nats.connect([server.url for server in servers])
        info = await connection.jetstream().stream_info("hubs")
        await connection.close()
        assert info.cluster is not None
        return info.cluster.leader or ""

    with machines[0].entered():
        leader = asyncio.run(ask())
    return next(machine for machine in machines if machine.address == leader)


def test_nodes_and_servers_that_are_cut_off_from_each_other_recover(tmp_path: Path) -> None:
    with closing(Network()) as network, ExitStack() as stack:
        machines = [network.add() for _ in range(3)]
        servers = stack.enter_context(start_servers(tmp_path, machines))
        journal = f"nats://{','.join(f'{machine.address}:{_PORT}' for machine in machines)}/hubs?replicas=3"
        publishers = []
        for name in "ab":
            machine = network.add()
            hub = stack.enter_context(NodeHub(tmp_path / name, journal, wrapper=machine.wrapper))
            publishers.append(Publisher(hub, machine))
        first, second = publishers
        for publisher in publishers:
            publisher.start()
            stack.callback(publisher.stop)
        wait_published(publishers)

        for machine in machines:
            network.cut(first.machine, machine)
        wait_until(lambda: first.readiness() == (503, "log_unavailable"))
        wait_published([second])
        network.heal()
        measure_recovery("a node without its servers", publishers)

        leader = find_leader(servers, machines)
        for machine in machines:
            if machine is not leader:
                network.cut(leader, machine)
        measure_recovery("servers without their leader, which nodes reach", publishers)
        network.heal()
        measure_recovery("servers with their former leader again", publishers)

        for publisher in publishers:
            publisher.stop()
        with first.machine.entered():
            positions = first.hub.positions()
        with second.machine.entered():
            wait_for_positions(second.hub, positions)
        assert len(set(positions)) == len(positions), "nothing is stored twice"
        assert set(first.positions) | set(second.positions) == set(positions), "nothing is lost"
        assert not set(first.positions) & set(second.positions)
