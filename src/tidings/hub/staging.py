"""Staging: what the tick under way will append, checked against the log and against itself.

The overlay of known event ids becomes real when the batch is committed, and is dropped whole when it is not.

The operations as they will be when what is staged is in the log: what may happen next is judged by that.
"""

from collections.abc import Callable, Iterable

import structlog
from msgspec import Struct, structs

from tidings.exceptions import EventIDReused, TidingsError
from tidings.log.base import EventToAppend, Log
from tidings.operations.lifecycle import ASKS, OperationLife, apply_event, transition_of
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.raw_json import is_stored_as, with_last_member

OperationChanges = dict[str, OperationLife]
"""What a batch makes of operations."""


class StagedOperations:
    """The log's operations, and above them what the batches under way make of them.

    Args:
        operations: Those of the log.
        layers: Of each batch under way, the oldest first.
    """

    __slots__ = ("_layers", "_operations")

    def __init__(self, operations: OperationTable, layers: Iterable[OperationChanges]) -> None:
        self._operations = operations
        self._layers = tuple(layers)

    def life(self, operation_id: str) -> OperationLife | None:
        """Return the life of an operation, or None."""
        for changes in reversed(self._layers):
            if operation_id in changes:
                return changes[operation_id]
        return self._operations.life(operation_id)

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that a live operation began with, or None."""
        life = self.life(operation_id)
        return life.trace_id if life is not None and life.live else None

    def only_of_trace(self, trace_id: str, producer_id: str = "") -> str | None:
        """Return the one live operation of a trace that a writer may mean; None where there is none, or more than one.

        Args:
            trace_id: The trace.
            producer_id: The writer: what another producer holds is not meant.
        """
        named = set(self._operations.of_trace(trace_id)).union(*self._layers)
        found = [operation_id for operation_id in named if self._is_meant(operation_id, trace_id, producer_id)]
        return found[0] if len(found) == 1 else None

    def _is_meant(self, operation_id: str, trace_id: str, producer_id: str) -> bool:
        life = self.life(operation_id)
        return life is not None and life.live and life.trace_id == trace_id and life.producer_id in ("", producer_id)

    def admit(self, draft: EventToAppend, *, by_hub: bool = False) -> tuple[EventToAppend, OperationLife | None]:
        """Let an event happen to its operation, in the newest layer.

        Args:
            draft: Any event.
            by_hub: Whether the hub itself writes it.

        Returns:
            The event, naming its attempt where it begins one that is not the first; and the operation's life after it,
            None where it is no event of one.

        Raises:
            OperationError: The operation's life does not allow it; nothing has changed.
        """
        event = draft.event
        key = event.key
        if key is None or event.type not in ASKS:
            return draft, None
        before = self.life(key)
        life = apply_event(key, before, event, producer_id=draft.producer_id, lease_s=draft.lease_s, by_hub=by_hub)
        if life is None or life is before:
            return draft, life
        self._layers[-1][key] = life
        if event.type == MessageType.OPERATION_START and life.attempt > 1 and transition_of(event)[1] is None:
            data = with_last_member(event.data, "attempt", b"%d" % life.attempt)
            if len(data) <= MAX_DATA_BYTES:
                draft = structs.replace(draft, event=structs.replace(event, data=data))
        return draft, life

    def note(self, operation_id: str, life: OperationLife) -> None:
        """Put into the newest layer what `admit` found of an event that is staged again."""
        self._layers[-1][operation_id] = life


log = structlog.get_logger("tidings.hub.staging")


class PublishResult(Struct, frozen=True):
    """An event is in the log."""

    offset: int
    duplicate: bool
    """Whether it was there before: its event id was known."""
    trace_id: str
    """The trace of what was published, minted where it came without."""
    attempt: int | None = None
    """Of an `operation:start`: the attempt that it is of."""


PublishCallback = Callable[[PublishResult | TidingsError], None]
"""Called once an event: when it is in the log, or when it is certain that it is not."""


class StagedEvent(Struct):
    """An event of the tick under way, and who waits for it."""

    draft: EventToAppend
    settled: PublishCallback
    repeats: list[PublishCallback]
    """Those who published the same event id again within the tick."""
    life: OperationLife | None = None
    """Of its operation, after it; None where it is no event of one."""

    @property
    def attempt(self) -> int | None:
        """See `PublishResult.attempt`."""
        begins = self.life is not None and self.draft.event.type == MessageType.OPERATION_START
        return self.life.attempt if begins and self.life is not None else None


class Batch:
    """What one append takes."""

    def __init__(self) -> None:
        self.staged: list[StagedEvent] = []
        self.operations: OperationChanges = {}
        self._ids: dict[tuple[str, str], StagedEvent] = {}

    def __len__(self) -> int:
        return len(self.staged)

    def add(self, staged: StagedEvent) -> None:
        """Add an event that `check` let through."""
        self.staged.append(staged)
        draft = staged.draft
        if draft.event.event_id is not None:
            self._ids[draft.scope, draft.event.event_id] = staged

    def staged_as(self, scope: str, event_id: str) -> StagedEvent | None:
        """Return the event that this batch holds under an id."""
        return self._ids.get((scope, event_id))

    def commit(self, first: int) -> None:
        """Tell everyone that the batch is in the log, from offset `first` on."""
        for offset, staged in enumerate(self.staged, first):
            trace_id = staged.draft.event.trace_id
            attempt = None if staged.life is None else staged.attempt
            _tell(staged.settled, PublishResult(offset, False, trace_id, attempt))
            for settled in staged.repeats:
                _tell(settled, PublishResult(offset, True, trace_id, attempt))

    def drop(self, error: TidingsError) -> None:
        """Tell everyone that nothing of the batch is in the log."""
        for staged in self.staged:
            _tell(staged.settled, error)
            for settled in staged.repeats:
                _tell(settled, error)


def _tell(settled: PublishCallback, result: PublishResult | TidingsError) -> None:
    try:
        settled(result)
    except Exception:  # one publisher's fault must not keep the batch from the others and from the tail
        log.exception("a publisher could not be told what became of its event")


class Staging:
    """The batch that gathers, and the one that the log has and not yet committed.

    Args:
        event_log: Which knows the event ids of all that came before.
    """

    def __init__(self, event_log: Log) -> None:
        self._log = event_log
        self._committed: OperationChanges = {}
        self.gathering = Batch()
        self.appending: Batch | None = None
        self.operations = self._view()
        """The operations as they will be when all this is in the log."""

    def __len__(self) -> int:
        return len(self.gathering) + (len(self.appending) if self.appending else 0)

    def add(self, draft: EventToAppend, settled: PublishCallback, *, by_hub: bool = False) -> None:
        """Stage `draft` for the next append, or settle it at once where its event id is known.

        Raises:
            OperationError: Its operation's life does not allow it.
        """
        event_id = draft.event.event_id
        if event_id is not None and self._repeats(draft, event_id, settled):
            return
        draft, life = self.operations.admit(draft, by_hub=by_hub)
        self.gathering.add(StagedEvent(draft, settled, [], life))

    def take(self, most: int) -> Batch:
        """Return the oldest events that gathered, at most `most`: they are being appended from now on."""
        batch, rest = self.gathering, self.gathering.staged[most:]
        if rest:
            self.clear()
            for staged in batch.staged[:most]:
                self._restage(staged)
            batch = self.gathering
        self.appending = batch
        self.clear()
        for staged in rest:
            self._restage(staged)
        return batch

    def _restage(self, staged: StagedEvent) -> None:
        self.gathering.add(staged)
        key = staged.draft.event.key
        if staged.life is not None and key is not None:
            self.operations.note(key, staged.life)

    def appended(self) -> Batch:
        """Return the batch that was being appended, and no longer is."""
        batch = self.appending
        assert batch is not None
        self.appending = None
        self.operations = self._view()
        return batch

    def committed(self, batch: Batch) -> None:
        """Note that `batch` is in the log, whose tail will bring it."""
        self._committed = batch.operations
        self.operations = self._view()

    def folded(self) -> None:
        """Note that the tail has brought what was committed: the log's own operations show it now."""
        self._committed = {}
        self.operations = self._view()

    def clear(self) -> None:
        """Drop what gathered."""
        self.gathering = Batch()
        self.operations = self._view()

    def _view(self) -> StagedOperations:
        appending = self.appending.operations if self.appending is not None else {}
        return StagedOperations(self._log.operations, (self._committed, appending, self.gathering.operations))

    def _repeats(self, draft: EventToAppend, event_id: str, settled: PublishCallback) -> bool:
        for batch in (self.gathering, self.appending):
            staged = batch.staged_as(draft.scope, event_id) if batch else None
            if staged is not None:
                if _is_same(draft.event, staged.draft.event.type, staged.draft.event.data):
                    staged.repeats.append(settled)
                else:
                    settled(EventIDReused(f"event_id {event_id!r} was used for another event", position=""))
                return True
        known = self._log.known(draft.scope, event_id)
        if known is None:
            return False
        if _is_same(draft.event, known.type, known.data):
            settled(PublishResult(known.offset, True, draft.event.trace_id, self._attempt(draft.event)))
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


def _is_same(event: Event, type: str, data: bytes) -> bool:
    return event.type == type and is_stored_as(event.data, data)
