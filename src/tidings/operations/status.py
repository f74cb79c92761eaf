"""What is known of one operation: the projection that lists, views and clients show (CONTRACT §4).

A fold over the events of its key, in log order. Unlike `tidings.operations.lifecycle`, it decides nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from tidings.operations.lifecycle import END_STATES, TRANSITIONS, OperationLife, OperationState, Transition
from tidings.protocol.envelope import Event
from tidings.protocol.payloads import (
    ErrorData,
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationProgressData,
    OperationStartData,
)
from tidings.protocol.timestamps import to_nanoseconds

_MAX_TIMELINE = 64
"""Changes of state that are remembered: thirty attempts; of more, the first and the newest are kept."""
_MAX_STEPS = 200
_MAX_METADATA_BYTES = 4 << 10
"""Bytes of `metadata` and `result` that are kept with the operation; larger ones are in the log only, as are those with
integers beyond 64 bits."""

_MAX_DETAILS_CHARS = 8 << 10
"""Characters of an error's details that are kept with it: the end of a stack says most."""


class StepStatus(Struct, kw_only=True):
    """One step that an attempt has come to."""

    name: str
    started_ns: int
    ended_ns: int | None = None


class StateChange(Struct, frozen=True, kw_only=True):
    """A change of an operation's state."""

    at_ns: int
    state: OperationState
    attempt: int


