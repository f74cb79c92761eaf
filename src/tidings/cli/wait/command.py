"""The command `tidings wait`."""

import time
from typing import Annotated

import typer

from tidings.cli.durations import read_duration
from tidings.cli.exit_codes import ExitCode, epilog
from tidings.cli.failure import write_lines
from tidings.cli.target import UrlOption
from tidings.cli.wait.until import Until

EPILOG = epilog(
    ExitCode.WELL,
    ExitCode.FAILED,
    ExitCode.CANCELLED,
    ExitCode.TIMED_OUT,
    ExitCode.NEVER_EXISTED,
    ExitCode.NO_HUB,
)
_CENTURY_S = 36_525 * 86_400.0


def wait(
    id: Annotated[str, typer.Argument(metavar="ID", help="The operation's.", show_default=False)],
    until: Annotated[
        Until, typer.Option(help="What to wait for; `ended` is well however it ends, `running` once it has begun.")
    ] = Until.COMPLETE,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="For so long at most. Default: for ever.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but with the exit code.")] = False,
    url: UrlOption = None,
) -> None:
    """Wait until an operation has ended, and say with the exit code how.

    It may not have begun yet, and the hub may restart meanwhile.
    """
    timeout_s = None if timeout is None else read_duration("timeout", timeout, 0.0, _CENTURY_S)
    # The HTTP client takes a while to load; help and completion do not wait for it.
    from tidings.cli.hub_api import HubAPI
    from tidings.cli.operation.sentence import sentence
    from tidings.cli.wait.waiting import Waiting

    with HubAPI(url) as api:
        waiting = Waiting(api, id, until, remark=lambda text: None if quiet else write_lines(f"tidings: {text}"))
        code = waiting.wait(timeout_s)
    if not quiet:
        within = "" if timeout is None else f" within {timeout}"
        if code is ExitCode.TIMED_OUT:
            write_lines(f"error: {id!r} has not come to {until}{within}", waiting.trouble or None)
        elif code in (ExitCode.NEVER_EXISTED, ExitCode.NO_HUB):
            write_lines(f"error: {waiting.trouble}{within}")
        if waiting.operation is not None:
            typer.echo(sentence(waiting.operation, time.time()))
    raise typer.Exit(code)
