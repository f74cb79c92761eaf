"""Slow and stalled readers: the events that they read, and that they do not affect the others."""

import selectors
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import msgspec
import pytest
from tests.hub.hub_process import HubProcess
from tests.hub.raw_watcher import RawWatcher
from tests.server.raw_client import text

from tidings.hub.config import HubConfig
from tidings.server.websocket.frames import text_frame

pytestmark = pytest.mark.alone

TIMEOUT_S = 60.0
OPERATIONS = "channel=operations"


class Data(msgspec.Struct):
    operation_id: str
    message: str = ""
    """Time of publication, in nanoseconds of the monotonic clock."""
    progress: float | None = None


class Event(msgspec.Struct):
    type: str
    data: Data


DECODE = msgspec.json.Decoder(Event).decode


class Reader:
    """A watcher of operations that checks events as it reads them."""

    def __init__(self, watcher: RawWatcher) -> None:
        self.watcher = watcher
        self.newest: dict[str, float] = {}
        self.lines: list[str] = []
        self.ages_s: list[float] = []

    def read(self, size: int = 1 << 18) -> None:
        payloads = self.watcher.receive(size)
        now = time.monotonic_ns()
        for payload in payloads:
            event = DECODE(payload)
            if event.type == "operation:estimate":  # an event of the hub itself
                continue
            data = event.data
            self.ages_s.append((now - int(data.message)) / 1e9)
            if event.type == "operation:log":
                self.lines.append(data.operation_id)
            else:
                assert data.progress is not None
                assert data.progress > self.newest.get(data.operation_id, -1.0), "a later read is newer"
                self.newest[data.operation_id] = data.progress


class Source:
    """A publisher of progress of many operations and of a few log lines, each with its time."""

    EVERY_S = 0.01
    AT_ONCE = 50
    """5,000 events per second."""
    KEYS = 2_000

    def __init__(self, watcher: RawWatcher) -> None:
        self._socket = watcher.socket
        self._socket.settimeout(TIMEOUT_S)
        self._keys = cycle(range(self.KEYS))
        self._turns = 0
        self.newest: dict[str, float] = {}
        self.lines: list[str] = []

    @property
    def published(self) -> int:
        return self._turns * self.AT_ONCE + len(self.lines)

    def publish(self) -> None:
        """Publish the events of one `EVERY_S` interval."""
        now = time.monotonic_ns()
        frames = [text(self._progress(next(self._keys), now)) for _ in range(self.AT_ONCE)]
        if self._turns % 5 == 0:
            frames.append(text(self._line(now)))
        self._turns += 1
        self._socket.sendall(b"".join(frames))

    def _progress(self, key: int, now: int) -> bytes:
        name = f"op-{key}"
        progress = self.newest[name] = self.newest.get(name, 0.0) + 0.125
        data = {"operation_id": name, "progress": progress, "message": f"{now}", "current_step": "x" * 80}
        return msgspec.json.encode({"type": "operation:progress", "data": data})

    def _line(self, now: int) -> bytes:
        self.lines.append(f"line-{len(self.lines)}")
        data = {"operation_id": self.lines[-1], "level": "info", "message": f"{now}"}
        return msgspec.json.encode({"type": "operation:log", "data": data})


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(tmp_path) as served:
        yield served


LOADED_S = 5.0
UNMERGED_S = 20.0
"""Age of the last events if the slow reader had to read each: 5 MB and more, at 200 KB/s."""
SLOW_READ = 20_000
SLOW_EVERY_S = 0.1


