"""The dated revisions of the source contract, and what a reader of an older one gets (CONTRACT §3, Legacy)."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationCancelledData, OperationFailedData, encode_payload

OLDEST_REVISION = "2025-01-30"
REVISION = "2025-07-30"
"""The newest, which is spoken unless another is asked for."""

Rewriter = Callable[[Event], Event]
"""Returns an event as an older revision tells it."""


class Revision(Struct, frozen=True, kw_only=True):
    """One revision."""

    date: str
    rewrites: Mapping[str, Rewriter]
    """By today's type: how an event of it is written for this revision. What is not named is written as it is."""
    accepts: frozenset[str]
    """Names of today's types that are this revision's own: using them is not told of."""

    def read(self, event: Event) -> Event:
        """Return `event` as a reader of this revision gets it."""
        rewrite = self.rewrites.get(event.type)
        return event if rewrite is None else rewrite(event)


def _failed_as_error(event: Event) -> Event:
    return msgspec.structs.replace(event, type=str(MessageType.OPERATION_ERROR))


def _cancelled_as_error(event: Event) -> Event:
    try:
        cancelled = _decode_cancelled(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A log may hold what another contract took; delivery goes on, for this reader and for everyone.
        cancelled = OperationCancelledData(operation_id=event.key or "")
    data = OperationFailedData(
        operation_id=cancelled.operation_id,
        attempt=cancelled.attempt,
        code="cancelled",
        message=cancelled.reason or "the operation was cancelled",
        details=f"cancelled by {cancelled.cancelled_by}" if cancelled.cancelled_by else None,
        recoverable=True,
        hint="Start it again if it is still wanted.",
    )
    return msgspec.structs.replace(event, type=str(MessageType.OPERATION_ERROR), data=encode_payload(data))


_decode_cancelled = msgspec.json.Decoder(OperationCancelledData).decode

REVISIONS: Mapping[str, Revision] = {
    revision.date: revision
    for revision in (
        Revision(
            date=OLDEST_REVISION,
            rewrites={
                str(MessageType.OPERATION_FAILED): _failed_as_error,
                str(MessageType.OPERATION_CANCELLED): _cancelled_as_error,
            },
            accepts=frozenset({str(MessageType.OPERATION_ERROR)}),
        ),
        Revision(date=REVISION, rewrites={}, accepts=frozenset()),
    )
}
"""The one table, oldest first."""
