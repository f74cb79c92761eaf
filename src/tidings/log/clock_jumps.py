"""Jumps of the hub's wall clock: an event's age counts the time that passed, not the time that the clock skipped.

The receipt of every event is stored by the wall clock. When that clock jumps (it was wrong at the start and is set
right, or the other way round), each event before the jump counts as received so much later or earlier. So a jump makes
nothing old, and entries from a clock that was ahead age like all others.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

MIN_JUMP_NS = 60_000_000_000
"""Smallest difference between two clocks that is recorded as a jump. A smaller one changes no age that matters."""
MAX_JUMPS = 64
"""Number of jumps that are remembered. Beyond it, the oldest is forgotten."""


class ClockJumps:
    """The jumps during the life of a log.

    Args:
        jumps: The offset of the newest event before each jump, and its size in nanoseconds, in order.
    """

    def __init__(self, jumps: Iterable[tuple[int, int]] = ()) -> None:
        self._offsets: list[int] = []
        self._jumps: list[int] = []
        self._sums: list[int] = []
        """The sum of each jump and all later ones."""
        for offset, jump_ns in jumps:
            self.add(offset, jump_ns)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the offset and the size of each jump."""
        return iter(zip(self._offsets, self._jumps, strict=True))

    def add(self, offset: int, jump_ns: int) -> None:
        """Record a jump after the event at `offset`, which is not before the last jump."""
        if self._offsets and self._offsets[-1] == offset:
            self._jumps[-1] += jump_ns
        else:
            self._offsets.append(offset)
            self._jumps.append(jump_ns)
        del self._offsets[:-MAX_JUMPS], self._jumps[:-MAX_JUMPS]
        self._sums = [sum(self._jumps[number:]) for number in range(len(self._jumps))]

    def adjust(self, offset: int, received_ns: int) -> int:
        """Return when the event at `offset` was received, by the present clock, in nanoseconds since 1970."""
        if not self._offsets or offset > self._offsets[-1]:
            return received_ns
        return received_ns + self._sums[bisect_left(self._offsets, offset)]
