"""The command `tidings run`."""

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.options import (
    MAX_GRACE_S,
    MAX_LEASE_S,
    PARENT_VARIABLE,
    ParentOption,
    UrlOption,
    parse_duration_option,
)
from tidings.client.tokens import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from tidings.exceptions import ConfigError, InvalidKey
from tidings.protocol.paths import check_key

if TYPE_CHECKING:
    from tidings.redaction import Redactor

# Our options come before the command; everything after it belongs to the command.
EPILOG = (
    "Exit codes: that of the command; 128 + N if signal N killed it; 126: it cannot be executed; 127: it was not "
    "found; 2: an invalid command line."
)
CONTEXT = {"allow_interspersed_args": False, "ignore_unknown_options": False}


def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Command to run, with its arguments.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the operation. Default: the command, without secrets.", show_default=False
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Operation id, such as nightly.backup where the token may publish operations/nightly.* only. "
            "Default: a new one.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str,
        typer.Option(metavar="TIME", help="Time between SIGTERM and SIGKILL when the operation is cancelled."),
    ] = "10s",
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long the hub waits for this process after losing it before failing the operation. "
            "Default: the hub's.",
            show_default=False,
        ),
    ] = None,
    parent: ParentOption = None,
    no_command: Annotated[
        bool, typer.Option("--no-command", help="Publish the name of the program instead of the command line.")
    ] = False,
    no_output: Annotated[
        bool, typer.Option("--no-output", help="Publish percentages, but no text of the output.")
    ] = False,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX",
            help="Publish REDACTED instead of each match, in the command line and in each line of the output; "
            "repeatable. Common forms of secrets are always redacted.",
            show_default=False,
        ),
    ] = None,
    pass_token: Annotated[
        bool,
        typer.Option("--pass-token", help="Leave the token for the hub in the environment of the command."),
    ] = False,
    url: UrlOption = None,
) -> None:
    """Run a command and report its progress.

    Its output and exit code stay as they are, with or without a hub. Passwords and tokens are
    redacted as far as they look like it.
    """
    if not command:
        raise ConfigError("missing command", option="command", hint="Write it as in: tidings run -- make test")
    from tidings.cli.run import run_command
    from tidings.cli.run.command import Cancellation, Disclosure
    from tidings.cli.run.hub_reporter import OperationReporter
    from tidings.cli.run.reporter import NullReporter, write_remark
    from tidings.producer.options import is_disabled

    cancellation = Cancellation(parse_duration_option("grace", grace, 0.0, MAX_GRACE_S))
    lease_s = None if lease is None else parse_duration_option("lease", lease, 1.0, MAX_LEASE_S)
    disclosure = Disclosure(_redactor(redact or ()), command=not no_command, output=not no_output)
    reporter: OperationReporter | NullReporter = NullReporter()
    if not is_disabled():
        try:
            reporter = OperationReporter(
                url,
                on_cancel=cancellation.request,
                lease_s=lease_s,
                parent_id=_read_parent(parent),
                operation_id=_read_id(id),
            )
            # Runs inside of this one are parts of it.
            os.environ[PARENT_VARIABLE] = reporter.operation_id
        except ConfigError as error:
            # The command matters more than its report.
            write_remark(f"this run is not shown: {error}. The command goes on. {error.hint}")
    if not pass_token:
        for variable in (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE):
            os.environ.pop(variable, None)
    try:
        code = run_command(command, reporter, name=name, cancellation=cancellation, disclosure=disclosure)
    finally:
        # A second Ctrl-C skips waiting for the hub.
        with contextlib.suppress(KeyboardInterrupt):
            reporter.close()
    raise typer.Exit(code)


def _read_id(id: str | None) -> str | None:
    """Return the id of the operation; None for a new one.

    Raises:
        ConfigError: It is not a valid one.
    """
    try:
        return None if id is None else check_key(id)
    except InvalidKey as error:
        raise ConfigError(f"--id: {error.message}", option="id", source="argument", hint=error.hint) from error


def _read_parent(parent: str | None) -> str | None:
    """Return the id of the parent; None, with a remark on stderr, if it is not a valid one."""
    from tidings.cli.run.reporter import write_remark

    if not parent:
        return None
    try:
        return check_key(parent)
    except InvalidKey as error:
        write_remark(f"this run is shown without its parent: {error}. {error.hint}".strip())
        return None


def _redactor(patterns: Iterable[str]) -> "Redactor":
    from tidings.redaction import Redactor, compile_pattern

    try:
        return Redactor([compile_pattern(pattern) for pattern in patterns])
    except ValueError as cause:
        raise ConfigError(
            f"--redact: {cause}",
            option="redact",
            source="argument",
            hint="Write it in the syntax of Python's re, as in: --redact 'customer-[0-9]+'.",
        ) from cause
