"""Checks the token, and what a hub answers to it."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from tidings.cli.doctor.finding import CheckResult, bad, good, note
from tidings.cli.units import format_duration
from tidings.client.tokens import describe_owner, read_claims
from tidings.exceptions import TokenExpired, TokenNotYetValid
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import AuthFailed, ConnectionEstablished
from tidings.protocol.timestamps import to_nanoseconds

TOKEN, ACCESS = "token", "access"
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
    established: ConnectionEstablished, receive: Callable[[], Awaitable[Envelope]], *, with_token: bool
) -> CheckResult:
    """Return whether the hub lets this client in.

    Args:
        established: The greeting.
        receive: Returns the next message.
        with_token: Whether the handshake had a token.

    Raises:
        Exception: As `receive`; or the hub sent a message that is not one of authentication.
    """
    if established.auth == "none":
        text = "the hub asks for no token"
        return note(ACCESS, f"{text}, and gets one", "Unset TIDINGS_TOKEN.") if with_token else good(ACCESS, text)
    if established.auth != "required":
        return good(ACCESS, f"the hub takes this client for {established.auth}")
    while (envelope := await receive()).type not in (MessageType.AUTH_REQUIRED, MessageType.AUTH_FAILED):
        continue
    if envelope.type == MessageType.AUTH_REQUIRED:
        return bad(
            ACCESS, "the hub asks for a token", "Set TIDINGS_TOKEN or TIDINGS_TOKEN_FILE, or run `tidings login`."
        )
    failed = msgspec.json.decode(envelope.data, type=AuthFailed)
    return bad(ACCESS, f"{failed.message} ({failed.code})", _hint(failed, established))


def _hint(failed: AuthFailed, established: ConnectionEstablished) -> str:
    hint = failed.hint or ""
    skew_s = to_nanoseconds(established.now) / 1e9 - time.time()
    if failed.code in (TokenExpired.code, TokenNotYetValid.code) and abs(skew_s) >= _MIN_SKEW_NAMED_S:
        side = "ahead of" if skew_s > 0 else "behind"
        return f"{hint} The hub's clock is {format_duration(round(abs(skew_s)))} {side} this one: set both with NTP."
    return hint
