"""What real sockets add: the kernel's buffers."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
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
