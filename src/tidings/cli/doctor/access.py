"""Checks the token, and what a hub answers to it."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from tidings.cli.doctor.finding import CheckResult, bad, good, note
from tidings.cli.units import format_duration
from tidings.client.tokens import describe_owner, read_claims
from tidings.exceptions import InvalidCredential, TokenExpired, TokenNotYetValid
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import AUTH_TOKEN
from tidings.protocol.payloads import AuthFailed, AuthSuccess, ConnectionEstablished, ErrorData
from tidings.protocol.timestamps import to_nanoseconds

TOKEN, ACCESS = "token", "access"
_ID = "access"
_MAX_GRANTS = 5
"""Grants that are shown; `tidings whoami` lists all."""
_MIN_SKEW_NAMED_S = 5.0
"""Clock difference, in seconds, from which it may explain a refused token: more than the leeway of most verifiers."""


def check_token(token: str, source: str) -> CheckResult:
    """Describe the token that is sent, without its secret."""
    claims = read_claims(token)
    text = f"{describe_owner(token)} (from {source})"
    if claims is None or claims.exp is None:
        return good(TOKEN, text)
    left_s = claims.exp - time.time()
    if left_s <= 0:
        return bad(TOKEN, f"{text}, expired {format_duration(round(-left_s))} ago", "Get a new token.")
    return good(TOKEN, f"{text}, expires in {format_duration(round(left_s))}")


async def check_access(
    established: ConnectionEstablished,
    receive: Callable[[], Awaitable[Envelope]],
    send: Callable[[str], Awaitable[None]],
    *,
    token: str | None,
) -> CheckResult:
    """Return whether the hub lets this client in, and what it may do there.

    Args:
        established: The greeting.
        receive: Returns the next message.
        send: Sends a message.
        token: The token of the handshake.

    Raises:
        Exception: As `receive`; or the hub sent a message that is not one of authentication.
    """
    if established.auth == "none":
        text = "the hub asks for no token"
        return good(ACCESS, text) if token is None else note(ACCESS, f"{text}, and gets one", "Unset TIDINGS_TOKEN.")
    if established.auth != "required":
        subject = f"the hub takes this client for {established.auth}"
        if token is None:  # as by its address or a proxy
            return good(ACCESS, subject)
        return good(ACCESS, f"{subject}: {_rights(await _ask_rights(receive, send, token))}")
    while (envelope := await receive()).type not in (MessageType.AUTH_REQUIRED, MessageType.AUTH_FAILED):
        continue
    if envelope.type == MessageType.AUTH_REQUIRED:
        return bad(
            ACCESS, "the hub asks for a token", "Set TIDINGS_TOKEN or TIDINGS_TOKEN_FILE, or run `tidings login`."
        )
    failed = msgspec.json.decode(envelope.data, type=AuthFailed)
    return bad(ACCESS, f"{failed.message} ({failed.code})", _hint(failed, established))


async def _ask_rights(
    receive: Callable[[], Awaitable[Envelope]], send: Callable[[str], Awaitable[None]], token: str
) -> AuthSuccess:
    """Send the token once more, in a message: the answer has the grants and the expiry, unlike the greeting."""
    command = {"type": AUTH_TOKEN, "id": _ID, "data": {"token": token}}
    await send(msgspec.json.encode(command).decode())
    while (envelope := await receive()).reply_to != _ID:
        continue
    if envelope.type != MessageType.AUTH_SUCCESS:
        failed = msgspec.json.decode(envelope.data, type=ErrorData)
        raise InvalidCredential(f"{failed.message} ({failed.code})")
    return msgspec.json.decode(envelope.data, type=AuthSuccess)


def _rights(success: AuthSuccess) -> str:
    shown = ", ".join(success.grants[:_MAX_GRANTS]) or "no grants"
    more = len(success.grants) - _MAX_GRANTS
    text = f"{shown} and {more} more" if more > 0 else shown
    if success.expires_at is None:
        return f"{text}; does not expire"
    left_s = to_nanoseconds(success.expires_at) / 1e9 - time.time()
    return f"{text}; expires in {format_duration(max(0, round(left_s)))}"


def _hint(failed: AuthFailed, established: ConnectionEstablished) -> str:
    hint = failed.hint or ""
    skew_s = to_nanoseconds(established.now) / 1e9 - time.time()
    if failed.code in (TokenExpired.code, TokenNotYetValid.code) and abs(skew_s) >= _MIN_SKEW_NAMED_S:
        side = "ahead of" if skew_s > 0 else "behind"
        return f"{hint} The hub's clock is {format_duration(round(abs(skew_s)))} {side} this one: set both with NTP."
    return hint
