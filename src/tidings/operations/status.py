"""Status of one operation: the projection that lists, views and clients show (docs/protocol/operations.md).

A fold over the events of the operation's key, in log order. Unlike `tidings.operations.lifecycle`, it does not decide
which events are legal.
"""

from collections.abc import Callable
from itertools import accumulate, takewhile
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

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
from tidings.protocol.timestamps import stored_nanoseconds

_MAX_TIMELINE = 64
"""Maximum state changes kept for one operation, enough for thirty attempts; beyond it, the first and the newest."""
_MAX_BRIEF_CHARS = 200
"""Maximum characters of a message in the timeline, which keeps those of all attempts."""
_MILESTONE = 10.0
"""Percent between two times that are kept of an attempt, for the usual course of its name."""
MAX_MILESTONES = 9
"""Number of these times: at 100 % the attempt has ended."""
_MAX_STEPS = 200
"""Maximum steps kept of one attempt."""
_MAX_METADATA_BYTES = 4 << 10
"""Maximum size of an event whose `metadata` or `result` is kept here. Larger ones, and those with integers beyond 64
bits, are in the log only."""
MAX_DURATION_MS = 2**63 / 1e6
"""Maximum duration of an attempt, in milliseconds: 292 years, which is 2^63 nanoseconds. A longer one that a producer
reports is in the log only."""
_MAX_TEXT_CHARS = 2_000
"""Maximum characters kept of a message, a reason, a command or a hint; the whole text is in the log."""
_MAX_NAME_CHARS = 256
"""Maximum characters kept of a name: of the operation, a step, a host or a user."""
_MAX_STEP_CHARS = 8_000
"""Maximum characters kept of the names of the steps of one attempt, planned ones and others."""
_OVERHEAD_BYTES = 128
"""Size of an operation's row in a log besides its status."""
_UNKNOWN_BYTES = 4_096
"""Size that counts for a status that cannot be encoded."""
_MAX_DETAILS_CHARS = 8 << 10
"""Maximum characters kept of an error's details: the last ones, because the end of a stack is the most useful part."""

MAX_DELAY_NS = 5_000_000_000
"""Longest time from an event's timestamp to its receipt, in nanoseconds, for which the two clocks count as equal."""

CUT_MARKS = ("…", "...")
"""The end of a text that was cut. The second one is for plain ASCII, which then takes a third of the memory: "…"
doubles the size of its characters, and encoding it leaves a copy."""
_PROGRESS, _LOG = Transition.PROGRESS, Transition.LOG  # for nearly every event; looked up, an enum's member costs more

_Text = TypeVar("_Text", str, str | None)


class StepStatus(Struct, kw_only=True, gc=False):
    """One step that an attempt has reached."""

    name: str
    started_ns: int
    ended_ns: int | None = None
    ended_progress: float | None = None
    """Progress of the attempt in percent when the step ended; None where it was unknown."""


class StateChange(Struct, frozen=True, kw_only=True, gc=False):
    """A change of an operation's state."""

    at_ns: int
    state: OperationState
    attempt: int
    offset: int = 0
    """Offset of the event; 0 where it is unknown."""
    code: str | None = None
    """Code of the error, of an attempt that failed."""
    message: str | None = None
    """Message of that error, or the reason for cancelling; its beginning."""


