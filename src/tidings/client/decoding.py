"""Decodes envelopes to events; the data of types in this client's contract becomes their struct."""

from msgspec import Struct

from tidings.client.events import ReceivedEvent
from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType, derive_alert_key
from tidings.exceptions import ContractError
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.payloads import SystemAlertData


def read_event(contract: Contract, envelope: Envelope, channel: str, position: str) -> ReceivedEvent:
    """Return the logged event in `envelope`, which is on `channel` and at `position`."""
    data = b"" + envelope.data
    payload, key = _read(contract, envelope.type, data)
    return ReceivedEvent(
        type=envelope.type,
        timestamp=envelope.timestamp or "",
        trace_id=envelope.trace_id or "",
        channel=channel,
        key=key,
        payload=payload,
        data=data,
        position=position,
        event_id=envelope.event_id,
    )


def _read(contract: Contract, type: str, data: bytes) -> tuple[Struct | None, str | None]:
    try:
        payload = contract.decode(type, data)
    except ContractError:  # a type, or a form of one, from a newer hub: pass on the bytes
        return None, None
    row = find_event_type(contract, type)
    return payload, None if row is None else read_event_key(row, payload)


def find_event_type(contract: Contract, type: str) -> EventType | None:
    """Return the catalogue's row for `type`, which may be an old name; None if there is none."""
    return contract.events.get(LEGACY_TYPES.get(type, type))


def read_event_key(row: EventType, payload: Struct) -> str | None:
    """Return the key of an event of type `row` (docs/protocol/events.md, "Catalogue")."""
    if isinstance(payload, SystemAlertData):
        return derive_alert_key(payload)
    key: str | None = getattr(payload, row.key) if row.key is not None else None
    return key or None
