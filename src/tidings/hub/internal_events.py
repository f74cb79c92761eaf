"""Events that the hub itself publishes: appended like all others, without a publisher that waits for the result."""

from collections.abc import Callable

import structlog
from msgspec import Raw

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.log.base import Outcome
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
    running_attempt: int = 0,
    holder_sign: int | None = None,
    settled: Callable[[TidingsError | None], None] | None = None,
) -> None:
    """Publish one of the hub's own events; never raises.

    Args:
        hub: The hub.
        type: Type of the event.
        payload: Data of the event.
        trace_id: Trace that it belongs to; "" for a trace of its own.
        running_attempt: See `EventToAppend.running_attempt`.
        holder_sign: See `EventToAppend.holder_sign`.
        settled: Called once: with the error that kept the event from the log, or None when it is in the log.
    """

    def report(result: Outcome) -> None:
        error = result if isinstance(result, TidingsError) else None
        if error is not None:
            # There is one estimate per operation: a full disk would flood the hub's own log with them.
            write = log.debug if type is MessageType.OPERATION_ESTIMATE else log.warning
            write("the hub's own event is not in the log", type=type, error=str(error), code=error.code)
        if settled is not None:
            settled(error)

    envelope = Envelope(type=type, trace_id=trace_id or None, data=Raw(encode_payload(payload)))
    try:
        hub.publish(envelope, report, by_hub=True, running_attempt=running_attempt, holder_sign=holder_sign)
    except TidingsError as error:
        report(error)
