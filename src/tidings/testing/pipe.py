"""One direction of a connection in memory: in order, with what faults do to it."""

from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct

from tidings.testing.faults import Faults, Side
from tidings.testing.loop import ManualLoop


class _Typed(Struct):
    type: str = ""


_read_type = msgspec.json.Decoder(_Typed).decode


class MemoryPipe:
    """One direction of a connection.

    Args:
        loop: What delays are reckoned on.
        faults: What goes wrong.
        link: The name of the client's link.
        toward: Which way this is.
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
        self._ready_at = 0.0
        self._due: float | None = None
        self._closed = False
        self.bytes = 0
        """Bytes on their way."""

    def put(self, body: bytes | None) -> None:
        """Send a message, or the end of the stream."""
        if self._closed:
            return
        cut_after, copies = False, 1
        if body is not None and self._faults:
            passage = self._faults.passage(self._link, self._toward, _read_type(body).type)
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
        """Deliver what has arrived by now."""
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
        """Lose what is on its way."""
        self._closed = True
        self._waiting.clear()
        self.bytes = 0
