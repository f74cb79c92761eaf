"""The life of an operation: all legal transitions, in one table (docs/protocol/operations.md, "States").

Pure and deterministic: the same events in the same order give the same lives on every node. `render_diagram` draws the
diagram in the documentation from `TABLE`.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec
from msgspec import Struct

from tidings.exceptions import OperationError, OperationExists, OperationFenced, OperationFinished
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import ChannelType, MessageType

MAX_ATTEMPT = 2**31 - 1
"""Maximum number of an attempt. After the largest integer of the wire, the next attempt would have no valid number."""


_MAX_STORED_ATTEMPT = 2**63 - 1
"""Maximum attempt of an event that is in the log: older hubs counted on after the largest integer of the wire."""


class OperationState(StrEnum):
    """State of an operation's current attempt."""

    QUEUED = "queued"
    """Accepted, but not started."""
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Transition(StrEnum):
    """Transition that an event requests of an operation."""

    QUEUE = "start (queued)"
    START = "start"
    PROGRESS = "progress"
    LOG = "log"
    COMPLETE = "complete"
    FAIL = "failed"
    CANCEL = "cancelled"


_QUEUED, _RUNNING = OperationState.QUEUED, OperationState.RUNNING
LIVE_STATES: frozenset[OperationState] = frozenset({_QUEUED, _RUNNING})
"""States of an attempt that has not ended."""
END_STATES: Mapping[Transition, OperationState] = {
    Transition.COMPLETE: OperationState.COMPLETE,
    Transition.FAIL: OperationState.FAILED,
    Transition.CANCEL: OperationState.CANCELLED,
}
"""The transitions that end an attempt, and the state that each leads to."""
TRANSITIONS: Mapping[str, Transition] = {
    str(type): transition
    for type, transition in (
        (MessageType.OPERATION_START, Transition.START),
        (MessageType.OPERATION_PROGRESS, Transition.PROGRESS),
        (MessageType.OPERATION_LOG, Transition.LOG),
        (MessageType.OPERATION_COMPLETE, Transition.COMPLETE),
        (MessageType.OPERATION_FAILED, Transition.FAIL),
        (MessageType.OPERATION_CANCELLED, Transition.CANCEL),
    )
}
"""Transition by event type. `Transition.QUEUE` is an `operation:start` whose payload has `queued`."""
_CONTINUING = frozenset({str(MessageType.OPERATION_PROGRESS), str(MessageType.OPERATION_LOG)})
"""Event types that do not change the state of a running operation."""
OPERATION_CHANNELS = frozenset({str(ChannelType.OPERATIONS), str(ChannelType.GLOBAL)})
"""Channels that carry events of operations."""


class StateEffect(Struct, frozen=True):
    """Effect of a legal transition."""

    to: OperationState | None
    """The new state; None means that the operation stays unknown."""
    starts_attempt: bool = False
    """Whether the transition starts an attempt."""


Row = Mapping[Transition, StateEffect | type[OperationError]]


def _live_row(state: OperationState, **more: StateEffect | type[OperationError]) -> Row:
    return {
        Transition.START: StateEffect(_RUNNING),
        Transition.PROGRESS: StateEffect(_RUNNING),
        Transition.LOG: StateEffect(state),
        **{transition: StateEffect(end) for transition, end in END_STATES.items()},
        **{Transition[name]: effect for name, effect in more.items()},
    }


_ENDED_ROW: Row = {
    Transition.QUEUE: StateEffect(_QUEUED, starts_attempt=True),
    Transition.START: StateEffect(_RUNNING, starts_attempt=True),
    **dict.fromkeys((Transition.PROGRESS, Transition.LOG, *END_STATES), OperationFinished),
}

TABLE: Mapping[OperationState | None, Row] = {
    None: {
        Transition.QUEUE: StateEffect(_QUEUED, starts_attempt=True),
        Transition.START: StateEffect(_RUNNING, starts_attempt=True),
        Transition.PROGRESS: StateEffect(_RUNNING, starts_attempt=True),
        Transition.LOG: StateEffect(None),
        **{transition: StateEffect(end, starts_attempt=True) for transition, end in END_STATES.items()},
    },
    _QUEUED: _live_row(_QUEUED, QUEUE=StateEffect(_QUEUED)),
    _RUNNING: _live_row(_RUNNING, QUEUE=OperationExists),
    **dict.fromkeys(END_STATES.values(), _ENDED_ROW),
}
"""Effect, or error, of each transition, by the state of the current attempt; None: the operation does not exist."""


class OperationLife(Struct, frozen=True, gc=False):
    """The facts about an operation that decide which events are legal next."""

    attempt: int
    state: OperationState
    trace_id: str
    """Trace id of the event that started the attempt."""
    producer_id: str = ""
    """The producer that holds the operation: only it may publish while the operation runs. "" without a holder."""
    lease_s: float = 0.0
    """Lease in seconds: how long the operation outlives its holder's connection. 0 means without limit."""

    @property
    def live(self) -> bool:
        """Whether the attempt has not ended."""
        return self.state in LIVE_STATES


class _DecisiveFields(Struct, frozen=True, gc=False):
    """The fields of a payload that decide about a transition."""

    attempt: int | None = None
    queued: bool = False


_decode_decisive = msgspec.json.Decoder(_DecisiveFields).decode
_NO_DECISIVE_FIELDS = _DecisiveFields()


