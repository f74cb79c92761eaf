"""Staging: the events of the current tick, checked against the log and against each other before they are appended.

Known event ids and the lives of operations are overlaid on the log: the overlay becomes real when the batch is
committed, and is dropped whole when it is not.
"""

from collections.abc import Callable, Iterable

import structlog
from msgspec import Struct, structs

from tidings.exceptions import EventIDReused, LimitExceeded, TidingsError
from tidings.log.base import EventToAppend, Log
from tidings.log.newest import owner_of
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, apply_event, transition_of
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.raw_json import is_stored_as, with_last_member

log = structlog.get_logger("tidings.hub.staging")

OperationChanges = dict[str, OperationLife]
"""Lives of operations, by operation id, as a batch changes them."""


class StagedOperations:
    """Overlay on the log's operations: their lives once all staged events are in the log.

    Whether an operation allows an event is decided on this state.

    Args:
        operations: The log's operations.
        layers: The changes of each batch under way, oldest first.
        max_live: Live operations in the log beyond which no other begins; 0 for no limit.
    """

    __slots__ = ("_layers", "_max_live", "_operations")

    def __init__(self, operations: OperationTable, layers: Iterable[OperationChanges], max_live: int = 0) -> None:
        self._operations = operations
        self._layers = tuple(layers)
        self._max_live = max_live

    def life(self, operation_id: str) -> OperationLife | None:
        """Return the life of an operation, or None if there is no such operation."""
        for changes in reversed(self._layers):
            if operation_id in changes:
                return changes[operation_id]
        return self._operations.life(operation_id)

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that an operation began with, or None if it is not live."""
        life = self.life(operation_id)
        return life.trace_id if life is not None and life.live else None

    def only_of_trace(
        self, trace_id: str, producer_id: str = "", may_write: Callable[[str], bool] | None = None
    ) -> str | None:
        """Return the only live operation of a trace that a producer may write to; None if there is none, or several.

        Args:
            trace_id: The trace.
            producer_id: The producer; operations that another producer holds do not count.
            may_write: Returns whether the grants of the publisher cover an operation; None where it may write to all.
        """
        candidates = set(self._operations.of_trace(trace_id)).union(*self._layers)
        found = [each for each in candidates if self._may_write(each, trace_id, producer_id)]
        if may_write is not None:
            found = list(filter(may_write, found))
        return found[0] if len(found) == 1 else None

    def _may_write(self, operation_id: str, trace_id: str, producer_id: str) -> bool:
        life = self.life(operation_id)
        return life is not None and life.live and life.trace_id == trace_id and life.producer_id in ("", producer_id)

    def apply(self, entry: EventToAppend, *, by_hub: bool = False) -> tuple[EventToAppend, OperationLife | None]:
        """Apply an event to its operation, in the newest layer.

        Args:
            entry: Any event.
            by_hub: Whether the hub itself publishes it.

        Returns:
            The event, with `attempt` added to a start that begins a later attempt than the first; and the life of the
            operation after it, None if the event belongs to no operation.

        Raises:
            OperationError: The operation's life does not allow the event; nothing has changed.
            LimitExceeded: The event begins an operation, and too many are live; nothing has changed.
        """
        event = entry.event
        key = event.key
        if key is None or event.type not in TRANSITIONS:
            return entry, None
        before = self.life(key)
        life = apply_event(key, before, event, producer_id=entry.producer_id, lease_s=entry.lease_s, by_hub=by_hub)
        if life is None or life is before:
            return entry, life
        if life.live and not (before is not None and before.live):
            self._check_live(owner_of(entry.scope))
        self._layers[-1][key] = life
        if event.type == MessageType.OPERATION_START and life.attempt > 1 and transition_of(event)[1] is None:
            data = with_last_member(event.data, "attempt", b"%d" % life.attempt)
            if len(data) <= MAX_DATA_BYTES:
                entry = structs.replace(entry, event=structs.replace(event, data=data))
        return entry, life

    def _check_live(self, owner: str) -> None:
        # Operations that begin in the batches under way do not count: the limit is about memory, and these are few.
        if self._max_live and not self._operations.admits(owner, self._max_live):
            raise LimitExceeded(
                f"this hub has {len(self._operations):,} operations that have not ended",
                hint="End operations before you start others; `tidings ls --running` lists them.",
            )

    def restore(self, operation_id: str, life: OperationLife) -> None:
        """Put the life that `apply` returned for an event into the newest layer: the event is staged again."""
        self._layers[-1][operation_id] = life


class PublishResult(Struct, frozen=True):
    """The result of publishing an event that is in the log now."""

    offset: int
    duplicate: bool
    """Whether the event was in the log before: its event id was known."""
    trace_id: str
    """The event's trace id, minted where the publisher gave none."""
    attempt: int | None = None
    """The attempt that an `operation:start` began; None for other events."""


