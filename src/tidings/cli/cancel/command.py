"""The command `tidings cancel`."""

from typing import Annotated

import typer

from tidings.cli.durations import read_duration
from tidings.cli.exit_codes import ExitCode, epilog, telling_errors
from tidings.cli.target import UrlOption

_MOST_S = 3_600.0
"""As the contract has it."""
EPILOG = epilog(
    ExitCode.WELL,
    ExitCode.FINISHED_FIRST,
    ExitCode.REFUSED,
    ExitCode.PENDING,
    ExitCode.UNREACHABLE,
    ExitCode.NEVER_EXISTED,
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
    timeout_s = read_duration("timeout", timeout, 0.0, _MOST_S)
    # The HTTP client takes a while to load; help and completion do not wait for it.
    import msgspec

    from tidings.cli.cancel.outcome import code_of, describe
    from tidings.cli.hub_api import HubAPI

    with telling_errors(), HubAPI(url) as api:
        outcome = api.cancel(id, reason, timeout_s)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(outcome)).decode())
    else:
        for line in describe(outcome, timeout_s):
            typer.echo(line)
    raise typer.Exit(code_of(outcome))
