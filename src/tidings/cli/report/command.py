"""Commands with which a shell script reports its operation; an unreachable hub does not break the script."""

import getpass
import os
import socket
import uuid
from enum import StrEnum
from typing import Annotated

import typer

from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.errors import ExitCode, exit_codes_epilog
from tidings.cli.options import MAX_LEASE_S, IdArgument, ParentOption, UrlOption, parse_duration_option
from tidings.cli.report.arguments import read_json, read_object, read_percent, read_steps, read_text
from tidings.cli.report.delivery import DEFAULT_TIMEOUT, EventPost, Stage, post_event
from tidings.exceptions import ConfigError
from tidings.printable import decode_argument
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
    Payload,
)

CreateOption = Annotated[bool, typer.Option("--create", help="Report an operation that was never started.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Fail if the hub is unreachable or refuses; else warn.")]
TimeoutOption = Annotated[str, typer.Option(metavar="TIME", help="Maximum time to wait for a hub.")]
_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 0.1, 3_600.0

_STRICT_CODES = (
    "With --strict also 1: the hub refuses; 69: no hub answers; "
    f"{ExitCode.NOT_ALLOWED}: {ExitCode.NOT_ALLOWED.meaning}."
)
_START_EPILOG = f"{exit_codes_epilog()} {_STRICT_CODES}"
_END_EPILOG = f"{exit_codes_epilog(ExitCode.UNKNOWN_OPERATION)} {_STRICT_CODES}"
_UPDATE_EPILOG = f"{exit_codes_epilog(ExitCode.UNKNOWN_OPERATION, ExitCode.CANCEL_REQUESTED)} {_STRICT_CODES}"


class Level(StrEnum):
    """Severity of a log line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


report = make_group(
    "report",
    "Report an operation from a shell script.",
    {
        "start": ("begin", "new"),
        "start --queued": ("queue",),
        "progress": ("update",),
        "progress --step": ("step",),
        "complete": ("end", "finish", "done", "success", "ok"),
        "fail": ("failed", "failure", "error"),
        "cancelled": ("cancel",),
    },
)


@report.command(cls=PlainCommand, epilog=_START_EPILOG)
def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name for people.", show_default=False)],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Operation id. Default: a new one.", show_default=False)
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Names of the steps, in order.", show_default=False)
    ] = None,
    total: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of steps.", show_default=False)] = None,
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Mark the operation failed if nothing is reported for this long. Default: no lease.",
            show_default=False,
        ),
    ] = None,
    parent: ParentOption = None,
    queued: Annotated[
        bool, typer.Option("--queued", help="Queue the operation; another start, or progress, begins it.")
    ] = False,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Metadata, a JSON object.", show_default=False)
    ] = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Start an operation, and print its id.

    In a script: ID=$(tidings report start "Nightly import").
    """
    if not name.strip():
        raise ConfigError("the name is empty", option="NAME", source="argument", hint="Pass a name for people.")
    operation_id = str(uuid.uuid4()) if id is None else _check_id(id)
    payload = OperationStartData(
        operation_id=operation_id,
        name=name,
        steps=read_steps(steps),
        total_steps=total,
        queued=queued,
        parent_id=parent or None,
        metadata=read_object("metadata", metadata),
        host=socket.gethostname(),
        # The shell that runs the script: that process continues, unlike this one.
        pid=os.getppid(),
        user=_user(),
    )
    lease_s = None if lease is None else parse_duration_option("lease", lease, 1.0, MAX_LEASE_S)
    # The script uses the id even if the POST fails.
    typer.echo(operation_id)
    _post(url, operation_id, MessageType.OPERATION_START, payload, timeout, strict, Stage.START, lease_s=lease_s)


