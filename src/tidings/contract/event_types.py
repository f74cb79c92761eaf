"""Event types: the catalogue of every hub, the declaration of an application's own, and their compiled form.

See docs/protocol/events.md, "Catalogue".
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import msgspec.inspect
from msgspec import Struct

from tidings.exceptions import InvalidContract
from tidings.protocol import payloads
from tidings.protocol.message_shapes import MessageShapes
from tidings.protocol.message_types import RESERVED_DOMAINS, ChannelType, EventClass, MessageType, SlotEffect
from tidings.protocol.messages import DIRECT_EVENTS
from tidings.protocol.paths import NO_CHANNELS, is_channel_name
from tidings.protocol.payloads import Payload, SystemAlertData

PayloadType = type[Struct]
"""The struct of a payload: a `Payload` in the catalogue, any msgspec Struct in an application."""


class EventType(Struct, frozen=True, kw_only=True):
    """One row of the catalogue."""

    type: str
    channel: str | None
    """The channel; None for a direct event, which goes to one connection."""
    payload: PayloadType
    key: str | None = None
    """The payload field that holds the key."""
    event_class: EventClass = EventClass.DURABLE
    publishable: bool = True
    """Whether clients may publish it; otherwise only the hub does."""
    ends_key: bool = False
    """Whether the key's newest events leave the snapshot soon after it, as those of a finished operation do."""
    keep_newest: int | None = None
    """Maximum number of stored events of one key, for a durable type that could grow without end."""
    deprecated: str = ""
    """The replacement, as a sentence; "" if the type is not deprecated."""
    source: str = ""
    """Place of the declaration, for errors; not part of the contract."""


def _operation(type: MessageType, payload: PayloadType, event_class: EventClass, **more: bool | int) -> EventType:
    return EventType(
        type=type,
        channel=ChannelType.OPERATIONS,
        payload=payload,
        key="operation_id",
        event_class=event_class,
        **more,  # type: ignore[arg-type]
    )


def _event(
    type: MessageType,
    channel: ChannelType,
    payload: PayloadType,
    key: str | None,
    event_class: EventClass = EventClass.DURABLE,
    *,
    publishable: bool = True,
) -> EventType:
    return EventType(
        type=type, channel=channel, payload=payload, key=key, event_class=event_class, publishable=publishable
    )


_DURABLE, _LATEST = EventClass.DURABLE, EventClass.LATEST

BUILTIN: tuple[EventType, ...] = (
    _operation(MessageType.OPERATION_START, payloads.OperationStartData, _DURABLE),
    _operation(MessageType.OPERATION_PROGRESS, payloads.OperationProgressData, _LATEST),
    _operation(MessageType.OPERATION_LOG, payloads.OperationLogData, _DURABLE, keep_newest=1000),
    _operation(MessageType.OPERATION_COMPLETE, payloads.OperationCompleteData, _DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_FAILED, payloads.OperationFailedData, _DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_CANCELLED, payloads.OperationCancelledData, _DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_ESTIMATE, payloads.OperationEstimateData, _LATEST, publishable=False),
    _event(MessageType.DATA_UPDATE, ChannelType.DATA, payloads.DataUpdateData, "dataset"),
    _event(MessageType.DATA_PROCESSED, ChannelType.DATA, payloads.DataProcessedData, "dataset"),
    _event(MessageType.DATA_ERROR, ChannelType.DATA, payloads.DataErrorData, "dataset"),
    _event(MessageType.REPORT_READY, ChannelType.DATA, payloads.ReportReadyData, "report_id"),
    _event(MessageType.SYSTEM_STATUS, ChannelType.SYSTEM, payloads.SystemStatusData, "source", _LATEST),
    _event(MessageType.SYSTEM_ALERT, ChannelType.SYSTEM, payloads.SystemAlertData, "alert_id"),
    _event(MessageType.SYSTEM_METRICS, ChannelType.SYSTEM, payloads.SystemMetricsData, "source", _LATEST),
    _event(MessageType.LICENSE_EXPIRED, ChannelType.GLOBAL, payloads.LicenseExpiredData, None, publishable=False),
    *(
        EventType(type=spec.name, channel=None, payload=spec.data, event_class=EventClass.DIRECT, publishable=False)
        for spec in DIRECT_EVENTS
    ),
)
"""The catalogue: the event types of every hub."""

