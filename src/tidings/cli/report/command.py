"""Commands with which a shell script reports its operation: each is one POST, and none may break the script."""

import getpass
import hashlib
import os
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from msgspec import Raw, Struct

from tidings.cli.commands import PlainCommand, PlainGroup
from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, print_error, print_stderr
from tidings.cli.options import MAX_LEASE_S, IdArgument, UrlOption, parse_duration_option
from tidings.cli.report.arguments import read_json, read_object, read_percent, read_steps, read_text
from tidings.client.drafts import uuid7
from tidings.client.http import HTTPClient, PublishAnswer
from tidings.exceptions import CommandRefused, HubUnreachable, OperationFenced, TidingsError
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
    Payload,
    encode_payload,
)
from tidings.protocol.timestamps import from_nanoseconds

TIMEOUT_S = 3.0
"""Default maximum time that a script waits for a hub. An unreachable hub usually fails immediately."""
_RETRY_S = 0.1
"""Delay before a start or an end, which must not be lost, is posted again."""

StrictOption = Annotated[bool, typer.Option("--strict", help="Fail if the hub is unreachable or refuses; else warn.")]
TimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Maximum time.")]

_STRICT_CODES = "With --strict also 1: the hub refuses; 69: no hub answers."
_END_EPILOG = f"{exit_codes_epilog(ExitCode.SUCCESS)} {_STRICT_CODES}"
_UPDATE_EPILOG = f"{exit_codes_epilog(ExitCode.SUCCESS, ExitCode.CANCEL_REQUESTED)} {_STRICT_CODES}"


class Level(StrEnum):
    """Severity of a log line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class _ReportGroup(PlainGroup):
    guesses = {  # noqa: RUF012
        **dict.fromkeys(("begin", "new"), "start"),
        "queue": "start --queued",
        "step": "progress --step",
        "update": "progress",
        **dict.fromkeys(("end", "finish", "done", "success", "ok"), "complete"),
        **dict.fromkeys(("failed", "failure", "error"), "fail"),
        "cancel": "cancelled",
    }


report = typer.Typer(
    name="report",
    cls=_ReportGroup,
    rich_markup_mode=None,
    add_completion=False,
    help="Report an operation from a shell script.",
)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
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
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Id of the parent operation.", show_default=False)
    ] = None,
    queued: Annotated[
        bool, typer.Option("--queued", help="Queue the operation; another start, or progress, begins it.")
    ] = False,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="Metadata, a JSON object.", show_default=False)
    ] = None,
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Start an operation, and print its id.

    In a script: ID=$(tidings report start "Nightly import").
    """
    operation_id = id or str(uuid.uuid4())
    payload = OperationStartData(
        operation_id=operation_id,
        name=name,
        steps=read_steps(steps),
        total_steps=total,
        queued=queued,
        parent_id=parent,
        metadata=read_object("metadata", metadata),
        host=socket.gethostname(),
        # The shell that runs the script: that process continues, unlike this one.
        pid=os.getppid(),
        user=_user(),
    )
    lease_s = None if lease is None else parse_duration_option("lease", lease, 1.0, MAX_LEASE_S)
    # The script uses the id even if the POST fails.
    typer.echo(operation_id)
    _post(url, operation_id, MessageType.OPERATION_START, payload, timeout, strict, retried=True, lease_s=lease_s)


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
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Report the progress of an operation."""
    share = read_percent(percent)
    payload = OperationProgressData(
        operation_id=id,
        progress=share or 0.0,
        indeterminate=share is None,
        current_step=step or "",
        total_steps=total or 0,
        message=message,
    )
    _post(url, id, MessageType.OPERATION_PROGRESS, payload, timeout, strict)


@report.command(cls=PlainCommand, epilog=_UPDATE_EPILOG)
def log(
    id: IdArgument,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Text of the line; - reads stdin.", show_default=False)
    ],
    level: Annotated[Level, typer.Option(metavar="|".join(Level), help="Severity.")] = Level.INFO,
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Add a line to the log of an operation."""
    text = (read_text("message", message) if message == "-" else message) or ""
    payload = OperationLogData(operation_id=id, level=level.value, message=text.rstrip("\n"))
    _post(url, id, MessageType.OPERATION_LOG, payload, timeout, strict)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
def complete(
    id: IdArgument,
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="Summary of the result.", show_default=False)
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="Result; - reads stdin, @FILE a file.", show_default=False)
    ] = None,
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as complete."""
    payload = OperationCompleteData(operation_id=id, message=message, result=read_json("result", result))
    _post(url, id, MessageType.OPERATION_COMPLETE, payload, timeout, strict, retried=True)


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
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as failed."""
    payload = OperationFailedData(
        operation_id=id,
        code=code,
        message=message,
        hint=hint,
        details=read_text("details", details),
        recoverable=recoverable,
    )
    _post(url, id, MessageType.OPERATION_FAILED, payload, timeout, strict, retried=True)


