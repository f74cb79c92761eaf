"""What a node spends on a connection, a delivery, a heartbeat and an event: measured on this machine.

CPU times are those of the node's process, so that other programs on the machine change them little.
"""

import json
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from msgspec import Struct
from tests.nats_server import NatsServer

from benchmarks.fanout.servers import Server, hub_command, running_server
from benchmarks.hostile.peer import Peer

TIMEOUT_S: Final = 120.0
BATCH_EVENTS: Final = 500


class Costs(Struct, frozen=True, kw_only=True):
    """CPU time and memory of one node."""

    opening_us: float
    """A WebSocket that opens with one path and no snapshot, until its client is live."""
    heartbeat_us: float
    """A heartbeat to an idle connection."""
    delivery_us: float
    """An event to one subscriber, where each event is written alone."""
    event_us: float
    """An event of another node: judged and stored."""
    publishing_us: float
    """An event that is published at the node, in posts of 500: read, checked, judged and stored."""
    entry_us: float
    """An entry of the journal, beside its events: at least one for each batch that another node publishes."""
    connection_kib: float
    """Resident memory of an open connection, without the kernel's share."""
    node_mib: float
    """Resident memory of a node without connections and events."""


MEASURED: Final = Costs(
    opening_us=619,
    heartbeat_us=15.5,
    delivery_us=7.1,
    event_us=8.9,
    publishing_us=21.5,
    entry_us=255,
    connection_kib=3.3,
    node_mib=68,
)
"""`--measure` on a virtual machine with two cores (AMD EPYC), beside other work (load 10)."""


