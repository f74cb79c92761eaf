"""Operations as `GET /v1/operations` and related routes return them (docs/protocol/http.md).

Structs that the hub encodes and any client decodes. Times are RFC 3339 in UTC, durations are in seconds, and unknown
values are left out.
"""

from typing import Any, Literal

from msgspec import Struct

from tidings.operations.lifecycle import OperationState
from tidings.protocol.payloads import ErrorData, Timestamp

Presence = Literal["attached", "away", "unknown"]
StepState = Literal["done", "running", "waiting", "stopped"]


class View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base class of all views."""


class EstimateView(View, frozen=True, kw_only=True):
    """The hub's estimate of the remaining time of a running operation."""

    rate: float | None = None
    """Progress in percent per second."""
    remaining_s: float | None = None
    remaining_low_s: float | None = None
    remaining_high_s: float | None = None
    stalled: bool
    """True: the operation is alive, but does not advance."""


class OperationSummary(View, frozen=True, kw_only=True):
    """One operation in a list: its current or last attempt."""

    operation_id: str
    name: str
    """Name of the operation; "" where it has none."""
    state: OperationState
    attempt: int
    trace_id: str
    parent_id: str | None = None
    progress: float | None = None
    """Percent done, 0–100; absent where it is unknown. Reported progress never falls within an attempt."""
    progress_of: Literal["children"] | None = None
    """`children`: the operation reports no progress, and `progress` is the weighted mean of its children, which falls
    when another child starts."""
    indeterminate: bool = False
    """True: the operation is alive, and the remaining work is unknown."""
    current_step: str | None = None
    total_steps: int | None = None
    step: int | None = None
    """Number of the current step, from 1."""
    step_ends: list[float] | None = None
    """Progress in percent at which earlier steps ended; absent for more than twelve."""
    warnings: int = 0
    """Log lines of the attempt at the level `warning`."""
    errors: int = 0
    """Log lines of the attempt at the level `error` or above."""
    message: str | None = None
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    heard_at: Timestamp
    """Time at which the hub received the newest event."""
    advanced_at: Timestamp | None = None
    """Time at which progress last rose."""
    duration_s: float | None = None
    """Duration of the attempt; absent while it runs."""
    producer_id: str | None = None
    """The producer that holds the operation."""
    lease_s: float | None = None
    """Lease: how long the operation outlives its producer's connection; absent means without limit."""
    presence: Presence | None = None
    """Whether the holder is connected; absent when the operation has ended."""
    away_since: str | None = None
    """Last sign of life of a holder that is away."""
    stalled: bool | None = None
    """True: the operation is alive, but does not advance; absent where the hub cannot determine it."""
    estimate: EstimateView | None = None
    error: ErrorData | None = None
    reason: str | None = None
    """Reason for the cancellation."""
    cancelled_by: str | None = None
    """The person or program that cancelled it, or requested that it ends."""
    cancel_requested_at: Timestamp | None = None
    """Time of the request to cancel it, while that is pending."""
    resumes: str | None = None
    host: str | None = None
    pid: int | None = None
    command: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class StepView(View, frozen=True, kw_only=True):
    """One step of an attempt."""

    name: str
    state: StepState
    """`waiting`: planned, but not reached. `stopped`: the attempt failed or was cancelled in this step."""
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    ended_progress: float | None = None
    """Progress in percent when it ended."""
    usual_s: float | None = None
    """Usual duration in successful runs of the name, in seconds."""


class MomentView(View, frozen=True, kw_only=True):
    """A change of an operation's state."""

    at: Timestamp
    state: OperationState
    attempt: int
    position: str | None = None
    """Position of the event in the log, which may no longer be kept."""
    code: str | None = None
    """Code of the error with which the attempt failed."""
    message: str | None = None
    """Beginning of that error's message, or of the reason for cancelling."""


class OperationLogView(View, frozen=True, kw_only=True):
    """One line of an operation's log, and its place."""

    position: str
    """Its position in the log, by which it can be found again."""
    at: Timestamp
    level: str
    message: str
    attempt: int | None = None
    """The attempt that logged it; absent where that is unknown."""


