"""A way out of the hub that ends in memory, and stalls when a test wants it to."""

from collections.abc import Callable

_UNBOUNDED = 1 << 62


def _nobody() -> None:
    """Tell nobody: the outlet has no connection yet."""


class MemoryOutlet:
    """A `tidings.hub.wire.Outlet` with a kernel buffer of a size that the test sets, and a transport's before it.

    Bytes go into the kernel's buffer while there is room, and wait in the transport's when there is none. As with a
    transport whose write buffer limits are 0, `on_pause` is called as soon as bytes wait, from within the write, and
    `on_resume` when none do, from within `take`.

    Args:
        past_transport: Whether `direct` gives bytes straight to the kernel, as a socket's `send`; else it is `write`.
    """

    def __init__(self, *, past_transport: bool = True) -> None:
        self.on_pause: Callable[[], None] = _nobody
        self.on_resume: Callable[[], None] = _nobody
        self.on_close: Callable[[], None] = _nobody
        self.received = bytearray()
        """What the client has: all that the kernel took."""
        self.writes = 0
        """Calls that wrote."""
        self.pings = 0
        self.noticed_within_s: float | None = None
        """What `set_peer_timeout` was asked for last."""
        self.reading = True
        """Whether the hub takes the client's messages."""
        self.closed: tuple[int, str] | None = None
        """The code and reason that the hub closed with."""
        self._past_transport = past_transport
        self._waiting = bytearray()
        self._room = _UNBOUNDED

    # What the hub calls.

    def write(self, frames: bytes, /) -> None:
        """See `Outlet.write`."""
        self.writes += 1
        self._write(frames)

    def direct(self) -> Callable[[bytes], int | None]:
        """See `Outlet.direct`."""
        return self._send if self._past_transport else self.write

    def write_buffer_size(self) -> int:
        """See `Outlet.write_buffer_size`."""
        return len(self._waiting)

    def pause_reading(self) -> None:
        """See `Outlet.pause_reading`."""
        self.reading = False

    def resume_reading(self) -> None:
        """See `Outlet.resume_reading`."""
        self.reading = True

    def ping(self) -> None:
        """See `Outlet.ping`."""
        self.pings += 1

    def set_peer_timeout(self, within_s: float) -> None:
        """See `Outlet.set_peer_timeout`."""
        self.noticed_within_s = within_s

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        if self.closed is None:
            self.closed = (code, reason)
            self.on_close()

    # What the test calls.

    def stall(self, room: int = 0) -> None:
        """Stop reading: the kernel takes `room` bytes more."""
        self._room = room

    def take(self, size: int = _UNBOUNDED) -> None:
        """Read `size` bytes more than the kernel has taken; without an argument, go on reading for good."""
        self._room = _UNBOUNDED if size >= _UNBOUNDED else self._room + size
        waiting = self._waiting
        if waiting:
            taken = self._kernel(bytes(waiting))
            del waiting[:taken]
            if not waiting:
                self.on_resume()

    def _send(self, frames: bytes, /) -> int:
        """Do what a non-blocking socket's `send` does."""
        if self._waiting:
            raise RuntimeError("bytes wait in the transport; these would overtake them")
        if self.closed is not None:
            raise BrokenPipeError
        self.writes += 1
        taken = self._kernel(frames)
        if not taken and frames:
            self.writes -= 1  # the caller writes them instead
            raise BlockingIOError
        if taken < len(frames):
            self.writes -= 1
        return taken

    def _write(self, frames: bytes) -> None:
        if self.closed is not None:
            return
        waited = bool(self._waiting)
        taken = 0 if waited else self._kernel(frames)
        if taken < len(frames):
            self._waiting += frames[taken:]
            if not waited:
                self.on_pause()

    def _kernel(self, frames: bytes) -> int:
        taken = min(len(frames), self._room)
        self.received += frames[:taken]
        self._room -= taken
        return taken