PublishCallback = Callable[[PublishResult | TidingsError], None]
"""Called once per event: when it is in the log, or when it is certain that it is not."""


class StagedEvent(Struct):
    """An event of the current tick, and the publishers that wait for its result."""

    entry: EventToAppend
    settled: PublishCallback
    duplicates: list[PublishCallback]
    """Callbacks of those that published the same event id again within the tick."""
    life: OperationLife | None = None
    """The life of its operation after it; None if the event belongs to no operation."""

    @property
    def attempt(self) -> int | None:
        """See `PublishResult.attempt`."""
        if self.life is None or self.entry.event.type != MessageType.OPERATION_START:
            return None
        return self.life.attempt


class Batch:
    """The events of one append."""

    def __init__(self) -> None:
        self.staged: list[StagedEvent] = []
        self.operations: OperationChanges = {}
        self.bytes = 0
        """Size of the events' `data`."""
        self._ids: dict[tuple[str, str], StagedEvent] = {}

    def __len__(self) -> int:
        return len(self.staged)

    def add(self, staged: StagedEvent) -> None:
        """Add an event that was checked."""
        self.staged.append(staged)
        entry = staged.entry
        self.bytes += len(entry.event.data)
        if entry.event.event_id is not None:
            self._ids[entry.scope, entry.event.event_id] = staged

    def find(self, scope: str, event_id: str) -> StagedEvent | None:
        """Return the event with this id, or None."""
        return self._ids.get((scope, event_id))

    def commit(self, first: int) -> None:
        """Report to all publishers that the batch is in the log, from offset `first` on."""
        for offset, staged in enumerate(self.staged, first):
            trace_id = staged.entry.event.trace_id
            attempt = None if staged.life is None else staged.attempt
            _settle(staged.settled, PublishResult(offset, False, trace_id, attempt))
            for settled in staged.duplicates:
                _settle(settled, PublishResult(offset, True, trace_id, attempt))

    def fail(self, error: TidingsError) -> None:
        """Report to all publishers that no event of the batch is in the log."""
        for staged in self.staged:
            _settle(staged.settled, error)
            for settled in staged.duplicates:
                _settle(settled, error)


def _settle(settled: PublishCallback, result: PublishResult | TidingsError) -> None:
    try:
        settled(result)
    except Exception:  # one publisher's fault must not keep the batch from the others and from the tail
        log.exception("a publisher's callback failed")


