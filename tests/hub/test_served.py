"""What real sockets add: kernel buffers, and thousands of clients at once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.hub.served_hub import ServedHub
from tests.server.raw_client import RawClient
from websockets.frames import Opcode

V1 = ("Sec-WebSocket-Protocol: tidings.v1",)


class Reader(RawClient):
    """A client that reads envelopes."""

    def messages(self) -> Iterator[dict[str, object]]:
        """Return the messages that have come in whole, without waiting for more."""
        while self._frames:
            frame = self._frames.pop(0)
            if frame.opcode is Opcode.TEXT:
                yield msgspec.json.decode(frame.data)

    def receive(self, size: int) -> None:
        """Take up to `size` bytes from the socket."""
        data = self.socket.recv(size)
        assert data, "the hub closed the connection"
        self._feed(data)


class Ticker(threading.Thread):
    """Calls a function every so often until it is stopped."""

    def __init__(self, every_s: float, function: Callable[[], None]) -> None:
        super().__init__()
        self._every_s = every_s
        self._function = function
        self._stopped = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self._function()
            due += self._every_s

    def __enter__(self) -> "Ticker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


KEYS = 2_000
RATE = 5_000
"""Progress events a second: about 1.2 MB/s, six times what the reader takes."""
SLOW_BYTES_S = 200_000
LOADED_S = 6.0


def test_a_slow_reader_never_reads_what_is_old_and_loses_nothing_durable(tmp_path: Path) -> None:
    published = 0
    logged = 0

    def publish() -> None:
        nonlocal published, logged
        stamp = f"{time.monotonic()}"
        hub.publish(
            "operation:progress",
            [
                {"operation_id": f"op-{(published + number) % KEYS}", "progress": 1, "message": stamp}
                for number in range(RATE // 20)
            ],
        )
        hub.publish("operation:log", [{"operation_id": "op-0", "message": f"{logged}"}])
        published += RATE // 20
        logged += 1

    ages: list[float] = []
    stamps: dict[str, float] = {}
    lines: list[int] = []

    def read(reader: Reader) -> None:
        now = time.monotonic()
        for message in reader.messages():
            data = message["data"]
            assert isinstance(data, dict)
            if message["type"] == "operation:progress":
                key, stamp = data["operation_id"], float(data["message"])
                assert stamp > stamps.get(key, 0.0), "a later read is newer"
                stamps[key] = stamp
                ages.append(now - stamp)
            elif message["type"] == "operation:log":
                lines.append(int(data["message"]))

    with ServedHub(tmp_path) as hub, Reader(hub.port, receive_buffer=16_384) as reader:
        reader.open("/ws?channel=operations", headers=V1)
        with Ticker(0.05, publish):
            begun = time.monotonic()
            taken = 0
            while (elapsed := time.monotonic() - begun) < LOADED_S:
                allowed = int(elapsed * SLOW_BYTES_S) - taken
                if allowed < 4_096:
                    time.sleep((4_096 - allowed) / SLOW_BYTES_S)  # it is a slow reader
                    continue
                reader.receive(allowed)
                taken += allowed
                read(reader)
        while len(lines) < logged:
            reader.receive(1 << 16)
            read(reader)
        counters = hub.call(lambda: hub.hub.delivery.counters)
    print(f"slow reader: {len(ages)} of {published} read, the oldest {max(ages):.2f} s old")  # noqa: T201
    assert max(ages) < 3.0
    assert lines == list(range(logged))
    assert len(ages) < published / 2, "it was slow"
    assert counters.fell_behind >= 1


CLIENTS = 5_000
BEHIND = 2_000
"""Events that each of them has missed."""


@pytest.mark.timeout(120)
def test_a_crowd_that_comes_back_after_a_restart_does_not_hold_up_live_delivery(tmp_path: Path) -> None:
    with ServedHub(tmp_path) as hub:
        for first in range(0, BEHIND + 100, 100):
            hub.publish("data:update", [{"dataset": "d", "version": f"{first + number}"} for number in range(100)])
    worst = []
    for _ in range(3):  # the machine may be busy with something else
        worst.append(_come_back(tmp_path))
        if worst[-1] < 0.1:
            return
    raise AssertionError(f"live delivery was held up by {worst} s")


def _come_back(folder: Path) -> float:
    """Let the crowd come back; return how late the latest of 95 % of live events came, in seconds."""
    with ServedHub(folder) as hub, Reader(hub.port) as watching:
        head = hub.call(lambda: hub.hub.log.head)
        since, last = hub.call(lambda: (hub.hub.log.position(head - BEHIND), hub.hub.log.position(head)))
        watching.open("/ws?channel=system", headers=V1)
        rounds = hub.call(lambda: _time_rounds(hub))
        begun = time.monotonic()
        crowd = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.hub.crowd",
                f"{hub.port}",
                f"{CLIENTS}",
                f"channel=data&since={since}",
                f"{last}",
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            delays = sorted(_watch(hub, watching, lambda: crowd.poll() is None))
        finally:
            crowd.kill()
            output, _ = crowd.communicate()
        took = time.monotonic() - begun
        budget = hub.hub.config.catchup_budget_s
        reads = hub.call(lambda: hub.hub.delivery.catchup.reads)
    rounds.sort()
    late = delays[int(len(delays) * 0.95)]
    print(  # noqa: T201
        f"crowd of {CLIENTS} back after {took:.1f} s: live events p50 {delays[len(delays) // 2] * 1e3:.1f} ms, "
        f"p95 {late * 1e3:.1f} ms, max {delays[-1] * 1e3:.1f} ms late; {reads} reads; {len(rounds)} rounds of "
        f"p50 {rounds[len(rounds) // 2] * 1e3:.2f} ms, max {rounds[-1] * 1e3:.1f} ms"
    )
    assert output.split() == [f"{BEHIND}", f"{BEHIND}"], "each of them has all that it missed, once"
    assert rounds[len(rounds) // 2] < 2 * budget, "a round keeps to its budget, but for the chunk in which that ends"
    assert len(rounds) > 20, "catching up was shared out"
    assert reads < CLIENTS, "those who are at one place are read for once"
    return late


def _watch(hub: ServedHub, watching: Reader, goes_on: Callable[[], bool]) -> Iterator[float]:
    """Publish live events and yield how late each came, in seconds."""
    alert = {"severity": "info", "code": "c", "recoverable": True}
    with Ticker(0.02, lambda: hub.publish("system:alert", [alert | {"message": f"{time.monotonic()}"}])):
        while goes_on():
            watching.receive(1 << 16)
            now = time.monotonic()
            for message in watching.messages():
                data = message["data"]
                if message["type"] == "system:alert" and isinstance(data, dict):
                    yield now - float(data["message"])


def _time_rounds(hub: ServedHub) -> list[float]:
    """Measure the rounds of catching up from now on, in seconds of the loop's thread."""
    durations: list[float] = []
    catchup = hub.hub.delivery.catchup
    run = catchup._round

    def timed() -> None:
        begun = time.thread_time()
        run()
        durations.append(time.thread_time() - begun)

    catchup._round = timed  # type: ignore[method-assign]
    return durations
