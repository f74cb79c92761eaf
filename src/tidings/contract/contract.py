"""The contract as a value: reads envelopes into events, and says what it is."""

import hashlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from tidings.contract import envelope as envelopes
from tidings.contract.body import MAX_DATA_BYTES, single_line
from tidings.contract.catalogue import BUILTIN, EventType, channels_of
from tidings.contract.commands import COMMANDS, LATER_COMMANDS
from tidings.contract.envelope import Envelope, Event
from tidings.contract.paths import MAX_KEY_BYTES, check_key
from tidings.contract.payloads import ContractIdentity, OperationProgress, Payload, SystemAlert
from tidings.contract.timestamps import ZERO, canonical
from tidings.contract.vocabulary import LEGACY_TYPES, ChannelType, SlotEffect
from tidings.exceptions import (
    InvalidPayload,
    NotPublishable,
    NotSupported,
    PayloadTooLarge,
    UnknownChannel,
    UnknownType,
    WrongChannel,
)

REVISION = "2025-07-30"
"""The newest dated revision of the source contract."""


class Receipt(Protocol):
    """What the hub knows and a pure function must not look up: the clock, and ids for events that came without."""

    def timestamp(self) -> str:
        """Return the hub's clock as a canonical timestamp."""
        ...

    def trace_id(self, channel: str, key: str | None) -> str:
        """Return the trace id for an event of `key` that came without one."""
        ...


class _Row(Struct, frozen=True):
    event: EventType
    decoder: msgspec.json.Decoder[Any]
    all_optional: bool


