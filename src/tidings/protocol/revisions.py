"""The dated revisions of the contract, and how events are rewritten for an older one (docs/protocol/revisions.md)."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationCancelledData, OperationFailedData, encode_payload

OLDEST_REVISION = "2025-01-30"
REVISION = "2025-07-30"
"""The newest revision, used unless a connection requests another."""

Rewriter = Callable[[Event], Event]
"""Returns an event as an older revision writes it."""


class Revision(Struct, frozen=True, kw_only=True):
    """One dated revision of the contract."""

    date: str
    rewrites: Mapping[str, Rewriter]
    """The rewriter of each type that this revision writes in another way. Other types are written unchanged."""
    accepts: frozenset[str]
    """Deprecated types that are current in this revision: the hub sends no notice for them."""

    def read(self, event: Event) -> Event:
        """Return `event` as this revision writes it."""
        rewrite = self.rewrites.get(event.type)
        return event if rewrite is None else rewrite(event)


def _failed_as_error(event: Event) -> Event:
    return msgspec.structs.replace(event, type=str(MessageType.OPERATION_ERROR))


def _cancelled_as_error(event: Event) -> Event:
    try:
        cancelled = _decode_cancelled(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A log may hold events that another contract accepted; delivery continues, for this reader and for all others.
        cancelled = OperationCancelledData(operation_id=event.key or "")
    data = OperationFailedData(
        operation_id=cancelled.operation_id,
        attempt=cancelled.attempt,
        code="cancelled",
        message=cancelled.reason or "the operation was cancelled",
        details=f"cancelled by {cancelled.cancelled_by}" if cancelled.cancelled_by else None,
        recoverable=True,
        hint="Start it again if it is still needed.",
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
"""All revisions by date, oldest first."""
