"""Reading the log backwards from an offset, in windows, because a log reads forward only (`tidings.log.base`)."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from tidings.log.base import Record

_MAX_WINDOW = 32_000
"""Each further window is twice as long where few events match, up to this number of offsets."""

T = TypeVar("T")

Read = Callable[[int, int], Awaitable[tuple[Sequence[Record], int]]]
"""Reads a page forward: takes the offset to read after and the last offset, returns events and the offset reached."""


class EarlierPart(Struct, Generic[T], frozen=True, kw_only=True):
    """The newest of the events that a reading chose."""

    found: list[T]
    """In log order."""
    reached: int
    """Offset behind which everything was searched; the first offset if nothing is left to search."""


class BackwardsReading(Struct, frozen=True, kw_only=True):
    """The range and the bounds of one reading.

    A reading ends when it has `limit` events, or `max_bytes` of data, or `is_late` after a window, or all of the range.
    """

    read: Read
    first: int
    """Read events with a greater offset."""
    last: int
    """Read events up to and including this offset."""
    limit: int
    max_bytes: int
    """Size of the data of all events that are found; one that crosses it is left out, unless it is the only one."""
    window: int
    """Offsets that are read first."""
    is_late: Callable[[], bool]

    async def newest(self, choose: Callable[[Record], T | None]) -> EarlierPart[T]:
        """Return what `choose` makes of the newest events of the range; it skips those for which it returns None."""
        found: deque[tuple[int, T]] = deque()
        until, window, size = self.last, self.window, 0
        while until > self.first:
            after = max(self.first, until - window)
            part, is_cut = await self._window(after, until, self.limit - len(found), self.max_bytes - size, choose)
            found.extendleft((offset, value) for offset, value, _ in reversed(part))
            size += sum(length for _, _, length in part)
            if is_cut or len(found) >= self.limit or size >= self.max_bytes:
                reached = found[0][0] - 1 if found else until
                return EarlierPart(found=[value for _, value in found], reached=max(self.first, reached))
            if len(part) * 4 < self.limit:
                window = min(2 * window, _MAX_WINDOW)
            until = after
            if self.is_late():
                break
        return EarlierPart(found=[value for _, value in found], reached=max(self.first, until))

    async def _window(
        self, after: int, until: int, limit: int, max_bytes: int, choose: Callable[[Record], T | None]
    ) -> tuple[Sequence[tuple[int, T, int]], bool]:
        """Return offset, value and size of the newest events of a window, and whether it has more of them."""
        kept: deque[tuple[int, T, int]] = deque()
        size, is_cut = 0, False
        while after < until:
            records, after = await self.read(after, until)
            for record in records:
                value = choose(record)
                if value is None:
                    continue
                kept.append((record.offset, value, len(record.event.data)))
                size += len(record.event.data)
                while len(kept) > limit or (size > max_bytes and len(kept) > 1):
                    size -= kept.popleft()[2]
                    is_cut = True
        return kept, is_cut
