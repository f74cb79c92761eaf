"""An outlet of the hub that writes to memory, and stalls on request."""

from collections.abc import Callable

_UNLIMITED_BYTES = 1 << 62
_MAX_WAITING_BYTES = 64 << 10


def _ignore() -> None:
    """Do nothing: the outlet has no connection yet."""


class MemoryOutlet:
    """A `tidings.hub.wire.Outlet` with a transport's buffer and behind it a kernel's, whose size the test sets.

    Bytes go into the kernel's buffer as long as they fit, and then wait in the transport's. As with a transport whose
    write buffer limits are 0, `on_pause` is called as soon as bytes wait, from within the write, and `on_resume` when
    the last one leaves, from within `take`.

    Args:
        past_transport: Whether `direct` passes bytes directly to the kernel, like a socket's `send`; else it passes
            them to the transport, like with TLS. Default: true.
    """

    def __init__(self, *, past_transport: bool = True) -> None:
        self.on_pause: Callable[[], None] = _ignore
        self.on_resume: Callable[[], None] = _ignore
        self.on_close: Callable[[], None] = _ignore
        self.received = bytearray()
        """The bytes that the client has: all that the kernel took."""
        self.writes = 0
        """Number of calls that wrote."""
        self.pings = 0
        self.peer_timeout_s: float | None = None
        """The argument of the last `set_peer_timeout`."""
        self.reading = True
        """Whether the hub reads the client's messages."""
        self.closed: tuple[int, str] | None = None
        """The code and the reason with which the hub closed."""
        self._past_transport = past_transport
        self._waiting = bytearray()
        self._free = _UNLIMITED_BYTES
        """Free bytes in the kernel's buffer."""

    # Called by the hub.

    def write(self, frames: bytes | memoryview, /) -> None:
        """See `Outlet.write`."""
        self.writes += 1
        self._write(frames)

    def direct(self) -> Callable[[bytes], int]:
        """See `Outlet.direct`."""
        return self._send if self._past_transport else self._write_bounded

    def _write_bounded(self, frames: bytes, /) -> int:
        """Behave like a transport without a direct way to the kernel."""
        if len(frames) > _MAX_WAITING_BYTES:
            raise BlockingIOError
        self.write(frames)
        return len(frames)

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
        self.peer_timeout_s = within_s

    def close(self, code: int, reason: str) -> None:
        """See `Outlet.close`."""
        if self.closed is None:
            self.closed = (code, reason)
            self.on_close()

    def abort(self) -> None:
        """See `Outlet.abort`."""
        self._waiting.clear()
        self.close(1006, "")

    # Called by the test.

    def stall(self, free: int = 0) -> None:
        """Stop reading: the kernel takes only `free` more bytes."""
        self._free = free

    def take(self, size: int = _UNLIMITED_BYTES) -> None:
        """Read `size` bytes more than the kernel has taken. Default: read everything from now on."""
        self._free = _UNLIMITED_BYTES if size >= _UNLIMITED_BYTES else self._free + size
        waiting = self._waiting
        if waiting:
            taken = self._take_kernel(bytes(waiting))
            del waiting[:taken]
            if not waiting:
                self.on_resume()

    def _send(self, frames: bytes, /) -> int:
        """Behave like the `send` of a non-blocking socket."""
        if self._waiting:
            raise RuntimeError("direct bytes would overtake the bytes that wait in the transport")
        if self.closed is not None:
            raise BrokenPipeError
        self.writes += 1
        taken = self._take_kernel(frames)
        if not taken and frames:
            self.writes -= 1  # the caller writes them instead
            raise BlockingIOError
        if taken < len(frames):
            self.writes -= 1
        return taken

    def _write(self, frames: bytes | memoryview) -> None:
        if self.closed is not None:
            return
        waited = bool(self._waiting)
        taken = 0 if waited else self._take_kernel(frames)
        if taken < len(frames):
            self._waiting += frames[taken:]
            if not waited:
                self.on_pause()

    def _take_kernel(self, frames: bytes | memoryview) -> int:
        taken = min(len(frames), self._free)
        self.received += frames[:taken]
        self._free -= taken
        return taken
