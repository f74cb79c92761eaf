"""Standard streams for every environment: closed descriptors, narrow encodings, full disks, readers that exit."""

import errno
import io
import os
import sys
from typing import Any


class OutputFailed(Exception):
    """Standard output cannot be written; not an OSError, so that no handler takes it for a network error."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror or str(cause))
        self.reader_gone = cause.errno == errno.EPIPE
        """Whether the reader of a pipe has exited, as `| head` does."""


class _Output(io.FileIO):
    """Descriptor 1. After the first failure it discards what is written, so that the exit repeats no error."""

    failed = False

    def write(self, data: Any) -> int:
        """Write bytes, and return how many were written.

        Raises:
            OutputFailed: They cannot be written.
        """
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.failed = True
            raise OutputFailed(error) from error


class _Errors(io.FileIO):
    """Descriptor 2. It discards text that a closed terminal or a full disk rejects: Python would exit with 120."""

    def write(self, data: Any) -> int:
        """Write bytes, and return how many were written or discarded."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Make the standard streams of this process usable.

    A closed descriptor becomes the null device: otherwise a socket or a file would get its number, and output would go
    there. Characters that the encoding of stdout lacks are replaced.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest free number is this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Errors(2, "w", closefd=False)),
            encoding=None if sys.stderr is None else sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        given = sys.stdout
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(1, "w", closefd=False)),
            encoding=None if given is None else given.encoding,
            errors="replace",
            line_buffering=given is not None and given.line_buffering,
            write_through=given is not None and given.write_through,
        )
