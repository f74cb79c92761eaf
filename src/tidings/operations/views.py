"""Operations as `GET /v1/operations` and related routes return them (docs/protocol/http.md).

Structs that the hub encodes and any client decodes. Times are RFC 3339 in UTC, durations are in seconds, and unknown
values are left out. The last part computes the progress of an operation that reports none from that of its children.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from msgspec import Struct, structs

from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus, StateChange, StepStatus
from tidings.protocol.details import ERROR_DETAILS, PROCESS_DETAILS
from tidings.protocol.payloads import ErrorData, OperationEstimateData, Timestamp
from tidings.protocol.timestamps import from_nanoseconds

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


class MomentView(View, frozen=True, kw_only=True):
    """A change of an operation's state."""

    at: Timestamp
    state: OperationState
    attempt: int


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
    last_success_at: Timestamp | None = None


class OperationDetail(OperationSummary, frozen=True, kw_only=True):
    """One operation with all its details."""

    steps: list[StepView]
    timeline: list[MomentView]
    """State changes of all attempts, oldest first."""
    log: list[LogLineView]
    """The newest log lines, oldest first."""
    children: list[OperationSummary]
    """The newest operations that name this one as their parent, oldest first."""
    result: Any = None
    usual: UsualView | None = None
    """Statistics of the runs of the operation's name."""


class OperationPage(View, frozen=True, kw_only=True):
    """Response of `GET /v1/operations`."""

    operations: list[OperationSummary]
    """The operations, the most recently started first."""
    position: str | None = None
    """Position in the log from which to read on: the operations include all events before it, and maybe later ones."""
    next: str | None = None
    """Value of `after` for the next page; absent on the last page."""


class NameView(View, frozen=True, kw_only=True):
    """The ended runs of one name."""

    name: str
    newest: OperationSummary | None = None
    """The operation of this name that ended last."""
    runs: int
    failed: int
    last_success_at: Timestamp | None = None
    median_duration_s: float | None = None


class NamesPage(View, frozen=True, kw_only=True):
    """Response of `GET /v1/operation-names`."""

    names: list[NameView]
    """The names, the most recently ended first."""


class HubFacts(Struct, frozen=True, kw_only=True):
    """Facts about an operation that are not in its events."""

    presence: Presence = "unknown"
    """Presence of its holder."""
    away_since_ns: int | None = None
    """Last sign of life of a holder that is away, nanoseconds since 1970."""
    cancel_requested_ns: int | None = None
    """Time of the request to cancel it, nanoseconds since 1970; None without one."""
    cancelled_by: str | None = None
    """The person or program that requested that."""
    estimate: OperationEstimateData | None = None
    """The hub's newest estimate for it."""


_NO_FACTS = HubFacts()


def summarize(
    status: OperationStatus, facts: HubFacts = _NO_FACTS, *, of_children: float | None = None
) -> OperationSummary:
    """Return the summary of an operation.

    Args:
        status: The operation.
        facts: Facts that only the running hub has.
        of_children: Progress of its children, used where the operation reports none.
    """
    return OperationSummary(**_summary_fields(status, facts, of_children))


def describe(
    status: OperationStatus,
    facts: HubFacts = _NO_FACTS,
    *,
    of_children: float | None = None,
    log: Sequence[LogLineView] = (),
    children: Sequence[OperationSummary] = (),
    usual: UsualView | None = None,
) -> OperationDetail:
    """Return an operation with all its details; see `summarize`."""
    return OperationDetail(
        **_summary_fields(status, facts, of_children),
        steps=list_steps(status),
        timeline=[_state_change_view(moment, status) for moment in status.timeline],
        log=list(log),
        children=list(children),
        result=status.result,
        usual=usual,
    )


