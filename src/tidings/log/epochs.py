"""Epochs of a log: where each one begins, and which older positions still resume (PROTOCOL.md, "Positions").

Every opening begins one. A folder that was copied and put back, or opened in two places, then assigns no position
twice: what each opening appends has a name of its own, and a position of another copy's epoch resumes only up to where
the copies part.
"""

from bisect import bisect_right

from msgspec import Struct

from tidings.protocol.positions import Position

MAX_EPOCHS = 4_096
"""Number of epochs that a log remembers, which is also the number of restarts after which a position may be a gap."""


class Epoch(Struct, frozen=True):
    """One epoch of a log."""

    name: str
    """8 lower-case hex digits."""
    start: int
    """The head when the epoch began: its own offsets are greater."""


class Epochs:
    """All epochs of a log, oldest first; there is at least one."""

    def __init__(self, epochs: list[Epoch]) -> None:
        self._epochs = epochs
        self._starts = [epoch.start for epoch in epochs]
        self._numbers = {epoch.name: number for number, epoch in enumerate(epochs)}

    @property
    def current(self) -> Epoch:
        """The epoch in which events are appended now."""
        return self._epochs[-1]

    def position(self, offset: int) -> Position:
        """Return the position of `offset`, in the epoch that wrote it."""
        # The event at an epoch's start offset was written by the epoch before; offset 0 belongs to the first epoch.
        index = bisect_right(self._starts, offset - 1) - 1
        return Position(self._epochs[max(index, 0)].name, offset)

    def resolve(self, position: Position) -> int | None:
        """Return the offset to resume at, or None if the reader saw events that the log does not hold."""
        number = self._numbers.get(position.epoch)
        if number is None:
            return None
        is_past = number + 1 < len(self._starts)
        return None if is_past and position.offset > self._starts[number + 1] else position.offset
