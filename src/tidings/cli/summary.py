"""One sentence about an operation: its current activity, and whether there is a problem."""

from tidings.cli.text import sanitize
from tidings.cli.units import describe_span, ordinal
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import OperationDetail, OperationSummary, UsualView
from tidings.protocol.timestamps import to_nanoseconds

_IDLE_S = 300.0
"""Time without progress, in seconds, that is reported even if the hub cannot judge whether the operation stalls."""
_MIN_SPREAD_RATIO = 1.3
"""Ratio of the upper to the lower bound of a remaining time; below it, one number is shown."""
_SILENT_S = 300.0
"""Time without an event, in seconds, after which an operation without a holder may be lost."""


def summarize(operation: OperationSummary, now_s: float) -> str:
    """Return the state of an operation as a sentence.

    Args:
        operation: Summary from the hub; an `OperationDetail` adds the usual duration.
        now_s: Current time, seconds since 1970.
    """
    state = operation.state
    if state is OperationState.QUEUED:
        return _queued(operation, now_s)
    if state is OperationState.RUNNING:
        return _running(operation, now_s)
    return _ended(operation, now_s)


def describe_attempt(operation: OperationSummary) -> str:
    """Return `2nd attempt`; empty for the first."""
    return "" if operation.attempt <= 1 else f"{ordinal(operation.attempt)} attempt"


def format_ago(seconds: float) -> str:
    """Return an age: `just now`, `3 s ago`."""
    return "just now" if seconds < 0.5 else f"{describe_span(seconds)} ago"


def age_s(time: str | None, now_s: float) -> float | None:
    """Return the seconds since an RFC 3339 time, at least 0; None without a time."""
    return None if time is None else max(0.0, now_s - to_nanoseconds(time) / 1e9)


def describe_remaining(operation: OperationSummary) -> str:
    """Return the remaining time of a running operation, if the hub estimates it: `about 4 min left`."""
    estimate = operation.estimate
    if estimate is None or estimate.remaining_s is None or estimate.stalled:
        return ""
    return format_remaining(estimate.remaining_s, estimate.remaining_low_s, estimate.remaining_high_s)


def format_remaining(middle_s: float, low_s: float | None, high_s: float | None) -> str:
    """Return a remaining time, with its bounds if they differ enough."""
    if low_s is not None and high_s is not None:
        low, high = describe_span(low_s), describe_span(high_s)
        number, _, unit = low.partition(" ")
        if low != high and number == "0":
            return f"up to {high} left"
        if low != high and high_s > _MIN_SPREAD_RATIO * low_s:
            return f"{number if high.endswith(f' {unit}') else low} to {high} left"
    return f"about {describe_span(middle_s)} left"


def describe_cancel(operation: OperationSummary) -> str:
    """Return who asked to cancel a live operation; empty without a request."""
    return "" if operation.cancel_requested_at is None else format_cancel(operation.cancelled_by)


def format_cancel(by: str | None) -> str:
    """Return a pending request to cancel, with the person or program that made it, if known."""
    return f"stopping, asked by {sanitize(by)}" if by else "stopping, as requested"


def describe_progress(operation: OperationSummary) -> str:
    """Return `42%`, with the current step; empty if neither was reported."""
    step = sanitize(operation.current_step)
    known = operation.progress is not None and not operation.indeterminate
    share = f"{int(operation.progress or 0)}%" if known else ""
    if operation.progress_of == "children":
        share = f"{share} of its children"
    at = f"at {step!r}" if step else ""
    return " ".join(part for part in (share, at) if part)


def _queued(operation: OperationSummary, now_s: float) -> str:
    waited = age_s(operation.queued_at or operation.heard_at, now_s)
    return _with_attempt(f"queued for {describe_span(waited or 0)}", operation, ", not started")


def _running(operation: OperationSummary, now_s: float) -> str:
    heard_s = age_s(operation.heard_at, now_s) or 0.0
    # Without a lease, no one reports the death of the producer; silence may mean that.
    doubtful = operation.presence not in ("attached", "away") and heard_s >= _SILENT_S
    head = _with_attempt("running, or lost" if doubtful else "running", operation, "")
    heard = f"silent for {describe_span(heard_s)}" if doubtful else f"last event {format_ago(heard_s)}"
    alive = {"attached": "alive", "away": "its producer is away"}.get(operation.presence or "", "")
    away_s = age_s(operation.away_since, now_s)
    alive += "" if away_s is None else f" for {describe_span(away_s)}"
    stopping = describe_cancel(operation)
    facts = ", ".join(fact for fact in (stopping, alive, heard, _advance(operation, now_s)) if fact)
    tail = _outlook(operation)
    return f"{head}: {facts}" + (f"; {tail}" if tail else "")


def _advance(operation: OperationSummary, now_s: float) -> str:
    idle_s = age_s(operation.advanced_at or operation.started_at, now_s)
    if idle_s is not None and (operation.stalled or (operation.stalled is None and idle_s >= _IDLE_S)):
        share = describe_progress(operation)
        return f"no progress for {describe_span(idle_s)}" + (f" ({share})" if share else "")
    return describe_progress(operation)


def _outlook(operation: OperationSummary) -> str:
    if operation.presence == "away":
        lease_s = operation.lease_s
        left = "" if lease_s is None else f" when its lease of {describe_span(lease_s)} is over"
        return f"it fails{left}, unless its producer comes back"
    usual = describe_usual(operation)
    left = describe_remaining(operation)
    if left:
        return f"{left}, usually takes {usual}" if usual else left
    return f"usually takes {usual}" if usual else ""


def describe_usual(operation: OperationSummary) -> str:
    """Return the usual duration of earlier runs of the name; empty if unknown."""
    usual: UsualView | None = operation.usual if isinstance(operation, OperationDetail) else None
    if usual is None or usual.median_duration_s is None:
        return ""
    return describe_span(usual.median_duration_s)


def _ended(operation: OperationSummary, now_s: float) -> str:
    ended_s = age_s(operation.ended_at, now_s)
    text = str(operation.state)
    if ended_s is not None:
        text += f" {format_ago(ended_s)}"
    if operation.duration_s is not None:
        text += f" after {describe_span(operation.duration_s)}"
    if operation.state is OperationState.COMPLETE:
        usual = describe_usual(operation)
        text += f" (usually {usual})" if usual else ""
        message = sanitize(operation.message)
        return _with_attempt(text, operation, f": {message}" if message else "")
    if operation.state is OperationState.CANCELLED:
        by, reason = sanitize(operation.cancelled_by), sanitize(operation.reason)
        return _with_attempt(text, operation, (f" by {by}" if by else "") + (f": {reason}" if reason else ""))
    error = operation.error
    return _with_attempt(
        text, operation, "" if error is None else f": {sanitize(error.code)} — {sanitize(error.message)}"
    )


def _with_attempt(text: str, operation: OperationSummary, rest: str) -> str:
    attempt = describe_attempt(operation)
    return f"{text} ({attempt}){rest}" if attempt else text + rest
