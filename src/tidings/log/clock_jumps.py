"""Jumps of the hub's wall clock: an event's age counts the time that passed, not the time that the clock skipped.

The receipt of every event is stored by the wall clock. When that clock jumps (it was wrong at the start and is set
right, or the other way round), each event before the jump counts as received so much later or earlier. So a jump makes
nothing old, and entries from a clock that was ahead age like all others.

A jump over a restart of the machine includes the time while it was off, and nothing shows how much that is. None of it
counts for ages; times that are shown are moved only by what cannot be such time.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator

MIN_JUMP_NS = 60_000_000_000
"""Smallest difference between two clocks that is recorded as a jump. A smaller one changes no age that matters."""
MAX_JUMPS = 64
"""Number of jumps that are remembered. Beyond it, the oldest is forgotten."""


class ClockJumps:
    """The jumps during the life of a log.

    Args:
        jumps: The offset of the newest event before each jump, and its size in nanoseconds, in order.
        restarts: Offsets of the jumps over a restart of the machine.
    """

    def __init__(self, jumps: Iterable[tuple[int, int]] = (), restarts: Collection[int] = ()) -> None:
        self._offsets: list[int] = []
        self._jumps: list[int] = []
        self._restarts: set[int] = set()
        self._sums: list[int] = []
        """The sum of each jump and all later ones."""
        self._shown: list[int] = []
        """The same without the time in which the machine may have been off."""
        for offset, jump_ns in jumps:
            self.add(offset, jump_ns, is_restart=offset in restarts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the offset and the size of each jump."""
        return iter(zip(self._offsets, self._jumps, strict=True))

    @property
    def restarts(self) -> Iterable[int]:
        """Offsets of the jumps over a restart of the machine."""
        return sorted(self._restarts)

    def add(self, offset: int, jump_ns: int, *, is_restart: bool = False) -> None:
        """Record a jump after the event at `offset`, which is not before the last jump.

        Args:
            offset: The offset.
            jump_ns: Size of the jump, in nanoseconds.
            is_restart: Whether the machine was started again in between.
        """
        if is_restart:
            self._restarts.add(offset)
        if self._offsets and self._offsets[-1] == offset:
            self._jumps[-1] += jump_ns
        else:
            self._offsets.append(offset)
            self._jumps.append(jump_ns)
        del self._offsets[:-MAX_JUMPS], self._jumps[:-MAX_JUMPS]
        self._restarts.intersection_update(self._offsets)
        self._sums = [sum(self._jumps[number:]) for number in range(len(self._jumps))]
        self._shown = []
        shown_ns = 0
        for offset, jump_ns in zip(reversed(self._offsets), reversed(self._jumps), strict=True):
            shown_ns += jump_ns
            if offset in self._restarts:
                shown_ns = min(0, shown_ns)  # a clock that is ahead of its last time has probably run on
            self._shown.insert(0, shown_ns)

    def adjust(self, offset: int, received_ns: int) -> int:
        """Return when the event at `offset` was received, by the present clock, in nanoseconds since 1970."""
        if not self._offsets or offset > self._offsets[-1]:
            return received_ns
        return received_ns + self._sums[bisect_left(self._offsets, offset)]

    def show(self, offset: int, at_ns: int) -> int:
        """Return a time at the event at `offset` by the present clock, for people, in nanoseconds since 1970."""
        if not self._offsets or offset > self._offsets[-1]:
            return at_ns
        return at_ns + self._shown[bisect_left(self._offsets, offset)]
