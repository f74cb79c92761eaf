"""Events of a shell script: each is one post to the hub, and none may break the script."""

import hashlib
import secrets
import time
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from tidings.cli.exit_codes import ExitCode
from tidings.cli.failure import FAILED, show_failure, write_lines
from tidings.cli.hub_api import HubAPI, Reply
from tidings.client.drafts import uuid7
from tidings.exceptions import CommandRefused, HubUnreachable, OperationFenced, TidingsError
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import Payload, encode_payload
from tidings.protocol.timestamps import from_nanoseconds

TIMEOUT_S = 3.0
"""How long a script waits for a hub at most. A hub that is not there says so at once."""
_AGAIN_S = 0.1
"""Before what must not be lost is posted again."""


class Post(Struct, frozen=True, kw_only=True):
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
    post: Post,
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
        with HubAPI(url, timeout_s=timeout_s) as api:
            reply = _deliver(api, post, clock() + timeout_s, clock, sleep)
    except HubUnreachable as error:
        return _told(error, post, ExitCode.NO_HUB, strict=strict)
    except TidingsError as error:
        return _told(error, post, FAILED, strict=strict)
    if post.operation_id in reply.wanted:
        write_lines(
            f"tidings: somebody wants operation {post.operation_id!r} to end: stop, and then "
            f"`tidings operation cancelled {post.operation_id}`"
        )
        return ExitCode.CANCEL_WANTED
    return ExitCode.WELL


def _deliver(
    api: HubAPI, post: Post, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Reply:
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


def _headers(post: Post) -> dict[str, str]:
    if post.lease_s is None:
        return {}
    return {"tidings-producer": producer_of(post.operation_id), "tidings-lease": f"{post.lease_s:g}"}


def _encode(post: Post) -> bytes:
    now_ns = time.time_ns()
    # Posted again, the hub knows it by its event id.
    event_id = uuid7(now_ns // 1_000_000, secrets.randbits(74))
    data = Raw(encode_payload(post.payload))
    return msgspec.json.encode(_Envelope(str(post.type), from_nanoseconds(now_ns), data, event_id))


def _told(error: TidingsError, post: Post, code: int, *, strict: bool) -> int:
    if strict:
        show_failure(error)
        return code
    write_lines(f"tidings: {post.type} is not told: {error}. The script goes on.")
    return ExitCode.WELL