def test_slow_reader_of_latest_events_reads_fresh_ones_and_delays_none(hub: HubProcess) -> None:
    with ExitStack() as stack:
        source = Source(stack.enter_context(RawWatcher(hub.port, "channels=none")))
        live = [Reader(stack.enter_context(RawWatcher(hub.port, OPERATIONS))) for _ in range(3)]
        slow = Reader(stack.enter_context(RawWatcher(hub.port, OPERATIONS, receive_buffer=64 << 10)))
        hub.wait_for('tidings_subscribers{state="live"}', 4)
        load(source, live, slow)
        fell_behind = hub.metrics()["tidings_fell_behind_total"]
        read_meanwhile = len(slow.ages_s)
        everyone = [*live, slow]
        deadline = time.monotonic() + TIMEOUT_S
        while any(reader.lines != source.lines or reader.newest != source.newest for reader in everyone):
            assert time.monotonic() < deadline, "a line, or the newest of an operation, is missing"
            for reader in everyone:
                reader.read()
    late = max(sorted(reader.ages_s)[len(reader.ages_s) * 99 // 100] for reader in live)
    print(  # noqa: T201 - figures for a person
        f"slow reader: {read_meanwhile} of {source.published} events, {max(slow.ages_s):.2f} s old at most; "
        f"the others' p99 {late * 1e3:.0f} ms"
    )
    assert fell_behind == 1
    assert read_meanwhile < source.published / 3, "most events were superseded before they were read"
    assert max(slow.ages_s) < UNMERGED_S / 2
    assert late < max(slow.ages_s) / 2


def load(source: Source, live: list[Reader], slow: Reader) -> None:
    """Publish and read for `LOADED_S`: the live readers as fast as events arrive, the slow one at 200 KB/s."""
    with selectors.DefaultSelector() as selector:
        for reader in live:
            selector.register(reader.watcher, selectors.EVENT_READ, reader)
        publish_at = read_at = time.monotonic()
        end = publish_at + LOADED_S
        while (now := time.monotonic()) < end:
            if now >= publish_at:
                source.publish()
                publish_at += source.EVERY_S
            if now >= read_at:
                slow.read(SLOW_READ)
                read_at += SLOW_EVERY_S
            for key, _ in selector.select(max(0.0, min(publish_at, read_at) - time.monotonic())):
                key.data.read()


BATCH = 400
BATCHES = 150
WARM = 90
"""Batches after which the ring is full."""
LIVE = 100
STALLED = 5


def test_stalled_readers_cost_only_their_buffers(hub: HubProcess) -> None:
    with ExitStack() as stack:
        publisher = stack.enter_context(RawWatcher(hub.port, "channels=none"))
        publisher.socket.settimeout(TIMEOUT_S)
        live = [stack.enter_context(RawWatcher(hub.port, "channel=data")) for _ in range(LIVE)]
        for _ in range(STALLED):
            stack.enter_context(RawWatcher(hub.port, "channel=data", receive_buffer=64 << 10))
        hub.wait_for('tidings_subscribers{state="live"}', LIVE + STALLED)
        begun = resident(hub)
        pass_batches(range(WARM), publisher, live)
        warm = resident(hub)
        pass_batches(range(WARM, BATCHES), publisher, live)
        after = resident(hub)
        metrics = hub.metrics()
    assert metrics["tidings_fell_behind_total"] == STALLED
    assert metrics['tidings_subscribers{state="live"}'] == LIVE
    config = HubConfig()
    owed = STALLED * (config.high_water + BATCH * len(text_frame(update(0))))
    # Twice the ring, for SQLite's cache and the allocator; then memory hardly grows. The events that pass in that time
    # are 7 MB for each stalled reader, 35 MB in all.
    assert warm - begun < 2 * config.ring_bytes + owed
    assert after - warm < owed + (12 << 20)


def pass_batches(batches: Iterable[int], publisher: RawWatcher, live: list[RawWatcher]) -> None:
    """Publish batches, each after all have read the previous one, and compare the bytes that they read."""
    for batch in batches:
        bodies = [update(batch * BATCH + number) for number in range(BATCH)]
        frames = b"".join(map(text_frame, bodies))
        publisher.socket.sendall(b"".join(map(text, bodies)))
        unread = dict.fromkeys(live, 0)
        deadline = time.monotonic() + TIMEOUT_S
        while unread:
            assert time.monotonic() < deadline, f"{len(unread)} readers miss events"
            for watcher, place in list(unread.items()):
                data = watcher.receive_frames()
                assert frames.startswith(data, place)
                unread[watcher] = place + len(data)
                if unread[watcher] == len(frames):
                    del unread[watcher]


def update(number: int) -> bytes:
    """Return a complete event, to which the hub adds nothing: exactly these bytes are delivered."""
    return (
        b'{"type":"data:update","timestamp":"2026-01-01T00:00:00Z","trace_id":"%032x",'
        b'"data":{"dataset":"d","version":"%d","metadata":{"padding":"%b"}},"channel":"data"}'
    ) % (number, number, b"x" * 80)


def resident(hub: HubProcess) -> float:
    return hub.metrics()["process_resident_memory_bytes"]
