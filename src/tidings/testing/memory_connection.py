"""A connection in memory: at one end the real client, at the other the real hub, between them two pipes."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from tidings.client.websocket import ConnectionEnded
from tidings.hub.connection import HubConnection
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds
from tidings.server.wire_formats import VERSIONED_LINES
from tidings.testing.in_memory_hub import InMemoryHub
from tidings.testing.pipe import MemoryPipe
from tidings.testing.world import World

_WINDOW = 64 << 10
"""Bytes under way in each direction before its writer has to wait: a small socket's buffers."""
_NOW_NS = 10_000_000_000
"""A stamp so near to this machine's clock was read from it."""
_ABNORMAL, _NORMAL = 1006, 1000

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class HubEnd:
    """The hub's way out: a `tidings.hub.wire.Outlet`."""

    def __init__(self, line: "MemoryConnection") -> None:
        self._line = line
        self.paused = False
        """Whether the hub was told that its bytes wait."""
        self.reading = True

    def write(self, frames: bytes, /) -> None:
        """See `Outlet.write`."""
        for line in frames.splitlines():
            self._line.to_client.put(line)
        self._line.regulate()

    def direct(self) -> Callable[[bytes], int | None]:
        """See `Outlet.direct`."""
        return self.write

    def write_buffer_size(self) -> int:
        """See `Outlet.write_buffer_size`."""
        return max(0, self._line.unread - _WINDOW)

    def pause_reading(self) -> None:
        """See `Outlet.pause_reading`."""
        self.reading = False

    def resume_reading(self) -> None:
        """See `Outlet.resume_reading`."""
        self.reading = True
        self._line.feed()

    def ping(self) -> None:
        """See `Outlet.ping`: versioned connections are sent messages instead."""

    def set_peer_timeout(self, within_s: float) -> None:
        """See `Outlet.set_peer_timeout`: there is no such means here."""

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        self._line.closed_by_hub(code, reason)