class Contract:
    """A set of event types, compiled for reading.

    A value without state: two contracts of equal events are interchangeable, and nothing about one is global.
    """

    def __init__(self, events: Iterable[EventType] = BUILTIN) -> None:
        self.events: dict[str, EventType] = {event.type: event for event in events}
        self.channels: tuple[str, ...] = channels_of(self.events.values())
        self._rows = {
            event.type: _Row(
                event,
                msgspec.json.Decoder(event.payload),
                not any(field.required for field in msgspec.structs.fields(event.payload)),
            )
            for event in self.events.values()
        }
        self.identity = ContractIdentity(version=REVISION, hash=self._hash())

    def _hash(self) -> str:
        rows = sorted(self.events.values(), key=lambda event: event.type)
        schemas, components = msgspec.json.schema_components([event.payload for event in rows])
        facts = [(event.type, event.channel, event.key, event.event_class, event.publishable) for event in rows]
        text = msgspec.json.encode([facts, schemas, components], order="deterministic")
        return "sha256:" + hashlib.sha256(text).hexdigest()[:32]

    def decode(self, type: str, data: bytes) -> Payload:
        """Return `data`, the payload of an event of `type`, as its struct; `null` is an empty payload.

        Raises:
            UnknownType: The contract has no such event.
            InvalidPayload: The data does not fit.
        """
        row = self._rows.get(LEGACY_TYPES.get(type, type)) or self._unknown(type)
        return self._payload(row, data)

    def read(self, envelope: Envelope, receipt: Receipt, *, by_hub: bool = False) -> Event:
        """Check `envelope` and return the event it is.

        Args:
            envelope: A message as it was read.
            receipt: The hub's clock and ids, asked only for what the envelope lacks.
            by_hub: Whether the hub itself writes it, which may write every type.

        Raises:
            UnknownType: No event has this type.
            NotPublishable: Only the hub writes it.
            PayloadTooLarge: `data` is over 65,535 bytes.
            InvalidPayload: `data` does not fit the type.
            InvalidKey: Its key is no key.
            UnknownChannel: There is no such channel.
            WrongChannel: The event does not go there.
            InvalidTimestamp: The timestamp is not RFC 3339.
            InvalidTraceID: The trace id is not printable ASCII, or too long.
            InvalidEventID: The event id is not printable ASCII, or too short or long.
        """
        type = envelope.type
        row = self._rows.get(type)
        if row is None:
            type = LEGACY_TYPES.get(type, type)
            row = self._rows.get(type) or self._unknown(envelope.type)
        event = row.event
        if event.channel is None or not (event.publishable or by_hub):
            raise NotPublishable(f"only the hub writes {type}")
        data = bytes(envelope.data)
        if len(data) > MAX_DATA_BYTES:
            raise PayloadTooLarge(
                f"$.data is {len(data)} bytes; {MAX_DATA_BYTES} are allowed", size=len(data), limit=MAX_DATA_BYTES
            )
        payload = self._payload(row, data)
        data = single_line(data)
        key = None
        effect = SlotEffect.END if event.ends_key else SlotEffect.REPLACE
        if event.payload is OperationProgress:
            key = payload.operation_id  # type: ignore[attr-defined]
            if not (payload.current_step and payload.total_steps):  # type: ignore[attr-defined]
                data = _filled(data)
        elif event.key is not None:
            key = getattr(payload, event.key)
            if isinstance(payload, SystemAlert):
                key = alert_key(payload)
                if payload.state == "cleared":
                    effect = SlotEffect.CLEAR
        if key is not None and not (key.isascii() and key.isprintable() and 0 < len(key) <= MAX_KEY_BYTES):
            check_key(key)
        timestamp = envelope.timestamp
        trace_id = envelope.trace_id
        return Event(
            type,
            canonical(timestamp) if timestamp and timestamp != ZERO else receipt.timestamp(),
            envelopes.check_trace_id(trace_id) if trace_id else receipt.trace_id(event.channel, key),
            data,
            event.channel if envelope.channel is None else self._channel(event, envelope.channel),
            key,
            event.event_class,
            None if envelope.event_id is None else envelopes.check_event_id(envelope.event_id),
            effect,
        )

    def _payload(self, row: _Row, data: bytes) -> Payload:
        try:
            payload: Payload = row.decoder.decode(b"{}" if data == b"null" and row.all_optional else data)
        except msgspec.ValidationError as cause:
            message, path = envelopes.fault(cause, "$.data")
            raise InvalidPayload(f"{path}: {message}", path=path, hint=_hint(row.event)) from cause
        except (msgspec.DecodeError, RecursionError) as cause:
            raise InvalidPayload(f"$.data: {cause}", hint=_hint(row.event)) from cause
        return payload

    def _channel(self, event: EventType, channel: str) -> str:
        if channel in (event.channel, ""):
            return event.channel or channel
        if channel == ChannelType.GLOBAL:
            return channel
        if channel not in self.channels:
            raise UnknownChannel(
                f"$.channel: there is no channel {channel[:80]!r}",
                hint=f"Leave it out: {event.type} goes to {event.channel!r}.",
            )
        raise WrongChannel(
            f"$.channel: {event.type} goes to {event.channel!r} or 'global', not to {channel!r}",
            hint=f"Leave it out, or write {event.channel!r}.",
        )

    def _unknown(self, type: str) -> _Row:
        if type in COMMANDS:
            raise UnknownType(
                f"{type} is a command, not an event", type=type, hint="Send it on a `tidings.v1` connection."
            )
        if type in LATER_COMMANDS:
            raise NotSupported(f"this hub does not serve {type} yet")
        names = [event.type for event in self.events.values() if event.publishable]
        nearest = get_close_matches(type[:80], [*names, *COMMANDS], n=1)
        suggestion = nearest[0] if nearest else ""
        hint = f"Did you mean {suggestion!r}?" if suggestion else f"Events are {', '.join(sorted(names))}."
        raise UnknownType(f"$.type: nothing is called {type[:80]!r}", type=type, suggestion=suggestion, hint=hint)


def alert_key(alert: SystemAlert) -> str:
    """Return the key of an alert: its own, else its code, with the operation where there is one."""
    if alert.alert_id is not None:
        return alert.alert_id
    return f"{alert.code}:{alert.operation_id}" if alert.operation_id else alert.code


def _filled(data: bytes) -> bytes:
    """Return a progress payload with the members that the source always writes and this publisher left out."""
    if data.find(b'"current_step"') >= 0 and data.find(b'"total_steps"') >= 0 and data.count(b"{") == 1:
        return data  # both are there: no look into the members is needed
    members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    for name, empty in (("current_step", b'""'), ("total_steps", b"0")):
        if name not in members:
            data = b'%b,"%b":%b}' % (data[:-1].rstrip(), name.encode(), empty)
    return data


def _hint(event: EventType) -> str:
    fields = [
        field.encode_name if field.required else f"{field.encode_name}?"
        for field in msgspec.structs.fields(event.payload)
    ]
    return f"The data of {event.type} is {{{', '.join(fields)}}}."
