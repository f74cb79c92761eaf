"""The life of an operation: what is legal, in one table (CONTRACT §4).

Pure and deterministic: the same events in the same order make the same lives, on whatever node they are folded. The
diagram in PROTOCOL.md is drawn from `TABLE` by `render_diagram`.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec
from msgspec import Struct

from tidings.exceptions import OperationError, OperationExists, OperationFenced, OperationFinished
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import ChannelType, MessageType


class OperationState(StrEnum):
    """Where an operation's present attempt is."""

    QUEUED = "queued"
    """Accepted, not begun."""
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Transition(StrEnum):
    """What an event asks of an operation."""

    QUEUE = "start (queued)"
    START = "start"
    PROGRESS = "progress"
    LOG = "log"
    COMPLETE = "complete"
    FAIL = "failed"
    CANCEL = "cancelled"


_QUEUED, _RUNNING = OperationState.QUEUED, OperationState.RUNNING
LIVE_STATES: frozenset[OperationState] = frozenset({_QUEUED, _RUNNING})
"""The states that an attempt leaves again."""
END_STATES: Mapping[Transition, OperationState] = {
    Transition.COMPLETE: OperationState.COMPLETE,
    Transition.FAIL: OperationState.FAILED,
    Transition.CANCEL: OperationState.CANCELLED,
}
TRANSITIONS: Mapping[str, Transition] = {
    str(type): ask
    for type, ask in (
        (MessageType.OPERATION_START, Transition.START),
        (MessageType.OPERATION_PROGRESS, Transition.PROGRESS),
        (MessageType.OPERATION_LOG, Transition.LOG),
        (MessageType.OPERATION_COMPLETE, Transition.COMPLETE),
        (MessageType.OPERATION_FAILED, Transition.FAIL),
        (MessageType.OPERATION_CANCELLED, Transition.CANCEL),
    )
}
"""The types that say something of an operation's life. `Transition.QUEUE` is a start whose payload says so."""
_CONTINUING = frozenset({str(MessageType.OPERATION_PROGRESS), str(MessageType.OPERATION_LOG)})
"""Types that change nothing of what runs."""
OPERATION_CHANNELS = frozenset({str(ChannelType.OPERATIONS), str(ChannelType.GLOBAL)})
"""Where they go."""


class StateEffect(Struct, frozen=True):
    """What an event does: the state it leads to; None stays unknown."""

    to: OperationState | None
    begins: bool = False
    """Whether it begins an attempt."""


Row = Mapping[Transition, StateEffect | type[OperationError]]


def _live_row(state: OperationState, **more: StateEffect | type[OperationError]) -> Row:
    return {
        Transition.START: StateEffect(_RUNNING),
        Transition.PROGRESS: StateEffect(_RUNNING),
        Transition.LOG: StateEffect(state),
        **{ask: StateEffect(end) for ask, end in END_STATES.items()},
        **{Transition[name]: move for name, move in more.items()},
    }


_ENDED_ROW: Row = {
    Transition.QUEUE: StateEffect(_QUEUED, begins=True),
    Transition.START: StateEffect(_RUNNING, begins=True),
    **dict.fromkeys((Transition.PROGRESS, Transition.LOG, *END_STATES), OperationFinished),
}

TABLE: Mapping[OperationState | None, Row] = {
    None: {
        Transition.QUEUE: StateEffect(_QUEUED, begins=True),
        Transition.START: StateEffect(_RUNNING, begins=True),
        Transition.PROGRESS: StateEffect(_RUNNING, begins=True),
        Transition.LOG: StateEffect(None),
        **{ask: StateEffect(end, begins=True) for ask, end in END_STATES.items()},
    },
    _QUEUED: _live_row(_QUEUED, QUEUE=StateEffect(_QUEUED)),
    _RUNNING: _live_row(_RUNNING, QUEUE=OperationExists),
    **dict.fromkeys(END_STATES.values(), _ENDED_ROW),
}
"""By the present attempt's state (None: there is no such operation) and what is asked: what happens, or the refusal."""


class OperationLife(Struct, frozen=True, gc=False):
    """What decides what may happen to an operation next."""

    attempt: int
    state: OperationState
    trace_id: str
    """Of the event that the attempt began with."""
    producer_id: str = ""
    """Who holds it: only they may write to it while it runs. "" where nobody asked to."""
    lease_s: float = 0.0
    """How long it outlives its holder's connection; 0 is for ever."""

    @property
    def live(self) -> bool:
        """Whether the attempt has not ended."""
        return self.state in LIVE_STATES


class _DecisiveFields(Struct, frozen=True, gc=False):
    """What of a payload decides."""

    attempt: int | None = None
    queued: bool = False


_decode_decisive = msgspec.json.Decoder(_DecisiveFields).decode
_NO_DECISIVE_FIELDS = _DecisiveFields()


