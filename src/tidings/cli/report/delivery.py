"""Delivers the events of a script's operation: by one POST each, or through the spool if no hub takes them."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

import msgspec
from msgspec import Raw, Struct

from tidings.cli.errors import ExitCode, exit_code, is_about_token, print_error, print_stderr
from tidings.cli.report.local_copy import LocalCopy
from tidings.client.drafts import Draft, make_draft
from tidings.client.http import HTTPClient, PublishAnswer
from tidings.client.options import LinkOptions
from tidings.contract.contract import Contract
from tidings.exceptions import (
    AccessError,
    ClientError,
    CommandRefused,
    ConfigError,
    HubUnreachable,
    OperationFenced,
    OperationUnknown,
    TidingsError,
)
from tidings.producer.diagnostics import write_line
from tidings.producer.options import is_disabled
from tidings.producer.spool.directory import SpoolOptions, list_folders, list_spool_files
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import Payload

DEFAULT_TIMEOUT = "3s"
"""Default maximum time that a script waits for a hub. An unreachable hub usually fails immediately."""
_RETRY_S = 0.1
"""Delay before a start or an end, which must not be lost, is posted again."""
_FLUSH_TIMEOUT_S = 2.0
"""Maximum time in which an end also sends what other programs have left unsent."""


class Stage(Enum):
    """The effect of an event on its operation."""

    START = auto()
    UPDATE = auto()
    END = auto()


class EventPost(Struct, frozen=True, kw_only=True):
    """One event of an operation, and its delivery options."""

    operation_id: str
    type: MessageType
    payload: Payload
    stage: Stage
    """A start and an end must not be lost: they are posted again until the timeout, and then kept in the spool."""
    lease_s: float | None = None
    """Lease of the operation that a start begins: from then on each POST renews it."""
    create: bool = False
    """Whether an operation that was never started is created."""


class _Envelope(Struct, omit_defaults=True):
    type: str
    timestamp: str
    data: Raw
    event_id: str


class _NeverStarted(Exception):
    """The hub has no such operation, and this machine started none."""


def producer_of(operation_id: str) -> str:
    """Return the producer id for an operation that a script began: the same in all its commands."""
    return f"script.{hashlib.sha256(operation_id.encode(errors='surrogateescape')).hexdigest()[:32]}"


def post_event(
    url: str | None,
    post: EventPost,
    *,
    timeout_s: float = 3.0,
    strict: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Deliver an event, report an error on stderr, and return the exit code.

    With TIDINGS_DISABLED, nothing is delivered, and that is a success.

    Args:
        url: URL of the hub; None means TIDINGS_URL, or a hub on this machine.
        post: The event.
        timeout_s: Maximum time, in seconds.
        strict: Whether an unreachable hub, an invalid address of it, or a refusal is an error rather than a warning.
        clock: Returns seconds from a monotonic clock.
        sleep: Sleeps for a number of seconds.

    Raises:
        ConfigError: `url` or the environment is invalid, and `strict` is set.
        TidingsError: The payload is not valid.
    """
    draft = make_draft(str(post.type), post.payload)
    if is_disabled():
        return ExitCode.SUCCESS
    try:
        http = HTTPClient(url, timeout_s=timeout_s)
    except ConfigError as error:
        if strict:
            raise
        write_line(f"{post.type} was not reported: {error}. The script continues. {error.hint}".strip())
        return ExitCode.SUCCESS
    with (
        http as client,
        LocalCopy(client.address.url, producer_of(post.operation_id), _owner_of(client), timeout_s) as local,
    ):
        delivery = _Delivery(client, local, post, clock() + timeout_s, clock, sleep)
        code = delivery.run(draft, strict=strict)
    if delivery.delivered and post.stage is Stage.END:
        _flush_others(client.address.url)
    return code


def _owner_of(client: HTTPClient) -> str:
    """Return the owner of the token; "" if there is no token, also if it cannot be read now."""
    try:
        return client.owner
    except ClientError:
        return ""


def _may_pass(error: TidingsError) -> bool:
    """Return whether an event may be accepted later, unchanged: with another token, or by a hub that is back."""
    if isinstance(error, CommandRefused):
        return error.recoverable
    return isinstance(error, HubUnreachable) or is_about_token(error)


