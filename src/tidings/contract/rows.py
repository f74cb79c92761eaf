"""Event types, prepared for reading: what `Contract.read` needs of one, one look away."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tidings.contract.catalogue import EventType, PayloadType
from tidings.contract.payloads import SystemAlertData
from tidings.contract.vocabulary import EventClass, SlotEffect


class Row(Struct, frozen=True):
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


def prepare(event: EventType) -> Row:
    """Return `event` as a row."""
    key: Callable[[Any], str | None] = attrgetter(event.key) if event.key else _no_key
    required = [field.name for field in msgspec.structs.fields(event.payload) if field.required]
    return Row(
        event=event,
        payload=event.payload,
        type=str(event.type),
        channel=str(event.channel or ""),
        event_class=event.event_class,
        effect=SlotEffect.END if event.ends_key else SlotEffect.REPLACE,
        key=alert_key if event.payload is SystemAlertData else key,
        keyless=event.key not in required,
        decode=msgspec.json.Decoder(event.payload).decode,
        all_optional=not required,
    )


def _no_key(payload: Struct) -> None:
    return None


def alert_key(alert: SystemAlertData) -> str:
    """Return the key of an alert: its own, else its code, with the operation where there is one."""
    if alert.alert_id:
        return alert.alert_id
    return f"{alert.code}:{alert.operation_id}" if alert.operation_id else alert.code
