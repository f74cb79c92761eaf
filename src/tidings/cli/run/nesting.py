"""Runs inside of a run: a file that both have open, whose lock and content mark their output and their end.

A run that reports holds a shared lock on the file of the run around it, which the kernel releases in any case. So the
outer run can attribute output to the inner one, and learns of a stop signal that only the inner one received, because
it had the terminal in raw mode.
"""

import contextlib
import os
import sys
import tempfile
from types import TracebackType

if sys.platform != "win32":
    import fcntl

RUN_VARIABLE = "TIDINGS_RUN"
"""Environment variable with the path of the file of the run around a command."""
_MAX_RECORD_BYTES = 64


class OuterRun:
    """The run around this one, if there is one.

    Args:
        path: Path of its file; None if there is none.
        reports: Whether this run reports its progress itself.
    """

    def __init__(self, path: str | None, *, reports: bool) -> None:
        self._file: int | None = None
        if not path or sys.platform == "win32":
            return
        # The outer run may have ended, or belong to another user or machine.
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_APPEND)
            if reports:
                os.write(self._file, b"\n")
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def record_stop(self, number: int, at: float) -> None:
        """Record that a stop signal ended this run, at a time of the monotonic clock in seconds."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, f"{number} {at}\n".encode())


class NestedRuns:
    """The runs inside of this one; a context that names its file to the command by an environment variable."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._path = ""
        self._size = 0
        self._active = False

    def __enter__(self) -> "NestedRuns":
        os.environ.pop(RUN_VARIABLE, None)
        if sys.platform != "win32":
            # Without a folder for temporary files, a nested run is a command like any other.
            with contextlib.suppress(OSError):
                self._file, self._path = tempfile.mkstemp(prefix="tidings-run-")
                os.environ[RUN_VARIABLE] = self._path
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays open: a copier whose reader is stuck may still call `wrote`.
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def wrote(self) -> bool:
        """Return whether a nested run was active since the last call, which the output since then may be of."""
        if self._file is None or sys.platform == "win32":
            return False
        size, was_active = os.fstat(self._file).st_size, self._active
        grown, self._size = size != self._size, size
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._active = False
        except OSError:
            self._active = True
        return self._active or was_active or grown

    def last_stop(self) -> tuple[int, float] | None:
        """Return the last stop signal that ended a nested run, and its time; None if there is none."""
        if self._file is None:
            return None
        end = os.fstat(self._file).st_size
        os.lseek(self._file, max(0, end - _MAX_RECORD_BYTES), os.SEEK_SET)
        for line in reversed(os.read(self._file, _MAX_RECORD_BYTES).split(b"\n")[:-1]):
            number, _, at = line.partition(b" ")
            if number.isdigit() and at:
                return int(number), float(at)
        return None