def transition_of(event: Event) -> tuple[Transition, int | None]:
    """Return what a checked event of one of `TRANSITIONS` asks, and the attempt that it names."""
    ask = TRANSITIONS[event.type]
    data = event.data
    # A member's name cannot be written otherwise without a backslash; most events name no attempt.
    if b'"attempt"' in data or b'"queued"' in data or b"\\" in data:
        try:
            said = _decode_decisive(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # in a log: what is published was checked
            said = _NO_DECISIVE_FIELDS
        return (Transition.QUEUE if said.queued and ask is Transition.START else ask), said.attempt or None
    return ask, None


def apply_event(
    operation_id: str,
    life: OperationLife | None,
    event: Event,
    *,
    producer_id: str = "",
    lease_s: float = 0.0,
    by_hub: bool = False,
) -> OperationLife | None:
    """Return the life of an operation after `event`; the same object where it changes nothing.

    Args:
        operation_id: The operation.
        life: Its life before; None where there is none.
        event: A checked event of one of `TRANSITIONS`.
        producer_id: Who writes it; "" for somebody who has not said.
        lease_s: The lease that its writer asks for.
        by_hub: Whether nobody's holding matters: the hub itself writes, or the event is in the log already.

    Raises:
        OperationExists: It would begin what is live.
        OperationFinished: The attempt has ended.
        OperationFenced: It is of another attempt, or its writer does not hold the operation.
    """
    data = event.data
    if (
        life is not None
        and life.state is _RUNNING
        and producer_id == life.producer_id
        and event.type in _CONTINUING
        and not (b'"attempt"' in data or b"\\" in data)
    ):
        return life  # nearly every event: in place, because it is done twice an event
    ask, named = transition_of(event)
    state = None if life is None else life.state
    present = 0 if life is None else life.attempt
    if named is not None and named != present and life is not None:
        state = _state_of_attempt(operation_id, life, ask, named)
    move = TABLE[state][ask]
    if isinstance(move, type):
        raise move(_FAULTS[move].format(operation_id, present), operation_id=operation_id, attempt=present)
    if move.begins and named == present and life is not None:
        fault = _FAULTS[OperationFinished].format(operation_id, present)
        raise OperationFinished(fault, operation_id=operation_id, attempt=present)
    if move.to is None:
        return life
    if life is None or move.begins:
        attempt = max(1, named if named is not None else present + 1)
        return OperationLife(attempt, move.to, event.trace_id, producer_id, lease_s if producer_id else 0.0)
    if producer_id != life.producer_id and not by_hub:
        if life.producer_id and life.state is _RUNNING:
            raise _held_error(operation_id, life, ask)
        if producer_id and move.to is _RUNNING:  # whoever begins what was queued holds it from then on
            return OperationLife(life.attempt, move.to, life.trace_id, producer_id, lease_s)
    if by_hub and producer_id and (producer_id, lease_s) != (life.producer_id, life.lease_s) and move.to is _RUNNING:
        return OperationLife(life.attempt, move.to, life.trace_id, producer_id, lease_s)
    return life if move.to is life.state else msgspec.structs.replace(life, state=move.to)


def _state_of_attempt(operation_id: str, life: OperationLife, ask: Transition, named: int) -> OperationState | None:
    """Return the state to go by where an event names another attempt than the present one."""
    if named > life.attempt and not life.live:
        return None  # a later attempt, of which this is the first that is heard
    if named > life.attempt and ask in (Transition.START, Transition.QUEUE):
        fault = f"attempt {life.attempt} of operation {operation_id!r} has not ended: attempt {named} cannot begin"
        raise OperationExists(fault, operation_id=operation_id, attempt=life.attempt)
    fault = f"operation {operation_id!r} is at attempt {life.attempt}, not {named}"
    raise OperationFenced(fault, operation_id=operation_id, attempt=life.attempt)


def _held_error(operation_id: str, life: OperationLife, ask: Transition) -> OperationError:
    fault = f"another producer holds operation {operation_id!r}"
    kind = OperationExists if ask in (Transition.START, Transition.QUEUE) else OperationFenced
    return kind(fault, operation_id=operation_id, attempt=life.attempt)


_FAULTS: dict[type[OperationError], str] = {
    OperationExists: "attempt {1} of operation {0!r} is running already",
    OperationFinished: "attempt {1} of operation {0!r} has ended",
}


def render_diagram() -> str:
    """Return the table as a Mermaid state diagram, for PROTOCOL.md."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in TABLE.items():
        for ask, move in row.items():
            if isinstance(move, type) or (move.to is state and not move.begins) or move.to is None:
                continue
            arrows.setdefault((state or "[*]", move.to), []).append(
                f"{ask}, next attempt" if state and move.begins else ask
            )
    lines = [f"    {source} --> {target}: {' · '.join(asks)}" for (source, target), asks in arrows.items()]
    return "\n".join(["stateDiagram-v2", *lines])
