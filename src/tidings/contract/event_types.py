"""The catalogue: each event type with its channel, payload, key and class (CONTRACT §3).

Event types, prepared for reading: what `Contract.read` needs of one, one look away.

Events of types that nobody declared, as a lenient contract takes them.
"""

import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import msgspec.inspect
from msgspec import Struct

from tidings.exceptions import InvalidContract
from tidings.protocol import payloads
from tidings.protocol.message_types import RESERVED_DOMAINS, ChannelType, EventClass, MessageType, SlotEffect
from tidings.protocol.messages import DIRECT_EVENTS
from tidings.protocol.paths import NO_CHANNELS
from tidings.protocol.payloads import Payload, SystemAlertData

PayloadType = type[Struct]
"""A payload's struct: ours are `Payload`s, an application's any msgspec Struct."""


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
    deprecated: str = ""
    """What to publish instead, as a sentence; "" where the type is not deprecated."""
    source: str = ""
    """Where it was declared, for messages; no part of the contract."""


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


DURABLE, LATEST = EventClass.DURABLE, EventClass.LATEST

BUILTIN: tuple[EventType, ...] = (
    _operation(MessageType.OPERATION_START, payloads.OperationStartData, DURABLE),
    _operation(MessageType.OPERATION_PROGRESS, payloads.OperationProgressData, LATEST),
    _operation(MessageType.OPERATION_LOG, payloads.OperationLogData, DURABLE, keep_newest=1000),
    _operation(MessageType.OPERATION_COMPLETE, payloads.OperationCompleteData, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_FAILED, payloads.OperationFailedData, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_CANCELLED, payloads.OperationCancelledData, DURABLE, ends_key=True),
    _operation(MessageType.OPERATION_ESTIMATE, payloads.OperationEstimateData, LATEST, publishable=False),
    _event(MessageType.DATA_UPDATE, ChannelType.DATA, payloads.DataUpdateData, "dataset"),
    _event(MessageType.DATA_PROCESSED, ChannelType.DATA, payloads.DataProcessedData, "dataset"),
    _event(MessageType.DATA_ERROR, ChannelType.DATA, payloads.DataErrorData, "dataset"),
    _event(MessageType.REPORT_READY, ChannelType.DATA, payloads.ReportReadyData, "report_id"),
    _event(MessageType.SYSTEM_STATUS, ChannelType.SYSTEM, payloads.SystemStatusData, "source", LATEST),
    _event(MessageType.SYSTEM_ALERT, ChannelType.SYSTEM, payloads.SystemAlertData, "alert_id"),
    _event(MessageType.SYSTEM_METRICS, ChannelType.SYSTEM, payloads.SystemMetricsData, "source", LATEST),
    _event(MessageType.LICENSE_EXPIRED, ChannelType.GLOBAL, payloads.LicenseExpiredData, None, publishable=False),
    *(
        EventType(type=spec.name, channel=None, payload=spec.data, event_class=EventClass.DIRECT, publishable=False)
        for spec in DIRECT_EVENTS
    ),
)
"""The contract that every hub speaks."""


def list_channels(events: Iterable[EventType]) -> tuple[str, ...]:
    """Return the channels that `events` go to, the source's own first and in its order."""
    named = {event.channel for event in events if event.channel is not None}
    own = [str(channel) for channel in ChannelType]
    return (*own, *sorted(named - set(own)))


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MAX_TYPE = 64
"""Characters of an event's type (CONTRACT §1)."""


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
    """Declare an event of an application's own.

    ::

        class TradeExecuted(msgspec.Struct, frozen=True, kw_only=True):
            trade_id: str
            price: float

        contract = Contract.of(event("trade:executed", TradeExecuted, channel="trades", key="trade_id"))

    Args:
        type: ``<domain>:<action>`` (guideline 2).
        payload: Its struct: the hub refuses what does not fit.
        channel: Where it goes; a channel that nobody has named yet is a new one.
        key: The payload's text field that says what the event is about.
        event_class: `durable`: never skipped. `latest`: a newer one of the same key supersedes it.
        keep_newest: How many events of one key are kept.
        ends_key: Whether after it the key's newest events leave the snapshot soon.
        deprecated: What to publish instead, as a sentence.

    Raises:
        InvalidContract: No contract can hold it; see `check_event_type`.
    """
    caller = sys._getframe(1)
    try:
        known_class = EventClass(event_class)
    except ValueError:
        classes = ", ".join(repr(str(each)) for each in (EventClass.DURABLE, EventClass.LATEST))
        raise InvalidContract(f"event type {type!r}: the class is {classes}, not {event_class!r}", type=type) from None
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
    """Check that a contract can hold `event`, which is the source's own or an application's.

    Raises:
        InvalidContract: Its name is not ``<domain>:<action>`` or reserved, its channel cannot be a path, its key is no
            text field of its payload, or its channel and class do not fit.
    """
    fault = _fault(event)
    if fault:
        where = f" ({event.source})" if event.source else ""
        raise InvalidContract(f"event type {event.type[:80]!r}{where}: {fault}", type=event.type)


