"""What the hub itself publishes: into the log like everyone's events, and nobody waits for it."""

from collections.abc import Callable

import structlog
from msgspec import Raw

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.staging import PublishResult
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import Payload, encode_payload

log = structlog.get_logger("tidings.hub.internal_events")


def publish_internal(
    hub: HubCore,
    type: MessageType,
    payload: Payload,
    *,
    trace_id: str = "",
    settled: Callable[[TidingsError | None], None] | None = None,
) -> None:
    """Publish one of the hub's own events; never raises.

    Args:
        hub: The hub.
        type: Its type.
        payload: Its data.
        trace_id: What it belongs to; "" for a trace of its own.
        settled: Called once: with what kept it from the log, or None when it is there.
    """

    def told(result: PublishResult | TidingsError) -> None:
        error = result if isinstance(result, TidingsError) else None
        if error is not None:
            # Of estimates there is one an operation: a full disk would fill the other log with them.
            say = log.debug if type is MessageType.OPERATION_ESTIMATE else log.warning
            say("the hub's own event is not in the log", type=type, error=str(error), code=error.code)
        if settled is not None:
            settled(error)

    envelope = Envelope(type=type, trace_id=trace_id or None, data=Raw(encode_payload(payload)))
    try:
        hub.publish(envelope, told, by_hub=True)
    except TidingsError as error:
        told(error)
