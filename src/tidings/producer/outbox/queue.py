"""What a job has said and the hub has not been told yet: in order, conflated, and bounded."""

from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum

import msgspec
from msgspec import Struct

from tidings.client.pending import Draft
from tidings.contract.event_types import EventType
from tidings.protocol.message_types import EventClass, MessageType


class Rank(IntEnum):
    """What an event is worth when there is no room for all; the lowest goes first."""

    LATEST = 0
    """Superseded by the next one anyway."""
    LOG = 1
    """One of many: of these the hub keeps only the newest, too."""
    DURABLE = 2
    LIFECYCLE = 3
    """A start or an end: without it, an operation never begins or ends on anyone's screen. Never shed."""


def rank_of(row: EventType | None) -> Rank:
    """Return the rank of an event whose catalogue row is `row`; an unknown type is durable, the hub judges it."""
    if row is None:
        return Rank.DURABLE
    if row.event_class is EventClass.LATEST:
        return Rank.LATEST
    if row.ends_key or row.type == MessageType.OPERATION_START:
        return Rank.LIFECYCLE
    return Rank.LOG if row.keep_newest is not None else Rank.DURABLE


class QueuedEvent(Struct, frozen=True, gc=False):
    """One event that waits."""

    number: int
    """Its place in the job's own order."""
    draft: Draft
    rank: Rank
    slot: tuple[str, str | None] | None
    """(type, key) of a `latest` event: a newer one of the same takes its place."""
    key: str | None = None
    ends: bool = False
    """Whether it is the end of what its key names."""
    at_ns: int = 0
    """When it was put, where its draft does not say: nanoseconds since 1970."""


class OutboxLimits(Struct, frozen=True, kw_only=True):
    """How much an outbox holds. Policy: shed the lowest rank's oldest; what outranks nothing is refused."""

    events: int = 10_000
    """A night's log lines of a chatty job, while its hub is away."""
    bytes: int = 16 << 20


class OutboxQueue:
    """A queue that conflates and sheds; not thread-safe, its owner serialises calls.

    Args:
        limits: How much it holds.
    """

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._entries: dict[int, QueuedEvent] = {}
        self._slots: dict[tuple[str, str | None], int] = {}
        self._by_rank: dict[Rank, deque[int]] = {rank: deque() for rank in Rank if rank is not Rank.LIFECYCLE}
        self._bytes = 0
        self._next = 0
        self._first = 0
        self.conflated = 0
        """`latest` events that a newer one replaced before they were sent."""
        self.shed = 0
        """Events that were dropped, or not taken, for want of room."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of data that wait."""
        return self._bytes

    def __iter__(self) -> Iterator[QueuedEvent]:
        return iter(self._entries.values())

    def put(self, draft: Draft, rank: Rank, key: str | None, *, ends: bool = False, at_ns: int = 0) -> bool:
        """Add an event at the end; return False where there is no room for it, nor anything worth less."""
        slot = (draft.type, key) if rank is Rank.LATEST else None
        if slot is not None and (before := self._slots.get(slot)) is not None:
            self._remove(before)
            self.conflated += 1
        if not self._make_room(len(draft.data), rank):
            self.shed += 1
            return False
        self._next += 1
        self._add(QueuedEvent(self._next, draft, rank, slot, key, ends, at_ns))
        return True

    def put_first(self, draft: Draft, rank: Rank, key: str | None) -> None:
        """Add an event before all others."""
        self._first -= 1
        self.put_back([QueuedEvent(self._first, draft, rank, None, key)])

    def head(self) -> QueuedEvent | None:
        """Return the oldest event, or None."""
        return next(iter(self._entries.values()), None)

    def stamp_head(self, draft: Draft) -> QueuedEvent:
        """Give the oldest event, of which there must be one, a draft with time and id; return it so."""
        entry = next(iter(self._entries.values()))
        stamped = self._entries[entry.number] = msgspec.structs.replace(entry, draft=draft)
        return stamped

    def pop(self) -> QueuedEvent:
        """Take the oldest event, of which there must be one."""
        entry = self._entries[next(iter(self._entries))]
        self._remove(entry.number)
        return entry

    def drop(self, goes: Callable[[QueuedEvent], bool]) -> list[QueuedEvent]:
        """Take the events out for which `goes` is true, and return them."""
        dropped = [entry for entry in self._entries.values() if goes(entry)]
        for entry in dropped:
            self._remove(entry.number)
        return dropped

    def put_back(self, entries: list[QueuedEvent]) -> None:
        """Put events that were taken and not stored back to their places, unless newer ones supersede them."""
        later = list(self._entries.values())
        newest = {entry.slot: entry.number for entry in entries}
        kept = [
            entry
            for entry in entries
            if entry.slot is None or (entry.slot not in self._slots and newest[entry.slot] == entry.number)
        ]
        self.conflated += len(entries) - len(kept)
        self._entries.clear()
        self._slots.clear()
        for numbers in self._by_rank.values():
            numbers.clear()
        self._bytes = 0
        for entry in sorted([*kept, *later], key=lambda entry: entry.number):
            self._add(entry)
        while self._is_over(0, 0) and self._shed_below(Rank.LIFECYCLE):
            pass

    def _add(self, entry: QueuedEvent) -> None:
        self._entries[entry.number] = entry
        self._bytes += len(entry.draft.data)
        if entry.slot is not None:
            self._slots[entry.slot] = entry.number
        if entry.rank is not Rank.LIFECYCLE:
            self._by_rank[entry.rank].append(entry.number)
            self._forget_removed(entry.rank)

    def _remove(self, number: int) -> None:
        entry = self._entries.pop(number)
        self._bytes -= len(entry.draft.data)
        if entry.slot is not None:
            del self._slots[entry.slot]

    def _forget_removed(self, rank: Rank) -> None:
        # Numbers of events that are gone stay in the middle of these queues; they must not outgrow what there is.
        numbers = self._by_rank[rank]
        if len(numbers) > 2 * len(self._entries) + 64:
            self._by_rank[rank] = deque(number for number in numbers if number in self._entries)

    def _is_over(self, events: int, size: int) -> bool:
        return len(self._entries) + events > self._limits.events or self._bytes + size > self._limits.bytes

    def _make_room(self, size: int, rank: Rank) -> bool:
        # The newest of a kind is worth more than its oldest, so a rank sheds its own, too; but an event that is not
        # one of many is not dropped for another of its worth.
        if size > self._limits.bytes:
            return False
        below = Rank(rank + 1) if rank <= Rank.LOG else rank
        while self._is_over(1, size):
            if not self._shed_below(below):
                return False
        return True

    def _shed_below(self, rank: Rank) -> bool:
        for number in self._sheddable(rank):
            self._remove(number)
            self.shed += 1
            return True
        return False

    def _sheddable(self, rank: Rank) -> Iterator[int]:
        for lower, numbers in self._by_rank.items():
            if lower >= rank:
                return
            while numbers:
                number = numbers.popleft()
                if number in self._entries:
                    yield number
