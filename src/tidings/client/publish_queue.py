"""Queue of events on their way to the hub: ordered, bounded and conflated; a state machine without I/O.

An event waits, is in flight after `take`, and leaves with the hub's answer (`accept`, `refuse`). After a lost
connection it waits again at its old place; after a refusal that may pass (`give_back`) it does so when `resume` is
called.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from itertools import islice

import msgspec
from msgspec import Struct

from tidings.client.drafts import Draft, stamp
from tidings.contract.event_types import EventType
from tidings.protocol.message_types import EventClass, MessageType
from tidings.protocol.messages import Accepted


class Rank(IntEnum):
    """Value of an event when there is no room for all; the lowest rank is shed first."""

    LATEST = 0
    """Superseded by the next event of its type and key anyway."""
    LOG = 1
    """One of many; the hub, too, keeps only the newest of these."""
    DURABLE = 2
    """Neither superseded nor one of many."""
    LIFECYCLE = 3
    """A start or an end: without it, an operation never begins or ends on any screen. Never shed."""


def rank_of(row: EventType | None) -> Rank:
    """Return the rank of an event whose catalogue row is `row`; an unknown type is durable, since the hub judges it."""
    if row is None:
        return Rank.DURABLE
    if row.event_class is EventClass.LATEST:
        return Rank.LATEST
    if row.ends_key or row.type == MessageType.OPERATION_START:
        return Rank.LIFECYCLE
    return Rank.LOG if row.keep_newest is not None else Rank.DURABLE


class QueuedEvent(Struct, frozen=True, gc=False):
    """One event of a `PublishQueue`."""

    number: int
    """Place in the order of `put`."""
    draft: Draft
    rank: Rank
    slot: tuple[str, str | None] | None
    """(type, key) of a `latest` event: a newer event of the same slot replaces it."""
    key: str | None = None
    ends: bool = False
    """Whether the event ends what its key names."""
    at_ns: int = 0
    """When it was put, in nanoseconds since 1970, where the draft has no timestamp yet."""

    @property
    def id(self) -> str:
        """The id of its command: an answer names it in `reply_to`."""
        return str(self.number)


class QueueLimits(Struct, frozen=True, kw_only=True):
    """Bound on the events that wait. Policy: shed the oldest of the lowest rank; refuse an event that outranks none."""

    events: int = 10_000
    """A night's log lines of a chatty job while its hub is away."""
    bytes: int = 16 << 20


class WindowLimits(Struct, frozen=True, kw_only=True):
    """Bound on the events in flight; further events wait. The hub reads no more than this either."""

    events: int = 1_000
    bytes: int = 4 << 20
    """Size of their data; an event larger than this goes alone."""


