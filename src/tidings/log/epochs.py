"""Epochs of a log: where each one begins, and which older positions still resume (PROTOCOL.md, "Positions")."""

from bisect import bisect_right

from msgspec import Struct

from tidings.protocol.positions import Position


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
        for index, epoch in enumerate(self._epochs):
            if epoch.name == position.epoch:
                following = self._epochs[index + 1 :]
                if following and position.offset > following[0].start:
                    return None
                return position.offset
        return None