FILLED_IN: Mapping[PayloadType, frozenset[str]] = {
    payloads.OperationProgressData: frozenset({"current_step", "total_steps"})
}
"""Fields that publishers may leave out and the hub then fills in, so that every reader receives them."""


def list_channels(events: Iterable[EventType]) -> tuple[str, ...]:
    """Return the channels of `events`: those of every hub first, in the order of `ChannelType`."""
    named = {event.channel for event in events if event.channel is not None}
    own = [str(channel) for channel in ChannelType]
    return (*own, *sorted(named - set(own)))


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MAX_TYPE_CHARS = 64
"""Maximum length of an event's type, in characters (PROTOCOL.md, "Envelope")."""


def event(
    type: str,
    payload: PayloadType,
    *,
    channel: str,
    key: str | None = None,
    event_class: EventClass | str = EventClass.DURABLE,
    keep_newest: int | None = None,
    ends_key: bool = False,
    deprecated: str = "",
) -> EventType:
    """Declare an event of an application.

    ::

        class TradeExecuted(msgspec.Struct, frozen=True, kw_only=True):
            trade_id: str
            price: float

        contract = Contract.of(event("trade:executed", TradeExecuted, channel="trades", key="trade_id"))

    Args:
        type: ``<domain>:<action>``.
        payload: The struct of its data: the hub rejects data that does not fit.
        channel: The channel that it goes to; a new name adds a channel.
        key: The text field of the payload that names the subject of the event.
        event_class: `durable`: never skipped. `latest`: superseded by a newer event of the same key.
        keep_newest: Maximum number of stored events of one key. Default: no limit.
        ends_key: Whether the key's newest events leave the snapshot soon after it.
        deprecated: The replacement, as a sentence; "" if the event is not deprecated.

    Raises:
        InvalidContract: A contract cannot hold the event; see `check_event_type`.
    """
    caller = sys._getframe(1)
    try:
        known_class = EventClass(event_class)
    except ValueError:
        fault = f"invalid class {event_class!r}: expected 'durable' or 'latest'"
        raise InvalidContract(f"event type {type!r}: {fault}", type=type) from None
    declared = EventType(
        type=type,
        channel=channel,
        payload=payload,
        key=key,
        event_class=known_class,
        keep_newest=keep_newest,
        ends_key=ends_key,
        deprecated=deprecated,
        source=f"{caller.f_code.co_filename}:{caller.f_lineno}",
    )
    check_event_type(declared)
    return declared


def check_event_type(event: EventType) -> None:
    """Check that a contract can hold `event`, of the catalogue or of an application.

    Raises:
        InvalidContract: Its name is reserved or not ``<domain>:<action>``, its channel is not a valid path, its key is
            not a text field of its payload, or its channel and its class contradict each other.
    """
    fault = _find_fault(event)
    if fault:
        where = f" ({event.source})" if event.source else ""
        raise InvalidContract(f"event type {event.type[:80]!r}{where}: {fault}", type=event.type)


def is_event_name(type: str) -> bool:
    """Return whether `type` is a valid ``<domain>:<action>`` (PROTOCOL.md, "Envelope")."""
    domain, _, action = type.partition(":")
    return len(type) <= _MAX_TYPE_CHARS and _NAME.fullmatch(domain) is not None and _NAME.fullmatch(action) is not None


