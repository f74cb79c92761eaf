"""The command `tidings cancel`, and its outcome in sentences and as an exit code."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.options import IdArgument, UrlOption, parse_duration_option
from tidings.cli.text import sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.protocol.messages import CancelOutcome

_MAX_TIMEOUT_S = 3_600.0
"""Longest timeout, in seconds, that the protocol allows; docs/protocol/operations.md, "Cancelling"."""
EPILOG = exit_codes_epilog(
    ExitCode.SUCCESS,
    ExitCode.FINISHED_FIRST,
    ExitCode.REFUSED,
    ExitCode.PENDING,
    ExitCode.UNREACHABLE,
    ExitCode.UNKNOWN_OPERATION,
    ExitCode.NO_HUB,
)


def cancel(
    id: IdArgument,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Reason, shown to the producer.", show_default=False)
    ] = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Time to wait for the operation to end.")] = "10s",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    url: UrlOption = None,
) -> None:
    """Cancel an operation and its children, and report the outcome."""
    timeout_s = parse_duration_option("timeout", timeout, 0.0, _MAX_TIMEOUT_S)
    with exit_on_error(), HTTPClient(url) as client:
        outcome = client.cancel(id, reason, timeout_s)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(outcome)).decode())
    else:
        for line in describe(outcome, timeout_s):
            typer.echo(line)
    raise typer.Exit(find_exit_code(outcome))


_CODES: Mapping[str, ExitCode] = {
    "cancelled": ExitCode.SUCCESS,
    "finished_first": ExitCode.FINISHED_FIRST,
    "refused": ExitCode.REFUSED,
    "pending": ExitCode.PENDING,
    "unreachable": ExitCode.UNREACHABLE,
}


def find_exit_code(outcome: CancelOutcome) -> ExitCode:
    """Return the exit code for an outcome; the outcomes of children do not count."""
    return _CODES[outcome.outcome]


def describe(outcome: CancelOutcome, timeout_s: float, indent: str = "") -> Iterator[str]:
    """Yield a line for an outcome, and one for each child of the operation."""
    yield f"{indent}{_summarize(outcome, timeout_s)}"
    for child in outcome.children or ():
        yield from describe(child, timeout_s, f"{indent}  ")


def _summarize(outcome: CancelOutcome, timeout_s: float) -> str:
    id = sanitize(outcome.operation_id)
    if outcome.outcome == "cancelled":
        return f"{id} is cancelled"
    if outcome.outcome == "finished_first":
        return f"{id} ended first: it is {sanitize(outcome.state)}"
    if outcome.outcome == "refused":
        reason = sanitize(outcome.reason)
        return f"{id} continues: its producer refuses to cancel it" + (f": {reason}" if reason else "")
    if outcome.outcome == "pending":
        return f"{id} is stopping, but did not end within {describe_span(timeout_s)}"
    return f"{id} may continue: no producer to ask; the next one that reports on it receives the request"