def is_event_name(type: str) -> bool:
    """Return whether `type` is ``<domain>:<action>`` as the contract writes it (CONTRACT §1)."""
    domain, _, action = type.partition(":")
    return len(type) <= _MAX_TYPE and _NAME.fullmatch(domain) is not None and _NAME.fullmatch(action) is not None


def _fault(event: EventType) -> str:
    domain = event.type.partition(":")[0]
    if not is_event_name(event.type):
        return f"write <domain>:<action> in a-z, 0-9 and _, at most {_MAX_TYPE} characters"
    if event not in BUILTIN and (domain in RESERVED_DOMAINS or any(event.type == own.type for own in BUILTIN)):
        return "the name is the contract's own"
    if not (isinstance(event.payload, type) and issubclass(event.payload, Struct)):
        return f"its payload is to be a msgspec Struct, not {event.payload!r}"
    if event.payload.__struct_config__.array_like:
        return "its payload is written as an array, and `data` is an object"
    try:
        msgspec.json.schema(event.payload)
        msgspec.json.Decoder(event.payload)
    except (TypeError, NameError, ValueError) as error:
        return f"its payload holds what JSON cannot: {error}"
    if (event.channel is None) is not (event.event_class is EventClass.DIRECT):
        return "a direct event has no channel, and every other has one"
    if event.channel is not None and (not _NAME.fullmatch(event.channel) or event.channel == NO_CHANNELS):
        return f"{event.channel!r} is no name of a channel"
    if event.keep_newest is not None and (event.keep_newest < 1 or event.event_class is not EventClass.DURABLE):
        return "keep_newest is a number from 1 on, of a durable event"
    if event.key is not None and not _is_text(event.payload, event.key):
        return f"its payload has no text field {event.key!r} to be the key"
    return ""


def _is_text(payload: PayloadType, name: str) -> bool:
    info = msgspec.inspect.type_info(payload)
    for field in info.fields if isinstance(info, msgspec.inspect.StructType) else ():
        if field.name == name:
            kind = _bare(field.type)
            kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
            return all(isinstance(_bare(each), msgspec.inspect.StrType | msgspec.inspect.NoneType) for each in kinds)
    return False


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Return a type without what `Meta` says of it, such as a description."""
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return kind


class CompiledEventType(Struct, frozen=True):
    """An event type, prepared for reading."""

    event: EventType
    payload: PayloadType
    type: str
    channel: str
    """"" for a direct event."""
    event_class: EventClass
    effect: SlotEffect
    key: Callable[[Any], str | None]
    """Returns a payload's key."""
    keyless: bool
    """Whether an event of the type may have no key."""
    decode: Callable[[bytes], Any]
    all_optional: bool


def compile_event_type(event: EventType) -> CompiledEventType:
    """Return `event` as a row."""
    key: Callable[[Any], str | None] = attrgetter(event.key) if event.key else _no_key
    required = [field.name for field in msgspec.structs.fields(event.payload) if field.required]
    return CompiledEventType(
        event=event,
        payload=event.payload,
        type=str(event.type),
        channel=str(event.channel or ""),
        event_class=event.event_class,
        effect=SlotEffect.END if event.ends_key else SlotEffect.REPLACE,
        key=derive_alert_key if event.payload is SystemAlertData else key,
        keyless=event.key not in required,
        decode=msgspec.json.Decoder(event.payload).decode,
        all_optional=not required,
    )


def _no_key(payload: Struct) -> None:
    return None


def derive_alert_key(alert: SystemAlertData) -> str:
    """Return the key of an alert: its own, else its code, with the operation where there is one."""
    if alert.alert_id:
        return alert.alert_id
    return f"{alert.code}:{alert.operation_id}" if alert.operation_id else alert.code


class AnyPayload(Payload, frozen=True, kw_only=True):
    """A payload of which nothing is known."""


_decode_any = msgspec.json.Decoder(Any).decode


@lru_cache(maxsize=1024)
def compile_undeclared(type: str, channel: str) -> CompiledEventType:
    """Return the row of a type that nobody declared, whose events go to `channel`."""
    return CompiledEventType(
        event=EventType(type=type, channel=channel, payload=AnyPayload),
        payload=AnyPayload,
        type=type,
        channel=channel,
        event_class=EventClass.DURABLE,
        effect=SlotEffect.REPLACE,
        key=_keyless,
        keyless=True,
        decode=_decode_any,
        all_optional=False,
    )


def _keyless(payload: object) -> None:
    return None
