"""The command `tidings cancel`.

What came of a wish to cancel, in sentences and as an exit code.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.text import sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.protocol.messages import CancelOutcome

_MOST_S = 3_600.0
"""As the contract has it."""
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
    id: Annotated[str, typer.Argument(metavar="ID", help="The operation's.", show_default=False)],
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; whoever runs it is told.", show_default=False)
    ] = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long it has to end.")] = "10s",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    url: UrlOption = None,
) -> None:
    """Have an operation end, with all its parts, and say what came of it."""
    timeout_s = parse_duration_option("timeout", timeout, 0.0, _MOST_S)
    import msgspec

    with exit_on_error(), HTTPClient(url) as api:
        outcome = api.cancel(id, reason, timeout_s)
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
    """Return the exit code for an outcome; its children's are not counted."""
    return _CODES[outcome.outcome]


def describe(outcome: CancelOutcome, timeout_s: float, indent: str = "") -> Iterator[str]:
    """Yield a line for an outcome, and one for each of the operation's parts."""
    yield f"{indent}{_sentence(outcome, timeout_s)}"
    for child in outcome.children or ():
        yield from describe(child, timeout_s, f"{indent}  ")


def _sentence(outcome: CancelOutcome, timeout_s: float) -> str:
    id = sanitize(outcome.operation_id)
    if outcome.outcome == "cancelled":
        return f"{id} is cancelled"
    if outcome.outcome == "finished_first":
        return f"{id} had ended first: it is {sanitize(outcome.state)}"
    if outcome.outcome == "refused":
        reason = sanitize(outcome.reason)
        return f"{id} goes on: whoever runs it refuses" + (f": {reason}" if reason else "")
    if outcome.outcome == "pending":
        return f"{id} is stopping, and has not ended within {describe_span(timeout_s)}"
    return f"{id} goes on, for all that is known: nobody could be asked to end it; whoever reports on it next is told"
