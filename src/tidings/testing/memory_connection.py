"""In-memory connections between real clients and a hub in memory: two pipes, and the client's environment."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from tidings.access.subjects import Credential
from tidings.client.websocket import ClientConnection, ConnectionEnded
from tidings.exceptions import HubUnreachable
from tidings.hub.connection import HubConnection
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds
from tidings.server.wire_formats import VERSIONED_LINES
from tidings.testing.faults import Faults, Side
from tidings.testing.in_memory_hub import InMemoryHub
from tidings.testing.loop import ManualHandle, ManualLoop
from tidings.testing.world import World

MAX_UNREAD_BYTES = 64 << 10
"""Bytes under way in each direction before the sender has to wait: the buffers of a small socket."""
_NOW_TOLERANCE_NS = 10_000_000_000
"""A timestamp this near to the machine's clock was read from that clock."""
_ABNORMAL, _NORMAL = 1006, 1000

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class _Typed(Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_Typed).decode


class MemoryPipe:
    """One direction of a connection: delivers messages in order, subject to faults.

    Args:
        loop: The loop on which delays pass.
        faults: The faults in force.
        link: The name of the client's link.
        toward: The receiving side.
        deliver: Takes what arrives; None is the end of the stream.
        cut: Ends the connection.
    """

    def __init__(
        self,
        loop: ManualLoop,
        faults: Faults,
        link: str,
        toward: Side,
        *,
        deliver: Callable[[bytes | None], None],
        cut: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._faults = faults
        self._link = link
        self._toward: Side = toward
        self._deliver = deliver
        self._cut = cut
        self._waiting: deque[tuple[float, bytes | None, bool]] = deque()
        """The time of arrival, the message, and whether the connection is cut after it."""
        self._ready_at = 0.0
        self._due: float | None = None
        self._closed = False
        self.bytes = 0
        """Bytes under way."""

    def put(self, body: bytes | None) -> None:
        """Send a message, or the end of the stream."""
        if self._closed:
            return
        cut_after, copies = False, 1
        if body is not None and self._faults:
            passage = self._faults.passage(self._link, self._toward, _decode_type(body).type)
            if passage.cut_before:
                self._cut()
                return
            cut_after, copies = passage.cut_after, passage.copies
            self._ready_at = max(self._ready_at, self._loop.now + passage.delay_s)
        for copy in range(copies):
            self._waiting.append((self._ready_at, body, cut_after and copy == copies - 1))
            self.bytes += len(body or b"")
        self.flush()

    def flush(self) -> None:
        """Deliver the messages that have arrived by now."""
        while self._waiting and not self._closed and not self._faults.stalls(self._link, self._toward):
            ready_at, body, cut_after = self._waiting[0]
            if ready_at > self._loop.now:
                self._flush_at(ready_at)
                return
            self._waiting.popleft()
            self.bytes -= len(body or b"")
            self._deliver(body)
            if cut_after:
                self._cut()

    def _flush_at(self, ready_at: float) -> None:
        if self._due != ready_at:
            self._due = ready_at
            self._loop.call_later(ready_at - self._loop.now, self.flush)

    def close(self) -> None:
        """Drop the messages under way."""
        self._closed = True
        self._waiting.clear()
        self.bytes = 0


class PipeOutlet:
    """The hub's end of a connection: a `tidings.hub.wire.Outlet`."""

    def __init__(self, connection: "MemoryConnection") -> None:
        self._connection = connection
        self.paused = False
        """Whether `pause_writing` reported to the hub that its bytes have to wait."""
        self.reading = True
        """Whether the hub reads messages of the client."""

    def write(self, frames: bytes | memoryview, /) -> None:
        """See `Outlet.write`."""
        for line in bytes(frames).splitlines():
            self._connection.to_client.put(line)
        self._connection.update_backpressure()

    def direct(self) -> Callable[[bytes], int]:
        """See `Outlet.direct`."""
        return self._write_all

    def _write_all(self, frames: bytes) -> int:
        self.write(frames)
        return len(frames)

    def write_buffer_size(self) -> int:
        """See `Outlet.write_buffer_size`."""
        return max(0, self._connection.unread_bytes - MAX_UNREAD_BYTES)

    def pause_reading(self) -> None:
        """See `Outlet.pause_reading`."""
        self.reading = False

    def resume_reading(self) -> None:
        """See `Outlet.resume_reading`."""
        self.reading = True
        self._connection.feed_hub()

    def ping(self) -> None:
        """See `Outlet.ping`. Versioned connections receive messages instead."""

    def set_peer_timeout(self, within_s: float) -> None:
        """See `Outlet.set_peer_timeout`. A connection in memory has no such means."""

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        self._connection.close_from_hub(code, reason)

    def abort(self) -> None:
        """See `Outlet.abort`."""
        self._connection.close_from_hub(_ABNORMAL, "")


class MemoryConnection:
    """A `tidings.client.websocket.ClientConnection` to a hub in memory, created in the client's event loop.

    Args:
        world: The world of the hub.
        hub: The hub.
        link: The name of the client's link.
        url: The URL that the client connects to.
        token: The credential of the handshake; None without one.
        on_lost: Called when the connection is taken from the client, which may reconnect immediately.
    """

    def __init__(
        self, world: World, hub: InMemoryHub, link: str, url: str, token: str | None, on_lost: Callable[[], None]
    ) -> None:
        self.link = link
        self._world = world
        self._hub = hub
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[bytes] = deque()
        self._arrived_bytes = 0
        self._unprocessed: deque[bytes | None] = deque()
        """Messages that reached the hub while it was not reading."""
        self._unprocessed_bytes = 0
        self._closing = ConnectionEnded(_ABNORMAL, "")
        self._ended: ConnectionEnded | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None
        self.to_client = MemoryPipe(
            world.loop, world.faults, link, "client", deliver=self._arrive, cut=lambda: world.loop.call_soon(self.cut)
        )
        self.to_hub = MemoryPipe(world.loop, world.faults, link, "hub", deliver=self._reach_hub, cut=self.cut)
        self.outlet = PipeOutlet(self)
        self.hub_connection = HubConnection(
            hub.hub,
            self.outlet,
            VERSIONED_LINES,
            connection_id=hub.hub.mint()[-16:],
            versioned=True,
            query=urlsplit(url).query,
            credential=None if token is None else Credential(token, "header"),
        )
        world.connections[self] = None
        hub.admit(self.hub_connection)

    # The client's side.

    async def receive(self) -> bytes:
        """See `ClientConnection.receive`."""
        while True:
            with self._world.entered():
                if self._arrived:
                    self._world.activity += 1
                    body = self._arrived.popleft()
                    self._arrived_bytes -= len(body)
                    self.update_backpressure()
                    return body
                if self._ended is not None:
                    self._world.activity += 1
                    raise self._ended
                waiter = self._receiver = self._loop.create_future()
            await waiter

    async def send(self, body: bytes) -> None:
        """See `ClientConnection.send`."""
        with self._world.entered():
            self._check_open()
            self._world.activity += 1
            self.to_hub.put(self._use_hub_clock(body))
        while True:
            with self._world.entered():
                self._check_open()
                if self.to_hub.bytes + self._unprocessed_bytes < MAX_UNREAD_BYTES:
                    return
                waiter = self._sender = self._loop.create_future()
            await waiter

    async def aclose(self) -> None:
        """See `ClientConnection.aclose`."""
        with self._world.entered():
            self._world.activity += 1
            if self._ended is None:
                self._end_client(ConnectionEnded(_NORMAL, ""))
                self.to_hub.put(None)

    def abort(self) -> None:
        """See `ClientConnection.abort`."""
        with self._world.entered():
            self._break()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _use_hub_clock(self, body: bytes) -> bytes:
        """Return a message with a timestamp of the machine's clock replaced by the hub's; others are kept."""
        members = _decode_members(body)
        stamp = members.get("timestamp")
        if (
            stamp is None
            or abs(to_nanoseconds(msgspec.json.decode(stamp, type=str)) - time.time_ns()) > _NOW_TOLERANCE_NS
        ):
            return body
        members["timestamp"] = Raw(msgspec.json.encode(from_nanoseconds(self._world.clock.wall_ns())))
        return msgspec.json.encode(members)

    # Toward the client.

    @property
    def unread_bytes(self) -> int:
        """Bytes that the client has not read."""
        return self.to_client.bytes + self._arrived_bytes

    def update_backpressure(self) -> None:
        """Report to the hub whether its bytes have to wait."""
        waits = self.unread_bytes > MAX_UNREAD_BYTES
        if waits is not self.outlet.paused and not self.hub_connection.closing:
            self.outlet.paused = waits
            if waits:
                self.hub_connection.pause_writing()
            else:
                self.hub_connection.resume_writing()

    def _arrive(self, body: bytes | None) -> None:
        if self._ended is not None:
            return
        if body is None:
            self._ended = self._closing
        else:
            self._arrived.append(body)
            self._arrived_bytes += len(body)
        self._wake(self._receiver)

    # Toward the hub.

    def feed_hub(self) -> None:
        """Pass messages to the hub as long as it reads."""
        while self._unprocessed and self.outlet.reading:
            body = self._unprocessed.popleft()
            self._unprocessed_bytes -= len(body or b"")
            if body is None:
                self._report_lost()
            else:
                self.hub_connection.received(body)
        if self.to_hub.bytes + self._unprocessed_bytes < MAX_UNREAD_BYTES:
            self._wake(self._sender)

    def _reach_hub(self, body: bytes | None) -> None:
        self._unprocessed.append(body)
        self._unprocessed_bytes += len(body or b"")
        self.feed_hub()

    # Ends.

    def close_from_hub(self, code: int, reason: str) -> None:
        """End the stream after everything that the hub has written."""
        self._closing = ConnectionEnded(code, reason)
        self.to_client.put(None)
        # The end of a socket is noticed in a later round than the one in which the hub closed it.
        self._world.loop.call_soon(self._report_lost)

    def flush(self) -> None:
        """Deliver the messages that have arrived by now, in both directions."""
        self.to_client.flush()
        self.to_hub.flush()
        self.feed_hub()

    def allow_reconnect(self) -> None:
        """Let the client reconnect as soon as the hub runs, once its connection is gone."""
        self._on_lost()

    def cut(self) -> None:
        """End the connection without a close; the client reconnects immediately."""
        self.allow_reconnect()
        self._break()

    def _break(self) -> None:
        self._end_client(ConnectionEnded(_ABNORMAL, ""))
        self.to_client.close()
        self.to_hub.close()
        self._unprocessed.clear()
        self._report_lost()

    def _end_client(self, end: ConnectionEnded) -> None:
        self._arrived.clear()
        self._arrived_bytes = 0
        if self._ended is None:
            self._ended = end
        self._wake(self._receiver)
        self._wake(self._sender)

    def _report_lost(self) -> None:
        """Report to the hub that the socket is gone."""
        if self._world.connections.pop(self, self) is None:
            self._hub.connections.remove(self.hub_connection)
            self.hub_connection.closed()

    def _wake(self, waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None:
            self._world.activity += 1
            with contextlib.suppress(RuntimeError):  # its loop is closed, and no task waits
                self._loop.call_soon_threadsafe(_resolve, waiter)


class _LoopTimer:
    """A timer that is due by the hub's clock and runs in the client's event loop."""

    def __init__(self, runtime: "MemoryRuntime", callback: Callable[[], object]) -> None:
        self.handle: ManualHandle | None = None
        self._runtime = runtime
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()

    def due(self) -> None:
        self._runtime.call_in_loop(self._call)

    def _call(self) -> None:
        if self._callback is not None:
            self._callback()


class MemoryRuntime:
    """A `tidings.client.runtime.ClientRuntime` of one link, created in the link's event loop.

    A client whose connection was taken from it by the test reconnects immediately, or as soon as the hub runs again.
    Every other wait ends by the hub's clock.

    Args:
        world: The world of the hub.
        link: The link's name.
    """

    def __init__(self, world: World, link: str) -> None:
        self._world = world
        self._link = link
        self._may_reconnect = False
        self.loop = asyncio.get_running_loop()

    async def open(self, url: str, token: str | None, /) -> ClientConnection:
        """See `ClientRuntime.open`."""
        await asyncio.sleep(0)  # opening a real connection takes at least one round, too
        with self._world.entered():
            self._world.activity += 1
            hub = self._world.hub
            if hub is None:
                raise HubUnreachable(f"the hub in memory is {'closed' if self._world.closed else 'stopped'}")
            if self._world.faults.refuses(self._link):
                raise HubUnreachable("the hub in memory cannot be reached, because a fault is in force")
            return MemoryConnection(self._world, hub, self._link, url, token, self._allow_reconnect)

    def time(self) -> float:
        """See `ClientRuntime.time`."""
        return self._world.clock.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> _LoopTimer:
        """See `ClientRuntime.call_at`."""
        timer = _LoopTimer(self, callback)
        with self._world.entered():
            timer.handle = self._world.loop.call_later(max(0.0, when - self._world.clock.now), timer.due)
        return timer

    @asynccontextmanager
    async def timeout(self, delay_s: float | None, /) -> AsyncIterator[None]:
        """See `ClientRuntime.timeout`."""
        async with asyncio.timeout(None) as limit:
            if delay_s is None:
                yield
                return
            timer = self.call_at(self.time() + delay_s, lambda: limit.reschedule(self.loop.time()))
            try:
                yield
            finally:
                timer.cancel()

    async def sleep(self, delay_s: float, /) -> None:
        """See `ClientRuntime.sleep`."""
        with self._world.entered():
            self._world.activity += 1
            if self._may_reconnect and self._world.hub is not None:
                self._may_reconnect = False
                return
            awake = self.loop.create_future()
            wake = partial(self.call_in_loop, partial(_resolve, awake))
            timer = self._world.loop.call_later(delay_s, wake)
            self._world.waiting[wake] = None
        try:
            await awake
        finally:
            with self._world.entered():
                timer.cancel()
                self._world.waiting.pop(wake, None)
                self._may_reconnect = False

    def random(self) -> float:
        """See `ClientRuntime.random`. The same in every run, and never 0, so that no wait becomes a busy loop."""
        return 0.5

    def call_in_loop(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the link's event loop."""
        self._world.activity += 1
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no task waits
            self.loop.call_soon_threadsafe(callback)

    def _allow_reconnect(self) -> None:
        self._may_reconnect = True


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