def _find_fault(event: EventType) -> str:
    domain = event.type.partition(":")[0]
    if not is_event_name(event.type):
        return f"invalid name: expected <domain>:<action> in a-z, 0-9 and _, at most {_MAX_TYPE_CHARS} characters"
    if event not in BUILTIN and (domain in RESERVED_DOMAINS or any(event.type == own.type for own in BUILTIN)):
        return "the name is reserved"
    if not (isinstance(event.payload, type) and issubclass(event.payload, Struct)):
        return f"invalid payload {getattr(event.payload, '__name__', event.payload)}: expected a msgspec Struct"
    if event.payload.__struct_config__.array_like:
        return "invalid payload: a struct that is `array_like` is an array, and `data` is an object"
    try:
        msgspec.json.schema(event.payload)
        msgspec.json.Decoder(event.payload)
    except (TypeError, NameError, ValueError) as error:
        return f"invalid payload: JSON has no form for it: {error}"
    if (event.channel is None) is not (event.event_class is EventClass.DIRECT):
        return "a direct event has no channel, and every other has one"
    if event.channel is not None and not is_channel_name(event.channel):
        return f"invalid channel {event.channel!r}: expected a name in a-z, 0-9 and _, other than {NO_CHANNELS!r}"
    if event.keep_newest is not None and (event.keep_newest < 1 or event.event_class is not EventClass.DURABLE):
        return "invalid keep_newest: expected at least 1, and a durable event"
    if event.key is not None and not _has_text_field(event.payload, event.key):
        return f"invalid key {event.key!r}: expected a text field of the payload"
    return ""


def _has_text_field(payload: PayloadType, name: str) -> bool:
    info = msgspec.inspect.type_info(payload)
    for field in info.fields if isinstance(info, msgspec.inspect.StructType) else ():
        if field.name == name:
            kind = _strip_metadata(field.type)
            kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
            text = msgspec.inspect.StrType | msgspec.inspect.NoneType
            return all(isinstance(_strip_metadata(each), text) for each in kinds)
    return False


def _strip_metadata(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Return a type without its `Meta`, such as a description."""
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind


class CompiledEventType(Struct, frozen=True):
    """An event type, compiled so that `Contract.read` finds each fact with one attribute access."""

    event: EventType
    payload: PayloadType
    type: str
    channel: str
    """The channel; "" for a direct event."""
    event_class: EventClass
    effect: SlotEffect
    key: Callable[[Any], str | None]
    """Returns the key of a payload."""
    keyless: bool
    """Whether an event of this type may have no key."""
    decode: Callable[[bytes], Any]
    """Returns the payload of an event's data."""
    all_optional: bool
    """Whether `null` is valid data: no field is required."""
    shapes: MessageShapes
    """The shapes of messages that were checked."""


def _effect(event: EventType) -> SlotEffect:
    if event.type == MessageType.LICENSE_EXPIRED:
        return SlotEffect.CLEAR  # the hub sends it to each client that joins, for as long as it is true
    return SlotEffect.END if event.ends_key else SlotEffect.REPLACE


def compile_event_type(event: EventType) -> CompiledEventType:
    """Return the compiled form of `event`."""
    key: Callable[[Any], str | None] = attrgetter(event.key) if event.key else _no_key
    required = [field.name for field in msgspec.structs.fields(event.payload) if field.required]
    return CompiledEventType(
        event=event,
        payload=event.payload,
        type=str(event.type),
        channel=str(event.channel or ""),
        event_class=event.event_class,
        effect=_effect(event),
        key=derive_alert_key if event.payload is SystemAlertData else key,
        keyless=event.key not in required,
        decode=msgspec.json.Decoder(event.payload).decode,
        all_optional=not required,
        shapes=MessageShapes(event.payload),
    )


def _no_key(payload: object) -> None:
    return None


def derive_alert_key(alert: SystemAlertData) -> str:
    """Return the key of an alert: its own id, or its code, followed by its operation if it has one."""
    if alert.alert_id:
        return alert.alert_id
    return f"{alert.code}:{alert.operation_id}" if alert.operation_id else alert.code


class AnyPayload(Payload, frozen=True, kw_only=True):
    """The payload of an event whose type is not declared."""


_decode_any = msgspec.json.Decoder(Any).decode
_undeclared_shapes = MessageShapes(AnyPayload)


@lru_cache(maxsize=1024)
def compile_undeclared(type: str, channel: str) -> CompiledEventType:
    """Return the compiled form of a type that is not declared, whose events go to `channel`; for a lenient contract."""
    return CompiledEventType(
        event=EventType(type=type, channel=channel, payload=AnyPayload),
        payload=AnyPayload,
        type=type,
        channel=channel,
        event_class=EventClass.DURABLE,
        effect=SlotEffect.REPLACE,
        key=_no_key,
        keyless=True,
        decode=_decode_any,
        all_optional=False,
        shapes=_undeclared_shapes,
    )
