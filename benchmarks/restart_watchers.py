"""The watchers of `benchmarks.restart`: many in a process, each of which reads every version of a dataset."""

import asyncio
import multiprocessing
import random
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import cast

import msgspec

GROUP = 10
"""Watchers of one dataset."""


class Watcher(asyncio.Protocol):
    """One subscriber of a dataset, on one connection after the other: as little work per client as possible.

    Args:
        ports: Ports of the nodes, the first one of which it connects to first.
        dataset: Number of the dataset.
        done: Called when the event that ends the dataset has arrived.
    """

    def __init__(self, ports: Sequence[int], dataset: int, done: Callable[[], None]) -> None:
        self._ports = deque(ports)
        self._path = f"/ws?channel=data%2Fset-{dataset}"
        self._done = done
        self._since = "first"
        self._retry_ms = 0
        self._failures = 0
        self._buffer = b""
        self._is_open = self._is_done = False
        self._transport: asyncio.Transport
        self.versions: list[int] = []

    async def connect(self) -> None:
        """Open the next connection, after failures with the backoff of `tidings.connect`."""
        self._buffer, self._is_open = b"", False
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._ports[0])
            except OSError:
                self._ports.rotate(-1)
                await asyncio.sleep(self._next_delay_s())
            else:
                return

    def _next_delay_s(self) -> float:
        window_s = min(15.0, 0.5 * (1 << min(self._failures, 8)))
        self._failures += 1
        asked_ms, self._retry_ms = self._retry_ms, 0
        return asked_ms / 1_000 + random.random() * window_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            f"GET {self._path}&since={self._since} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: tidings.v1\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Read the answer to the handshake, and then frames."""
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._buffer = rest
            self._is_open = head.startswith(b"HTTP/1.1 101 ")
            if not self._is_open:
                self._transport.close()
                return
        place = 0
        while (found := _frame(self._buffer, place)) is not None:
            opcode, payload, place = found
            if opcode == _TEXT:
                self._read(payload)
            elif opcode == _CLOSE:
                self._transport.write(_MASKED_CLOSE + payload[:2])
                self._transport.close()
        self._buffer = self._buffer[place:]

    def _read(self, body: bytes) -> None:
        message = _decode(body)
        if message.type == "data:update":
            self._since = message.position
            if message.data.version is None:
                self._is_done = True
                self._done()
            else:
                self.versions.append(message.data.version)
        elif message.type == "connection:established":
            self._failures = 0
        elif message.type == "connection:closed":
            self._retry_ms = message.data.retry_after_ms

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again, when the hub asked for it."""
        if not self._is_done:
            self._ports.rotate(-1)
            loop = asyncio.get_running_loop()
            loop.call_later(self._next_delay_s(), lambda: loop.create_task(self.connect()))


class _Data(msgspec.Struct):
    version: int | None = None
    retry_after_ms: int = 0


class _Message(msgspec.Struct):
    type: str
    data: _Data
    position: str = ""


_decode = msgspec.json.Decoder(_Message).decode
_TEXT, _CLOSE = 1, 8
_MASKED_CLOSE = b"\x88\x82\0\0\0\0"
"""Head of a Close with a code, masked with zeros."""


def _frame(data: bytes, place: int) -> tuple[int, bytes, int] | None:
    """Return opcode, payload and end of the frame of a server at `place`; None if it is not complete."""
    if len(data) < place + 2:
        return None
    size, start = data[place + 1], place + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, start = int.from_bytes(data[start : start + width]), start + width
    if len(data) < start + size:
        return None
    return data[place] & 0xF, data[start : start + size], start + size


async def _watch_all(ports: Sequence[int], numbers: Sequence[int], interval_s: float) -> dict[int, list[int]]:
    waiting = len(numbers)
    finished = asyncio.Event()

    def done() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            finished.set()

    watchers = {number: Watcher(_rotated(ports, number % len(ports)), number // GROUP, done) for number in numbers}
    for watcher in watchers.values():
        await watcher.connect()
        await asyncio.sleep(interval_s)  # a process that opens thousands together serves none of them
    await finished.wait()
    return {number: watcher.versions for number, watcher in watchers.items()}


def _rotated(ports: Sequence[int], first: int) -> Sequence[int]:
    return [*ports[first:], *ports[:first]]


def run_watchers(ports: Sequence[int], numbers: Sequence[int], interval_s: float, results: Connection) -> None:
    """Follow datasets in this process, and send what each watcher has read."""
    results.send(asyncio.run(_watch_all(ports, numbers, interval_s)))


def start_watchers(
    ports: Sequence[int], clients: int, rate: int, processes: int
) -> list[tuple[SpawnProcess, Connection]]:
    """Start processes with watchers; return each with the pipe that brings what its watchers have read."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for index in range(processes):
        receiving, sending = context.Pipe(duplex=False)
        numbers = range(index, clients, processes)
        worker = context.Process(target=run_watchers, args=(ports, numbers, 1.5 * processes / rate, sending))
        worker.start()
        workers.append((worker, receiving))
    return workers
