"""The way out to a client of an ASGI server: a counted buffer, emptied by whoever awaits the server's `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

CHUNK: Final = 64 * 1024
"""Bytes handed to the server at once. Servers let a write through before they wait, so what a slow client has in hand
beside this buffer is about one such chunk and the kernel's own."""

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds that a client is given to take what was written before the outlet was closed."""


class Flow(Protocol):
    """Who writes to the outlet, and is told when bytes wait."""

    def pause_writing(self) -> None:
        """Learn that bytes wait to be sent. Comes from within `write`."""

    def resume_writing(self) -> None:
        """Learn that none do any more."""


class BufferedOutlet:
    """A `tidings.hub.wire.Outlet` whose bytes one task sends.

    It is bounded by the hub's own accounting: who is told `pause_writing` leaves the live set beyond the high-water
    mark, and what catches up is written to only while the buffer is empty.
    """

    __slots__ = ("_chunks", "_ended", "_flow", "_limit", "_size", "_wakeup", "closing", "may_read")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._wakeup = asyncio.Event()
        self._flow: Flow | None = None
        self._limit: asyncio.Timeout | None = None
        self._ended = False
        self.closing: tuple[int, str] | None = None
        """Close code and reason, once `close` was called."""
        self.may_read = asyncio.Event()
        """Whether messages of the client are wanted."""
        self.may_read.set()

    def attach(self, flow: Flow) -> None:
        """Tell `flow` from now on when bytes wait."""
        self._flow = flow

    # What the hub calls.

    def write(self, frames: bytes, /) -> None:
        """See `Outlet.write`."""
        if self.closing is not None or self._ended or not frames:
            return
        waited = self._size
        self._chunks.append(frames)
        self._size += len(frames)
        self._wakeup.set()
        if not waited and self._flow is not None:
            self._flow.pause_writing()

    def direct(self) -> Callable[[bytes], int | None]:
        """See `Outlet.direct`: there is no way past the buffer."""
        return self.write

    def write_buffer_size(self) -> int:
        """See `Outlet.write_buffer_size`; what the server was given and has not taken yet counts."""
        return self._size

    def pause_reading(self) -> None:
        """See `Outlet.pause_reading`."""
        self.may_read.clear()

    def resume_reading(self) -> None:
        """See `Outlet.resume_reading`."""
        self.may_read.set()

    def ping(self) -> None:
        """See `Outlet.ping`: ASGI has none, and servers send their own."""

    def set_peer_timeout(self, within_s: float) -> None:
        """See `Outlet.set_peer_timeout`: there is no such means here."""

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        if self.closing is None:
            self.closing = code, reason
            self._wakeup.set()
            self.may_read.set()
            self._limit_closing()

    # What the sending task calls.

    async def send_all(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send what is written with `send`, until all is sent that was written before `close`, or `end` is called.

        `send` gets whole writes, joined to about `CHUNK` bytes.

        Raises:
            TimeoutError: The client did not take the rest within `CLOSE_TIMEOUT_S` of `close`.
        """
        async with asyncio.timeout(None) as self._limit:
            self._limit_closing()
            while taken := await self._take():
                await send(taken)
                if self._ended:
                    return
                self._size -= len(taken)
                if not self._size and self._flow is not None:
                    self._flow.resume_writing()

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
        """Wait for writes and return the oldest; nothing once there will be none."""
        while not self._chunks:
            if self.closing is not None or self._ended:
                return b""
            self._wakeup.clear()
            await self._wakeup.wait()
        count = size = 0
        for chunk in self._chunks:
            count += 1
            size += len(chunk)
            if size >= CHUNK:
                break
        taken = b"".join(self._chunks[:count])
        del self._chunks[:count]
        return taken