class PublishQueue:
    """Events that wait, that are in flight, and that the hub gave back. Not thread-safe.

    Args:
        limits: Bound on the events that wait.
        window: Bound on the events in flight.
    """

    def __init__(self, limits: QueueLimits, window: WindowLimits = WindowLimits()) -> None:  # noqa: B008 -- frozen
        self.limits = limits
        self._window = window
        self._waiting: dict[int, QueuedEvent] = {}
        self._slots: dict[tuple[str, str | None], int] = {}
        self._by_rank: dict[Rank, deque[int]] = {rank: deque() for rank in Rank if rank is not Rank.LIFECYCLE}
        self._bytes = 0
        self._last_number = 0
        self._first_number = 0
        self._in_flight: dict[str, QueuedEvent] = {}
        self._in_flight_bytes = 0
        self._returned: list[QueuedEvent] = []
        self._paused = False
        self._probing = False
        self._unaddressed = 0
        self.blocked = False
        """Whether the latest `take` left events that cannot be sent before an answer, `resume` or a new connection."""
        self.conflated = 0
        """`latest` events that a newer event replaced before they were sent."""
        self.shed = 0
        """Events dropped, or not taken, because the queue was full."""
        self.accepted = 0
        """Events in the hub's log."""
        self.refused = 0
        """Events that the hub refused for good, and those dropped because their operation's end overtook them."""

    def __iter__(self) -> Iterator[QueuedEvent]:
        return iter(self._waiting.values())

    @property
    def bytes(self) -> int:
        """Bytes of data that wait."""
        return self._bytes

    @property
    def waiting(self) -> int:
        """Number of events that are not in flight."""
        return len(self._waiting) + len(self._returned)

    @property
    def unacknowledged(self) -> int:
        """Number of events in flight."""
        return len(self._in_flight)

    @property
    def left(self) -> int:
        """Number of events without a final answer."""
        return self.waiting + len(self._in_flight)

    @property
    def retrying(self) -> bool:
        """Whether the hub gave events back and has accepted none since."""
        return self._paused or self._probing

    # The producer's end.

    def put(
        self, draft: Draft, rank: Rank, key: str | None = None, *, ends: bool = False, at_ns: int = 0
    ) -> QueuedEvent | None:
        """Add an event at the end; return None if there is no room for it and no waiting event is worth less."""
        slot = (draft.type, key) if rank is Rank.LATEST else None
        if slot is not None and (before := self._slots.get(slot)) is not None:
            self._remove(before)
            self.conflated += 1
        if not self._make_room(len(draft.data), rank):
            self.shed += 1
            return None
        self._last_number += 1
        entry = QueuedEvent(self._last_number, draft, rank, slot, key, ends, at_ns)
        self._add(entry)
        return entry

    def put_first(self, draft: Draft, rank: Rank, key: str | None, *, ends: bool = False) -> None:
        """Add an event before all others."""
        self.put_all_first([(draft, key)], rank, ends=ends)

    def put_all_first(self, drafts: Sequence[tuple[Draft, str | None]], rank: Rank, *, ends: bool = False) -> None:
        """Add events and their keys before all others, in this order."""
        self._first_number -= len(drafts)
        numbered = enumerate(drafts, self._first_number)
        self.put_back([QueuedEvent(number, draft, rank, None, key, ends) for number, (draft, key) in numbered])

    def withdraw(self, entry: QueuedEvent) -> None:
        """Forget an event whose answer is no longer needed. Does nothing if it has its answer."""
        if self._land(entry) is None:
            if entry.number in self._waiting:
                self._remove(entry.number)
            elif entry in self._returned:
                self._returned.remove(entry)

    def drop(self, goes: Callable[[QueuedEvent], bool]) -> list[QueuedEvent]:
        """Remove the waiting events for which `goes` is true, and return them."""
        dropped = [entry for entry in self._waiting.values() if goes(entry)]
        for entry in dropped:
            self._remove(entry.number)
        return dropped

    # The hub's end.

    def take(self, limit: int) -> list[QueuedEvent]:
        """Move up to `limit` waiting events, the oldest first, into flight, as far as the window has room.

        After a refusal that may pass it returns nothing until `resume`, and then one event at a time until the hub
        accepts one: an event sent behind one that fails might overtake it.

        Returns:
            The events, with time and id. Fewer than `limit` only if no more can be sent now.
        """
        taken: list[QueuedEvent] = []
        self.blocked = False
        while batch := list(islice(self._waiting.values(), limit - len(taken))):
            for entry in batch:
                if self._is_blocked(len(entry.draft.data)):
                    self.blocked = True
                    return taken
                self._remove(entry.number)
                if self.holds_back(entry):
                    continue
                if not entry.draft.event_id:
                    entry = msgspec.structs.replace(entry, draft=stamp(entry.draft, entry.at_ns))
                self._in_flight[entry.id] = entry
                self._in_flight_bytes += len(entry.draft.data)
                taken.append(entry)
        return taken

    def holds_back(self, entry: QueuedEvent) -> bool:
        """Return whether a subclass keeps `entry` itself instead of sending it."""
        return False

    def in_flight(self, id: str) -> QueuedEvent | None:
        """Return the event in flight whose command has this id."""
        return self._in_flight.get(id)

    def accept(self, entry: QueuedEvent, answer: Accepted) -> list[QueuedEvent]:
        """Remove an event in flight that is in the log now; drop and return what its end has overtaken.

        A start that was given back would begin another attempt if it came now, and nothing would end that.
        """
        self._land(entry)
        self.accepted += 1
        self._probing = False
        if not (entry.ends and self._returned):
            return []
        overtaken = [other for other in self._returned if other.key == entry.key]
        self._returned = [other for other in self._returned if other.key != entry.key]
        self.refused += len(overtaken)
        return overtaken

    def refuse(self, entry: QueuedEvent) -> None:
        """Remove an event in flight that the hub refused for good."""
        self._land(entry)
        self.refused += 1

    def give_back(self, entry: QueuedEvent) -> None:
        """Note that the hub cannot store an event in flight now; nothing is sent before `resume`."""
        if self._land(entry) is not None:
            self._returned.append(entry)
            self._paused = True

    def resume(self) -> bool:
        """Put the events given back to their places and send again; return False while events are in flight."""
        if self._in_flight:
            return False
        self._paused = False
        self._probing = True
        self.put_back(self._returned)
        self._returned = []
        return True

    def note_unaddressed(self) -> None:
        """Note a refusal that names no event; nothing is sent before `take_unaddressed` finds its event."""
        self._unaddressed += 1

    def take_unaddressed(self) -> list[QueuedEvent]:
        """Return the events in flight that unaddressed refusals concern, once no others are in flight.

        The hub gives each event exactly one answer, so these are the ones that are left when all others have theirs.
        """
        if not self._unaddressed or len(self._in_flight) > self._unaddressed:
            return []
        self._unaddressed = 0
        return list(self._in_flight.values())

    def connection_lost(self) -> None:
        """Put all events without an answer back to their places."""
        back = [*self._in_flight.values(), *self._returned]
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._returned = []
        self._unaddressed = 0
        self.put_back(back)

    def put_back(self, entries: list[QueuedEvent]) -> None:
        """Put events that were taken and not stored back to their places, unless newer ones supersede them."""
        later = list(self._waiting.values())
        newest = {entry.slot: entry.number for entry in entries}
        kept = [
            entry
            for entry in entries
            if entry.slot is None or (entry.slot not in self._slots and newest[entry.slot] == entry.number)
        ]
        self.conflated += len(entries) - len(kept)
        self._waiting = {entry.number: entry for entry in sorted([*kept, *later], key=lambda entry: entry.number)}
        self.repair()
        while self._is_over(0, 0) and self._shed_below(Rank.LIFECYCLE):
            pass

    def repair(self) -> None:
        """Derive all that depends on which events wait, as after a change that an exception has interrupted."""
        waiting = list(self._waiting.values())
        self._bytes = sum(len(entry.draft.data) for entry in waiting)
        self._slots = {entry.slot: entry.number for entry in waiting if entry.slot is not None}
        for rank in self._by_rank:
            self._by_rank[rank] = deque(entry.number for entry in waiting if entry.rank is rank)

    def _is_blocked(self, size: int) -> bool:
        if self._paused or self._unaddressed:
            return True
        if not self._in_flight:
            return False
        window = self._window
        return self._probing or len(self._in_flight) >= window.events or self._in_flight_bytes + size > window.bytes

    def _land(self, entry: QueuedEvent) -> QueuedEvent | None:
        landed = self._in_flight.pop(entry.id, None)
        if landed is not None:
            self._in_flight_bytes -= len(landed.draft.data)
        return landed

    def _add(self, entry: QueuedEvent) -> None:
        self._waiting[entry.number] = entry
        self._bytes += len(entry.draft.data)
        if entry.slot is not None:
            self._slots[entry.slot] = entry.number
        if entry.rank is not Rank.LIFECYCLE:
            self._by_rank[entry.rank].append(entry.number)
            self._forget_removed(entry.rank)

    def _remove(self, number: int) -> None:
        entry = self._waiting.pop(number)
        self._bytes -= len(entry.draft.data)
        if entry.slot is not None:
            del self._slots[entry.slot]

    def _forget_removed(self, rank: Rank) -> None:
        # Numbers of removed events stay inside these deques, which must not outgrow the events that wait.
        numbers = self._by_rank[rank]
        if len(numbers) > 2 * len(self._waiting) + 64:
            self._by_rank[rank] = deque(number for number in numbers if number in self._waiting)

    def _is_over(self, events: int, size: int) -> bool:
        return len(self._waiting) + events > self.limits.events or self._bytes + size > self.limits.bytes

    def _make_room(self, size: int, rank: Rank) -> bool:
        # LATEST and LOG events shed older ones of their own rank, since the newest of many is worth more. An event
        # that is not one of many is never dropped for another of its rank.
        if size > self.limits.bytes:
            return False
        below = Rank(rank + 1) if rank <= Rank.LOG else rank
        while self._is_over(1, size):
            if not self._shed_below(below):
                return False
        return True

    def _shed_below(self, rank: Rank) -> bool:
        for lower, numbers in self._by_rank.items():
            if lower >= rank:
                break
            while numbers:
                number = numbers.popleft()
                if number in self._waiting:
                    self._remove(number)
                    self.shed += 1
                    return True
        return False
