"""What a hub says to one connection: replies to its commands, and pushes it did not ask for (CONTRACT §5)."""

from typing import Any

import msgspec

from tidings.contract.codes import error_data
from tidings.contract.envelope import encode_message, quoted
from tidings.exceptions import TidingsError

ESTABLISHED = "connection:established"
CLOSED = "connection:closed"
ERROR = "connection:error"
NOTICE = "connection:notice"
POSITION = "connection:position"
PONG = "connection:pong"
SUBSCRIBED = "channel:subscribed"
UNSUBSCRIBED = "channel:unsubscribed"
LIVE = "channel:live"
GAP = "channel:gap"
ACCEPTED = "event:accepted"
ATTACHED = "producer:attached"
CANCEL_OUTCOME = "operation:cancel_outcome"


def encode_accepted(
    position: str, *, duplicate: bool, timestamp: str, trace_id: str, reply_to: str, attempt: int | None = None
) -> bytes:
    """Return `event:accepted`; written by hand because there is one an event."""
    more = b"" if attempt is None else b',"attempt":%d' % attempt
    if duplicate:
        more += b',"duplicate":true'
    return b'{"type":"event:accepted","timestamp":"%b","trace_id":%b,"data":{"position":"%b"%b},"reply_to":%b}' % (
        timestamp.encode(),
        quoted(trace_id),
        position.encode(),
        more,
        msgspec.json.encode(reply_to),
    )


def encode_error(error: TidingsError, *, timestamp: str, trace_id: str, reply_to: str | None) -> bytes:
    """Return `connection:error` for `error`."""
    return encode_message(ERROR, error_data(error), timestamp=timestamp, trace_id=trace_id, reply_to=reply_to)


def encode_push(type: str, data: Any, *, timestamp: str, trace_id: str, reply_to: str | None = None) -> bytes:
    """Return a reply or push of `type`."""
    return encode_message(type, data, timestamp=timestamp, trace_id=trace_id, reply_to=reply_to)