def measure(
    folder: Path, *, connections: int = 5_000, events: int = 300, heartbeats: int = 10, idle_s: float = 5.0
) -> Costs:
    """Measure all costs.

    Args:
        folder: For data and logs.
        connections: Open connections.
        events: Events that are delivered to each of them, and entries of one event.
        heartbeats: Heartbeats of each of a fifth of the connections, one a second.
        idle_s: Seconds for which two nodes do nothing, to leave that out of the costs.

    Raises:
        ServerError: A hub did not start.
        TimeoutError: A client received nothing.
    """
    opening, delivery, connection_kib, node_mib = _measure_connections(folder / "connections", connections, events)
    heartbeat = _measure_heartbeats(folder / "heartbeats", max(1, connections // 5), heartbeats)
    entry, event, publishing = _measure_folding(folder / "nodes", events, idle_s)
    return Costs(
        opening_us=opening,
        heartbeat_us=heartbeat,
        delivery_us=delivery,
        event_us=event,
        publishing_us=publishing,
        entry_us=entry,
        connection_kib=connection_kib,
        node_mib=node_mib,
    )


def _measure_connections(folder: Path, connections: int, events: int) -> tuple[float, float, float, float]:
    """Return the CPU time of an opening and of a delivery, in µs; the KiB of a connection, and the MiB of a node."""
    with _clients(folder, connections) as (server, peers, before):
        opened, memory = read_cpu_s(server.pid), read_memory_bytes(server.pid)
        for number in range(events):
            _publish(server, [number])
            _await_all(peers)
        delivered = read_cpu_s(server.pid)
    return (
        (opened - before.cpu_s) / connections * 1e6,
        (delivered - opened) / events / connections * 1e6,
        (memory - before.memory_bytes) / connections / 1024,
        before.memory_bytes / 2**20,
    )


def _measure_heartbeats(folder: Path, connections: int, heartbeats: int) -> float:
    """Return the CPU time of a heartbeat, in µs."""
    with _clients(folder, connections, "--heartbeat", "1s") as (server, peers, _):
        opened = read_cpu_s(server.pid)
        for _ in range(heartbeats):
            _await_all(peers)
        return (read_cpu_s(server.pid) - opened) / heartbeats / connections * 1e6


class _Before(Struct, frozen=True):
    """A hub before its clients came."""

    cpu_s: float
    memory_bytes: int


@contextmanager
def _clients(folder: Path, connections: int, *options: str) -> Iterator[tuple[Server, list[Peer], _Before]]:
    """Run a hub, and open connections that are live."""
    folder.mkdir()
    command = hub_command(folder, ["--connections-of-address", "0", "--reconnect-rate", "100000", *options])
    with ExitStack() as stack:
        server = stack.enter_context(running_server(command, core=None, log=folder / "stderr"))
        Peer(server.host, server.port).close()  # whatever the first connection imports and caches is not counted
        before = _Before(read_cpu_s(server.pid), read_memory_bytes(server.pid))
        peers = []
        for _ in range(connections):
            peers.append(Peer(server.host, server.port, query="channel=data&since=now"))
            stack.callback(peers[-1].close)
        for peer in peers:
            peer.read_until("channel:live")
        yield server, peers, before


def _measure_folding(folder: Path, events: int, idle_s: float) -> tuple[float, float, float]:
    """Return the CPU time, in µs, of an entry and of an event at a node that follows another, and of an event there."""
    folder.mkdir()
    with ExitStack() as stack:
        engine = NatsServer(folder / "nats")
        engine.start()
        stack.callback(engine.stop)
        publisher, follower = (
            stack.enter_context(
                running_server(
                    hub_command(folder / name, ["--log", f"{engine.url}/hubs"]), core=None, log=folder / f"{name}.log"
                )
            )
            for name in ("publisher", "follower")
        )
        reader = Peer(follower.host, follower.port, query="channel=data&since=now")
        stack.callback(reader.close)
        _publish(publisher, [0])
        _await_all([reader])
        started, at = read_cpu_s(follower.pid), time.monotonic()
        time.sleep(idle_s)  # two nodes report that they live, once a second each
        idle = (read_cpu_s(follower.pid) - started) / (time.monotonic() - at)
        alone = _fold(publisher, follower, [[number] for number in range(events)], idle)
        batches = [list(range(start, start + BATCH_EVENTS)) for start in range(0, events * 50, BATCH_EVENTS)]
        before, at = read_cpu_s(publisher.pid), time.monotonic()
        together = _fold(publisher, follower, batches, idle)
        spent_s = read_cpu_s(publisher.pid) - before - idle * (time.monotonic() - at)
    event = (together - alone / BATCH_EVENTS) / (1 - 1 / BATCH_EVENTS)
    return alone - event, event, spent_s / sum(map(len, batches)) * 1e6


def _fold(publisher: Server, follower: Server, batches: Sequence[Sequence[int]], idle: float) -> float:
    """Publish batches; return the CPU time that an event costs the other node, in µs."""
    before, at = read_cpu_s(follower.pid), time.monotonic()
    for batch in batches:
        position = _publish(publisher, batch)
    _wait_for(follower, position)
    spent_s = read_cpu_s(follower.pid) - before - idle * (time.monotonic() - at)
    return spent_s / sum(map(len, batches)) * 1e6


def _publish(server: Server, numbers: Sequence[int]) -> str:
    """Post events of some 250 bytes; return the position of the last."""
    events = [{"type": "data:update", "data": {"dataset": "d", "row": number, "text": "x" * 150}} for number in numbers]
    url = f"http://{server.host}:{server.port}/v1/events"
    request = Request(url, json.dumps(events).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=TIMEOUT_S) as answer:
        position: str = json.load(answer)["results"][-1]["position"]
        return position


def _wait_for(server: Server, position: str) -> None:
    """Wait until a node has stored an event."""
    end = time.monotonic() + TIMEOUT_S
    url = f"http://{server.host}:{server.port}/v1/snapshot?channel=data"
    while time.monotonic() < end:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            if int(json.load(answer)["position"].rpartition(":")[2]) >= int(position.rpartition(":")[2]):
                return
        time.sleep(0.05)
    raise TimeoutError("the other node does not follow")


def _await_all(peers: Sequence[Peer]) -> None:
    """Wait until each client has received something."""
    end = time.monotonic() + TIMEOUT_S
    waiting = {peer.fileno(): peer for peer in peers}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(waiting)} clients received nothing")
        for descriptor, _ in poll.poll(1_000):
            waiting.pop(descriptor).discard()
            poll.unregister(descriptor)


def read_memory_bytes(pid: int) -> int:
    """Return the resident memory of a process; unlike /proc/PID/status, this is exact."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


def read_cpu_s(pid: int) -> float:
    """Return the CPU time of a process, in all its threads, to the nanosecond."""
    return sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
