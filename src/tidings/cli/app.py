"""The root of the command line: a table of commands, each of which is imported when it is used."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer

from tidings.cli.commands import PlainCommand, PlainGroup
from tidings.exceptions import ConfigError
from tidings.version import __version__

COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("tidings.cli.serve.command", "Run a hub until Ctrl-C."),
    "watch": ("tidings.cli.watch.command", "Show operations as they run, and all other events as they happen."),
    "publish": ("tidings.cli.publish", "Publish an event, and print its position in the log."),
    "run": ("tidings.cli.run.cli", "Run a command and report its progress."),
    "ls": ("tidings.cli.ls", "List operations: the newest last on a terminal, and first in a pipe."),
    "show": ("tidings.cli.show", "Show the state of an operation in one sentence, and then its details."),
    "open": ("tidings.cli.open", "Open the dashboard in a browser, or one operation in it."),
    "logs": ("tidings.cli.logs", "Print the log lines of an operation."),
    "wait": ("tidings.cli.wait", "Wait for the end of an operation; the exit code is its outcome."),
    "cancel": ("tidings.cli.cancel", "Cancel an operation and its children, and report the outcome."),
    "report": ("tidings.cli.report.command", "Report an operation from a shell script."),
    "flush": (
        "tidings.cli.flush",
        "Send starts and ends of operations that a terminated program left unsent.",
    ),
    "relay": ("tidings.cli.relay", "Republish the events of another service's WebSocket until Ctrl-C."),
    "record": (
        "tidings.cli.record.command",
        "Record a connection to a file: one envelope per line, with its time of receipt.",
    ),
    "replay": ("tidings.cli.replay.command", "Play a recording into a hub."),
    "doctor": (
        "tidings.cli.doctor.command",
        "Check the connection to a hub step by step, with a remedy for each fault.",
    ),
    "login": ("tidings.cli.login", "Store a token for a hub, after checking it with the hub."),
    "logout": ("tidings.cli.login", "Delete the stored token for a hub."),
    "whoami": ("tidings.cli.login", "Show whom a hub takes this user for: subject, grants and expiry."),
    "contract": (
        "tidings.cli.contract.command",
        "Export a contract, compare contracts, and check traffic against one.",
    ),
    "key": ("tidings.cli.key", "Add, list and revoke API keys; a running hub follows within a second."),
    "token": ("tidings.cli.token.command", "Issue and inspect tokens, and revoke tokens and keys of a running hub."),
    "license": ("tidings.cli.license", "Issue, show and verify licenses."),
    "data": ("tidings.cli.data", "Inspect, verify, back up and restore the data of a hub."),
}
"""Each command with the module that defines it under the command's name, and its line in `tidings --help`.

A module may define `EPILOG`, the text below its help, and `CONTEXT`, click's context settings.
"""


_REPORTS = ("start", "progress", "log", "complete", "fail", "cancelled")
_GUESSES: Mapping[str, str] = {
    **dict.fromkeys(("operations", "operation", "list", "ps", "jobs", "status", "top"), "ls"),
    **dict.fromkeys(("log", "tail", "follow"), "logs"),
    **dict.fromkeys(("operation show", "get", "inspect", "describe", "info"), "show"),
    **{f"operation {verb}": f"report {verb}" for verb in _REPORTS},
    **{verb: f"report {verb}" for verb in ("start", "progress", "complete", "fail", "cancelled")},
    **{f"log {verb}": f"data {verb}" for verb in ("info", "verify", "backup", "restore")},
    **{verb: f"data {verb}" for verb in ("verify", "backup", "restore")},
    **{verb: f"contract {verb}" for verb in ("export", "diff", "check")},
    **dict.fromkeys(("kill", "stop", "abort"), "cancel"),
    **dict.fromkeys(("exec", "track"), "run"),
    **dict.fromkeys(("send", "emit", "pub"), "publish"),
    **dict.fromkeys(("sub", "subscribe", "listen", "monitor"), "watch"),
    **dict.fromkeys(("server", "hub", "up", "daemon"), "serve"),
    **dict.fromkeys(("ping", "health"), "doctor"),
    **dict.fromkeys(("dashboard", "browse", "browser", "ui", "web"), "open"),
    **dict.fromkeys(("signin", "auth", "auth login", "authenticate"), "login"),
    **dict.fromkeys(("signout", "auth logout"), "logout"),
    **dict.fromkeys(("auth status", "id"), "whoami"),
    "version": "--version",
}


class LazyCommand(PlainCommand):
    """A command that imports its module when it parses arguments, so that `tidings --help` imports none of them.

    Args:
        name: Name of the command, a key of `COMMANDS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, help=COMMANDS[name][1])

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Return the context of the real command."""
        return load_command(str(self.name)).make_context(*args, **options)


class LazyGroup(PlainGroup):
    """The commands of `COMMANDS`, in the order of that table."""

    guesses = _GUESSES

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command that is not imported yet; None for an unknown name."""
        return LazyCommand(cmd_name) if cmd_name in COMMANDS else None


def load_command(name: str) -> Any:
    """Import the module of a command, and return the command in the form that click runs."""
    module = import_module(COMMANDS[name][0])
    command = getattr(module, name)
    if not isinstance(command, typer.Typer):
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        options: dict[str, Any] = {
            "epilog": getattr(module, "EPILOG", None),
            "context_settings": getattr(module, "CONTEXT", None),
        }
        single.command(name, cls=PlainCommand, **options)(command)
        command = single
    return typer.main.get_command(command)


app = typer.Typer(
    name="tidings",
    cls=LazyGroup,
    rich_markup_mode=None,
    # A bug of tidings is shown as Python's own traceback, which is what a bug report needs.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(f"tidings {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """See long-running work as it happens."""


_UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""The base class of errors in the command line: click's, or that of the copy of click within newer Typers."""


def run_app() -> int:
    """Run the command line, and return its exit code.

    Raises:
        ConfigError: The command line is invalid.
    """
    try:
        return app(standalone_mode=False) or 0
    except _UsageError as error:
        # Typer names the class of the exception with which it rejects a choice.
        message = error.format_message().rstrip(".").replace(": Value error, ", ": ")
        command = "tidings" if error.ctx is None else error.ctx.command_path
        raise ConfigError(
            f"{message[:1].lower()}{message[1:]}", option="", source="the command line", hint=f"Run `{command} --help`."
        ) from error
