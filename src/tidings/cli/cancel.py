"""The command `tidings cancel`, and its outcome in sentences and as an exit code."""

import getpass
import socket
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.cli.text import sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.printable import decode_argument, escape_json
from tidings.protocol.messages import CancelOutcome

_MAX_TIMEOUT_S = 3_600.0
"""Longest timeout, in seconds, that the protocol allows; docs/protocol/operations.md, "Cancelling"."""
EPILOG = exit_codes_epilog(
    ExitCode.FINISHED_FIRST,
    ExitCode.REFUSED,
    ExitCode.PENDING,
    ExitCode.UNREACHABLE,
    ExitCode.UNKNOWN_OPERATION,
    ExitCode.NO_HUB,
)


def cancel(
    id: OperationArgument = None,
    last: LastOption = False,
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
        operation_id = resolve_id(client, id, last=last, acts=True)
        outcome = client.cancel(operation_id, reason, timeout_s, cancelled_by=_requester())
    if as_json:
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(outcome))))
    else:
        for line in describe(outcome, timeout_s):
            typer.echo(line)
    raise typer.Exit(find_exit_code(outcome))


_MAX_REQUESTER_CHARACTERS = 128


def _requester() -> str | None:
    """Return `user@host`, as much of it as is known."""
    try:
        user = decode_argument(getpass.getuser())
    except (KeyError, OSError):  # a container may run under a user id without a name
        user = ""
    return "@".join(part for part in (user, socket.gethostname()) if part)[:_MAX_REQUESTER_CHARACTERS] or None


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