class _Delivery:
    """One delivery.

    Args:
        client: HTTP client of the hub.
        local: Local files of the operation.
        post: The event.
        deadline: Time of `clock` at which it gives up.
        clock: Returns seconds from a monotonic clock.
        sleep: Sleeps for a number of seconds.
    """

    def __init__(
        self,
        client: HTTPClient,
        local: LocalCopy,
        post: EventPost,
        deadline: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._client = client
        self._local = local
        self._post = post
        self._deadline = deadline
        self._clock = clock
        self._sleep = sleep
        self._lease_s = post.lease_s if post.stage is Stage.START else local.lease_s
        self._held = self._lease_s is not None
        self.delivered = False
        """Whether the hub has the event."""

    def run(self, draft: Draft, *, strict: bool) -> int:
        """Deliver the event; return the exit code."""
        post = self._post
        try:
            self._check_started()
        except _NeverStarted:
            print_stderr(
                f"error: no such operation: {post.operation_id!r}",
                "hint: Check the id, or pass --create to report an operation that was never started.",
            )
            return ExitCode.UNKNOWN_OPERATION
        except HubUnreachable as error:
            if post.stage is Stage.UPDATE:
                return _report(error, post, ExitCode.NO_HUB, strict=strict)
            print_stderr(
                f"error: {error}, and operation {post.operation_id!r} was not started on this machine",
                "hint: Check the id and --url, or pass --create to send the event when a hub answers.",
            )
            return ExitCode.NO_HUB
        except TidingsError as error:
            return _report(error, post, exit_code(error), strict=strict)
        # With --strict the script ends if its operation cannot start, so that start must not be sent later.
        kept = post.stage is Stage.END or (post.stage is Stage.START and not strict)
        if kept:
            # On disk before it is sent: the script may be killed in between.
            try:
                self._local.keep(draft, self._lease_s)
            except OSError as error:
                write_line(f"{post.type} is not kept on disk: {error.strerror or error}")
                kept = False
        try:
            reply = self._send(draft)
        except TidingsError as error:
            later = _may_pass(error)
            if kept and not later:
                self._local.done(draft.event_id)
            elif kept:
                self._settle()
            return _report(error, post, exit_code(error), strict=strict, kept=kept and later)
        self.delivered = True
        self._local.done(draft.event_id)
        self._settle()
        if post.operation_id in reply.cancel_requests:
            write_line(
                f"cancellation of operation {post.operation_id!r} requested: stop, then run "
                f"`tidings report cancelled {post.operation_id}`"
            )
            return ExitCode.CANCEL_REQUESTED
        return ExitCode.SUCCESS

    def _check_started(self) -> None:
        """Check that an update or an end belongs to an operation that was started.

        Raises:
            _NeverStarted: It does not.
            TidingsError: The hub could not be asked.
        """
        if self._post.stage is Stage.START or self._post.create or self._local.known:
            return
        while True:
            try:
                operation = self._client.operation(self._post.operation_id)
            except OperationUnknown as error:
                raise _NeverStarted from error
            except HubUnreachable:
                if self._post.stage is Stage.UPDATE or not self._pause():
                    raise
            else:
                self._held = operation.producer_id == producer_of(self._post.operation_id)
                return

    def _settle(self) -> None:
        """Note for later commands what this one did."""
        if self._post.stage is Stage.START:
            self._local.mark_started(self._lease_s)
        elif self._post.stage is Stage.END:
            self._local.mark_ended()

    def _send(self, draft: Draft) -> PublishAnswer:
        """Post what is in the spool, and then the event, until it is accepted or refused permanently.

        Raises:
            TidingsError: The event was not accepted.
        """
        retried = self._post.stage is not Stage.UPDATE
        while True:
            try:
                for each in self._local.pending:
                    if each.event_id != draft.event_id:
                        self._post_pending(each)
                return self._post_one(draft, self._lease_s if self._post.stage is Stage.START else None)
            except CommandRefused as error:
                # The operation has a holder; if a script began it with a lease, that is this producer id.
                if error.refusal == OperationFenced.code and not self._held:
                    self._held = True
                    continue
                if not (error.recoverable and retried and self._pause()):
                    raise
            except HubUnreachable:
                if not retried or not self._pause():
                    raise

    def _post_pending(self, draft: Draft) -> None:
        """Post an event of an earlier command; a permanent refusal is its end."""
        try:
            self._post_one(draft, self._lease_s)
        except (CommandRefused, AccessError) as error:
            if _may_pass(error):
                raise
            write_line(f"{draft.type}, kept from an earlier command, was refused: {error}")
        self._local.done(draft.event_id)

    def _post_one(self, draft: Draft, lease_s: float | None) -> PublishAnswer:
        headers = {"tidings-producer": producer_of(self._post.operation_id)} if self._held else {}
        if lease_s is not None:
            headers["tidings-lease"] = f"{lease_s:g}"
        envelope = _Envelope(draft.type, draft.timestamp, draft.data, draft.event_id)
        return self._client.publish(msgspec.json.encode(envelope), headers)

    def _pause(self) -> bool:
        """Wait before another attempt; return False if there is no time for one."""
        if self._clock() + _RETRY_S >= self._deadline:
            return False
        self._sleep(_RETRY_S)
        return True


def _flush_others(url: str) -> None:
    """Send what ended programs have left unsent for this hub, as every program that reports does."""
    spool = SpoolOptions()
    if not list_spool_files(url, list_folders(spool, os.environ)):
        return
    from tidings.producer.spool.recovery import recover_all  # asyncio's client is needed for nothing else here

    with suppress(TidingsError):
        asyncio.run(recover_all(url, LinkOptions(), Contract(), spool, timeout_s=_FLUSH_TIMEOUT_S))


def _report(error: TidingsError, post: EventPost, code: int, *, strict: bool, kept: bool = False) -> int:
    if strict:
        print_error(error)
        return code
    if kept:
        when = "when a hub answers" if isinstance(error, HubUnreachable) else "when the hub accepts it"
        write_line(f"{post.type} is kept on disk, and sent {when}: {error}")
    else:
        write_line(f"{post.type} was not reported: {error}. The script continues.")
    return ExitCode.SUCCESS
