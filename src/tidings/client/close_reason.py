"""What the end of a connection means: whether to come back, when, and what to tell (CONTRACT §7)."""

from msgspec import Struct

from tidings.exceptions import ClientError, ConnectionLost, HubClosed
from tidings.protocol.codes import should_reconnect
from tidings.protocol.payloads import ConnectionClosed

_NO_CODE, _ABNORMAL = 1005, 1006
REPLACED = 4102
"""The hub has a newer connection of the same producer."""
_REPLACED_WAIT_S = 30.0
"""For the other one of the same producer id: two that replace each other at once would both do nothing else."""


class CloseReason(Struct, frozen=True, kw_only=True):
    """How a connection ended, and what that means."""

    error: ClientError
    final: bool
    """Whether coming back makes no sense."""
    retry_after_s: float = 0.0
    """How long the hub asked its clients to stay away."""
    replaced: bool = False
    """Whether another connection took this one's place."""


def read_ending(code: int, reason: str, told: ConnectionClosed | None, *, greeted: bool) -> CloseReason:
    """Return what the end of a connection means.

    Args:
        code: The WebSocket close code.
        reason: What came with it.
        told: The `connection:closed` before it, if there was one: it counts where the socket's own end says nothing.
        greeted: Whether the hub had greeted us.
    """
    if told is not None and code in (_NO_CODE, _ABNORMAL):
        code, reason = told.code, told.reason
    says = f": {reason}" if reason else ""
    if not should_reconnect(code) or (told is not None and not told.reconnect):
        error: ClientError = HubClosed(f"the hub closed the connection for good ({code}){says}", close_code=code)
        return CloseReason(error=error, final=True)
    what = "the connection to the hub ended" if greeted else "the hub closed the connection before its greeting"
    retry_after_s = (told.retry_after_ms or 0) / 1000 if told is not None else 0.0
    if code == REPLACED:
        retry_after_s = max(retry_after_s, _REPLACED_WAIT_S)
    return CloseReason(
        error=ConnectionLost(f"{what} ({code}){says}"),
        final=False,
        retry_after_s=retry_after_s,
        replaced=code == REPLACED,
    )
