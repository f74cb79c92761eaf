"""Operations as `GET /v1/operations` and its neighbours tell them (CONTRACT §4).

Structs that the hub encodes and any client decodes. Times are RFC 3339 in UTC, durations are in seconds, and what is
not known is left out.

Progress of an operation that reports none itself, from that of its children (CONTRACT §4).
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus, StateChange, StepStatus
from tidings.protocol.payloads import ErrorData, OperationEstimateData
from tidings.protocol.timestamps import from_nanoseconds

Presence = Literal["attached", "away", "unknown"]
StepState = Literal["done", "running", "waiting", "stopped"]


class View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all views."""


class EstimateView(View, frozen=True, kw_only=True):
    """How long a running operation will still take, as the hub reckons it."""

    rate: float | None = None
    """Percent a second."""
    remaining_s: float | None = None
    remaining_low_s: float | None = None
    remaining_high_s: float | None = None
    stalled: bool
    """Alive, and not advancing."""


class OperationSummary(View, frozen=True, kw_only=True):
    """One operation in a list: its present attempt, or its last."""

    operation_id: str
    name: str
    """"" where nobody said."""
    state: OperationState
    attempt: int
    trace_id: str
    parent_id: str | None = None
    progress: float | None = None
    """0–100; absent where nobody knows. What the operation itself reports never falls within an attempt."""
    progress_of: Literal["children"] | None = None
    """`children`: the operation reports none, and this is its children's mean by weight, which falls when one more
    begins."""
    indeterminate: bool = False
    """True: alive, and nobody knows how much is left."""
    current_step: str | None = None
    total_steps: int | None = None
    message: str | None = None
    queued_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    heard_at: str
    """When its newest event came."""
    advanced_at: str | None = None
    """When progress last rose."""
    duration_s: float | None = None
    """How long the attempt took; absent while it runs."""
    producer_id: str | None = None
    """Who holds it."""
    lease_s: float | None = None
    """How long it outlives its producer's connection; absent is for ever."""
    presence: Presence | None = None
    """Whether its holder is there; absent once it has ended."""
    stalled: bool | None = None
    """Alive, and not advancing; absent where nobody can tell."""
    estimate: EstimateView | None = None
    error: ErrorData | None = None
    reason: str | None = None
    """Why it was cancelled."""
    cancelled_by: str | None = None
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
    """`waiting`: planned, and not come to. `stopped`: the attempt failed, or was cancelled, in it."""
    started_at: str | None = None
    ended_at: str | None = None


class StateChangeView(View, frozen=True, kw_only=True):
    """A change of an operation's state."""

    at: str
    state: OperationState
    attempt: int


class LogLineView(View, frozen=True, kw_only=True):
    """One line of an operation's log."""

    at: str
    level: str
    message: str


class UsualDurationView(View, frozen=True, kw_only=True):
    """What is known of the runs of a name."""

    runs: int
    """How many attempts have ended,"""
    failed: int
    """and how many of them failed."""
    median_duration_s: float | None = None
    """Of the newest twenty that ended well."""
    last_success_at: str | None = None


class OperationDetail(OperationSummary, frozen=True, kw_only=True):
    """One operation with all that is known of it."""

    steps: list[StepView]
    timeline: list[StateChangeView]
    """Of all attempts, oldest first."""
    log: list[LogLineView]
    """The newest, oldest first."""
    children: list[OperationSummary]
    """The newest operations that name this one as their parent, oldest first."""
    result: Any = None
    usual: UsualDurationView | None = None
    """Of its name's runs."""


class OperationPage(View, frozen=True, kw_only=True):
    """The answer to `GET /v1/operations`."""

    operations: list[OperationSummary]
    """The one that began last comes first."""
    next: str | None = None
    """`after` of the request that goes on from here; absent at the end."""


class NameView(View, frozen=True, kw_only=True):
    """The ended runs of one name."""

    name: str
    newest: OperationSummary | None = None
    """The operation that ended last."""
    runs: int
    failed: int
    last_success_at: str | None = None
    median_duration_s: float | None = None