class Staging:
    """The batch that gathers events, and the batch that the log is appending.

    Args:
        event_log: The log, with the event ids of all earlier events.
        max_events: Number of events at which the stage is full. It takes more: callers ask `full` first.
        max_bytes: Size of their `data`, in bytes, at which it is full.
        max_live: See `StagedOperations`.
    """

    def __init__(
        self, event_log: Log, *, max_events: int = 1 << 30, max_bytes: int = 1 << 40, max_live: int = 0
    ) -> None:
        self._log = event_log
        self._max_live = max_live
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._events = 0
        self._bytes = 0
        self.full = False
        """Whether all of the stage is used."""
        self._committed: OperationChanges = {}
        self.gathering = Batch()
        self.appending: Batch | None = None
        self.operations = self._overlay()
        """The operations as they are once all staged events are in the log."""

    def __len__(self) -> int:
        return self._events

    def add(self, entry: EventToAppend, settled: PublishCallback, *, by_hub: bool = False) -> None:
        """Stage `entry` for the next append, or settle it immediately if its event id is known.

        Raises:
            OperationError: The life of its operation does not allow it.
            LimitExceeded: It begins an operation, and too many are live.
        """
        event_id = entry.event.event_id
        if event_id is not None and self._settle_duplicate(entry, event_id, settled):
            return
        entry, life = self.operations.apply(entry, by_hub=by_hub)
        self.gathering.add(StagedEvent(entry, settled, [], life))
        self._events += 1
        self._bytes += len(entry.event.data)
        if self._events >= self.max_events or self._bytes >= self.max_bytes:
            self.full = True

    def take(self, max_events: int, max_bytes: int) -> Batch:
        """Return the oldest gathered events; from now on they are being appended.

        Args:
            max_events: Maximum number of events.
            max_bytes: Maximum size of their data in bytes; one event may be larger.
        """
        batch = self.gathering
        count = _count_within(batch, max_events, max_bytes)
        rest = batch.staged[count:]
        if rest:
            self.clear()
            for staged in batch.staged[:count]:
                self._restage(staged)
            batch = self.gathering
        self.appending = batch
        self.clear()
        for staged in rest:
            self._restage(staged)
        return batch

    def _restage(self, staged: StagedEvent) -> None:
        self.gathering.add(staged)
        key = staged.entry.event.key
        if staged.life is not None and key is not None:
            self.operations.restore(key, staged.life)

    def appended(self) -> Batch:
        """Return the batch whose append has finished."""
        batch = self.appending
        assert batch is not None
        self.appending = None
        self.operations = self._overlay()
        self._events -= len(batch)
        self._bytes -= batch.bytes
        self._measure()
        return batch

    def committed(self, batch: Batch) -> None:
        """Record that `batch` is in the log; the tail is about to bring it."""
        self._committed = batch.operations
        self.operations = self._overlay()

    def folded(self) -> None:
        """Record that the tail has brought the committed batch: the log's own operations include it now."""
        self._committed = {}
        self.operations = self._overlay()

    def clear(self) -> None:
        """Drop the gathered events."""
        self.gathering = Batch()
        self.operations = self._overlay()

    def drop(self) -> list[Batch]:
        """Drop all staged events; return their batches, the oldest first."""
        # Once each: `take` may have failed between two steps.
        batches = [batch for batch in (self.appending, self.gathering) if batch is not None]
        self.appending = None
        self.clear()
        self._events = self._bytes = 0
        self._measure()
        return batches if batches[0] is not batches[-1] else batches[:1]

    def _measure(self) -> None:
        self.full = self._events >= self.max_events or self._bytes >= self.max_bytes

    def _overlay(self) -> StagedOperations:
        appending = self.appending.operations if self.appending is not None else {}
        layers = (self._committed, appending, self.gathering.operations)
        return StagedOperations(self._log.operations, layers, self._max_live)

    def _settle_duplicate(self, entry: EventToAppend, event_id: str, settled: PublishCallback) -> bool:
        """Return whether the event id is known; if so, settle the event or wait for the staged one."""
        for batch in (self.gathering, self.appending):
            staged = batch.find(entry.scope, event_id) if batch else None
            if staged is not None:
                if _is_same(entry.event, staged.entry.event.type, staged.entry.event.data):
                    staged.duplicates.append(settled)
                else:
                    settled(EventIDReused(f"event_id {event_id!r} was used for another event", position=""))
                return True
        known = self._log.known(entry.scope, event_id)
        if known is None:
            return False
        if _is_same(entry.event, known.type, known.data):
            settled(PublishResult(known.offset, True, entry.event.trace_id, self._attempt(entry.event)))
        else:
            position = str(self._log.position(known.offset))
            settled(
                EventIDReused(f"event_id {event_id!r} was used for another event, at {position}", position=position)
            )
        return True

    def _attempt(self, event: Event) -> int | None:
        """Return the attempt of an `operation:start` that is in the log."""
        if event.type != MessageType.OPERATION_START or event.key is None:
            return None
        life = self.operations.life(event.key)
        return transition_of(event)[1] or (None if life is None else life.attempt)


def _count_within(batch: Batch, max_events: int, max_bytes: int) -> int:
    if batch.bytes <= max_bytes:
        return max_events
    size = 0
    for count, staged in enumerate(batch.staged[:max_events]):
        size += len(staged.entry.event.data)
        if size > max_bytes:
            return max(1, count)
    return max_events


def _is_same(event: Event, type: str, data: bytes) -> bool:
    return event.type == type and is_stored_as(event.data, data)