def transition_of(event: Event) -> tuple[Transition, int | None]:
    """Return the transition that a checked event of one of `TRANSITIONS` requests, and the attempt that it names."""
    transition = TRANSITIONS[event.type]
    data = event.data
    # A member's name can be written in another way only with a backslash; most events do not name an attempt.
    if b'"attempt"' in data or b'"queued"' in data or b"\\" in data:
        try:
            fields = _decode_decisive(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # only in a log: published events are checked
            fields = _NO_DECISIVE_FIELDS
        if fields.queued and transition is Transition.START:
            transition = Transition.QUEUE
        return transition, fields.attempt or None
    return transition, None


def apply_event(
    operation_id: str,
    life: OperationLife | None,
    event: Event,
    *,
    producer_id: str = "",
    lease_s: float = 0.0,
    by_hub: bool = False,
) -> OperationLife | None:
    """Return the life of an operation after `event`; the same object if the event does not change it.

    Args:
        operation_id: The operation.
        life: The life before the event; None where the operation does not exist.
        event: A checked event of one of `TRANSITIONS`.
        producer_id: The producer that publishes the event; "" for a publisher that is not attached.
        lease_s: The lease that the producer requests, in seconds.
        by_hub: Whether to ignore the holder: the hub itself publishes, or the event is already in the log.

    Raises:
        OperationExists: The event would start an operation that is live.
        OperationFinished: The attempt has ended.
        OperationFenced: The event names another attempt or one beyond `MAX_ATTEMPT`, or its producer does not hold the
            operation.
    """
    data = event.data
    if (
        life is not None
        and life.state is _RUNNING
        and producer_id == life.producer_id
        and event.type in _CONTINUING
        and not (b'"attempt"' in data or b"\\" in data)
    ):
        return life  # nearly every event; in place, because this runs twice for each event
    transition, named = transition_of(event)
    state = None if life is None else life.state
    current = 0 if life is None else life.attempt
    if named is not None and named != current and life is not None:
        state = _state_of_attempt(operation_id, life, transition, named)
    effect = TABLE[state][transition]
    if isinstance(effect, type):
        raise effect(_FAULTS[effect].format(operation_id, current), operation_id=operation_id, attempt=current)
    if effect.starts_attempt and named == current and life is not None:
        fault = _FAULTS[OperationFinished].format(operation_id, current)
        raise OperationFinished(fault, operation_id=operation_id, attempt=current)
    if effect.to is None:
        return life
    if life is None or effect.starts_attempt:
        attempt = max(1, named if named is not None else current + 1)
        if attempt > MAX_ATTEMPT and not by_hub:
            fault = f"invalid attempt {attempt} of operation {operation_id!r}: expected at most {MAX_ATTEMPT}"
            raise OperationFenced(fault, operation_id=operation_id, attempt=current)
        attempt = min(attempt, _MAX_STORED_ATTEMPT)
        return OperationLife(attempt, effect.to, event.trace_id, producer_id, lease_s if producer_id else 0.0)
    if producer_id != life.producer_id and not by_hub:
        if life.producer_id and life.state is _RUNNING:
            raise _held_error(operation_id, life, transition)
        if producer_id and effect.to is _RUNNING:  # the producer that starts a queued operation holds it from then on
            return OperationLife(life.attempt, effect.to, life.trace_id, producer_id, lease_s)
    if by_hub and producer_id and (producer_id, lease_s) != (life.producer_id, life.lease_s) and effect.to is _RUNNING:
        return OperationLife(life.attempt, effect.to, life.trace_id, producer_id, lease_s)
    return life if effect.to is life.state else msgspec.structs.replace(life, state=effect.to)


def _state_of_attempt(
    operation_id: str, life: OperationLife, transition: Transition, named: int
) -> OperationState | None:
    """Return the state to use where an event names another attempt than the current one."""
    if named > life.attempt and not life.live:
        return None  # a later attempt, whose first event this is
    if named > life.attempt and transition in (Transition.START, Transition.QUEUE):
        fault = f"attempt {life.attempt} of operation {operation_id!r} has not ended: attempt {named} cannot start"
        raise OperationExists(fault, operation_id=operation_id, attempt=life.attempt)
    fault = f"operation {operation_id!r} is at attempt {life.attempt}, not {named}"
    raise OperationFenced(fault, operation_id=operation_id, attempt=life.attempt)


def _held_error(operation_id: str, life: OperationLife, transition: Transition) -> OperationError:
    fault = f"another producer holds operation {operation_id!r}"
    kind = OperationExists if transition in (Transition.START, Transition.QUEUE) else OperationFenced
    return kind(fault, operation_id=operation_id, attempt=life.attempt)


_FAULTS: dict[type[OperationError], str] = {
    OperationExists: "attempt {1} of operation {0!r} is already running",
    OperationFinished: "attempt {1} of operation {0!r} has ended",
}


def render_diagram() -> str:
    """Return `TABLE` as a Mermaid state diagram, for the documentation."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for transition, effect in row.items():
            if isinstance(effect, type) or (effect.to is state and not effect.starts_attempt) or effect.to is None:
                continue
            arrows.setdefault((state or "[*]", effect.to), []).append(
                f"{transition}, next attempt" if state and effect.starts_attempt else transition
            )
    lines = [f"    {source} --> {target}: {' · '.join(labels)}" for (source, target), labels in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines])
