"""The command `tidings run`."""

import contextlib
from typing import Annotated

import typer

from tidings.cli.options import MAX_GRACE_S, MAX_LEASE_S, UrlOption, read_duration
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
    grace: Annotated[
        str,
        typer.Option(metavar="TIME", help="When it is cancelled from elsewhere: between SIGTERM and SIGKILL."),
    ] = "10s",
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long after our death the operation has failed. Default: the hub's.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Run a command, and show its progress to whoever watches.

    Its output and its exit code stay as they are, with a hub or without one.
    """
    if not command:
        raise ConfigError("no command was given", option="command", hint="Write it like: tidings run -- make test")
    from tidings.cli.run import run_command
    from tidings.cli.run.command import Cancellation
    from tidings.cli.run.hub_reporter import OperationReporter

    cancellation = Cancellation(read_duration("grace", grace, 0.0, MAX_GRACE_S))
    lease_s = None if lease is None else read_duration("lease", lease, 1.0, MAX_LEASE_S)
    reporter = OperationReporter(url, on_cancel=cancellation.ask, lease_s=lease_s)
    try:
        code = run_command(command, reporter, name=name, cancellation=cancellation)
    finally:
        # Who presses Ctrl-C once more does not want to wait for the hub.
        with contextlib.suppress(KeyboardInterrupt):
            reporter.close()
    raise typer.Exit(code)
