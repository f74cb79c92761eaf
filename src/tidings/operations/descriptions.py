"""Makes the views of operations from their statuses.

Pure. The last part computes the progress of an operation that reports none from that of its children.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from msgspec import Struct, structs

from tidings.operations.lifecycle import LIVE_STATES, OperationState
from tidings.operations.run_history import EndedRun, RunHistory
from tidings.operations.status import OperationStatus, StateChange, StepStatus
from tidings.operations.views import (
    AttemptView,
    CourseView,
    EstimateView,
    LogLineView,
    MomentView,
    OperationDetail,
    OperationSummary,
    Presence,
    RunView,
    StepState,
    StepView,
    UsualView,
)
from tidings.protocol.details import ERROR_DETAILS, PROCESS_DETAILS
from tidings.protocol.payloads import OperationEstimateData
from tidings.protocol.timestamps import from_nanoseconds

_MAX_STEP_ENDS = 12
"""Ends of steps that a list shows: more would be a comb."""
_MAX_ATTEMPTS = 30
"""Attempts that are listed."""


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
    usual_steps_s: Mapping[str, float] = {},
    position: Callable[[int], str] = lambda offset: "",
    previous: OperationStatus | None = None,
    following: OperationStatus | None = None,
) -> OperationDetail:
    """Return an operation with all its details; see `summarize`.

    Args:
        status: The operation.
        facts: Facts that only the running hub has.
        of_children: Progress of its children, used where the operation reports none.
        log: Its newest log lines.
        children: Its children.
        usual: Statistics of the runs of its name.
        usual_steps_s: Usual duration of the steps of its name, in seconds.
        position: Returns the position of an offset; "" leaves positions out.
        previous: The run of its name that began before.
        following: The run of its name that began after.
    """
    return OperationDetail(
        **_summary_fields(status, facts, of_children),
        steps=list_steps(status, usual_steps_s),
        timeline=[_state_change_view(moment, status, position) for moment in status.timeline],
        attempts=_list_attempts(status, position),
        log=list(log),
        children=list(children),
        result=status.result,
        usual=usual,
        milestones_s=status.milestones_s or None,
        previous=None if previous is None else view_run(previous),
        next=None if following is None else view_run(following),
    )


def view_run(status: OperationStatus) -> RunView:
    """Return an operation in brief."""
    lag_ns = status.clock_lag_ns
    return RunView(
        operation_id=status.operation_id,
        attempt=status.life.attempt,
        state=status.state,
        started_at=format_time(status.started_ns, lag_ns),
        ended_at=format_time(status.ended_ns, lag_ns),
        duration_s=status.duration_s,
    )


def view_ended_run(run: EndedRun) -> RunView:
    """Return an ended run in brief."""
    return RunView(
        operation_id=run.operation_id,
        attempt=run.attempt,
        state=run.state,
        ended_at=format_time(run.ended_ns),
        duration_s=run.duration_s,
    )


def view_usual(history: RunHistory) -> UsualView:
    """Return the statistics of a name."""
    course = [CourseView(**point._asdict()) for point in history.course()]
    return UsualView(
        runs=history.runs,
        failed=history.failed,
        median_duration_s=history.median_s,
        p95_duration_s=history.p95_s,
        last_success_at=format_time(history.last_success_ns),
        band=course or None,
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
        "step": _step_number(status),
        "step_ends": _step_ends(status),
        "warnings": status.warnings,
        "errors": status.errors,
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


def list_steps(status: OperationStatus, usual_s: Mapping[str, float] = {}) -> list[StepView]:
    """Return the steps that the attempt has reached, and the planned steps between and after them.

    Args:
        status: The operation.
        usual_s: Usual duration of each step, in seconds.
    """
    reached = {step.name for step in status.steps}
    waiting = [name for name in status.planned if name not in reached]
    place = {name: index for index, name in enumerate(status.planned)}
    views: list[StepView] = []
    for step in status.steps:
        # A planned step that was skipped keeps its planned place.
        while waiting and place[waiting[0]] < place.get(step.name, -1):
            views.append(StepView(name=waiting[0], state="waiting", usual_s=usual_s.get(waiting.pop(0))))
        views.append(_step_view(step, status, usual_s.get(step.name)))
    return [*views, *(StepView(name=name, state="waiting", usual_s=usual_s.get(name)) for name in waiting)]


def _step_view(step: StepStatus, status: OperationStatus, usual_s: float | None) -> StepView:
    state: StepState = "running" if step.ended_ns is None and status.live else "done"
    if step is status.steps[-1] and status.state in (OperationState.FAILED, OperationState.CANCELLED):
        state = "stopped"
    return StepView(
        name=step.name,
        state=state,
        started_at=format_time(step.started_ns, status.clock_lag_ns),
        ended_at=format_time(step.ended_ns, status.clock_lag_ns),
        ended_progress=step.ended_progress,
        usual_s=usual_s,
    )


def _step_number(status: OperationStatus) -> int | None:
    """Return the number of the current step: among the planned ones, or of those that were reached."""
    step = status.current_step
    if not step:
        return None
    return status.planned.index(step) + 1 if step in status.planned else len(status.steps) or None


def _step_ends(status: OperationStatus) -> list[float] | None:
    ends = [step.ended_progress for step in status.steps[:-1] if step.ended_progress is not None]
    return ends if 0 < len(ends) <= _MAX_STEP_ENDS else None


def _state_change_view(moment: StateChange, status: OperationStatus, position: Callable[[int], str]) -> MomentView:
    return MomentView(
        at=from_nanoseconds(_corrected_ns(moment, status)),
        state=moment.state,
        attempt=moment.attempt,
        position=(position(moment.offset) or None) if moment.offset else None,
        code=moment.code,
        message=moment.message,
    )


def _corrected_ns(moment: StateChange, status: OperationStatus) -> int:
    lag_ns = status.clock_lag_ns if moment.attempt == status.life.attempt else 0
    return moment.at_ns + lag_ns


def _list_attempts(status: OperationStatus, position: Callable[[int], str]) -> list[AttemptView]:
    """Return the attempts in the timeline, which lacks some of an operation with very many."""
    attempts = [list(changes) for _, changes in groupby(status.timeline, key=lambda change: change.attempt)]
    return [_attempt_view(changes, status, position) for changes in attempts[-_MAX_ATTEMPTS:]]


def _attempt_view(
    changes: Sequence[StateChange], status: OperationStatus, position: Callable[[int], str]
) -> AttemptView:
    # The first change to each state: a queued operation may be queued again.
    at_ns = {change.state: _corrected_ns(change, status) for change in reversed(changes)}
    first, last = changes[0], changes[-1]
    started_ns = at_ns.get(OperationState.RUNNING)
    ended_ns = None if last.state in LIVE_STATES else at_ns[last.state]
    duration_s = None if started_ns is None or ended_ns is None else max(0, ended_ns - started_ns) / 1e9
    is_current = first.attempt == status.life.attempt
    return AttemptView(
        attempt=first.attempt,
        state=last.state,
        queued_at=format_time(at_ns.get(OperationState.QUEUED)),
        started_at=format_time(started_ns),
        ended_at=format_time(ended_ns),
        duration_s=status.duration_s if is_current else duration_s,
        position=(position(first.offset) or None) if first.offset else None,
        code=last.code,
        message=last.message,
    )


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
