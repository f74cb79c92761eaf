"""The lines of a watch about the time before it: the newest ones, and how many were left out."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

Line = TypeVar("Line")


class History(Generic[Line]):
    """Lines of the past, which wait until all of them were read.

    Args:
        limit: Maximum number of lines, the newest; None keeps all.
    """

    def __init__(self, limit: int | None) -> None:
        self._lines: deque[Line] = deque(maxlen=limit)
        self._count = 0
        self._open = limit is not None

    def add(self, lines: Iterable[Line]) -> list[Line]:
        """Return those lines that may be printed now: all of them after `close`, and none before."""
        if not self._open:
            return list(lines)
        for line in lines:
            self._lines.append(line)
            self._count += 1
        return []

    def close(self) -> tuple[int, list[Line]]:
        """Return the number of lines left out, and the lines kept; nothing the second time."""
        kept, left_out = list(self._lines), self._count - len(self._lines)
        self._lines.clear()
        self._count = 0
        self._open = False
        return left_out, kept


def describe_left_out(count: int) -> str:
    """Return the line that stands for the lines left out."""
    return f"… {count:,} earlier line{'s are' if count > 1 else ' is'} left out; --since 1h shows the last hour"