@report.command(cls=PlainCommand, epilog=_END_EPILOG)
def cancelled(
    id: IdArgument,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="User who cancelled it.", show_default=False)] = None,
    timeout: TimeoutOption = TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation as cancelled."""
    payload = OperationCancelledData(operation_id=id, reason=reason, cancelled_by=by)
    _post(url, id, MessageType.OPERATION_CANCELLED, payload, timeout, strict, retried=True)


def _post(
    url: str | None,
    operation_id: str,
    type: MessageType,
    payload: Payload,
    timeout_s: float,
    strict: bool,
    *,
    retried: bool = False,
    lease_s: float | None = None,
) -> None:
    post = EventPost(operation_id=operation_id, type=type, payload=payload, retried=retried, lease_s=lease_s)
    code = post_event(url, post, timeout_s=timeout_s, strict=strict)
    if code:
        raise typer.Exit(code)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None  # a container may run under a user id without a name


class EventPost(Struct, frozen=True, kw_only=True):
    """One event of an operation, and its delivery options."""

    operation_id: str
    type: MessageType
    payload: Payload
    lease_s: float | None = None
    """Lease of the operation that a start begins: from then on each POST renews it."""
    retried: bool = False
    """Whether it is posted again until the timeout if the hub does not answer: a start or an end."""


class _Envelope(Struct):
    type: str
    timestamp: str
    data: Raw
    event_id: str


def producer_of(operation_id: str) -> str:
    """Return the producer id for an operation that a script began with a lease: the same in all its commands."""
    return f"script.{hashlib.sha256(operation_id.encode(errors='surrogateescape')).hexdigest()[:32]}"


def post_event(
    url: str | None,
    post: EventPost,
    *,
    timeout_s: float = TIMEOUT_S,
    strict: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Post an event, report an error on stderr, and return the exit code.

    Args:
        url: URL of the hub; None means TIDINGS_URL, or a hub on this machine.
        post: The event.
        timeout_s: Maximum time, in seconds.
        strict: Whether an unreachable hub, or a refusal, is an error rather than a warning.
        clock: Returns seconds from a monotonic clock.
        sleep: Sleeps for a number of seconds.

    Raises:
        ConfigError: `url` is invalid.
    """
    try:
        with HTTPClient(url, timeout_s=timeout_s) as client:
            reply = _deliver(client, post, clock() + timeout_s, clock, sleep)
    except HubUnreachable as error:
        return _report(error, post, ExitCode.NO_HUB, strict=strict)
    except TidingsError as error:
        return _report(error, post, FAILED, strict=strict)
    if post.operation_id in reply.cancel_requests:
        print_stderr(
            f"tidings: cancellation of operation {post.operation_id!r} requested: stop, then run "
            f"`tidings report cancelled {post.operation_id}`"
        )
        return ExitCode.CANCEL_REQUESTED
    return ExitCode.SUCCESS


def _deliver(
    client: HTTPClient, post: EventPost, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> PublishAnswer:
    """Post an event until it is accepted, or refused permanently.

    Raises:
        TidingsError: The event was not accepted.
    """
    envelope = _encode(post)
    headers = _headers(post)
    while True:
        try:
            return client.publish(envelope, headers)
        except CommandRefused as error:
            # The operation has a holder; if a script began it with a lease, that is this producer id.
            if error.refusal == OperationFenced.code and not headers:
                headers = {"tidings-producer": producer_of(post.operation_id)}
                continue
            if not (error.recoverable and post.retried) or clock() + _RETRY_S >= deadline:
                raise
        except HubUnreachable:
            if not post.retried or clock() + _RETRY_S >= deadline:
                raise
        sleep(_RETRY_S)


def _headers(post: EventPost) -> dict[str, str]:
    if post.lease_s is None:
        return {}
    return {"tidings-producer": producer_of(post.operation_id), "tidings-lease": f"{post.lease_s:g}"}


def _encode(post: EventPost) -> bytes:
    now_ns = time.time_ns()
    # The hub recognises a repeated POST by its event id.
    event_id = uuid7(now_ns // 1_000_000, secrets.randbits(74))
    data = Raw(encode_payload(post.payload))
    return msgspec.json.encode(_Envelope(str(post.type), from_nanoseconds(now_ns), data, event_id))


def _report(error: TidingsError, post: EventPost, code: int, *, strict: bool) -> int:
    if strict:
        print_error(error)
        return code
    print_stderr(f"tidings: {post.type} was not reported: {error}. The script continues.")
    return ExitCode.SUCCESS
