"""The contract as a value: it reads envelopes into events, and has an identity that clients compare."""

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from tidings.contract.event_types import (
    BUILTIN,
    CompiledEventType,
    EventType,
    check_event_type,
    compile_event_type,
    compile_undeclared,
    is_event_name,
    list_channels,
)
from tidings.exceptions import (
    ContractError,
    InvalidContract,
    InvalidKey,
    InvalidPayload,
    NotPublishable,
    PayloadTooLarge,
    UnknownChannel,
    UnknownType,
    WrongChannel,
)
from tidings.protocol.envelope import (
    BACKSLASH,
    MAX_DATA_BYTES,
    MAX_TRACE_ID_CHARS,
    Envelope,
    Event,
    PlainEnvelope,
    check_event_id,
    check_trace_id,
    parse_validation_error,
    to_single_line,
)
from tidings.protocol.message_types import LEGACY_TYPES, RESERVED_DOMAINS, ChannelType, SlotEffect
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES
from tidings.protocol.near_names import find_near
from tidings.protocol.paths import MAX_KEY_BYTES, check_key
from tidings.protocol.payloads import ContractIdentity, OperationProgressData, SystemAlertData
from tidings.protocol.raw_json import with_first_member, with_progress_members
from tidings.protocol.revisions import REVISION, REVISIONS
from tidings.protocol.strict_json import repair_members
from tidings.protocol.timestamps import GO_ZERO_TIME, canonicalize, check_year, is_canonical_end, known_seconds


def compute_identity(events: Iterable[EventType], revision: str = REVISION) -> ContractIdentity:
    """Return the identity of a contract: its revision's date, and a hash of everything that a client can see.

    See docs/protocol/events.md, "contract".

    Args:
        events: The event types of the contract; their order does not matter.
        revision: The revision that a connection speaks.
    """
    return _identify(_describe(events), revision)


def _describe(events: Iterable[EventType]) -> bytes:
    """Return everything that a client can see of a contract, as text that equal contracts share."""
    rows = sorted(events, key=lambda event: event.type)
    schemas, components = msgspec.json.schema_components([event.payload for event in rows])
    facts = [
        (event.type, event.channel, event.key, event.event_class, event.publishable, event.ends_key) for event in rows
    ]
    return msgspec.json.encode([facts, _undescribed([schemas, components])], order="deterministic")


@cache
def _describe_builtin() -> bytes:
    # It takes five milliseconds, ten times as long as the rest of a contract.
    return _describe(BUILTIN)


def _identify(text: bytes, revision: str) -> ContractIdentity:
    if revision != REVISION:
        text += revision.encode()
    return ContractIdentity(version=revision, hash="sha256:" + hashlib.sha256(text).hexdigest()[:32])


def _undescribed(schema: Any) -> Any:
    """Return a JSON Schema without its descriptions: they are prose, and a better one does not change the contract."""
    if isinstance(schema, dict):
        return {
            name: _undescribed(part)
            for name, part in schema.items()
            if not (name in ("description", "title") and isinstance(part, str))
        }
    if isinstance(schema, list | tuple):
        return [_undescribed(part) for part in schema]
    return schema


class EnvelopeDefaults(Protocol):
    """Values for what an envelope leaves out: the hub's clock and new ids, which a pure function must not look up."""

    def timestamp(self) -> str:
        """Return the time of the hub's clock as a canonical timestamp."""

    def trace_id(self, channel: str, key: str | None) -> str:
        """Return the trace id for an event of `key` whose envelope has none."""


_CHECKED = frozenset(BUILTIN)
"""Event types that the tests check: it takes four milliseconds of the start of a process."""


