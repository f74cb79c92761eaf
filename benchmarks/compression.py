"""What permessage-deflate costs the hub: `python -m benchmarks.compression`.

Each row has a hub of its own in a process of its own, and the same number of readers: without compression, with it, and
with one more wire form (half of the readers on plain connections). It shows the memory of an open connection before and
after the events, and per event the CPU time of the hub and the bytes that one reader receives.
"""

import argparse
import json
import os
import resource
import select
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from msgspec import Struct

from benchmarks.fanout.machine import describe_machine
from benchmarks.fanout.servers import Server, hub_command, running_server
from benchmarks.hostile.peer import Peer

EVENTS: Final = 50
"""Events of each size; the hub writes each in a round of its own, because it is posted after the one before arrived."""
SIZES: Final = {"0.4 KB": 200, "1.4 KB": 1_200, "4.1 KB": 3_900}
"""Bytes of text in an event."""
WARM_UP: Final = 5
TIMEOUT_S: Final = 120.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Case(Struct, frozen=True, kw_only=True):
    """The readers of one row."""

    name: str
    compresses: bool
    plain: bool = False
    """Whether half of the readers have plain connections: a wire form of their own."""


CASES: Final = (
    Case(name="uncompressed", compresses=False),
    Case(name="compressed", compresses=True),
    Case(name="compressed, two forms", compresses=True, plain=True),
)


class Traffic(Struct, frozen=True, kw_only=True):
    """What one event of a size costs."""

    cpu_ms: float
    """CPU time of the hub, in all its threads."""
    bytes: float
    """What one reader receives, with frame headers."""


class Figures(Struct, frozen=True, kw_only=True):
    """The figures of one case."""

    opened_bytes: float
    """Resident memory of the hub for one open connection."""
    served_bytes: float
    """The same after all events."""
    traffic: dict[str, Traffic]
    """By the name of the size."""


def words(size: int, number: int) -> str:
    """Return text of a size that compresses as log lines do: words that recur, and numbers that do not."""
    parts: list[str] = []
    length = 0
    while length < size:
        number = (number * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        word = ("File", "import", "line", "in", "module", "value", "retry", str(number >> 40))[number >> 61]
        parts.append(word)
        length += len(word) + 1
    return " ".join(parts)[:size]


def measure(case: Case, readers: int, folder: Path) -> Figures:
    """Measure one case against a hub of its own."""
    folder.mkdir(exist_ok=True)
    with running_server(hub_command(folder / "data"), core=None, log=folder / "stderr") as server:
        Peer(server.host, server.port).close()  # whatever the first connection imports and caches is not counted
        before = _memory_bytes(server.pid)
        peers = [
            Peer(
                server.host,
                server.port,
                query="channel=data",
                versioned=not (case.plain and number % 2),
                compresses=case.compresses,
            )
            for number in range(readers)
        ]
        _await_all(peers)  # the greetings
        opened = _memory_bytes(server.pid) - before
        traffic = {name: _publish(server, peers, size) for name, size in SIZES.items()}
        served = _memory_bytes(server.pid) - before
        for peer in peers:
            peer.close()
    return Figures(opened_bytes=opened / readers, served_bytes=served / readers, traffic=traffic)


def _publish(server: Server, peers: Sequence[Peer], size: int) -> Traffic:
    received, cpu_s = 0, 0.0
    for number in range(EVENTS + WARM_UP):
        data = {"operation_id": f"op-{number}", "level": "info", "message": words(size, number)}
        body = json.dumps({"type": "data:update", "data": {"dataset": "d", **data}}).encode()
        if number == WARM_UP:
            received, cpu_s = 0, _cpu_s(server.pid)
        url = f"http://{server.host}:{server.port}/v1/events"
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=TIMEOUT_S) as answer:
            answer.read()
        received += _await_all(peers)
    return Traffic(cpu_ms=(_cpu_s(server.pid) - cpu_s) / EVENTS * 1e3, bytes=received / EVENTS / len(peers))


def _await_all(peers: Sequence[Peer]) -> int:
    """Wait until each reader has received something, and return the number of bytes."""
    deadline = time.monotonic() + TIMEOUT_S
    waiting = {peer.fileno(): peer for peer in peers}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    received = 0
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} readers received nothing")
        for descriptor, _ in poll.poll(1_000):
            received += max(waiting.pop(descriptor).discard(), 0)
            poll.unregister(descriptor)
    return received


def _memory_bytes(pid: int) -> int:
    """Return the resident memory of a process; unlike /proc/PID/status, this is exact."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def format_row(case: Case, figures: Figures) -> str:
    """Return the lines of one case."""
    memory = f"{figures.opened_bytes / 1024:6.2f} KiB open, {figures.served_bytes / 1024:6.2f} KiB after the events"
    lines = [f"{case.name:<24}{memory}"]
    lines += [
        f"  {name:<8}{each.cpu_ms:6.2f} ms, {each.bytes:7.0f} bytes to each reader"
        for name, each in figures.traffic.items()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--readers", type=int, default=2_000, help="open connections; default: 2000")
    readers = parser.parse_args(arguments).readers
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(describe_machine(network="loopback", pinning="free", program="benchmarks.compression"))
    print(f"readers   {readers:,}; {EVENTS} events of each size, one at a time\n")
    sys.stdout.flush()
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="tidings-compression-") as folder:
            print(format_row(case, measure(case, readers, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
