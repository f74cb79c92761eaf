"""What the SQLite journal costs and carries, for one and for two processes: `python -m benchmarks.journal`.

Each process is a node: it encodes its entries, appends them, receives and decodes those of all, and folds the sessions,
but stores no events. One entry of a node is under way at a time, as in a hub.
"""

import argparse
import asyncio
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.log import DATA, machine, scratch
from tidings.log.base import EventToAppend
from tidings.log.journal.base import LossReason
from tidings.log.journal.node import FoldedEntry, FoldState, JournalNode
from tidings.log.journal.sqlite import SqliteJournal
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass

LONG = 200
"""Events in an entry of a busy hub."""
SETTLE_S = 0.5
"""Time between the last process's start and the measurement: each looks for the others' sockets within 0.25 s."""


def make_events(count: int) -> list[EventToAppend]:
    return [
        EventToAppend(
            Event(
                type="operation:log",
                timestamp="2026-01-01T00:00:00.123456Z",
                trace_id="0" * 32,
                data=DATA,
                channel="operations",
                key=f"op-{number}",
                event_class=EventClass.DURABLE,
                event_id=secrets.token_hex(16),
            ),
            0,
            "subject",
            "producer",
            30.0,
        )
        for number in range(count)
    ]


class Result(msgspec.Struct):
    latencies: list[float]
    """Seconds from proposing an entry to receiving it, of each own one."""
    received: int
    """Events received, of all nodes."""
    cpu_s: float


class Node:
    """A node that proposes entries as fast as they come back."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, events: int, pause_s: float) -> None:
        self._loop = loop
        self._events = make_events(events)
        self._pause_s = pause_s
        self._started = 0.0
        self._running = False
        self.latencies: list[float] = []
        self.received = 0
        """Events of all nodes."""
        self.journal = SqliteJournal(folder, loop)
        self.node = JournalNode(
            self.journal,
            loop,
            name=secrets.token_hex(4),
            version="benchmark",
            new_session=lambda: secrets.token_hex(8),
            fold=self._fold,
            lost=self._lost,
        )
        self.node.follow(FoldState())

    def run(self, seconds: float) -> Result:
        self._loop.call_later(seconds, self._loop.stop)
        self._running = True
        cpu = time.process_time()
        self._propose()
        self._loop.run_forever()
        self._running = False
        return Result(self.latencies, self.received, time.process_time() - cpu)

    def _propose(self) -> None:
        if self._running and not self.node.busy:
            self._started = time.perf_counter()
            self.node.propose(self._events, ())

    def _fold(self, folded: FoldedEntry) -> None:
        self.node.settle(b"")
        self.node.resume()
        if self._running:
            self.received += len(folded.batch.events)
            if folded.own and folded.batch.events:
                self.latencies.append(time.perf_counter() - self._started)
            if folded.own:
                self._next()

    def _next(self) -> None:
        if self._pause_s:
            self._loop.call_later(self._pause_s, self._propose)
        else:
            self._loop.call_soon(self._propose)

    def _lost(self, reason: LossReason, error: Exception) -> None:
        raise RuntimeError(f"the journal is lost: {reason}") from error


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_node(folder: Path, events: int, pause_s: float, seconds: float) -> None:
    """Take part, and measure when a line comes; prints the result as JSON."""
    loop = new_loop()
    node = Node(folder, loop, events, pause_s)
    node.node.join(0)
    loop.run_until_complete(asyncio.sleep(SETTLE_S))
    print("ready", flush=True)
    loop.run_until_complete(loop.run_in_executor(None, sys.stdin.readline))
    print(msgspec.json.encode(node.run(seconds)).decode(), flush=True)
    node.journal.close()


def measure(folder: Path, processes: int, events: int, pause_s: float, seconds: float) -> Sequence[Result]:
    """Return the result of each process."""
    command = [sys.executable, "-m", "benchmarks.journal", "--node", str(folder), str(events), str(pause_s)]
    nodes = [
        subprocess.Popen(
            [*command, "--seconds", str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for act in (_await_ready, _start):
        for node in nodes:
            act(node)
    return [msgspec.json.decode(node.communicate()[0], type=Result) for node in nodes]


def _await_ready(node: "subprocess.Popen[str]") -> None:
    assert node.stdout is not None
    line = node.stdout.readline()
    assert line == "ready\n", line


def _start(node: "subprocess.Popen[str]") -> None:
    assert node.stdin is not None
    node.stdin.write("\n")
    node.stdin.flush()


def report(name: str, results: Sequence[Result], events: int, seconds: float) -> None:
    every = sorted(latency for result in results for latency in result.latencies)
    cpu = sum(result.cpu_s for result in results)
    received = sum(result.received for result in results)
    per_event = f"{cpu / received * 1e6:8.1f}" if received else ""
    print(
        f"  {name:44}{statistics.median(every) * 1e3:8.3f}{every[len(every) * 99 // 100] * 1e3:9.3f}"
        f"{len(every) / seconds:11,.0f}{len(every) * events / seconds:12,.0f}{per_event}",
        flush=True,
    )


ROWS: tuple[tuple[str, int, int, float], ...] = (
    ("one event, 1 process, every 2 ms", 1, 1, 0.002),
    ("one event, 2 processes, every 2 ms each", 2, 1, 0.002),
    ("one event, 1 process", 1, 1, 0.0),
    ("one event, 2 processes", 2, 1, 0.0),
    (f"{LONG} events, 1 process", 1, LONG, 0.0),
    (f"{LONG} events, 2 processes", 2, LONG, 0.0),
)
"""Name, processes, events in an entry, and pause of a node after each."""


def run(seconds: float, folder: Path | None) -> None:
    print("\n".join(machine()))
    print(f"\n{'':46}  p50 ms   p99 ms  entries/s    events/s  CPU us/event folded")
    for name, processes, events, pause_s in ROWS:
        with scratch(folder) as data:
            data.mkdir()
            report(name, measure(data, processes, events, pause_s, seconds), events, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each row")
    parser.add_argument("--folder", type=Path, help="folder for the journal, on the disk to be measured")
    parser.add_argument("--node", nargs=3, metavar=("FOLDER", "EVENTS", "PAUSE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.node:
        folder, events, pause_s = arguments.node
        run_node(Path(folder), int(events), float(pause_s), arguments.seconds)
    else:
        run(arguments.seconds, arguments.folder)


if __name__ == "__main__":
    main()
