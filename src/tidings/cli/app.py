"""The root of the command line: a table of commands, each imported when it is used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tidings.version import __version__

COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("tidings.cli.serve.command", "Run a hub until Ctrl-C."),
    "watch": ("tidings.cli.watch.command", "See operations as they run, and everything else as it happens."),
    "publish": ("tidings.cli.publish", "Publish an event, and print its position in the log."),
    "run": ("tidings.cli.run.cli", "Run a command, and show its progress to whoever watches."),
    "operations": ("tidings.cli.operations", "List operations, the newest first."),
    "operation": ("tidings.cli.operation.command", "Look at one operation; report one from a shell script."),
    "wait": ("tidings.cli.wait", "Wait until an operation has ended, and say with the exit code how."),
    "cancel": ("tidings.cli.cancel", "Have an operation end, with all its parts, and say what came of it."),
    "flush": (
        "tidings.cli.flush",
        "Send what programs that died had not sent: the starts and ends of their operations.",
    ),
    "relay": ("tidings.cli.relay", "Republish what another service says over its own WebSocket, until Ctrl-C."),
    "record": (
        "tidings.cli.record.command",
        "Write what a connection sees to a file: one envelope a line, with the time of its receipt.",
    ),
    "replay": ("tidings.cli.replay.command", "Play a recording into a hub."),
    "doctor": (
        "tidings.cli.doctor.command",
        "Check the way to a hub, step by step, and say what to do about each fault.",
    ),
    "contract": (
        "tidings.cli.contract.command",
        "Write a contract for other languages and tools, and check against it.",
    ),
    "log": ("tidings.cli.log", "Look at a hub's log, check it, copy it, go back to a copy."),
}
"""Per command: the module that defines it under its own name, and its line in `tidings --help`.

A module may define `EPILOG`, the text below its help, and `CONTEXT`, click's context settings.
"""


class LazyCommand(TyperCommand):
    """A command that imports its module when it parses arguments, so that `tidings --help` imports none of them.

    Args:
        name: The command's name, a key of `COMMANDS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, help=COMMANDS[name][1])

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Return the context of the real command."""
        return load_command(str(self.name)).make_context(*args, **options)


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`, in the order of that table."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command that is not imported yet; None where there is no such command."""
        return LazyCommand(cmd_name) if cmd_name in COMMANDS else None


def load_command(name: str) -> Any:
    """Import a command's module and return the command, as click runs it."""
    module = import_module(COMMANDS[name][0])
    command = getattr(module, name)
    if not isinstance(command, typer.Typer):
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        options: dict[str, Any] = {
            "epilog": getattr(module, "EPILOG", None),
            "context_settings": getattr(module, "CONTEXT", None),
        }
        single.command(name, **options)(command)
        command = single
    return typer.main.get_command(command)


app = typer.Typer(
    name="tidings",
    cls=LazyGroup,
    no_args_is_help=True,
    # A fault of ours is reported as Python reports it, so that it can be sent in.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tidings {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """See long-running work as it happens."""
