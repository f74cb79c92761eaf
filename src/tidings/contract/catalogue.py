"""The catalogue: each event type with its channel, payload, key and class (CONTRACT §3)."""

from collections.abc import Iterable

from msgspec import Struct

from tidings.contract import payloads
from tidings.contract.payloads import Payload
from tidings.contract.vocabulary import ChannelType, EventClass, MessageType


PayloadType = type[Payload]


class EventType(Struct, frozen=True, kw_only=True):
    """One row of the catalogue."""

    type: str
    channel: str | None
    """None for a direct event."""
    payload: PayloadType
    key: str | None = None
    """The payload field that is the key."""
    event_class: EventClass = EventClass.DURABLE
    publishable: bool = True
    """False: only the hub writes it."""
    ends_key: bool = False
    """True: after it, the key's newest events leave the snapshot soon (a finished operation)."""
    keep_newest: int | None = None
    """How many events of one key are kept, for a durable type that could grow without end."""


def _operation(type: MessageType, payload: type[Payload], event_class: EventClass, **more: bool | int) -> EventType:
    return EventType(
        type=type,
        channel=ChannelType.OPERATIONS,
        payload=payload,
        key="operation_id",
        event_class=event_class,
        **more,  # type: ignore[arg-type]
    )


def _direct(type: MessageType, payload: type[Payload]) -> EventType:
    return EventType(type=type, channel=None, payload=payload, event_class=EventClass.DIRECT, publishable=False)


def _event(
    type: MessageType,
    channel: ChannelType,
    payload: type[Payload],
    key: str | None,
    event_class: EventClass = EventClass.DURABLE,
    *,
    publishable: bool = True,
) -> EventType:
    return EventType(
        type=type, channel=channel, payload=payload, key=key, event_class=event_class, publishable=publishable
    )


DURABLE, LATEST = EventClass.DURABLE, EventClass.LATEST

BUILTIN: tuple[EventType, ...] = (
    _operation(MessageType.OPERATION_START, payloads.OperationStart, DURABLE),
    _operation(MessageType.OPERATION_PROGRESS, payloads.OperationProgress, LATEST),
    _operation(MessageType.OPERATION_LOG, payloads.OperationLog, DURABLE, keep_newest=1000),
    _operation(MessageType.OPERATION_COMPLETE, payloads.OperationComplete, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_FAILED, payloads.OperationFailed, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_CANCELLED, payloads.OperationCancelled, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_ESTIMATE, payloads.OperationEstimate, LATEST, publishable=False),
    _event(MessageType.DATA_UPDATE, ChannelType.DATA, payloads.DataUpdate, "dataset"),
    _event(MessageType.DATA_PROCESSED, ChannelType.DATA, payloads.DataProcessed, "dataset"),
    _event(MessageType.DATA_ERROR, ChannelType.DATA, payloads.DataError, "dataset"),
    _event(MessageType.REPORT_READY, ChannelType.DATA, payloads.ReportReady, "report_id"),
    _event(MessageType.SYSTEM_STATUS, ChannelType.SYSTEM, payloads.SystemStatus, "source", LATEST),
    _event(MessageType.SYSTEM_ALERT, ChannelType.SYSTEM, payloads.SystemAlert, "alert_id"),
    _event(MessageType.SYSTEM_METRICS, ChannelType.SYSTEM, payloads.SystemMetrics, "source", LATEST),
    _event(MessageType.LICENSE_EXPIRED, ChannelType.GLOBAL, payloads.LicenseExpired, None, publishable=False),
    _direct(MessageType.CONNECTION_ESTABLISHED, payloads.ConnectionEstablished),
    _direct(MessageType.CONNECTION_CLOSED, payloads.ConnectionClosed),
    _direct(MessageType.AUTH_REQUIRED, payloads.AuthRequired),
    _direct(MessageType.AUTH_SUCCESS, payloads.AuthSuccess),
    _direct(MessageType.AUTH_FAILED, payloads.AuthFailed),
)
"""The contract that every hub speaks."""


def channels_of(events: Iterable[EventType]) -> tuple[str, ...]:
    """Return the channels that `events` go to, the source's own first and in its order."""
    named = {event.channel for event in events if event.channel is not None}
    own = [str(channel) for channel in ChannelType]
    return (*own, *sorted(named - set(own)))