class OperationLogPage(View, frozen=True, kw_only=True):
    """Response of `GET /v1/operation-log`."""

    lines: list[OperationLogView]
    """The lines, in the order that was asked for."""
    next: str | None = None
    """Value of `after` for the next page; absent on the last page."""
    position: str
    """Position of the log's head, from which to follow further lines."""
    trimmed: bool = False
    """Whether older lines may be missing, because the log keeps no more."""


class AttemptView(View, frozen=True, kw_only=True):
    """One attempt of an operation."""

    attempt: int
    state: OperationState
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    duration_s: float | None = None
    position: str | None = None
    """Position of its first event."""
    code: str | None = None
    """Code of the error with which it failed."""
    message: str | None = None
    """Beginning of that error's message, or of the reason for cancelling."""


class CourseView(View, frozen=True, kw_only=True):
    """When the runs of a name usually reach a progress: four of five between `low_s` and `high_s`."""

    progress: float
    low_s: float
    likely_s: float
    high_s: float


class RunView(View, frozen=True, kw_only=True):
    """One run of a name, in brief: the current or last attempt of an operation, or an earlier one."""

    operation_id: str
    attempt: int
    state: OperationState
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    duration_s: float | None = None


class LogLineView(View, frozen=True, kw_only=True):
    """One line of an operation's log."""

    at: Timestamp
    level: str
    message: str


class UsualView(View, frozen=True, kw_only=True):
    """Statistics of the runs of a name."""

    runs: int
    """Number of attempts that have ended."""
    failed: int
    """Number of attempts that have failed."""
    median_duration_s: float | None = None
    """Median duration of the newest twenty successful attempts."""
    p95_duration_s: float | None = None
    """Duration within which 95 % of them ended."""
    last_success_at: Timestamp | None = None
    band: list[CourseView] | None = None
    """The usual course of successful attempts: seconds after the start at 10, 20, … 100 %."""


class OperationDetail(OperationSummary, frozen=True, kw_only=True):
    """One operation with all its details."""

    steps: list[StepView]
    timeline: list[MomentView]
    """State changes of all attempts, oldest first."""
    attempts: list[AttemptView]
    """The newest attempts, oldest first."""
    log: list[LogLineView]
    """The newest log lines, oldest first."""
    children: list[OperationSummary]
    """The newest operations that name this one as their parent, oldest first."""
    result: Any = None
    usual: UsualView | None = None
    """Statistics of the runs of the operation's name."""
    milestones_s: list[float] | None = None
    """Seconds from the start until the progress reached 10, 20, … 90 %, as far as it did."""
    previous: RunView | None = None
    """The run of this name that began before."""
    next: RunView | None = None
    """The run of this name that began after."""


class TotalsView(Struct, frozen=True, kw_only=True):
    """How many operations match, whatever page of them is shown."""

    matching: int = 0
    """Operations that match the query."""
    queued: int = 0
    """Queued operations that match it but for `state`; and so on."""
    running: int = 0
    complete: int = 0
    failed: int = 0
    cancelled: int = 0
    stalled: int = 0
    """Running operations among these that do not advance."""
    away: int = 0
    """Running operations among these whose producer is not connected."""


class OperationPage(View, frozen=True, kw_only=True):
    """Response of `GET /v1/operations`."""

    operations: list[OperationSummary]
    """The operations, the most recently started first."""
    position: str | None = None
    """Position in the log from which to read on: the operations include all events before it, and maybe later ones."""
    next: str | None = None
    """Value of `after` for the next page; absent on the last page."""
    totals: TotalsView | None = None
    """Present if the query asks for them."""


class NameView(View, frozen=True, kw_only=True):
    """The ended runs of one name."""

    name: str
    newest: OperationSummary | None = None
    """The operation of this name that ended last."""
    runs: int
    failed: int
    running: int = 0
    """Operations of this name that run now."""
    queued: int = 0
    """Operations of this name that are queued now."""
    last_success_at: Timestamp | None = None
    median_duration_s: float | None = None
    p95_duration_s: float | None = None
    """Duration within which 95 % of the newest twenty successful runs ended."""
    trend: float | None = None
    """Median duration of the newest five successful runs, divided by that of those before them; absent for few runs."""
    recent: list[RunView] = []
    """The newest twenty ended runs, oldest first."""


class NamesPage(View, frozen=True, kw_only=True):
    """Response of `GET /v1/operation-names`."""

    names: list[NameView]
    """The names, the most recently ended first; before them those of which no run has ended yet."""
