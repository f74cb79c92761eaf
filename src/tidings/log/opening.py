"""The progress of opening a log, which may take a while, in a thread of its own."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tidings.exceptions import LogUnavailable

_T = TypeVar("_T")


class OpeningProgress:
    """How many rows the opening of a log has read, and whether it should go on.

    The thread that opens the log writes the figures; another one may read them and call `stop`.
    """

    def __init__(self) -> None:
        self.rows_read = 0
        """Number of rows read so far."""
        self.rows = 0
        """Number of rows to read, as far as they have been counted: an estimate, never less than `rows_read`."""
        self.stopped = False
        """Whether the opening should end."""

    def stop(self) -> None:
        """Let the opening fail at its next row, or within a few milliseconds of a statement that returns none."""
        self.stopped = True

    def is_stopped(self) -> int:
        """Return 1 if the opening should end, else 0: a progress handler of SQLite."""
        return int(self.stopped)

    def count(self, rows: Iterable[_T], expected: int) -> Iterator[_T]:
        """Yield `rows` and count them.

        Args:
            rows: Rows that the opening reads.
            expected: Their number, as far as it is known; corrected at their end.

        Raises:
            LogUnavailable: `stop` was called.
        """
        before, planned = self.rows_read, self.rows
        self.rows += expected
        for row in rows:
            if self.stopped:
                raise LogUnavailable("the opening of the log was stopped")
            yield row
            self.rows_read += 1
            if self.rows_read > self.rows:
                self.rows = self.rows_read
        self.rows = planned + self.rows_read - before
