"""After a restart all clients reconnect together, and live subscribers are not affected."""

import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest
from tests.hub.hub_process import HubProcess
from tests.hub.raw_watcher import RawWatcher
from tests.hub.stampede import Plan
from tests.server.raw_client import text

from tidings.server.websocket.frames import text_frame

pytestmark = pytest.mark.alone

CLIENTS = 5_000
SPARE_FILES = 100
OLD = 1_500
"""Events in the log when the hub restarts."""
BACK = 1_000
"""Number of events that each client has missed, about."""
PLACES = 100
"""Number of neighbouring positions from which the clients resume."""
EVERY_S = 0.02
"""Seconds between two live events, which only the watcher reads: the reconnecting clients are not measured."""
SHARED = 25
"""One live event in this number is for all clients."""
LIVE = 2_000
"""Upper bound of the number of live events."""


def old_or_shared(number: int) -> bytes:
    """Return a complete event, to which the hub adds nothing: exactly these bytes are delivered."""
    data = b'{"operation_id":"op-%d","level":"info","message":"%s"}' % (number, b"x" * 60)
    return envelope(b"operation:log", b"operations", number, data)


def for_the_watcher(number: int) -> bytes:
    return envelope(b"data:update", b"data", number, b'{"dataset":"d","version":"%d"}' % number)


def envelope(type: bytes, channel: bytes, number: int, data: bytes) -> bytes:
    return b'{"type":"%b","timestamp":"2026-01-01T00:00:00Z","trace_id":"%032x","data":%b,"channel":"%b"}' % (
        type,
        number,
        data,
        channel,
    )


class Watching:
    """The live events, published one at a time and read by a watcher that connected first."""

    def __init__(self, port: int) -> None:
        self._bodies = [
            old_or_shared(OLD + number // SHARED) if number % SHARED == 0 else for_the_watcher(number)
            for number in range(LIVE)
        ]
        self._sent: list[float] = []
        self._publisher = RawWatcher(port, "channels=none")
        self.watcher = RawWatcher(port, "channel=operations&channel=data")
        self.delays_s: list[float] = []
        """Delays from the time at which each was due, so that a hub that blocks its publisher gains nothing."""

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.socket.close()
        self.watcher.socket.close()

    def publish(self, due: float) -> None:
        self._publisher.socket.sendall(text(self._bodies[len(self._sent)]))
        self._sent.append(due)

    def read(self) -> None:
        now = time.monotonic()
        for message in self.watcher.receive():
            number = len(self.delays_s)
            assert message == self._bodies[number]
            self.delays_s.append(now - self._sent[number])

    @property
    def awaited(self) -> int:
        return len(self._sent) - len(self.delays_s)

    @property
    def shared(self) -> int:
        """Number of published events that are for all clients."""
        return -(-len(self._sent) // SHARED)


@contextmanager
def stampede_of(plan: Plan) -> Iterator["subprocess.Popen[str]"]:
    """Start the clients, and end their process afterwards."""
    command = [sys.executable, "-W", "error", "-m", "tests.hub.stampede"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            print(msgspec.json.encode(plan).decode(), file=process.stdin, flush=True)
            yield process
        finally:
            process.kill()


def watch_while_they_come(live: Watching, stampede: "subprocess.Popen[str]") -> None:
    """Publish and read until all clients have caught up and all live events are read."""
    assert stampede.stdout is not None
    due = time.monotonic()
    catching_up = True
    while catching_up or live.awaited:
        if catching_up and time.monotonic() >= due:
            live.publish(due)
            due += EVERY_S
        patience = max(0.0, due - time.monotonic()) if catching_up else 1.0
        readable, _, _ = select.select([live.watcher.fileno(), stampede.stdout.fileno()], [], [], patience)
        if live.watcher.fileno() in readable:
            live.read()
        if stampede.stdout.fileno() in readable:
            assert stampede.stdout.readline() == "caught up\n"
            catching_up = False


def test_thousands_of_resumes_do_not_delay_live_delivery(tmp_path: Path) -> None:
    bodies = [old_or_shared(number) for number in range(OLD + LIVE // SHARED)]
    frames = [text_frame(body) for body in bodies]
    begins = [0, *accumulate(map(len, frames))]
    (tmp_path / "stream").write_bytes(b"".join(frames))
    with HubProcess(tmp_path) as hub:
        positions = [position for first in range(0, OLD, 500) for position in hub.publish(bodies[first : first + 500])]
    since = [(positions[read - 1], begins[read]) for read in range(OLD - BACK, OLD - BACK + PLACES)]
    with HubProcess(tmp_path, "--heartbeat", "60s") as hub, Watching(hub.port) as live:
        hub.wait_for('tidings_subscribers{state="live"}', 1)
        plan = Plan(hub.port, min(CLIENTS, clients_allowed()), str(tmp_path / "stream"), since, begins[OLD])
        began = time.monotonic()
        with stampede_of(plan) as stampede:
            watch_while_they_come(live, stampede)
            took = time.monotonic() - began
            metrics = hub.metrics()
            assert stampede.stdin is not None
            assert stampede.stdout is not None
            print(begins[OLD + live.shared], file=stampede.stdin, flush=True)
            assert stampede.stdout.readline() == f"{plan.clients}\n", "each event once, in order, up to the last"
        hub.wait_for("tidings_joined_total", plan.clients + 1)
    delays = sorted(live.delays_s)
    p50, p99, most = (delays[int(share * (len(delays) - 1))] * 1e3 for share in (0.5, 0.99, 1))
    reads, chunks = metrics["tidings_catchup_reads_total"], metrics["tidings_catchup_writes_total"]
    print(  # noqa: T201 - figures for a person, on an otherwise idle machine: the goal is 100 ms
        f"{plan.clients} clients back after {took:.1f} s: {reads:.0f} reads, {chunks:.0f} chunks; "
        f"{len(delays)} live events, p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {most:.0f} ms"
    )
    assert reads < chunks / 3, "the clients share reads"  # the faster the hub, the fewer clients wait for one read
    assert p99 < 1_000, "all in one tick would take seconds"


def clients_allowed() -> int:
    """Raise the limit of open files of this process and its children, and return the number of clients it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CLIENTS + SPARE_FILES
    if soft < needed:
        soft = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - SPARE_FILES
