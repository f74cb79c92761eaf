"""Copying of a child's output to ours, byte for byte and as it comes."""

import errno
import os
import select
import sys
import threading
import time
from collections.abc import Callable

from tidings.cli.run.reporter import write_remark

_CHUNK = 64 * 1024
# After the child's end others may hold its output open (a daemon it left behind). Silence of this length ends the
# copying, and so does the limit; what the child itself wrote is in the pipe by then and is always copied.
QUIET_S = 0.25
LIMIT_S = 2.0


class Wake:
    """A descriptor that becomes readable when told to, for threads that wait in `select`."""

    def __init__(self) -> None:
        self.file, self._trigger = os.pipe()

    def set(self) -> None:
        """Make the descriptor readable."""
        os.write(self._trigger, b"\0")

    def clear(self) -> None:
        """Make it wait again; call it only when the descriptor is readable."""
        os.read(self.file, 4096)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.file)
        os.close(self._trigger)


class OutputCopier:
    """A thread that copies one descriptor to another and shows each chunk to a reader afterwards.

    Where the target is closed or fails, the source is closed, so that the command's next write fails as its own
    would have: `tidings run -- yes | head` ends by SIGPIPE.

    Args:
        source: Descriptor of the child's output; closed at the end if `owned`.
        target: Descriptor of our output.
        reader: Called with each chunk after it was written.
        notify: Called when all is copied.
        owned: Whether the source is this relay's to close.
    """

    def __init__(
        self,
        source: int,
        target: int,
        reader: Callable[[bytes], None],
        notify: Callable[[], None],
        *,
        owned: bool = True,
    ) -> None:
        self._source = source
        self._target = target
        self._reader = reader
        self._owned = owned
        self._notify = notify
        self._done = False
        self._ended_at: float | None = None
        self._moved_at = 0.0
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name=f"tidings-relay-{target}", daemon=True)

    def start(self) -> None:
        """Begin copying."""
        self._thread.start()

    def child_ended(self) -> None:
        """Have the copying end soon even if somebody holds the source open."""
        self._ended_at = time.monotonic()
        self._wake.set()

    @property
    def done(self) -> bool:
        """Whether all is copied, or `abandon` was called."""
        if sys.platform == "win32" and self._ended_at is not None:
            # A pipe cannot be read there with a time limit: once nothing has moved for so long, nobody writes any more.
            return self._done or time.monotonic() > max(self._ended_at, self._moved_at) + LIMIT_S
        return self._done

    def close(self) -> None:
        """Give back what the relay holds; one that was abandoned keeps it until the process ends."""
        if not self._thread.is_alive():
            self._wake.close()

    def abandon(self) -> None:
        """Count as done though our reader has not taken everything yet."""
        self._done = True

    def _run(self) -> None:
        try:
            self._copy()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF):
                write_remark(f"the output cannot be written: {error.strerror}")
        finally:
            if self._owned:
                os.close(self._source)
            self._done = True
            self._notify()

    def _copy(self) -> None:
        if sys.platform == "win32":
            while data := os.read(self._source, _CHUNK):
                self._pass(data)
            return
        while True:
            timeout = None if self._ended_at is None else QUIET_S
            ready, _, _ = select.select([self._source, self._wake.file], [], [], timeout)
            if self._wake.file in ready:
                self._wake.clear()
            if self._source in ready:
                data = self._read(_CHUNK)
                if not data:
                    return
                self._pass(data)
            elif not ready:
                return
            if self._ended_at is not None and time.monotonic() > self._ended_at + LIMIT_S:
                self._copy_remainder()
                return

    def _copy_remainder(self) -> None:
        """Copy what the source holds now; what others add to it later is not the child's."""
        # 64 KiB is the capacity of a pipe, and more than that of a terminal.
        remaining = _CHUNK
        while remaining > 0:
            ready, _, _ = select.select([self._source], [], [], 0)
            data = self._read(remaining) if ready else b""
            if not data:
                return
            remaining -= len(data)
            self._pass(data)

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._source, size)
        except OSError as error:
            # Linux tells the end of a terminal whose last user is gone by EIO.
            if error.errno == errno.EIO:
                return b""
            if error.errno == errno.EAGAIN:
                return self._read(size) if select.select([self._source], [], [])[0] else b""
            raise

    def _pass(self, data: bytes) -> None:
        write_all(self._target, data)
        self._moved_at = time.monotonic()
        self._reader(data)


def write_all(file: int, data: bytes) -> None:
    """Write all bytes to a descriptor, also one that somebody who shares it has made non-blocking.

    Raises:
        OSError: The descriptor is closed or its device fails.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:
            select.select([], [file], [])
