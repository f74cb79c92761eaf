"""Interprets the end of a connection: whether and when to reconnect (docs/protocol/codes.md, "Close codes")."""

from msgspec import Struct

from tidings.exceptions import AccessError, ConnectionLost, HubClosed, InvalidCredential, LicenseExpired, TidingsError
from tidings.protocol.codes import row_of, should_reconnect
from tidings.protocol.payloads import ConnectionClosed

_NO_CODE, _ABNORMAL = 1005, 1006
_REJECTED = 4001
_UNLICENSED = 4051
_UNLICENSED_DELAY_S = 30.0
"""Reconnect delay where a hub without a license names none."""
REPLACED = 4102
"""Close code for a connection whose producer has a newer one."""
_REPLACED_DELAY_S = 30.0
"""Reconnect delay after being replaced for the first time: the other process may end before."""

MAX_RETRY_AFTER_S = 300.0
"""Longest wait, in seconds, that a hub may ask for: a wrong number must not keep a client away for weeks."""


class CloseReason(Struct, frozen=True, kw_only=True):
    """How a connection ended, and the consequences."""

    error: TidingsError
    final: bool
    """Whether reconnecting makes no sense."""
    token_refused: bool = False
    """Whether it would make sense with another token."""
    retry_after_s: float = 0.0
    """Seconds that the hub asked its clients to stay away, at most MAX_RETRY_AFTER_S."""
    replaced: bool = False
    """Whether another connection took this one's place."""


def read_close_reason(
    code: int,
    reason: str,
    notice: ConnectionClosed | None,
    *,
    greeted: bool,
    replaced_before: bool = False,
    refusal: AccessError | None = None,
) -> CloseReason:
    """Return the consequences of the end of a connection.

    Args:
        code: WebSocket close code.
        reason: WebSocket close reason.
        notice: The `connection:closed` before it, if any: it counts if the socket ended without a close code.
        greeted: Whether the hub had sent its greeting.
        replaced_before: Whether an earlier connection was replaced. Replaced again, the client stops: two processes
            with one producer id would replace each other forever.
        refusal: The `auth:failed` before it, if any.
    """
    if notice is not None and code in (_NO_CODE, _ABNORMAL):
        code, reason = notice.code, notice.reason
    if refusal is not None and code in (_NO_CODE, _ABNORMAL):
        code = row_of(refusal).close or code
    suffix = f": {reason}" if reason else ""
    if code == _REJECTED:
        rejected = refusal or InvalidCredential(f"the hub rejects the token{suffix}")
        return CloseReason(error=rejected, final=True, token_refused=True)
    if not should_reconnect(code) or (notice is not None and not notice.reconnect):
        closed = HubClosed(f"the hub closed the connection for good ({code}){suffix}", close_code=code)
        return CloseReason(error=refusal or closed, final=True)
    if code == REPLACED and replaced_before:
        return CloseReason(
            error=HubClosed(
                "another process uses the id of this producer, and has replaced it again",
                close_code=code,
                hint="Give each process its own producer id.",
            ),
            final=True,
            replaced=True,
        )
    what = "the connection to the hub ended" if greeted else "the hub closed the connection before its greeting"
    asked_ms = 0 if notice is None else notice.retry_after_ms or 0
    retry_after_s = min(asked_ms, 1_000 * MAX_RETRY_AFTER_S) / 1_000
    lost: TidingsError = ConnectionLost(f"{what} ({code}){suffix}")
    if code == _UNLICENSED:
        lost = LicenseExpired(reason or "the license of the hub has expired")
        retry_after_s = retry_after_s or _UNLICENSED_DELAY_S
    if code == REPLACED:
        retry_after_s = max(retry_after_s, _REPLACED_DELAY_S)
    return CloseReason(
        error=refusal or lost,
        final=False,
        retry_after_s=retry_after_s,
        replaced=code == REPLACED,
    )
