"""The judge: decides, in log order, which events enter a log and with which trace id, operation and attempt.

Pure and deterministic: it reads no clock and does no I/O. The same events in the same order have the same outcomes in
every log, so processes that share one order of events need no further agreement (ARCHITECTURE.md, "The log").
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from msgspec import Struct, structs

from tidings.contract.contract import with_operation
from tidings.exceptions import (
    EventIDReused,
    Forbidden,
    InternalError,
    LimitExceeded,
    OperationFenced,
    TidingsError,
)
from tidings.log.base import EventToAppend, OperationSearch, Outcome, PublishResult
from tidings.log.newest import owner_of
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, OperationState, apply_event, transition_of
from tidings.operations.table import MAX_LIVE_OF_OWNER, OperationTable
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.positions import Position
from tidings.protocol.raw_json import with_last_member

_START = str(MessageType.OPERATION_START)


DIGEST_BYTES = 16
"""Size of a digest: two events never have the same one by chance."""


def digest_of(data: bytes) -> bytes:
    """Return the digest by which a log recognizes the data of an event."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


class KnownID(Struct, frozen=True, gc=False):
    """The facts that a log remembers of an event id, for longer than the event is in the log."""

    offset: int
    """Offset of the event that was published with it."""
    type: str
    digests: bytes
    """Digests of its data as it was published and, if the log filled in something, as it is stored."""
    attempt: int | None = None
    """See `PublishResult.attempt`; None too for an event of an older version of tidings."""

    def is_of(self, event: Event) -> bool:
        """Return whether `event` is the same as the one that was published with the id."""
        if event.type != self.type:
            return False
        digest = digest_of(event.data)
        return digest in (self.digests[:DIGEST_BYTES], self.digests[DIGEST_BYTES:])


class NewID(NamedTuple):
    """An event id to remember, with its namespace."""

    scope: str
    event_id: str
    known: KnownID


class Judgement(NamedTuple):
    """The judgement of a batch."""

    outcomes: list[Outcome]
    """The outcome of each event of the batch."""
    accepted: list[EventToAppend]
    """The events to append after the head, with what the judge filled in."""
    ids: list[NewID]
    """The ids of these events."""


class Judge:
    """Judges batches by the state of one log.

    Args:
        operations: The log's operations, folded up to the head.
        find_id: Returns what the log remembers of an event id, by scope and id, or None.
        position: Returns the position of an offset.
        sign: Returns the number of a producer's newest sign of life; see `tidings.log.producers`.
    """

    __slots__ = ("_find_id", "_operations", "_position", "_sign")

    def __init__(
        self,
        operations: OperationTable,
        find_id: Callable[[str, str], KnownID | None],
        position: Callable[[int], Position],
        sign: Callable[[str], int],
    ) -> None:
        self._operations = operations
        self._find_id = find_id
        self._position = position
        self._sign = sign

    def judge(self, batch: Sequence[EventToAppend], head: int) -> Judgement:
        """Judge each event after those before it; nothing changes in the log.

        Args:
            batch: The events, in the order in which they are to be appended.
            head: Offset of the newest event in the log.
        """
        outcomes: list[Outcome] = []
        accepted: list[EventToAppend] = []
        ids: list[NewID] = []
        overlay = _Overlay(self._operations, self._sign)
        for entry in batch:
            event_id = entry.event.event_id
            if event_id is not None:
                repeated = self._find_repeated(entry, event_id, overlay)
                if repeated is not None:
                    outcomes.append(repeated)
                    continue
            try:
                stored, attempt = overlay.apply(entry)
            except TidingsError as error:
                outcomes.append(error.with_traceback(None))  # its frames hold the outcomes: a cycle
                continue
            except Exception as cause:  # one event must not keep the batch from the log
                outcomes.append(InternalError(f"the event could not be judged: {cause!r}"))
                continue
            head += 1
            operation_id = None if entry.search is None else stored.event.key
            result = PublishResult(head, False, stored.event.trace_id, attempt, operation_id)
            outcomes.append(result)
            accepted.append(stored)
            if event_id is not None:
                published, data = digest_of(entry.event.data), stored.event.data
                digests = published if data is entry.event.data else published + digest_of(data)
                known = KnownID(head, stored.event.type, digests, attempt)
                overlay.ids[entry.scope, event_id] = known, result
                ids.append(NewID(entry.scope, event_id, known))
        return Judgement(outcomes, accepted, ids)

    def _find_repeated(self, entry: EventToAppend, event_id: str, overlay: "_Overlay") -> Outcome | None:
        """Return the outcome of an event whose event id is known, or None."""
        event = entry.event
        staged = overlay.ids.get((entry.scope, event_id))
        if staged is not None:
            known, result = staged
            return (
                structs.replace(result, duplicate=True) if known.is_of(event) else self._reused(event_id, known.offset)
            )
        found = self._find_id(entry.scope, event_id)
        if found is None:
            return None
        if found.is_of(event):
            event = overlay.with_trace(entry).event
            return PublishResult(found.offset, True, event.trace_id, found.attempt or overlay.attempt_of(event))
        return self._reused(event_id, found.offset)

    def _reused(self, event_id: str, offset: int) -> EventIDReused:
        position = str(self._position(offset))
        return EventIDReused(f"event_id {event_id!r} was used for another event, at {position}", position=position)