class MemoryConnection:
    """A `tidings.client.websocket.ClientConnection` to a hub in memory, made in the client's event loop.

    Args:
        stage: Where the hub is.
        hub: The hub.
        link: The name of the client's link.
        url: What the client connects to.
        lost: Called when the connection is taken from the client, and may be had again at once.
    """

    def __init__(self, stage: World, hub: InMemoryHub, link: str, url: str, lost: Callable[[], None]) -> None:
        self.link = link
        self._stage = stage
        self._hub = hub
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[bytes] = deque()
        self._arrived_bytes = 0
        self._unheard: deque[bytes | None] = deque()
        self._unheard_bytes = 0
        self._closing = ConnectionEnded(_ABNORMAL, "")
        self._ended: ConnectionEnded | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.to_client = MemoryPipe(
            stage.loop, stage.faults, link, "client", deliver=self._arrive, cut=lambda: stage.loop.call_soon(self.cut)
        )
        self.to_hub = MemoryPipe(stage.loop, stage.faults, link, "hub", deliver=self._reach, cut=self.cut)
        self.end = HubEnd(self)
        self.connection = HubConnection(
            hub.hub,
            self.end,
            VERSIONED_LINES,
            connection_id=hub.hub.mint()[-16:],
            versioned=True,
            query=urlsplit(url).query,
        )
        stage.lines[self] = None
        hub.admit(self.connection)

    # The client's side.

    async def receive(self) -> bytes:
        """See `HubConnection.receive`."""
        while True:
            with self._stage.entered():
                if self._arrived:
                    self._stage.activity += 1
                    body = self._arrived.popleft()
                    self._arrived_bytes -= len(body)
                    self.regulate()
                    return body
                if self._ended is not None:
                    self._stage.activity += 1
                    raise self._ended
                waiter = self._reader = self._loop.create_future()
            await waiter

    async def send(self, body: bytes) -> None:
        """See `HubConnection.send`."""
        with self._stage.entered():
            self._check_open()
            self._stage.activity += 1
            self.to_hub.put(self._on_the_hubs_clock(body))
        while True:
            with self._stage.entered():
                self._check_open()
                if self.to_hub.bytes + self._unheard_bytes < _WINDOW:
                    return
                waiter = self._writer = self._loop.create_future()
            await waiter

    async def aclose(self) -> None:
        """See `HubConnection.aclose`."""
        with self._stage.entered():
            self._stage.activity += 1
            if self._ended is None:
                self._end_client(ConnectionEnded(_NORMAL, ""))
                self.to_hub.put(None)

    def abort(self) -> None:
        """See `HubConnection.abort`."""
        with self._stage.entered():
            self._break()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _on_the_hubs_clock(self, body: bytes) -> bytes:
        """Return a message as if this machine's clock were the hub's; other times are the caller's own words."""
        members = _decode_members(body)
        stamp = members.get("timestamp")
        if stamp is None or abs(to_nanoseconds(msgspec.json.decode(stamp, type=str)) - time.time_ns()) > _NOW_NS:
            return body
        members["timestamp"] = Raw(msgspec.json.encode(from_nanoseconds(self._stage.clock.wall_ns())))
        return msgspec.json.encode(members)

    # The way to the client.

    @property
    def unread(self) -> int:
        """Bytes that the client has not read."""
        return self.to_client.bytes + self._arrived_bytes

    def regulate(self) -> None:
        """Tell the hub whether its bytes have to wait."""
        waits = self.unread > _WINDOW
        if waits is not self.end.paused and not self.connection.closing:
            self.end.paused = waits
            if waits:
                self.connection.pause_writing()
            else:
                self.connection.resume_writing()

    def _arrive(self, body: bytes | None) -> None:
        if self._ended is not None:
            return
        if body is None:
            self._ended = self._closing
        else:
            self._arrived.append(body)
            self._arrived_bytes += len(body)
        self._wake(self._reader)

    # The way to the hub.

    def feed(self) -> None:
        """Give the hub what it had no ear for."""
        while self._unheard and self.end.reading:
            body = self._unheard.popleft()
            self._unheard_bytes -= len(body or b"")
            self._hear(body)
        if self.to_hub.bytes + self._unheard_bytes < _WINDOW:
            self._wake(self._writer)

    def _reach(self, body: bytes | None) -> None:
        self._unheard.append(body)
        self._unheard_bytes += len(body or b"")
        self.feed()

    def _hear(self, body: bytes | None) -> None:
        if body is None:
            self._gone()
        else:
            self.connection.received(body)

    # Ends.

    def closed_by_hub(self, code: int, reason: str) -> None:
        """End the stream behind what the hub has written."""
        self._closing = ConnectionEnded(code, reason)
        self.to_client.put(None)
        # A socket's end is seen in a later round than the one in which the hub closed it.
        self._stage.loop.call_soon(self._gone)

    def flush(self) -> None:
        """Deliver what has arrived by now, both ways."""
        self.to_client.flush()
        self.to_hub.flush()
        self.feed()

    def call_back(self) -> None:
        """Let the client come back, when its connection is gone, as soon as the hub is there."""
        self._lost()

    def cut(self) -> None:
        """End without a word; the client comes back at once."""
        self.call_back()
        self._break()

    def _break(self) -> None:
        self._end_client(ConnectionEnded(_ABNORMAL, ""))
        self.to_client.close()
        self.to_hub.close()
        self._unheard.clear()
        self._gone()

    def _end_client(self, end: ConnectionEnded) -> None:
        self._arrived.clear()
        self._arrived_bytes = 0
        if self._ended is None:
            self._ended = end
        self._wake(self._reader)
        self._wake(self._writer)

    def _gone(self) -> None:
        """Let the hub see that the socket is gone."""
        if self._stage.lines.pop(self, self) is None:
            self._hub.connections.remove(self.connection)
            self.connection.closed()

    def _wake(self, waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None:
            self._stage.activity += 1
            with contextlib.suppress(RuntimeError):  # its loop is closed, and nobody waits any more
                self._loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
