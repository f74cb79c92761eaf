"""The commands `tidings operation …`."""

import time
from typing import Annotated

import msgspec
import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.operation.report import add_commands
from tidings.cli.operation.show import print_operation
from tidings.cli.options import IdArgument, UrlOption
from tidings.client.http import HTTPClient

operation = typer.Typer(
    name="operation",
    add_completion=False,
    no_args_is_help=True,
    help="Show an operation, or report one from a shell script.",
)
_DEFAULT_LINES = 20


@operation.command(epilog=exit_codes_epilog(ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB))
def show(
    id: IdArgument,
    lines: Annotated[int, typer.Option(metavar="N", min=0, help="Number of log lines, the newest.")] = _DEFAULT_LINES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: UrlOption = None,
) -> None:
    """Show the state of an operation in one sentence, and then its details."""
    with exit_on_error(), HTTPClient(url) as client:
        detail = client.operation(id)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(detail)).decode())
        return
    print_operation(detail, time.time(), lines=lines)


add_commands(operation)