class _Overlay:
    """The operations and event ids of a log after the accepted events of a batch."""

    __slots__ = ("_lives", "_operations", "_sign", "ids")

    def __init__(self, operations: OperationTable, sign: Callable[[str], int]) -> None:
        self._operations = operations
        self._sign = sign
        self._lives: dict[str, OperationLife] = {}
        """The lives that the batch changed."""
        self.ids: dict[tuple[str, str], tuple[KnownID, PublishResult]] = {}
        """The ids of the batch, and the results of their events, by scope and event id."""

    def _life(self, operation_id: str) -> OperationLife | None:
        return self._lives.get(operation_id) or self._operations.life(operation_id)

    def attempt_of(self, event: Event) -> int | None:
        """Return the attempt of an `operation:start` that an older version stored; None for another event."""
        if event.type != _START or event.key is None:
            return None
        life = self._life(event.key)
        return transition_of(event)[1] or (None if life is None else life.attempt)

    def with_trace(self, entry: EventToAppend) -> EventToAppend:
        """Return `entry` with the trace id of its operation, if that is live and the publisher gave no trace id."""
        key = entry.event.key
        life = None if entry.has_own_trace or key is None else self._life(key)
        if life is None or not life.live:
            return entry
        return structs.replace(entry, event=structs.replace(entry.event, trace_id=life.trace_id))

    def apply(self, entry: EventToAppend) -> tuple[EventToAppend, int | None]:
        """Apply an event to its operation; return its stored form, and the attempt that it starts.

        Raises:
            OperationError: The operation's life does not allow the event; nothing has changed.
            LimitExceeded: It begins an operation, and its subject or the log has too many live ones.
            Forbidden: Its publisher may publish it with an operation only, and there is none.
            PayloadTooLarge: Its data has no space for the id of its operation.
        """
        if not entry.has_own_trace:
            entry = self.with_trace(entry)
        if entry.search is not None:
            entry = self._with_operation(entry, entry.search)
        event = entry.event
        key = event.key
        if key is None:
            return entry, None
        if entry.running_attempt:
            self._check_running(key, entry.running_attempt, entry.holder_sign)
        if event.type not in TRANSITIONS:
            return entry, None
        before = self._life(key)
        if self._operations.crowded and not (entry.by_hub or (before is not None and before.live)):
            self._check_room(entry)
        life = apply_event(
            key, before, event, producer_id=entry.producer_id, lease_s=entry.lease_s, by_hub=entry.by_hub
        )
        if life is None:
            return entry, None
        if life is not before:
            if entry.max_live and life.live and not (before is not None and before.live):
                self._check_live(entry)
            self._lives[key] = life
        if event.type != _START:
            return entry, None
        if life.attempt > 1 and life is not before and transition_of(event)[1] is None:
            data = with_last_member(event.data, "attempt", b"%d" % life.attempt)
            if len(data) <= MAX_DATA_BYTES:
                entry = structs.replace(entry, event=structs.replace(event, data=data))
        return entry, life.attempt

    def _check_running(self, operation_id: str, attempt: int, holder_sign: int | None) -> None:
        life = self._life(operation_id)
        if life is None or life.state is not OperationState.RUNNING or life.attempt != attempt:
            current = 0 if life is None else life.attempt
            fault = f"attempt {attempt} of operation {operation_id!r} is not running"
            raise OperationFenced(fault, operation_id=operation_id, attempt=current)
        if holder_sign is not None and self._sign(life.producer_id) != holder_sign:
            fault = f"the producer of operation {operation_id!r} is back"
            raise OperationFenced(fault, operation_id=operation_id, attempt=attempt)

    def _check_room(self, entry: EventToAppend) -> None:
        if owner_of(entry.scope) in self._operations.crowded:
            raise LimitExceeded(
                f"this subject has {MAX_LIVE_OF_OWNER:,} operations that have not ended",
                hint="End operations before you start others; `tidings ls --running` lists them.",
            )

    def _check_live(self, entry: EventToAppend) -> None:
        # Operations that the batch begins do not count: the limit is about memory, and these are few.
        if not self._operations.admits(owner_of(entry.scope), entry.max_live):
            raise LimitExceeded(
                f"this hub has {len(self._operations):,} operations that have not ended",
                hint="End operations before you start others; `tidings ls --running` lists them.",
            )

    # Events that name no operation.

    def _with_operation(self, entry: EventToAppend, search: OperationSearch) -> EventToAppend:
        operation_id = self._find_operation(entry, search)
        if operation_id is not None:
            return structs.replace(entry, event=with_operation(entry.event, operation_id))
        if search.required:
            raise Forbidden(f"no grant to publish {entry.event.type} without an operation")
        return entry

    def _find_operation(self, entry: EventToAppend, search: OperationSearch) -> str | None:
        """Return the only live operation of the event's trace that its producer may write to; None if not exactly one.

        Operations that another producer holds do not count.
        """
        trace_id, found = entry.event.trace_id, None
        for operation_id in {*self._operations.of_trace(trace_id), *self._lives}:
            life = self._life(operation_id)
            if life is None or not life.live or life.trace_id != trace_id:
                continue
            if life.producer_id not in ("", entry.producer_id):
                continue
            if search.writable is not None and not all(
                paths.matches(channel, operation_id) for channel, paths in search.writable
            ):
                continue
            if found is not None:
                return None
            found = operation_id
        return found
