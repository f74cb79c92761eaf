"""Stdout and stderr of a hub, written by threads: a pipe that is not read holds up no hub, nor a stopped terminal."""

import atexit
import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TextIO

import structlog

MAX_WAITING_BYTES: Final = 1 << 20
"""Text that waits for a stream, in bytes; beyond it, lines are dropped. A pipe itself holds 64 KiB on Linux."""
_WAIT_S: Final = 0.5
"""Time that the hub waits for text of one stream to be written: at its end, and to keep the order of both."""

log = structlog.get_logger("tidings.serve")


class BackgroundOutput(io.TextIOBase):
    """A text stream whose `write` never waits and never fails; a thread writes to the descriptor.

    Args:
        stream: The stream to replace. Nothing else may write to it from now on.
        dropped: Called by the thread, once text can be written again, with the number of writes that were dropped.
    """

    def __init__(self, stream: TextIO, dropped: Callable[[int], None]) -> None:
        stream.flush()
        self._file = stream.fileno()
        self._encoding, self._errors = stream.encoding, stream.errors or "backslashreplace"
        self._on_terminal = stream.isatty()
        self._report = dropped
        self._changed = threading.Condition()  # reentrant: a finalizer that logs may run in the middle of a write
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        """Size of the text that is not written yet, including what the thread has taken."""
        self._dropped = 0
        threading.Thread(target=self._run, name="tidings-output", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return self._encoding

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._file

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._on_terminal

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Queue `text`; drop it if too much is waiting."""
        data = text.encode(self._encoding, self._errors)
        with self._changed:
            if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
                self._dropped += 1
            else:
                self._waiting.append(data)
                self._waiting_bytes += len(data)
                self._changed.notify_all()
        return len(text)

    def wait_written(self) -> None:
        """Wait until everything is written, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting_bytes, _WAIT_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = b"".join(self._waiting)
                self._waiting.clear()
            self._write(data)
            with self._changed:
                self._waiting_bytes -= len(data)
                dropped, self._dropped = self._dropped, 0
                self._changed.notify_all()
            if dropped:
                self._report(dropped)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:  # a hub outlives its terminal, and the reader of its lines
            return


def write_in_background() -> None:
    """Replace `sys.stdout` and `sys.stderr`, until the process ends, by streams that never wait.

    A stream without a descriptor stays as it is: a test or a program reads it in this process.
    """
    for name in ("stdout", "stderr"):
        try:
            stream = BackgroundOutput(getattr(sys, name), partial(_report_dropped, name))
        except (AttributeError, OSError, RuntimeError, ValueError):  # None, closed or in memory; too many threads
            continue
        setattr(sys, name, stream)
        atexit.register(stream.wait_written)


def wait_written() -> None:
    """Wait for the text of both streams to be written, but not for long: the next one then comes after it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, BackgroundOutput):
            stream.wait_written()


def _report_dropped(stream: str, writes: int) -> None:
    log.warning(f"lines were dropped, because {stream} was not read", lines=writes)