@report.command(cls=PlainCommand, epilog=_UPDATE_EPILOG)
def progress(
    id: IdArgument,
    percent: Annotated[
        str, typer.Argument(metavar="PERCENT", help="0 to 100, 3/7, or ? if unknown.", show_default=False)
    ],
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="Current activity.", show_default=False)
    ] = None,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="Current step.", show_default=False)] = None,
    total: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of steps.", show_default=False)] = None,
    create: CreateOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Report the progress of an operation."""
    share = read_percent(percent)
    payload = OperationProgressData(
        operation_id=_check_id(id),
        progress=share or 0.0,
        indeterminate=share is None,
        current_step=step or "",
        total_steps=total or 0,
        message=message,
    )
    _post(url, id, MessageType.OPERATION_PROGRESS, payload, timeout, strict, Stage.UPDATE, create=create)


@report.command(cls=PlainCommand, epilog=_UPDATE_EPILOG)
def log(
    id: IdArgument,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Text of the line; - reads stdin.", show_default=False)
    ],
    level: Annotated[Level, typer.Option(metavar="|".join(Level), help="Severity.")] = Level.INFO,
    create: CreateOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Add a line to the log of an operation."""
    text = (read_text("message", message) if message == "-" else message) or ""
    payload = OperationLogData(operation_id=_check_id(id), level=level.value, message=text.rstrip("\n"))
    _post(url, id, MessageType.OPERATION_LOG, payload, timeout, strict, Stage.UPDATE, create=create)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
def complete(
    id: IdArgument,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="Summary of the result.", show_default=False)
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="Result; - reads stdin, @FILE a file.", show_default=False)
    ] = None,
    create: CreateOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as complete."""
    payload = OperationCompleteData(operation_id=_check_id(id), message=message, result=read_json("result", result))
    _post(url, id, MessageType.OPERATION_COMPLETE, payload, timeout, strict, Stage.END, create=create)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
def fail(
    id: IdArgument,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="Description of the error.", show_default=False)],
    code: Annotated[str, typer.Option(metavar="CODE", help="Error code, for programs.")] = "failed",
    hint: Annotated[str | None, typer.Option(metavar="TEXT", help="Remedy.", show_default=False)] = None,
    details: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Details; - reads stdin, @FILE a file.", show_default=False)
    ] = None,
    recoverable: Annotated[bool, typer.Option("--recoverable", help="A retry may succeed.")] = False,
    create: CreateOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as failed."""
    payload = OperationFailedData(
        operation_id=_check_id(id),
        code=code,
        message=message,
        hint=hint,
        details=read_text("details", details),
        recoverable=recoverable,
    )
    _post(url, id, MessageType.OPERATION_FAILED, payload, timeout, strict, Stage.END, create=create)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
def cancelled(
    id: IdArgument,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="User who cancelled it.", show_default=False)] = None,
    create: CreateOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as cancelled."""
    payload = OperationCancelledData(operation_id=_check_id(id), reason=reason, cancelled_by=by)
    _post(url, id, MessageType.OPERATION_CANCELLED, payload, timeout, strict, Stage.END, create=create)


def _post(
    url: str | None,
    operation_id: str,
    type: MessageType,
    payload: Payload,
    timeout: str,
    strict: bool,
    stage: Stage,
    *,
    lease_s: float | None = None,
    create: bool = False,
) -> None:
    post = EventPost(operation_id=operation_id, type=type, payload=payload, stage=stage, lease_s=lease_s, create=create)
    timeout_s = parse_duration_option("timeout", timeout, _MIN_TIMEOUT_S, _MAX_TIMEOUT_S)
    code = post_event(url, post, timeout_s=timeout_s, strict=strict)
    if code:
        raise typer.Exit(code)


def _check_id(id: str) -> str:
    """Return an operation id that is not empty.

    Raises:
        ConfigError: It is empty.
    """
    if not id.strip():
        raise ConfigError("the operation id is empty", option="id", source="argument", hint="Pass the id of `start`.")
    return id


def _user() -> str | None:
    try:
        return decode_argument(getpass.getuser())
    except (KeyError, OSError):
        return None  # a container may run under a user id without a name
