"""The commands `tidings operation …`."""

import time
from typing import Annotated

import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.operation.report import add_commands
from tidings.cli.options import UrlOption
from tidings.client.http import HTTPClient

operation = typer.Typer(
    name="operation",
    add_completion=False,
    no_args_is_help=True,
    help="Look at one operation; report one from a shell script.",
)
_LINES = 20


@operation.command(epilog=exit_codes_epilog(ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB))
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The operation's.", show_default=False)],
    lines: Annotated[int, typer.Option(metavar="N", min=0, help="Of its log, how many of the newest.")] = _LINES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: UrlOption = None,
) -> None:
    """Say how an operation is, in one sentence, and then all that is known of it."""
    import msgspec

    from tidings.cli.operation.show import print_operation

    with exit_on_error(), HTTPClient(url) as api:
        detail = api.operation(id)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(detail)).decode())
        return
    print_operation(detail, time.time(), lines=lines)


add_commands(operation)
