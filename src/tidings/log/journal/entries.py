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
from tidings.log.base import EventToAppend, OperationSearch
from tidings.log.journal.controls import Control, KeyControl, Name, Number, Seed
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.paths import Path, PathSet

RULES = 2
"""Version of the rules by which entries are folded, and of their form. Two versions may judge an event differently, so
a node folds only by rules that it supports, and entries are written by those that all live nodes support."""
KEY_RULES = 2
"""The first rules with controls about API keys."""
MAX_EVENTS = 2_000
"""Maximum number of events in an entry: folding it takes about 20 ms."""
MAX_CONTROLS = 1_000
"""Maximum number of controls in an entry that are not about its node; a few of those come in addition."""
MAX_BYTES = 512 << 10
"""Maximum size of an entry; half of what the journal takes, if that is less."""
_MIN_BYTES = 2 * MAX_DATA_BYTES
"""An entry of this size holds the largest event with everything beside its data."""
_EVENT_BYTES = 50
"""Size of an event without its texts and its data: the marks of its values, and the numbers."""
_LATEST, _DURABLE = EventClass.LATEST, EventClass.DURABLE
_EFFECTS = {int(effect): effect for effect in SlotEffect}

_Text = str | None
_PathRow = tuple[str, _Text, bool]
_Search = tuple[list[tuple[str, list[_PathRow]]] | None, bool]
_Rare = tuple[bool, bool, _Search | None, Number, Number | None]
"""Whether the hub publishes it, whether its trace id is its own, the search for its operation, its attempt, and the
sign of its holder."""
_Lease = Annotated[float, Meta(ge=0)]
_Row = tuple[str, str, str, bytes, str, _Text, bool, _Text, int, Number, str, str, _Lease, _Rare | None, Number]
"""Type, timestamp, trace id, data, channel, key, whether it is `latest`, event id, effect, time of receipt, scope,
producer id, lease, the fields of `EventToAppend` that few events have, and the limit of live operations."""


class NodeBatch(Struct, frozen=True, kw_only=True):
    """The events and controls that one node proposes in one entry."""

    rules: int
    """The rules for folding the batch; see `RULES`."""
    session: str
    """The session of the node; see `tidings.log.journal.sessions`."""
    number: int
    """Counts the entries of the session, from 1."""
    events: Sequence[EventToAppend]
    """To be judged in this order, after the controls."""
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
                entry.received_ns,
                entry.scope,
                entry.producer_id,
                entry.lease_s,
                _rare_fields(entry),
                entry.max_live,
            )
        )
    return _encode((batch.rules, batch.session, batch.number, events, batch.controls))


def _rare_fields(entry: EventToAppend) -> _Rare | None:
    if entry.has_own_trace and not (entry.by_hub or entry.running_attempt) and entry.search is None:
        return None
    search: _Search | None = None
    if entry.search is not None:
        writable = entry.search.writable
        rows = None if writable is None else [(channel, _path_rows(paths)) for channel, paths in writable]
        search = rows, entry.search.required
    return entry.by_hub, entry.has_own_trace, search, entry.running_attempt, entry.holder_sign


def _path_rows(paths: PathSet) -> list[_PathRow]:
    return [(path.channel, path.key, path.prefix) for path in paths.paths]


def decode_batch(body: bytes) -> NodeBatch:
    """Return the batch in the body of an entry, which may be any bytes.

    Raises:
        LogTooNew: The entry is written by rules newer than `RULES`.
        LogCorrupt: No version of tidings writes such a body.
    """
    try:
        found = _decode(body)
        if found.rules > RULES:
            raise _too_new(found.rules)
        events = [_make_event(row) for row in found.events]
    except (msgspec.MsgspecError, ValueError, RecursionError) as cause:  # UnicodeDecodeError is a ValueError
        _check_rules(body)
        raise LogCorrupt(f"an entry of the journal is damaged: {cause}") from cause
    return NodeBatch(
        rules=found.rules, session=found.session, number=found.number, events=events, controls=found.controls
    )


def is_of_rules(control: Control, rules: int) -> bool:
    """Return whether nodes that fold by `rules` know a control: they leave out an entry with one that they do not."""
    return rules >= KEY_RULES or not isinstance(control, KeyControl)


def find_seed(batch: NodeBatch) -> Seed | None:
    """Return the control by which a journal begins with the log of a folder, if its first entry has this batch."""
    first = batch.controls[0] if batch.controls else None
    return first if isinstance(first, Seed) else None


def _make_event(row: _Row) -> EventToAppend:
    (
        type,
        timestamp,
        trace_id,
        data,
        channel,
        key,
        latest,
        event_id,
        number,
        received_ns,
        scope,
        producer_id,
        lease_s,
        rare,
        max_live,
    ) = row
    effect = _EFFECTS.get(number)
    if effect is None or not isfinite(lease_s):
        raise ValueError(f"invalid effect {number} or lease {lease_s}")
    event_class = _LATEST if latest else _DURABLE
    event = Event(type, timestamp, trace_id, data, channel, key, event_class, event_id, effect)
    if rare is None:
        return EventToAppend(event, received_ns, scope, producer_id, lease_s, max_live=max_live)
    by_hub, has_own_trace, search, running_attempt, holder_sign = rare
    found = None if search is None else OperationSearch(_make_writable(search[0]), search[1])
    return EventToAppend(
        event,
        received_ns,
        scope,
        producer_id,
        lease_s,
        by_hub,
        has_own_trace,
        found,
        running_attempt,
        max_live,
        holder_sign,
    )


def _make_writable(rows: list[tuple[str, list[_PathRow]]] | None) -> tuple[tuple[str, PathSet], ...] | None:
    if rows is None:
        return None
    return tuple((channel, PathSet.of([Path(*path) for path in paths], with_global=False)) for channel, paths in rows)


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
    # One text, because each event is measured: a look at every text of its own takes three times as long.
    texts = (
        f"{event.type}{event.timestamp}{event.trace_id}{event.channel}{event.key or ''}{event.event_id or ''}"
        f"{entry.scope}{entry.producer_id}"
    )
    size = _EVENT_BYTES + len(event.data) + (len(texts) if texts.isascii() else len(texts.encode()))
    rare = _rare_fields(entry)
    return size if rare is None else size + len(_encode(rare))


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


def count_fitting_controls(controls: Sequence[Control], max_bytes: int) -> int:
    """Return the number of the first controls that fit in one entry besides its events; at least 1 if there is one.

    Args:
        controls: The controls, in their order.
        max_bytes: See `count_fitting`; controls use half as much in addition.
    """
    size = 0
    for count, control in enumerate(controls[:MAX_CONTROLS]):
        size += len(_encode(control))
        if size > max_bytes // 2 and count:
            return count
    return min(len(controls), MAX_CONTROLS)