class OperationStatus(Struct, kw_only=True):
    """Status of one operation after the events so far. Times are nanoseconds since 1970.

    `queued_ns`, `started_ns` and `ended_ns` are by the publisher's clock, but never later than the hub's clock at
    receipt, so that events kept while the hub was unreachable have the time at which they happened.
    """

    operation_id: str
    life: OperationLife
    owner: str = ""
    """The subject that published its first event; "" without authentication."""
    name: str = ""
    parent_id: str | None = None
    resumes: str | None = None
    host: str | None = None
    pid: int | None = None
    command: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    planned: list[str] = []
    """Names of the planned steps, from `operation:start`."""
    queued_ns: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    lag_ns: int = 0
    """Shortest delay of the attempt's events, from timestamp to receipt; 0 where it is under five seconds.

    The producer's clock is slow by this, unless all of these events were kept while the hub was unreachable.
    """
    first_lag_ns: int = 0
    """Delay of the event that queued the attempt, or began it, as in `lag_ns`."""
    heard_ns: int = 0
    """Time at which the hub received the newest event."""
    advanced_ns: int | None = None
    """Time at which progress last rose, by the hub's clock."""
    progress: float | None = None
    """Greatest progress of the attempt in percent; None where it is unknown."""
    indeterminate: bool = False
    current_step: str = ""
    total_steps: int = 0
    message: str | None = None
    steps: list[StepStatus] = []
    timeline: list[StateChange] = []
    milestones_s: list[float] = []
    """Seconds from the start of the attempt until its progress reached 10, 20, … 90 %, as far as it did."""
    warnings: int = 0
    """Log lines of the attempt at the level `warning`."""
    errors: int = 0
    """Log lines of the attempt at the level `error` or above."""
    lines: int = 0
    """Log lines of all attempts, whether the log still has them or not."""
    duration_ms: float | None = None
    """Duration that the producer measured; None where it reported none."""
    result: Any = None
    error: ErrorData | None = None
    reason: str | None = None
    cancelled_by: str | None = None
    first_offset: int = 0
    """Offset of the operation's first event; 0 where it is unknown."""
    log_offset: int = 0
    """Offset of the newest log line; 0 where there is none."""
    offset: int = 0
    """Offset of the newest applied event."""
    number: int = 0
    """Sequence number of the operation among all operations, in the order of their first events."""

    @property
    def state(self) -> OperationState:
        """State of the current attempt."""
        return self.life.state

    @property
    def live(self) -> bool:
        """Whether the current attempt has not ended."""
        return self.life.live

    @property
    def began_ns(self) -> int | None:
        """Time at which the attempt started, by the hub's clock; None where it has not started."""
        return None if self.started_ns is None else self.started_ns + self.lag_ns

    @property
    def clock_lag_ns(self) -> int:
        """Correction of the attempt's times to the hub's clock, in nanoseconds.

        The events of an ended attempt that were kept while the hub was unreachable arrived at one time: their delays
        differ by its duration. If its events arrived with one delay instead, its clock is slow. A short attempt may be
        either, and its times are those of its producer.
        """
        if self.live or not self.lag_ns:
            return self.lag_ns
        took_ns = (self.ended_ns or 0) - (self.started_ns or self.queued_ns or 0)
        is_slow = took_ns > 2 * MAX_DELAY_NS and self.first_lag_ns - self.lag_ns <= MAX_DELAY_NS
        return self.lag_ns if is_slow else 0

    @property
    def duration_s(self) -> float | None:
        """Duration of the attempt in seconds; None where it has not ended or never started."""
        if self.duration_ms is not None:
            return self.duration_ms / 1000
        if self.started_ns is None or self.ended_ns is None:
            return None
        return max(0, self.ended_ns - self.started_ns) / 1e9

    def size(self) -> int:
        """Return about how many bytes the operation takes in a log."""
        try:
            return _OVERHEAD_BYTES + len(msgspec.msgpack.encode(self))
        except (OverflowError, TypeError, ValueError):
            return _UNKNOWN_BYTES

    def apply(self, event: Event, received_ns: int, life: OperationLife, offset: int = 0) -> None:
        """Apply an event after which the operation's life is `life`.

        Args:
            event: An event of one of `TRANSITIONS`.
            received_ns: Time at which the hub received the event, in nanoseconds since 1970.
            life: The new life; see `tidings.operations.lifecycle.apply_event`.
            offset: Offset of the event; 0 if it is not known.
        """
        transition = TRANSITIONS[event.type]
        before, self.life = self.life, life
        self.heard_ns = received_ns  # not the latest: the clock may have been set back in between
        if self.lag_ns:
            self.lag_ns = min(self.lag_ns, _delay_ns(event, received_ns))
        if transition is _PROGRESS:
            # Usually the life is the same object; a new one may differ only in its holder or lease.
            if not self.timeline or (life is not before and _changes_state(before, life)):
                self._enter_state(before, life, event, received_ns, offset)
            self._apply_progress(event, received_ns)
            return
        if transition is _LOG:
            self._count_line(event.data)
            return
        if not self.timeline or _changes_state(before, life):
            self._enter_state(before, life, event, received_ns, offset)
        if transition in END_STATES:
            self._apply_end(transition, event.data, stored_nanoseconds(event.timestamp, received_ns))
            if self.error is not None or self.reason is not None:
                self.timeline[-1] = self._explain(self.timeline[-1])
        else:
            self._apply_start(event.data)

    def _enter_state(
        self, before: OperationLife, life: OperationLife, event: Event, received_ns: int, offset: int
    ) -> None:
        at_ns = stored_nanoseconds(event.timestamp, received_ns)
        if life.live:
            self.lag_ns = self.first_lag_ns = _delay_ns(event, received_ns)
        if life.attempt != before.attempt and self.timeline:
            self._reset_attempt()
        if life.state is OperationState.QUEUED:
            self.queued_ns = at_ns
        elif self.started_ns is None:
            self.started_ns = at_ns
        self.timeline.append(StateChange(at_ns=at_ns, state=life.state, attempt=life.attempt, offset=offset))
        if len(self.timeline) > _MAX_TIMELINE:
            del self.timeline[1]

    def _reset_attempt(self) -> None:
        self.queued_ns = self.started_ns = self.ended_ns = self.advanced_ns = None
        self.progress = self.message = self.duration_ms = self.result = None
        self.error = self.reason = self.cancelled_by = None
        self.indeterminate, self.current_step = False, ""
        self.steps, self.milestones_s = [], []
        self.warnings = self.errors = 0

    def _count_line(self, data: bytes) -> None:
        self.lines += 1
        if not _may_be_serious(data):  # nearly every line
            return
        line = _decode_line(data)
        if line is None:
            return
        if line.level == "warning":
            self.warnings += 1
        elif line.level in _ERROR_LEVELS:
            self.errors += 1

    def _explain(self, end: StateChange) -> StateChange:
        if self.error is None:
            return structs.replace(end, message=_clip(self.reason, _MAX_BRIEF_CHARS))
        return structs.replace(end, code=self.error.code, message=_clip(self.error.message, _MAX_BRIEF_CHARS))

    def _apply_start(self, data: bytes) -> None:
        start = _decode_start(data)
        if start is None:
            return
        self.name = _clip(start.name, _MAX_NAME_CHARS) or self.name
        if start.parent_id and len(start.parent_id) <= _MAX_NAME_CHARS:  # operation ids are not longer
            self.parent_id = start.parent_id
        self.pid = self.pid if start.pid is None else start.pid
        if start.resumes is not None:
            self.resumes = _clip(start.resumes, _MAX_NAME_CHARS)
        if start.host is not None:
            self.host = _clip(start.host, _MAX_NAME_CHARS)
        if start.command is not None:
            self.command = _clip(start.command, _MAX_TEXT_CHARS)
        if start.user is not None:
            self.user = _clip(start.user, _MAX_NAME_CHARS)
        if start.metadata is not None and len(data) <= _MAX_METADATA_BYTES and _is_encodable(start.metadata):
            self.metadata = start.metadata
        if start.steps:
            names = [_clip(name, _MAX_NAME_CHARS) for name in start.steps[:_MAX_STEPS]]
            fit = takewhile(lambda chars: chars <= _MAX_STEP_CHARS, accumulate(map(len, names)))
            self.planned = names[: len(list(fit))]
            self.total_steps = len(self.planned) or self.total_steps
        self.total_steps = start.total_steps or self.total_steps

    def _apply_progress(self, event: Event, received_ns: int) -> None:
        progress = _decode_progress(event.data)
        if progress is None:
            return
        self.indeterminate = progress.indeterminate
        if not progress.indeterminate and (self.progress is None or progress.progress > self.progress):
            self.progress = progress.progress
            self.advanced_ns = received_ns
            if len(self.milestones_s) < min(MAX_MILESTONES, progress.progress // _MILESTONE):
                self._reach_milestones(progress.progress, stored_nanoseconds(event.timestamp, received_ns))
        step = _clip(progress.current_step, _MAX_NAME_CHARS)
        if step and step != self.current_step:
            self.current_step = step
            self.advanced_ns = received_ns
            self._enter_step(step, stored_nanoseconds(event.timestamp, received_ns))
        self.total_steps = progress.total_steps or self.total_steps
        self.message = _clip(progress.message, _MAX_TEXT_CHARS) or self.message

    def _reach_milestones(self, progress: float, at_ns: int) -> None:
        after_s = round(max(0, at_ns - (self.started_ns or at_ns)) / 1e9, 3)
        new = int(min(MAX_MILESTONES, progress // _MILESTONE)) - len(self.milestones_s)
        self.milestones_s = [*self.milestones_s, *[after_s] * new]

    def _enter_step(self, name: str, at_ns: int) -> None:
        self._end_step(at_ns)
        if len(self.steps) < _MAX_STEPS and sum(len(step.name) for step in self.steps) < _MAX_STEP_CHARS:
            self.steps.append(StepStatus(name=name, started_ns=at_ns))

    def _end_step(self, at_ns: int) -> None:
        if self.steps and self.steps[-1].ended_ns is None:
            self.steps[-1].ended_ns = at_ns
            self.steps[-1].ended_progress = self.progress

    def _apply_end(self, transition: Transition, data: bytes, at_ns: int) -> None:
        self.ended_ns = at_ns
        self._end_step(at_ns)
        if transition is Transition.COMPLETE:
            self.progress, self.indeterminate = 100.0, False
            completed = _decode_complete(data)
            if completed is None:
                return
            self.message = _clip(completed.message, _MAX_TEXT_CHARS) or self.message
            if completed.duration_ms is not None:
                self.duration_ms = min(completed.duration_ms, MAX_DURATION_MS)
            is_kept = len(data) <= _MAX_METADATA_BYTES and _is_encodable(completed.result)
            self.result = completed.result if is_kept else None
        elif transition is Transition.FAIL:
            failed = _decode_failed(data)
            if failed is None:
                return
            self.error = ErrorData(
                code=failed.code,
                message=_clip(failed.message, _MAX_TEXT_CHARS),
                details=(failed.details or "")[-_MAX_DETAILS_CHARS:] or None,
                recoverable=failed.recoverable,
                hint=_clip(failed.hint, _MAX_TEXT_CHARS),
            )
        else:
            cancelled = _decode_cancelled(data)
            if cancelled is None:
                return
            self.reason = _clip(cancelled.reason, _MAX_TEXT_CHARS)
            self.cancelled_by = _clip(cancelled.cancelled_by, _MAX_NAME_CHARS)


def _clip(text: _Text, most: int) -> _Text:
    """Return `text`, cut to at most `most` characters."""
    if text is None or len(text) <= most:
        return text
    mark = CUT_MARKS[text.isascii()]
    return text[: most - len(mark)] + mark


def _is_encodable(value: Any) -> bool:
    """Return whether the decoded `value` can be encoded as MessagePack; JSON integers may be larger."""
    try:
        msgspec.msgpack.encode(value)
    except OverflowError:
        return False
    return True


def _delay_ns(event: Event, received_ns: int) -> int:
    """Return the time from the event's timestamp to its receipt; 0 if it is short."""
    delay_ns = received_ns - stored_nanoseconds(event.timestamp, received_ns)
    return delay_ns if delay_ns > MAX_DELAY_NS else 0


def _changes_state(before: OperationLife, after: OperationLife) -> bool:
    return after.state is not before.state or after.attempt != before.attempt


class _Line(Struct, frozen=True, gc=False):
    """The level of a log line."""

    level: str = "info"


_ERROR_LEVELS = frozenset({"error", "critical"})


def _may_be_serious(data: bytes) -> bool:
    """Return whether a log line may have a level above `info`; most lines contain none of these words."""
    return (
        b'"warning"' in data
        or b'"error"' in data
        or b'"critical"' in data
        or (b"\\" in data and b"\\u" in data)  # one byte is found three times as fast as two
    )


_T = TypeVar("_T")


def _lenient_decoder(payload: type[_T]) -> Callable[[bytes], _T | None]:
    """Return a decoder that gives None for data that does not fit: a log may hold events of another contract."""
    decode = msgspec.json.Decoder(payload).decode

    def read(data: bytes) -> _T | None:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    return read


_decode_line = _lenient_decoder(_Line)
_decode_start = _lenient_decoder(OperationStartData)
_decode_progress = _lenient_decoder(OperationProgressData)
_decode_complete = _lenient_decoder(OperationCompleteData)
_decode_failed = _lenient_decoder(OperationFailedData)
_decode_cancelled = _lenient_decoder(OperationCancelledData)


def new_status(
    operation_id: str, event: Event, received_ns: int, life: OperationLife, offset: int = 0
) -> OperationStatus:
    """Return the status of an operation whose first known event is `event`, of one of `TRANSITIONS`."""
    assert event.type in TRANSITIONS
    status = OperationStatus(operation_id=operation_id, life=life)
    status.apply(event, received_ns, life, offset)
    return status
