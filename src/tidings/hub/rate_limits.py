"""Limits of what costs the hub time and brings it nothing, and of the log lines about it."""

from typing import Final

MAX_OVERHEAD: Final = 2_000
"""Refused messages, control frames and small fragments that one connection may send at a time: twice its window of
events, each of which may be refused for the same cause."""

OVERHEAD_PER_S: Final = 200.0
"""How many more it may send each second: 1 % of the hub's time."""

MAX_LINES_PER_S: Final = 20
"""Log lines about refusals that are written in a second; the others are counted."""


class OverheadLimit:
    """The allowance of one connection: a bucket of tokens that fills with time.

    Args:
        now: The monotonic clock, in seconds.
    """

    __slots__ = ("_left", "_updated")

    def __init__(self, now: float) -> None:
        self._left = float(MAX_OVERHEAD)
        self._updated = now

    def allows(self, count: int, now: float) -> bool:
        """Take `count` tokens; return False if there are not enough."""
        self._left = min(float(MAX_OVERHEAD), self._left + (now - self._updated) * OVERHEAD_PER_S)
        self._updated = now
        if count > self._left:
            return False
        self._left -= count
        return True


class LogSampler:
    """Lets some lines of a second into the log, and counts the others."""

    def __init__(self) -> None:
        self._second = -1.0
        self._lines = 0
        self._suppressed = 0

    def allows(self, now: float) -> bool:
        """Return whether a line may be written at `now`, the monotonic clock in seconds."""
        if now - self._second >= 1.0:
            self._second = now
            self._lines = 0
        self._lines += 1
        if self._lines > MAX_LINES_PER_S:
            self._suppressed += 1
            return False
        return True

    def take_suppressed(self) -> int:
        """Return the number of lines that were not written since the last call."""
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
