"""The commands by which a shell script reports its operation: each is one post.

Events of a shell script: each is one post to the hub, and none may break the script.
"""

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

from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, print_error, print_stderr
from tidings.cli.operation.arguments import read_json, read_object, read_percent, read_steps, read_text
from tidings.cli.options import MAX_LEASE_S, UrlOption, parse_duration_option
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

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The operation's.", show_default=False)]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="A hub that is away, or refuses it, is an error; else a remark.")
]
TimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long it may take at most.")]

_TIMEOUT_S = 3.0
_STRICT = "With --strict also 1: the hub refuses it; 69: no hub answers."
_ENDS = f"{exit_codes_epilog(ExitCode.SUCCESS)} {_STRICT}"
_NEWS = f"{exit_codes_epilog(ExitCode.SUCCESS, ExitCode.CANCEL_REQUESTED)} {_STRICT}"


class Level(StrEnum):
    """How much a line of a log matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


def add_commands(app: typer.Typer) -> None:
    """Add these commands to `tidings operation`."""
    ends: tuple[Callable[..., None], ...] = (start, complete, fail, cancelled)
    news: tuple[Callable[..., None], ...] = (progress, log)
    for command in ends:
        app.command(epilog=_ENDS)(command)
    for command in news:
        app.command(epilog=_NEWS)(command)


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.", show_default=False)],
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id. Default: a new one.", show_default=False)
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="The names of its steps, in order.", show_default=False)
    ] = None,
    total: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many steps there are.", show_default=False)
    ] = None,
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="It has failed when nothing is told of it for so long. Default: nobody minds.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="The operation it is a part of.", show_default=False)
    ] = None,
    queued: Annotated[
        bool, typer.Option("--queued", help="It is accepted, and begins later: by another start, or its progress.")
    ] = False,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="More about it, an object.", show_default=False)
    ] = None,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Begin an operation, and print its id: ID=$(tidings operation start "Nightly import")."""
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
        # The shell that runs the script: a process that goes on, unlike ours.
        pid=os.getppid(),
        user=_user(),
    )
    lease_s = None if lease is None else parse_duration_option("lease", lease, 1.0, MAX_LEASE_S)
    # The script goes on with it whatever becomes of the post.
    typer.echo(operation_id)
    _post(url, operation_id, MessageType.OPERATION_START, payload, timeout, strict, patient=True, lease_s=lease_s)


def progress(
    id: IdArgument,
    percent: Annotated[
        str, typer.Argument(metavar="PERCENT", help="0 to 100, 3/7, or ? where nobody knows.", show_default=False)
    ],
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="What it is doing.", show_default=False)
    ] = None,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="The step it is at.", show_default=False)] = None,
    total: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many steps there are.", show_default=False)
    ] = None,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Tell how far an operation is."""
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


def log(
    id: IdArgument,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The line; - is stdin.", show_default=False)],
    level: Annotated[Level, typer.Option(help="How much it matters.")] = Level.INFO,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """Keep a line with an operation."""
    text = (read_text("message", message) if message == "-" else message) or ""
    payload = OperationLogData(operation_id=id, level=level.value, message=text.rstrip("\n"))
    _post(url, id, MessageType.OPERATION_LOG, payload, timeout, strict)


def complete(
    id: IdArgument,
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="What was done.", show_default=False)
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="What came of it; - is stdin, @FILE a file.", show_default=False)
    ] = None,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation that went well."""
    payload = OperationCompleteData(operation_id=id, message=message, result=read_json("result", result))
    _post(url, id, MessageType.OPERATION_COMPLETE, payload, timeout, strict, patient=True)


