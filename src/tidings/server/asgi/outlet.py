"""The outlet to a client of an ASGI server: a counted buffer that one task empties into the server's `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

CHUNK_BYTES: Final = 32 * 1024
"""Bytes passed to the server at a time. Servers let one write through before they wait, so a slow client has about one
such chunk outstanding besides this buffer and the kernel's."""

_LOST: Final = 1006
MAX_WAITING_BYTES: Final = 32 * 1024
"""Bytes that may wait in the buffer before the hub is asked to pause. A client that does not read then costs up to
three times as many: in the buffer, in `send`, and in the server's own buffer."""

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds in which a client must read the rest after the outlet was closed."""


class Flow(Protocol):
    """The writer of an outlet, which is called when too many bytes wait."""

    def pause_writing(self) -> None:
        """Called during `write` when more than `MAX_WAITING_BYTES` have to wait."""

    def resume_writing(self) -> None:
        """Called when all bytes are sent."""


class BufferedOutlet:
    """A `tidings.hub.wire.Outlet` whose bytes one task sends.

    `direct` fills it up to `MAX_WAITING_BYTES`, like a socket's buffer in the kernel. `write` goes beyond, and then
    asks the hub to pause until all bytes are sent.
    """

    __slots__ = ("_chunks", "_ended", "_flow", "_limit", "_paused", "_size", "_wakeup", "closing", "may_read")

    def __init__(self) -> None:
        self._chunks: list[bytes | memoryview] = []
        self._size = 0
        self._paused = False
        self._wakeup = asyncio.Event()
        self._flow: Flow | None = None
        self._limit: asyncio.Timeout | None = None
        self._ended = False
        self.closing: tuple[int, str] | None = None
        """Close code and reason, or None before `close`."""
        self.may_read = asyncio.Event()
        """Set while messages of the client may be read."""
        self.may_read.set()

    def attach(self, flow: Flow) -> None:
        """Call `flow` from now on when bytes wait."""
        self._flow = flow

    # Called by the hub.

    def write(self, frames: bytes | memoryview, /) -> None:
        """See `Outlet.write`."""
        if self.closing is not None or self._ended or not frames:
            return
        self._chunks.append(frames)
        self._size += len(frames)
        self._wakeup.set()
        if self._size > MAX_WAITING_BYTES and not self._paused and self._flow is not None:
            self._paused = True
            self._flow.pause_writing()

    def direct(self) -> Callable[[bytes], int]:
        """See `Outlet.direct`."""
        return self._write_bounded

    def _write_bounded(self, frames: bytes) -> int:
        """Write whole frames only: an ASGI server takes messages, not bytes."""
        if len(frames) > MAX_WAITING_BYTES - self._size:
            raise BlockingIOError
        self.write(frames)
        return len(frames)

    def write_buffer_size(self) -> int:
        """See `Outlet.write_buffer_size`; it includes the bytes that the server has not accepted yet."""
        return self._size

    def pause_reading(self) -> None:
        """See `Outlet.pause_reading`."""
        self.may_read.clear()

    def resume_reading(self) -> None:
        """See `Outlet.resume_reading`."""
        self.may_read.set()

    def ping(self) -> None:
        """See `Outlet.ping`: ASGI has no pings; servers send their own."""

    def set_peer_timeout(self, within_s: float) -> None:
        """See `Outlet.set_peer_timeout`: ASGI has no such means."""

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        if self.closing is None:
            self.closing = code, reason
            self._wakeup.set()
            self.may_read.set()
            self._limit_closing()

    def abort(self) -> None:
        """See `Outlet.abort`: `send_all` ends with TimeoutError, as after a close that the client did not read."""
        self.close(_LOST, "")
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    # Called by the sending task.

    async def send_all(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Pass all writes to `send`, until those before `close` are sent, or `end` is called.

        `send` receives whole writes, joined to about `CHUNK_BYTES` bytes.

        Raises:
            TimeoutError: The client did not read the rest within `CLOSE_TIMEOUT_S` of `close`.
        """
        async with asyncio.timeout(None) as self._limit:
            self._limit_closing()
            try:
                while taken := await self._take():
                    await send(taken)
                    if self._ended:
                        return
                    self._size -= len(taken)
                    if not self._size and self._paused and self._flow is not None:
                        self._paused = False
                        self._flow.resume_writing()
            finally:
                self._limit = None  # `close` may still come, and a timeout that has ended cannot be rescheduled

    def end(self) -> None:
        """Drop everything: the client is gone."""
        self._ended = True
        self._chunks.clear()
        self._size = 0
        self._wakeup.set()
        self.may_read.set()

    def _limit_closing(self) -> None:
        if self.closing is not None and self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S)

    async def _take(self) -> bytes:
        """Wait for writes and return the oldest; b"" once there are no more."""
        while not self._chunks:
            if self.closing is not None or self._ended:
                return b""
            self._wakeup.clear()
            await self._wakeup.wait()
        count = size = 0
        for chunk in self._chunks:
            count += 1
            size += len(chunk)
            if size >= CHUNK_BYTES:
                break
        taken = b"".join(self._chunks[:count])
        del self._chunks[:count]
        return taken