class OperationStatus(Struct, kw_only=True):
    """One operation, as the events so far tell it. Times are nanoseconds since 1970.

    `started_ns` and its like are the publisher's own clock, but never later than the hub's at receipt, so that what was
    kept while the hub was away is told when it happened.
    """

    operation_id: str
    life: OperationLife
    name: str = ""
    parent_id: str | None = None
    resumes: str | None = None
    host: str | None = None
    pid: int | None = None
    command: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    planned: list[str] = []
    """The names of the steps, as the start gave them."""
    queued_ns: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    heard_ns: int = 0
    """When the newest event came, by the hub's clock."""
    advanced_ns: int | None = None
    """When progress last rose, by the hub's clock."""
    progress: float | None = None
    """The greatest of this attempt; None where nobody knows."""
    indeterminate: bool = False
    current_step: str = ""
    total_steps: int = 0
    message: str | None = None
    steps: list[StepStatus] = []
    timeline: list[StateChange] = []
    duration_ms: float | None = None
    """What the producer measured, where it said."""
    result: Any = None
    error: ErrorData | None = None
    reason: str | None = None
    cancelled_by: str | None = None
    first_offset: int = 0
    """Of its first event; 0 where nobody noted it."""
    log_offset: int = 0
    """Of its newest log line; 0 where it has none."""
    offset: int = 0
    """Of the newest event folded in."""
    number: int = 0
    """Its place among all operations, by their first event."""

    @property
    def state(self) -> OperationState:
        """Where its present attempt is."""
        return self.life.state

    @property
    def live(self) -> bool:
        """Whether its present attempt has not ended."""
        return self.life.live

    @property
    def duration_s(self) -> float | None:
        """How long the attempt took, in seconds; None where it has not ended or never began."""
        if self.duration_ms is not None:
            return self.duration_ms / 1000
        if self.started_ns is None or self.ended_ns is None:
            return None
        return max(0, self.ended_ns - self.started_ns) / 1e9

    def note(self, event: Event, received_ns: int, life: OperationLife) -> None:
        """Fold in an event after which the operation's life is `life`.

        Args:
            event: One of `TRANSITIONS`.
            received_ns: When the hub received it, nanoseconds since 1970.
            life: See `tidings.operations.lifecycle.apply_event`.
        """
        ask = TRANSITIONS[event.type]
        before, self.life = self.life, life
        self.heard_ns = max(self.heard_ns, received_ns)
        if ask is Transition.PROGRESS:
            # Most often the very same life; another may only have another holder or lease.
            if not self.timeline or (life is not before and _changes_state(before, life)):
                self._enter(before, life, min(to_nanoseconds(event.timestamp), received_ns))
            self._progress(event, received_ns)
            return
        if ask is Transition.LOG:
            return
        at_ns = min(to_nanoseconds(event.timestamp), received_ns)
        if not self.timeline or _changes_state(before, life):
            self._enter(before, life, at_ns)
        if ask in END_STATES:
            self._end(ask, event.data, at_ns)
        else:
            self._start(event.data)

    def _enter(self, before: OperationLife, life: OperationLife, at_ns: int) -> None:
        if life.attempt != before.attempt and self.timeline:
            self._begin_anew()
        if life.state is OperationState.QUEUED:
            self.queued_ns = at_ns
        elif self.started_ns is None:
            self.started_ns = at_ns
        self.timeline.append(StateChange(at_ns=at_ns, state=life.state, attempt=life.attempt))
        if len(self.timeline) > _MAX_TIMELINE:
            del self.timeline[1]

    def _begin_anew(self) -> None:
        self.queued_ns = self.started_ns = self.ended_ns = self.advanced_ns = None
        self.progress = self.message = self.duration_ms = self.result = None
        self.error = self.reason = self.cancelled_by = None
        self.indeterminate, self.current_step = False, ""
        self.steps = []

    def _start(self, data: bytes) -> None:
        said = _decode_start(data)
        if said is None:
            return
        self.name = said.name or self.name
        self.parent_id = said.parent_id or self.parent_id
        for name in ("resumes", "host", "pid", "command", "user"):
            value = getattr(said, name)
            if value is not None:
                setattr(self, name, value)
        if said.metadata is not None and len(data) <= _MAX_METADATA_BYTES and _is_encodable(said.metadata):
            self.metadata = said.metadata
        self.planned = (said.steps or self.planned)[:_MAX_STEPS]
        self.total_steps = said.total_steps or len(self.planned) or self.total_steps

    def _progress(self, event: Event, received_ns: int) -> None:
        said = _decode_progress(event.data)
        if said is None:
            return
        self.indeterminate = said.indeterminate
        if not said.indeterminate and (self.progress is None or said.progress > self.progress):
            self.progress = said.progress
            self.advanced_ns = received_ns
        if said.current_step and said.current_step != self.current_step:
            self.current_step = said.current_step
            self.advanced_ns = received_ns
            self._step(said.current_step, min(to_nanoseconds(event.timestamp), received_ns))
        self.total_steps = said.total_steps or self.total_steps
        self.message = said.message or self.message

    def _step(self, name: str, at_ns: int) -> None:
        if self.steps and self.steps[-1].ended_ns is None:
            self.steps[-1].ended_ns = at_ns
        if len(self.steps) < _MAX_STEPS:
            self.steps.append(StepStatus(name=name, started_ns=at_ns))

    def _end(self, ask: Transition, data: bytes, at_ns: int) -> None:
        self.ended_ns = at_ns
        if self.steps and self.steps[-1].ended_ns is None:
            self.steps[-1].ended_ns = at_ns
        if ask is Transition.COMPLETE:
            self.progress, self.indeterminate = 100.0, False
            completed = _decode_complete(data)
            if completed is None:
                return
            self.message = completed.message or self.message
            self.duration_ms = completed.duration_ms
            is_kept = len(data) <= _MAX_METADATA_BYTES and _is_encodable(completed.result)
            self.result = completed.result if is_kept else None
        elif ask is Transition.FAIL:
            failed = _decode_failed(data)
            if failed is None:
                return
            self.error = ErrorData(
                code=failed.code,
                message=failed.message,
                details=(failed.details or "")[-_MAX_DETAILS_CHARS:] or None,
                recoverable=failed.recoverable,
                hint=failed.hint,
            )
        else:
            cancelled = _decode_cancelled(data)
            if cancelled is None:
                return
            self.reason, self.cancelled_by = cancelled.reason, cancelled.cancelled_by


def _is_encodable(value: Any) -> bool:
    """Return whether `value`, decoded, can be encoded again: JSON has integers that nothing but JSON can hold."""
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        return False
    return True


def _changes_state(before: OperationLife, after: OperationLife) -> bool:
    return after.state is not before.state or after.attempt != before.attempt


_T = TypeVar("_T")


def _lenient_decoder(payload: type[_T]) -> Callable[[bytes], _T | None]:
    """Return what decodes a payload, or None where the data does not fit: a log may hold what another contract took."""
    decode = msgspec.json.Decoder(payload).decode

    def read(data: bytes) -> _T | None:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    return read


_decode_start = _lenient_decoder(OperationStartData)
_decode_progress = _lenient_decoder(OperationProgressData)
_decode_complete = _lenient_decoder(OperationCompleteData)
_decode_failed = _lenient_decoder(OperationFailedData)
_decode_cancelled = _lenient_decoder(OperationCancelledData)


def new_status(operation_id: str, event: Event, received_ns: int, life: OperationLife) -> OperationStatus:
    """Return the status of an operation of which `event`, one of `TRANSITIONS`, is the first that is known."""
    assert event.type in TRANSITIONS
    status = OperationStatus(operation_id=operation_id, life=life)
    status.note(event, received_ns, life)
    return status
