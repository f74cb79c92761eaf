"""Copies a child's output to ours, byte for byte, as it arrives."""

import errno
import os
import select
import sys
import threading
import time
from collections.abc import Callable

from tidings.cli.run.drain import CHUNK_BYTES, hand_over, read_some, write_all
from tidings.cli.run.reporter import write_remark

MAX_AFTER_END_S = 0.25
"""Longest wait after the child's end for the end of its output, which a process that it left behind may hold open.

The child's own output is in the pipe by then and is always copied.
"""
_WINDOWS_QUIET_S = 2.0
"""Silence after the child's end that counts as the end on Windows, where a pipe cannot be read with a timeout."""


class Wake:
    """A descriptor that another thread makes readable, for threads that wait in `select`."""

    def __init__(self) -> None:
        self.file, self._trigger = os.pipe()

    def set(self) -> None:
        """Make the descriptor readable."""
        os.write(self._trigger, b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable again; call it only while it is readable."""
        os.read(self.file, 4096)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.file)
        os.close(self._trigger)


class OutputCopier:
    """A thread that copies one descriptor to another and then passes each chunk to a reader.

    If the target is closed or fails, the thread closes the source, so that the command's next write fails as it would
    without us: `tidings run -- yes | head` ends by SIGPIPE. If other processes hold the source open after the child's
    end, a process of its own goes on copying what they write.

    Args:
        source: Descriptor of the child's output; closed at the end if `owned`.
        target: Descriptor of our output.
        reader: Called with each chunk after it is written.
        notify: Called when the copying has ended.
        owned: Whether the copier closes the source.
        kept: Descriptors that the process that goes on copying must hold.
    """

    def __init__(
        self,
        source: int,
        target: int,
        reader: Callable[[bytes], None],
        notify: Callable[[], None],
        *,
        owned: bool = True,
        kept: tuple[int, ...] = (),
    ) -> None:
        self._source = source
        self._target = target
        self._reader = reader
        self._owned = owned
        self._kept = kept
        self.handed_over = False
        """Whether another process goes on copying."""
        self._notify = notify
        self._done = False
        self._ended_at: float | None = None
        self._moved_at = 0.0
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name=f"tidings-copier-{target}", daemon=True)

    def start(self) -> None:
        """Start copying."""
        self._thread.start()

    def child_ended(self) -> None:
        """End the copying soon; if another process holds the source open, a process of its own goes on with it."""
        self._ended_at = time.monotonic()
        self._wake.set()

    @property
    def done(self) -> bool:
        """Whether the copying has ended, or `abandon` was called."""
        if sys.platform == "win32" and self._ended_at is not None:
            return self._done or time.monotonic() > max(self._ended_at, self._moved_at) + _WINDOWS_QUIET_S
        return self._done

    def close(self) -> None:
        """Release the descriptors; an abandoned copier keeps them until the process exits."""
        if not self._thread.is_alive():
            self._wake.close()

    def abandon(self) -> None:
        """Count as done although the reader of our output has not read everything yet."""
        self._done = True

    def _run(self) -> None:
        try:
            if not self._copy():
                hand_over(self._source, self._target, self._kept)
                self.handed_over = True
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF):
                write_remark(f"cannot write the output: {error.strerror}")
        finally:
            if self._owned:
                os.close(self._source)
            self._done = True
            self._notify()

    def _copy(self) -> bool:
        """Copy until the end of the source; return False if the child has ended, and others hold the source open."""
        if sys.platform == "win32":
            while data := os.read(self._source, CHUNK_BYTES):
                self._pass(data)
            return True
        while (left := self._time_left()) is None or left > 0:
            ready, _, _ = select.select([self._source, self._wake.file], [], [], left)
            if self._wake.file in ready:
                self._wake.clear()
            if self._source in ready and not self._copy_chunk(CHUNK_BYTES):
                return True
        return self._copy_remainder()

    def _time_left(self) -> float | None:
        """Return the seconds until the copying ends; None while the child runs."""
        return None if self._ended_at is None else self._ended_at + MAX_AFTER_END_S - time.monotonic()

    def _copy_remainder(self) -> bool:
        """Copy what the source holds now, for the report; return whether it has ended."""
        # The capacity of a pipe, which exceeds that of a terminal.
        remaining = CHUNK_BYTES
        while remaining > 0 and select.select([self._source], [], [], 0)[0]:
            copied = self._copy_chunk(remaining)
            if not copied:
                return True
            remaining -= copied
        return False

    def _copy_chunk(self, size: int) -> int:
        data = read_some(self._source, size)
        if data:
            self._pass(data)
        return len(data)

    def _pass(self, data: bytes) -> None:
        self._reader(data)  # before others see it, so that what answers it, on another stream, is read after it
        write_all(self._target, data)
        self._moved_at = time.monotonic()


class CopiedOutput:
    """The output of a command, copied by threads: the part of `Child` that pipes and terminals share."""

    copiers: list[OutputCopier]

    def start_copying(self) -> None:
        """Start the copiers."""
        for copier in self.copiers:
            copier.start()

    def end_output(self) -> None:
        """End the copying soon, even if other processes hold the pipes or the terminal open."""
        for copier in self.copiers:
            copier.child_ended()

    @property
    def drained(self) -> bool:
        """Whether all output has been passed on."""
        return all(copier.done for copier in self.copiers)

    def abandon_output(self) -> None:
        """Count the output as passed on although the reader of ours has not accepted it."""
        for copier in self.copiers:
            copier.abandon()

    def close(self) -> None:
        """Release the descriptors."""
        for copier in self.copiers:
            copier.close()