class NamesPage(View, frozen=True, kw_only=True):
    """The answer to `GET /v1/operation-names`."""

    names: list[NameView]
    """The one that ended last comes first."""


def summarize(
    status: OperationStatus,
    *,
    presence: Presence = "unknown",
    estimate: OperationEstimateData | None = None,
    of_children: float | None = None,
) -> OperationSummary:
    """Return an operation as lists show it.

    Args:
        status: The operation.
        presence: Of its holder.
        estimate: The hub's newest for it.
        of_children: Its children's progress, where it reports none itself.
    """
    return OperationSummary(**_summary_fields(status, presence, estimate, of_children))


def describe(
    status: OperationStatus,
    *,
    presence: Presence = "unknown",
    estimate: OperationEstimateData | None = None,
    of_children: float | None = None,
    log: Sequence[LogLineView] = (),
    children: Sequence[OperationSummary] = (),
    usual: UsualDurationView | None = None,
) -> OperationDetail:
    """Return an operation with all that is known of it; see `summarize`."""
    return OperationDetail(
        **_summary_fields(status, presence, estimate, of_children),
        steps=list_steps(status),
        timeline=[_state_change_view(moment) for moment in status.timeline],
        log=list(log),
        children=list(children),
        result=status.result,
        usual=usual,
    )


def _summary_fields(
    status: OperationStatus, presence: Presence, estimate: OperationEstimateData | None, of_children: float | None
) -> dict[str, Any]:
    """Return the members of a summary by name."""
    life, live = status.life, status.live
    if status.progress is not None:
        of_children = None
    known = estimate if live else None
    return {
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
        "queued_at": format_time(status.queued_ns),
        "started_at": format_time(status.started_ns),
        "ended_at": format_time(status.ended_ns),
        "heard_at": from_nanoseconds(status.heard_ns),
        "advanced_at": format_time(status.advanced_ns),
        "duration_s": status.duration_s,
        "producer_id": life.producer_id or None,
        "lease_s": life.lease_s or None,
        "presence": presence if live else None,
        "stalled": None if known is None else known.stalled,
        "estimate": None if known is None else _estimate_view(known),
        **{name: getattr(status, name) for name in _COPIED_FIELDS},
    }


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
    """Return the steps that the attempt has come to, and between and behind them those that were planned."""
    reached = {step.name for step in status.steps}
    waiting = [name for name in status.planned if name not in reached]
    place = {name: index for index, name in enumerate(status.planned)}
    views: list[StepView] = []
    for step in status.steps:
        # What was planned before it and passed over stands where it was planned.
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
        started_at=from_nanoseconds(step.started_ns),
        ended_at=format_time(step.ended_ns),
    )


def _state_change_view(moment: StateChange) -> StateChangeView:
    return StateChangeView(at=from_nanoseconds(moment.at_ns), state=moment.state, attempt=moment.attempt)


def format_time(unix_ns: int | None) -> str | None:
    """Return nanoseconds since 1970 as RFC 3339; None stays None."""
    return None if unix_ns is None else from_nanoseconds(unix_ns)


_MAX_WEIGHT = 1e9
"""Sums of more would lose the small ones."""


def roll_up_progress(parts: Sequence[tuple[float, float | None]]) -> float | None:
    """Return the mean of children's progress by weight, or None where nothing is known of any.

    Args:
        parts: Of each child, its weight and its progress; who has told none has done nothing yet.
    """
    whole = sum(weight for weight, _ in parts)
    if whole <= 0 or all(progress is None for _, progress in parts):
        return None
    return sum(weight * (progress or 0.0) for weight, progress in parts) / whole


def weight_of(status: OperationStatus) -> float:
    """Return what a child counts for in its parent's progress: `metadata.weight`, or 1."""
    weight = (status.metadata or {}).get("weight", 1)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    return float(weight) if is_number and 0 <= weight <= _MAX_WEIGHT else 1.0
