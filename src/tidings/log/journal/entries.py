"""The body of a journal entry: what one node proposes in one tick of its loop, in MessagePack.

A body is the array ``[rules, session, number, events, controls]``. Whether an event is accepted is decided when its
entry is folded, by every node alike; so a body holds nothing that a node decided alone.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tidings.exceptions import LogCorrupt, LogTooNew
from tidings.log.base import EventToAppend
from tidings.log.journal.controls import Control, Name, Number
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import EventClass, SlotEffect

RULES = 1
"""Version of the rules by which entries are folded, and of their form. Two versions may judge an event differently, so
a node folds only by rules that it supports, and entries are written by those that all live nodes support."""
MAX_EVENTS = 2_000
"""Maximum number of events in an entry: folding it takes about 20 ms."""
MAX_BYTES = 512 << 10
"""Maximum size of an entry; half of what the journal takes, if that is less."""
_MIN_BYTES = 2 * MAX_DATA_BYTES
"""An entry of this size holds the largest event with everything beside its data."""
_EVENT_BYTES = 40
"""Size of an event without its texts and its data: the marks of 12 values, and the numbers."""
_TEXTS = 7
_LATEST, _DURABLE = EventClass.LATEST, EventClass.DURABLE
_EFFECTS = {int(effect): effect for effect in SlotEffect}

_Text = str | None
_Row = tuple[str, str, str, bytes, str, _Text, bool, _Text, int, str, str, Annotated[float, Meta(ge=0)]]
"""Type, timestamp, trace id, data, channel, key, whether it is `latest`, event id, effect, scope, producer id and
lease: `EventToAppend` without its time of receipt, which is that of the entry."""


class NodeBatch(Struct, frozen=True, kw_only=True):
    """The events and controls that one node proposes in one entry."""

    rules: int
    """The rules for folding the batch; see `RULES`."""
    session: str
    """The session of the node; see `tidings.log.journal.sessions`."""
    number: int
    """Counts the entries of the session, from 1."""
    events: Sequence[EventToAppend]
    """To be judged in this order, before the controls."""
    controls: Sequence[Control]
    """To be applied in this order."""


class _Body(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    rules: Number
    session: Name
    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    events: Annotated[list[_Row], Meta(max_length=MAX_EVENTS)]
    controls: Annotated[list[Control], Meta(max_length=MAX_EVENTS)]


class _Head(Struct, frozen=True, array_like=True):
    rules: Number


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Body).decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode


def encode_batch(batch: NodeBatch) -> bytes:
    """Return the body of an entry."""
    events = []
    for entry in batch.events:
        event = entry.event
        events.append(
            (
                event.type,
                event.timestamp,
                event.trace_id,
                event.data,
                event.channel,
                event.key,
                event.event_class is _LATEST,
                event.event_id,
                int(event.effect),
                entry.scope,
                entry.producer_id,
                entry.lease_s,
            )
        )
    return _encode((batch.rules, batch.session, batch.number, events, batch.controls))


def decode_batch(body: bytes, received_ns: int) -> NodeBatch:
    """Return the batch in the body of an entry.

    Args:
        body: Any bytes.
        received_ns: The time at which its events count as received, nanoseconds since 1970.

    Raises:
        LogTooNew: The entry is written by rules newer than `RULES`.
        LogCorrupt: No version of tidings writes such a body.
    """
    try:
        found = _decode(body)
        if found.rules > RULES:
            raise _too_new(found.rules)
        events = [_make_event(row, received_ns) for row in found.events]
    except (msgspec.MsgspecError, ValueError, RecursionError) as cause:  # UnicodeDecodeError is a ValueError
        _check_rules(body)
        raise LogCorrupt(f"an entry of the journal is damaged: {cause}") from cause
    return NodeBatch(
        rules=found.rules, session=found.session, number=found.number, events=events, controls=found.controls
    )


def _make_event(row: _Row, received_ns: int) -> EventToAppend:
    type, timestamp, trace_id, data, channel, key, latest, event_id, effect, scope, producer_id, lease_s = row
    if effect not in _EFFECTS or not isfinite(lease_s):
        raise ValueError(f"invalid effect {effect} or lease {lease_s}")
    return EventToAppend(
        Event(
            type,
            timestamp,
            trace_id,
            data,
            channel,
            key,
            _LATEST if latest else _DURABLE,
            event_id,
            _EFFECTS[effect],
        ),
        received_ns,
        scope,
        producer_id,
        lease_s,
    )


def _check_rules(body: bytes) -> None:
    """Check that a body that cannot be decoded is not one of newer rules, which may have another form.

    Raises:
        LogTooNew: It is.
    """
    try:
        rules = _decode_head(body).rules
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    if rules > RULES:
        raise _too_new(rules)


def _too_new(rules: int) -> LogTooNew:
    return LogTooNew(
        f"an entry of the journal is written by rules {rules}; this version of tidings supports up to {RULES}",
        hint="Run the version of tidings that wrote it, or a newer one, on all nodes.",
    )


def max_entry_bytes(max_body_bytes: int) -> int:
    """Return the maximum size of an entry in a journal that takes bodies of `max_body_bytes`.

    Raises:
        ValueError: The largest event would not fit.
    """
    size = min(MAX_BYTES, max_body_bytes // 2)
    if size < _MIN_BYTES:
        raise ValueError(f"invalid size of a body {max_body_bytes}: expected at least {2 * _MIN_BYTES}")
    return size


def event_bytes(entry: EventToAppend) -> int:
    """Return at least the size of an event in an entry, in bytes."""
    event = entry.event
    size = _EVENT_BYTES + len(event.data)
    for text in (event.type, event.timestamp, event.trace_id, event.channel, event.key, event.event_id):
        if text is not None:
            size += len(text) if text.isascii() else len(text.encode())
    for text in (entry.scope, entry.producer_id):
        size += len(text) if text.isascii() else len(text.encode())
    return size


def count_fitting(events: Sequence[EventToAppend], max_bytes: int) -> int:
    """Return the number of the first events that fit in one entry; at least 1 if there is one.

    Args:
        events: The events, in their order.
        max_bytes: Maximum size of the entry; see `max_entry_bytes`.
    """
    size = 0
    for count, entry in enumerate(events[:MAX_EVENTS]):
        size += event_bytes(entry)
        if size > max_bytes and count:
            return count
    return min(len(events), MAX_EVENTS)
