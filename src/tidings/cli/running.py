"""The command `tidings run`."""

import contextlib
from typing import Annotated

import typer

from tidings.cli.target import UrlOption
from tidings.exceptions import ConfigError

# What follows is the command's own, options included; ours come before it.
CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": False}


def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND...", help="The command.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What watchers see. Default: the command.", show_default=False)
    ] = None,
    url: UrlOption = None,
) -> None:
    """Run a command, and show its progress to whoever watches.

    Its output and its exit code stay as they are, with a hub or without one.
    """
    if not command:
        raise ConfigError("no command was given", option="command", hint="Write it like: tidings run -- make test")
    from tidings.cli.reporting import OperationReporter
    from tidings.cli.run import run_command

    reporter = OperationReporter(url)
    try:
        code = run_command(command, reporter, name=name)
    finally:
        # Who presses Ctrl-C once more does not want to wait for the hub.
        with contextlib.suppress(KeyboardInterrupt):
            reporter.close()
    raise typer.Exit(code)
