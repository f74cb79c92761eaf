"""What came of a wish to cancel, in sentences and as an exit code."""

from collections.abc import Iterator, Mapping

from tidings.cli.exit_codes import ExitCode
from tidings.cli.units import describe_span
from tidings.cli.watch.sight import clean
from tidings.protocol.messages import CancelOutcome

_CODES: Mapping[str, ExitCode] = {
    "cancelled": ExitCode.WELL,
    "finished_first": ExitCode.FINISHED_FIRST,
    "refused": ExitCode.REFUSED,
    "pending": ExitCode.PENDING,
    "unreachable": ExitCode.UNREACHABLE,
}


def code_of(outcome: CancelOutcome) -> ExitCode:
    """Return the exit code for an outcome; its children's are not counted."""
    return _CODES[outcome.outcome]


def describe(outcome: CancelOutcome, timeout_s: float, indent: str = "") -> Iterator[str]:
    """Yield a line for an outcome, and one for each of the operation's parts."""
    yield f"{indent}{_sentence(outcome, timeout_s)}"
    for child in outcome.children or ():
        yield from describe(child, timeout_s, f"{indent}  ")


def _sentence(outcome: CancelOutcome, timeout_s: float) -> str:
    id = clean(outcome.operation_id)
    if outcome.outcome == "cancelled":
        return f"{id} is cancelled"
    if outcome.outcome == "finished_first":
        return f"{id} had ended first: it is {clean(outcome.state)}"
    if outcome.outcome == "refused":
        reason = clean(outcome.reason)
        return f"{id} goes on: whoever runs it refuses" + (f": {reason}" if reason else "")
    if outcome.outcome == "pending":
        return f"{id} is stopping, and has not ended within {describe_span(timeout_s)}"
    return f"{id} goes on, for all that is known: nobody could be asked to end it; whoever reports on it next is told"