def fail(
    id: IdArgument,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="What went wrong.", show_default=False)],
    code: Annotated[str, typer.Option(metavar="CODE", help="Which kind of error, for programs.")] = "failed",
    hint: Annotated[str | None, typer.Option(metavar="TEXT", help="What to do about it.", show_default=False)] = None,
    details: Annotated[
        str | None, typer.Option(metavar="TEXT", help="More; - is stdin, @FILE a file.", show_default=False)
    ] = None,
    recoverable: Annotated[bool, typer.Option("--recoverable", help="Trying again may help.")] = False,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation that failed."""
    payload = OperationFailedData(
        operation_id=id,
        code=code,
        message=message,
        hint=hint,
        details=read_text("details", details),
        recoverable=recoverable,
    )
    _post(url, id, MessageType.OPERATION_FAILED, payload, timeout, strict, patient=True)


def cancelled(
    id: IdArgument,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Who wanted it.", show_default=False)] = None,
    timeout: TimeoutOption = _TIMEOUT_S,
    strict: StrictOption = False,
    url: UrlOption = None,
) -> None:
    """End an operation that was told to end."""
    payload = OperationCancelledData(operation_id=id, reason=reason, cancelled_by=by)
    _post(url, id, MessageType.OPERATION_CANCELLED, payload, timeout, strict, patient=True)


def _post(
    url: str | None,
    operation_id: str,
    type: MessageType,
    payload: Payload,
    timeout_s: float,
    strict: bool,
    *,
    patient: bool = False,
    lease_s: float | None = None,
) -> None:
    post = EventPost(operation_id=operation_id, type=type, payload=payload, patient=patient, lease_s=lease_s)
    code = post_event(url, post, timeout_s=timeout_s, strict=strict)
    if code:
        raise typer.Exit(code)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None  # a container may run under a number that no user has


TIMEOUT_S = 3.0
"""How long a script waits for a hub at most. A hub that is not there says so at once."""
_AGAIN_S = 0.1
"""Before what must not be lost is posted again."""


class EventPost(Struct, frozen=True, kw_only=True):
    """One event of an operation, and how much it matters."""

    operation_id: str
    type: MessageType
    payload: Payload
    lease_s: float | None = None
    """What the operation is begun with: from then on each post is its producer's sign of life."""
    patient: bool = False
    """Whether it is posted again, as long as there is time, to a hub that does not answer: a start or an end."""


class _Envelope(Struct):
    type: str
    timestamp: str
    data: Raw
    event_id: str


def producer_of(operation_id: str) -> str:
    """Return who holds an operation that a script began with a lease: the same in all its commands, and nobody else."""
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
    """Post an event, tell what went wrong on stderr, and return the exit code.

    Args:
        url: Where the hub is; None is the environment's, or one on this machine.
        post: What to say.
        timeout_s: How long it may take at most.
        strict: Whether a hub that is away, or refuses it, is an error.
        clock: Seconds from a monotonic clock.
        sleep: Waits for so many seconds.

    Raises:
        ConfigError: `url` is no address.
    """
    try:
        with HTTPClient(url, timeout_s=timeout_s) as api:
            reply = _deliver(api, post, clock() + timeout_s, clock, sleep)
    except HubUnreachable as error:
        return _told(error, post, ExitCode.NO_HUB, strict=strict)
    except TidingsError as error:
        return _told(error, post, FAILED, strict=strict)
    if post.operation_id in reply.cancel_requests:
        print_stderr(
            f"tidings: somebody wants operation {post.operation_id!r} to end: stop, and then "
            f"`tidings operation cancelled {post.operation_id}`"
        )
        return ExitCode.CANCEL_REQUESTED
    return ExitCode.SUCCESS


def _deliver(
    api: HTTPClient, post: EventPost, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> PublishAnswer:
    """Post an event until it is taken or refused for good.

    Raises:
        TidingsError: It was not taken.
    """
    envelope = _encode(post)
    headers = _headers(post)
    while True:
        try:
            return api.publish(envelope, headers)
        except CommandRefused as error:
            # It is held, and if a script began it with a lease, by who we are then.
            if error.refusal == OperationFenced.code and not headers:
                headers = {"tidings-producer": producer_of(post.operation_id)}
                continue
            if not (error.recoverable and post.patient) or clock() + _AGAIN_S >= deadline:
                raise
        except HubUnreachable:
            if not post.patient or clock() + _AGAIN_S >= deadline:
                raise
        sleep(_AGAIN_S)


def _headers(post: EventPost) -> dict[str, str]:
    if post.lease_s is None:
        return {}
    return {"tidings-producer": producer_of(post.operation_id), "tidings-lease": f"{post.lease_s:g}"}


def _encode(post: EventPost) -> bytes:
    now_ns = time.time_ns()
    # Posted again, the hub knows it by its event id.
    event_id = uuid7(now_ns // 1_000_000, secrets.randbits(74))
    data = Raw(encode_payload(post.payload))
    return msgspec.json.encode(_Envelope(str(post.type), from_nanoseconds(now_ns), data, event_id))


def _told(error: TidingsError, post: EventPost, code: int, *, strict: bool) -> int:
    if strict:
        print_error(error)
        return code
    print_stderr(f"tidings: {post.type} is not told: {error}. The script goes on.")
    return ExitCode.SUCCESS