def _summary_fields(status: OperationStatus, facts: HubFacts, of_children: float | None) -> dict[str, Any]:
    """Return the fields of a summary by name."""
    life, live = status.life, status.live
    if status.progress is not None:
        of_children = None
    known, lag_ns = facts.estimate if live else None, status.clock_lag_ns
    fields = {
        "operation_id": status.operation_id,
        "name": status.name,
        "state": life.state,
        "attempt": life.attempt,
        "trace_id": life.trace_id,
        "parent_id": status.parent_id,
        "progress": status.progress if of_children is None else of_children,
        "progress_of": None if of_children is None else "children",
        "indeterminate": status.indeterminate and of_children is None,
        "current_step": status.current_step or None,
        "total_steps": status.total_steps or None,
        "message": status.message,
        "queued_at": format_time(status.queued_ns, lag_ns),
        "started_at": format_time(status.started_ns, lag_ns),
        "ended_at": format_time(status.ended_ns, lag_ns),
        "heard_at": from_nanoseconds(status.heard_ns),
        "advanced_at": format_time(status.advanced_ns),
        "duration_s": status.duration_s,
        "producer_id": life.producer_id or None,
        "lease_s": life.lease_s or None,
        "presence": facts.presence if live else None,
        "away_since": format_time(facts.away_since_ns) if live else None,
        "cancel_requested_at": format_time(facts.cancel_requested_ns) if live else None,
        "stalled": None if known is None else known.stalled,
        "estimate": None if known is None else _estimate_view(known),
        **{name: getattr(status, name) for name in _COPIED_FIELDS},
    }
    if live and facts.cancelled_by is not None:
        fields["cancelled_by"] = facts.cancelled_by
    return fields


_COPIED_FIELDS = ("error", "reason", "cancelled_by", "resumes", "host", "pid", "command", "user", "metadata")


def _estimate_view(estimate: OperationEstimateData) -> EstimateView:
    return EstimateView(
        rate=estimate.rate,
        remaining_s=estimate.remaining_s,
        remaining_low_s=estimate.remaining_low_s,
        remaining_high_s=estimate.remaining_high_s,
        stalled=estimate.stalled,
    )


def list_steps(status: OperationStatus) -> list[StepView]:
    """Return the steps that the attempt has reached, and the planned steps between and after them."""
    reached = {step.name for step in status.steps}
    waiting = [name for name in status.planned if name not in reached]
    place = {name: index for index, name in enumerate(status.planned)}
    views: list[StepView] = []
    for step in status.steps:
        # A planned step that was skipped keeps its planned place.
        while waiting and place[waiting[0]] < place.get(step.name, -1):
            views.append(StepView(name=waiting.pop(0), state="waiting"))
        views.append(_step_view(step, status))
    return [*views, *(StepView(name=name, state="waiting") for name in waiting)]


def _step_view(step: StepStatus, status: OperationStatus) -> StepView:
    state: StepState = "running" if step.ended_ns is None and status.live else "done"
    if step is status.steps[-1] and status.state in (OperationState.FAILED, OperationState.CANCELLED):
        state = "stopped"
    return StepView(
        name=step.name,
        state=state,
        started_at=format_time(step.started_ns, status.clock_lag_ns),
        ended_at=format_time(step.ended_ns, status.clock_lag_ns),
    )


def _state_change_view(moment: StateChange, status: OperationStatus) -> MomentView:
    lag_ns = status.clock_lag_ns if moment.attempt == status.life.attempt else 0
    return MomentView(at=from_nanoseconds(moment.at_ns + lag_ns), state=moment.state, attempt=moment.attempt)


def format_time(unix_ns: int | None, lag_ns: int = 0) -> str | None:
    """Return nanoseconds since 1970 as RFC 3339, by a clock that is ahead by `lag_ns`; None stays None."""
    return None if unix_ns is None else from_nanoseconds(unix_ns + lag_ns)


_Summary = TypeVar("_Summary", bound=OperationSummary)


def conceal_view(view: _Summary) -> _Summary:
    """Return a view for a reader without the grant `details`."""
    error = None if view.error is None else structs.replace(view.error, **dict.fromkeys(ERROR_DETAILS))
    return structs.replace(view, error=error, **dict.fromkeys(PROCESS_DETAILS))


_MAX_WEIGHT = 1e9
"""Maximum weight of a child: sums of greater weights would lose the small ones."""


def roll_up_progress(parts: Sequence[tuple[float, float | None]]) -> float | None:
    """Return the weighted mean of the children's progress; None where no child reports progress.

    Args:
        parts: Weight and progress of each child; a child without progress counts as 0 %.
    """
    whole = sum(weight for weight, _ in parts)
    if whole <= 0 or all(progress is None for _, progress in parts):
        return None
    return sum(weight * (progress or 0.0) for weight, progress in parts) / whole


def weight_of(status: OperationStatus) -> float:
    """Return the weight of a child in its parent's progress: `metadata.weight`, or 1."""
    weight = (status.metadata or {}).get("weight", 1)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    return float(weight) if is_number and 0 <= weight <= _MAX_WEIGHT else 1.0