class Contract:
    """A set of event types, compiled for reading.

    A value without state: two contracts of equal events are interchangeable, and no contract is global.

    Args:
        events: The event types.
        lenient: Whether to accept events of types that are not declared: any JSON, durable, without a key, on the
            channel that they name, or on `data`.

    Raises:
        InvalidContract: An event type is invalid, or declared twice.
    """

    def __init__(self, events: Iterable[EventType] = BUILTIN, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.events: dict[str, EventType] = {}
        for event in events:
            if event not in _CHECKED:
                check_event_type(event)
            before = self.events.get(event.type)
            if before is not None:
                places = " and ".join(each.source for each in (before, event) if each.source)
                where = f": {places}" if places else ""
                raise InvalidContract(f"event type {event.type!r} is declared twice{where}", type=event.type)
            self.events[event.type] = event
        self.channels: tuple[str, ...] = list_channels(self.events.values())
        self.keep_newest: dict[str, int] = {
            event.type: event.keep_newest for event in self.events.values() if event.keep_newest is not None
        }
        """`EventType.keep_newest` by type, for the retention of a log."""
        rows = {event.type: compile_event_type(event) for event in self.events.values()}
        legacy = {old: rows[new] for old, new in LEGACY_TYPES.items() if new in rows}
        self._rows = {**legacy, **rows}
        self._loggable = {type: row for type, row in self._rows.items() if row.channel}
        self._publishable = {type: row for type, row in self._loggable.items() if row.event.publishable}
        self.deprecated: dict[str, str] = {
            **{old: f"Publish {new}." for old, new in LEGACY_TYPES.items() if new in rows},
            **{event.type: event.deprecated for event in self.events.values() if event.deprecated},
        }
        """By deprecated type, its replacement as a sentence. Events of these types are still accepted."""
        text = _describe_builtin() if events is BUILTIN else _describe(self.events.values())
        self.identities = {date: _identify(text, date) for date in REVISIONS}
        """The identity of the contract, by the revision that a connection speaks."""
        self.identity = self.identities[REVISION]

    @classmethod
    def of(cls, *events: EventType) -> "Contract":
        """Return the contract of every hub with an application's own events added.

        Raises:
            InvalidContract: An event type is invalid, or declared twice.
        """
        return cls((*BUILTIN, *events))

    def __or__(self, other: "Contract") -> "Contract":
        """Return the contract of the events of both; an event that both declare equally is one.

        Raises:
            InvalidContract: The contracts declare an event differently.
        """
        added = (event for event in other.events.values() if not _is_same(event, self.events.get(event.type)))
        return Contract((*self.events.values(), *added), lenient=self.lenient or other.lenient)

    def with_validation(self, *, lenient: bool) -> "Contract":
        """Return this contract, either strict or lenient about types that it does not declare."""
        return Contract(self.events.values(), lenient=lenient)

    @property
    def own(self) -> tuple[EventType, ...]:
        """The event types that an application added."""
        return tuple(event for event in self.events.values() if event not in BUILTIN)

    def type_of(self, payload: type[Struct]) -> EventType:
        """Return the event type whose payload is the struct `payload`.

        Raises:
            InvalidContract: No event type has this payload, or more than one has.
        """
        found = [event for event in self.events.values() if event.payload is payload]
        if len(found) == 1:
            return found[0]
        types = ", ".join(event.type for event in found)
        fault = f"is the payload of several events: {types}" if found else "is the payload of no event of this contract"
        hint = (
            "Name the event's type."
            if found
            else "Declare it with `tidings.event(...)`, and pass the contract to the hub and to the client."
        )
        raise InvalidContract(f"{payload.__name__} {fault}", type=payload.__name__, hint=hint)

    def decode(self, type: str, data: bytes) -> Struct:
        """Return the payload of an event of `type` as its struct.

        Args:
            type: The event's type.
            data: The payload as JSON; `null` is an empty payload.

        Raises:
            UnknownType: The contract has no event of this type.
            InvalidPayload: The data does not fit the type.
        """
        row = self._rows.get(type)
        if row is None:
            raise self.explain_unknown(type)
        payload: Struct = self._decode_payload(row, data)
        return payload

    def read(self, envelope: Envelope, defaults: EnvelopeDefaults, *, by_hub: bool = False, body: bytes = b"") -> Event:
        """Return the event of `envelope`, checked.

        Args:
            envelope: A decoded message.
            defaults: Source of the values that the envelope leaves out; called for those only.
            by_hub: Whether the hub itself writes the event: it may write every type.
            body: The message as it was sent, whose members are checked; b"" if it was checked before.

        Raises:
            UnknownType: The contract has no event of this type.
            NotPublishable: Only the hub writes events of this type.
            PayloadTooLarge: `data` has more than 65,535 bytes.
            InvalidPayload: `data` does not fit the type.
            InvalidJSON: `body` has two members of one name, or a number beyond 64 bits; see `check_members`.
            InvalidEnvelope: A name in `body` differs from that of a declared member only in case.
            InvalidKey: The payload's key is invalid.
            UnknownChannel: The contract does not have the channel.
            WrongChannel: The event does not go to the channel.
            InvalidTimestamp: The timestamp is not RFC 3339.
            InvalidTraceID: The trace id is too long, or not printable ASCII.
            InvalidEventID: The event id is too short, too long, or not printable ASCII.
        """
        row = (self._loggable if by_hub else self._publishable).get(envelope.type)
        if row is None:
            if not (self.lenient and self._is_declarable(envelope.type)):
                raise self.explain_unknown(envelope.type)
            row = self._undeclared(envelope)
        # Twice as fast as `bytes(envelope.data)`; to a constructor, a Raw is any object with a buffer.
        data = b"" + envelope.data
        plain = type(envelope) is PlainEnvelope
        if not plain:
            if len(data) > MAX_DATA_BYTES:
                raise _too_large(data)
            data = to_single_line(data)
        try:
            payload = row.decode(data)
        except (msgspec.DecodeError, RecursionError):
            data = repair_members(data, row.payload) or data
            payload = self._decode_payload(row, data)
        effect = row.effect
        if row.payload is OperationProgressData:
            key = payload.operation_id
            if not (payload.current_step and payload.total_steps):  # a member that is not empty is in the data
                data = _add_progress_members(data)
        else:
            key = row.key(payload)
            if row.payload is SystemAlertData and payload.state == "cleared":
                effect = SlotEffect.CLEAR
        if key is not None and not (plain and 0 < len(key) <= MAX_KEY_BYTES):
            key = _check_payload_key(row, key)
        timestamp, trace_id = envelope.timestamp, envelope.trace_id
        if body and (plain or BACKSLASH not in body) and row.shapes.matches_stamped(body):
            proven = plain
            # Nearly all events are of a second that was read before.
            if not (timestamp and timestamp[:19] in known_seconds):
                timestamp = _canonical_timestamp(timestamp, defaults)
        else:
            proven = False
            if body:
                row.shapes.check(body)
            if not (timestamp and is_canonical_end(timestamp, 19) and timestamp[:19] in known_seconds):
                timestamp = _canonical_timestamp(timestamp, defaults)
        if not proven and trace_id and not (plain and len(trace_id) <= MAX_TRACE_ID_CHARS):
            check_trace_id(trace_id)
        channel, event_id = envelope.channel, envelope.event_id
        return Event(
            row.type,
            timestamp,
            trace_id or defaults.trace_id(row.channel, key),
            data,
            row.channel if channel is None or channel == row.channel else self._check_channel(row, channel),
            key,
            row.event_class,
            None if event_id is None else check_event_id(event_id),
            effect,
        )

    def _decode_payload(self, row: CompiledEventType, data: bytes) -> Any:
        """Decode a payload, or explain why it is invalid."""
        try:
            return row.decode(b"{}" if row.all_optional and data == b"null" else data)
        except msgspec.ValidationError as cause:
            message, path = parse_validation_error(cause, "$.data")
            raise InvalidPayload(f"{path}: {message}", path=path, hint=_describe_payload(row.event)) from cause
        except (msgspec.DecodeError, RecursionError) as cause:
            raise InvalidPayload(f"$.data: {cause}", hint=_describe_payload(row.event)) from cause

    def _check_channel(self, row: CompiledEventType, channel: str) -> str:
        own = row.channel
        if not channel:
            return own
        if channel == ChannelType.GLOBAL:
            return channel
        if channel not in self.channels:
            raise UnknownChannel(
                f"$.channel: unknown channel {channel[:80]!r}",
                path="$.channel",
                hint=f"Omit the channel: {row.type} goes to {own!r}.",
            )
        raise WrongChannel(
            f"$.channel: {row.type} goes to {own!r} or 'global', not to {channel!r}",
            hint=f"Omit the channel, or use {own!r}.",
        )

    def _is_declarable(self, type: str) -> bool:
        """Return whether an application could declare an event named `type`."""
        domain = type.partition(":")[0]
        return is_event_name(type) and domain not in RESERVED_DOMAINS and type not in self._rows

    def _undeclared(self, envelope: Envelope) -> CompiledEventType:
        channel = envelope.channel or str(ChannelType.DATA)
        if channel not in self.channels:
            channel = str(ChannelType.DATA)  # `_check_channel` then rejects the channel that the envelope names
        return compile_undeclared(envelope.type, channel)

    def explain_unknown(self, type: str) -> ContractError:
        """Return the error for an event of `type`, which clients cannot publish."""
        if type in COMMANDS:
            hint = "Send it on a `tidings.v1` connection."
            return UnknownType(f"$.type: {type} is a command, not an event", type=type, hint=hint)
        if type in self._rows or type in HUB_MESSAGES:
            return NotPublishable(f"$.type: only the hub writes {type}")
        names = sorted(self._publishable)
        suggestion = next(map(str, find_near(type, (*names, *COMMANDS))), "")
        hint = f"Did you mean {suggestion!r}?" if suggestion else f"Use one of {', '.join(names)}."
        return UnknownType(f"$.type: unknown type {type[:80]!r}", type=type, suggestion=suggestion, hint=hint)


def _is_same(one: EventType, other: EventType | None) -> bool:
    return other is not None and one == msgspec.structs.replace(other, source=one.source)


def _canonical_timestamp(timestamp: str | None, defaults: EnvelopeDefaults) -> str:
    timestamp = canonicalize(timestamp) if timestamp else GO_ZERO_TIME
    if timestamp == GO_ZERO_TIME:
        return defaults.timestamp()
    check_year(timestamp)
    return timestamp


def _check_payload_key(row: CompiledEventType, key: str) -> str | None:
    if not key and row.keyless:
        return None
    try:
        return check_key(key)
    except InvalidKey as cause:
        path = f"$.data.{row.event.key}"
        raise InvalidKey(f"{path}: {cause}", path=path) from cause


def _add_progress_members(data: bytes) -> bytes:
    data = with_progress_members(data)
    if len(data) > MAX_DATA_BYTES:
        raise _too_large(data)
    return data


def with_operation(event: Event, operation_id: str) -> Event:
    """Return `event`, which names no operation, with `operation_id` as the first member of its data.

    Raises:
        InvalidKey: The id is not a valid key.
        PayloadTooLarge: The data has no space for it.
    """
    data = with_first_member(event.data, "operation_id", check_key(operation_id))
    if len(data) > MAX_DATA_BYTES:
        raise _too_large(data)
    return msgspec.structs.replace(event, data=data, key=operation_id)


def _too_large(data: bytes) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"$.data is {len(data)} bytes; {MAX_DATA_BYTES} are allowed", size=len(data), limit=MAX_DATA_BYTES
    )


def _describe_payload(event: EventType) -> str:
    fields = [
        field.encode_name if field.required else f"{field.encode_name}?"
        for field in msgspec.structs.fields(event.payload)
    ]
    return f"The data of {event.type} is {{{', '.join(fields)}}}."
