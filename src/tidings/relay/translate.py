"""Translates another service's messages to events for a hub.

Events without an id get one derived from their content: the same event, read again, has the same id.
"""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from tidings.client.decoding import find_event_type, read_event_key
from tidings.client.drafts import Draft, new_event_id
from tidings.client.publish_queue import Rank, rank_of
from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.exceptions import ContractError, InvalidTimestamp, PayloadTooLarge
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import MAX_DATA_BYTES, Envelope, decode_envelope
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.protocol.timestamps import GO_ZERO_TIME, canonicalize, from_nanoseconds
from tidings.relay.source import bodies_in
from tidings.relay.warnings import RelayWarnings

_PREFIX = "relay-"
_DIGEST_BYTES = 20
"""With 160 bits, no two events share an id by chance; with the prefix an id has 46 of the 64 characters allowed."""


def derive_event_id(type: str, timestamp: str, trace_id: str, channel: str, data: bytes) -> str:
    """Return an event id derived from the whole content of an event.

    Two events that are equal down to the timestamp are one: from a service that writes nanoseconds, as Go does, they
    are the same event sent twice.

    Args:
        type: Type, as received.
        timestamp: Timestamp, as received. Required: without it, an event that happens twice looks like one sent twice.
        trace_id: Trace id; "" if there is none.
        channel: Channel; "" if there is none.
        data: Raw JSON.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (type.encode(), timestamp.encode(), trace_id.encode(), channel.encode(), data):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return _PREFIX + digest.hexdigest()


_MAX_RECENT_IDS = 65_536
"""About 10 MB: more events than services keep to send again. The hub detects older duplicates."""


class RecentIds:
    """A bounded set of event ids published lately; the oldest are dropped.

    An event that a service sends again after a reconnect need not go to the hub again.

    Args:
        limit: Maximum number of ids.
    """

    def __init__(self, limit: int = _MAX_RECENT_IDS) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, event_id: str) -> None:
        """Add an id."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)


_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_DEFAULT_MEMBERS = ("operation_id",)
_OPERATION_MEMBERS: Mapping[str, tuple[str, ...]] = {
    MessageType.OPERATION_START: ("operation_id", "parent_id", "resumes"),
    MessageType.SYSTEM_ALERT: ("operation_id", "alert_id"),
}
"""Members that name an operation, by event type."""


def rename_operations(type: str, data: bytes, rename: Callable[[str], str]) -> bytes:
    """Return `data` with its operations renamed in each member that names one; all other members keep their bytes.

    An alert's id is renamed if it ends with the id of its operation, as a hub's own do (`producer_away:op-42`).

    Args:
        type: Type of the event.
        data: JSON of the event.
        rename: Returns the new id of an operation.
    """
    if b"_id" not in data and b"resumes" not in data:
        return data
    try:
        members = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data  # not an object: the hub reports the error
    named = {name: _text(members.get(name)) for name in _OPERATION_MEMBERS.get(type, _DEFAULT_MEMBERS)}
    operation_id = named.get("operation_id")
    changed = False
    for name, value in named.items():
        if not value:
            continue
        if name == "alert_id":
            if not operation_id or not value.endswith(f":{operation_id}"):
                continue
            new = value[: -len(operation_id)] + rename(operation_id)
        else:
            new = rename(value)
        members[name] = Raw(msgspec.json.encode(new))
        changed = True
    return msgspec.json.encode(members) if changed else data


def _text(value: Raw | None) -> str | None:
    if value is None:
        return None
    try:
        return _decode_text(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


DIRECT_DOMAINS = frozenset({"connection", "auth", "channel", "event", "producer"})
"""Domains of messages for one connection: the relay's connection to the service, not its watchers'."""
_MAX_HEADER_CHARACTERS = 8 << 10
"""Characters of type, trace id and channel together. The protocol allows far fewer; the hub reports the error."""
_MAX_EXCERPT = 160
"""Characters of an invalid line that are shown."""


class TranslatedEvent(Struct, frozen=True):
    """An event to publish."""

    draft: Draft
    rank: Rank
    key: str | None
    """Key for conflation while it waits; None if it is unknown."""


class TranslationCounts(Struct, kw_only=True):
    """Counts of what was read, by outcome."""

    messages: int = 0
    """WebSocket messages."""
    envelopes: int = 0
    """Envelopes in these messages, valid or not."""
    invalid: int = 0
    """Items that are not valid envelopes."""
    direct: int = 0
    """Envelopes for one connection, or of types that only a hub publishes: not published."""
    known: int = 0
    """Events published shortly before."""


class Translator:
    """Translates the envelopes in a service's messages to events for a hub.

    Args:
        contract: Event types known here.
        warnings: Receives each kind of problem once.
        prefix: Prefix for the ids of operations.
        recent: Event ids published lately.
        now_ns: Returns the time, in nanoseconds since 1970, for events without a timestamp.
    """

    def __init__(
        self,
        contract: Contract,
        warnings: RelayWarnings,
        *,
        prefix: str = "",
        recent: RecentIds | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.counts = TranslationCounts()
        self.unknown: Counter[str] = Counter()
        """Envelopes of types that the contract does not have, by type; only types that were warned about."""
        self.recent = recent or RecentIds()
        self._contract = contract
        self._warnings = warnings
        self._prefix = prefix
        self._now_ns = now_ns

    def read(self, message: bytes) -> Iterator[TranslatedEvent]:
        """Yield the events to publish from one WebSocket message."""
        counts = self.counts
        counts.messages += 1
        for body in bodies_in(message):
            counts.envelopes += 1
            try:
                envelope = decode_envelope(body)
                check_size(envelope)
            except ContractError as error:
                counts.invalid += 1
                self._warn_invalid(error, body)
                continue
            event = self._translate(envelope)
            if event is not None:
                yield event

    def _translate(self, envelope: Envelope) -> TranslatedEvent | None:
        type = envelope.type
        row = find_event_type(self._contract, type)
        if type.partition(":")[0] in DIRECT_DOMAINS or (row is not None and not row.publishable):
            self.counts.direct += 1
            if row is not None and row.channel is not None:
                self._warnings.once(f"hub only {type}", f"{type} is not published: only a hub publishes it")
            return None
        if row is None:
            self._note_unknown(type)
        draft = self._draft(envelope, row)
        if draft.event_id in self.recent:
            self.counts.known += 1
            return None
        return TranslatedEvent(draft, rank_of(row), self._key(row, draft))

    def _draft(self, envelope: Envelope, row: EventType | None) -> Draft:
        data = b"" + envelope.data
        if self._prefix:
            data = rename_operations(envelope.type, data, self._prefixed)
        received = envelope.timestamp or ""
        trace_id, channel = envelope.trace_id or "", self._channel(envelope, row)
        if _is_zero(received):
            now_ns = self._now_ns()
            timestamp, event_id = from_nanoseconds(now_ns), new_event_id(now_ns)
            self._warnings.once(
                f"no timestamp {envelope.type}",
                f"{envelope.type} has no timestamp: if it is sent again after a reconnect, it is stored again",
            )
        else:
            timestamp, event_id = received, derive_event_id(envelope.type, received, trace_id, channel, data)
        return Draft(
            type=envelope.type,
            data=Raw(data),
            timestamp=timestamp,
            event_id=event_id,
            trace_id=trace_id or None,
            channel=channel or None,
        )

    def _prefixed(self, operation_id: str) -> str:
        if operation_id.startswith(self._prefix) or len((self._prefix + operation_id).encode()) > MAX_KEY_BYTES:
            return operation_id
        return self._prefix + operation_id

    def _channel(self, envelope: Envelope, row: EventType | None) -> str:
        channel = envelope.channel or ""
        own = None if row is None else row.channel
        if channel in ("", own, ChannelType.GLOBAL) or (own is None and channel in self._contract.channels):
            return channel
        target = "its own" if own is None else repr(str(own))
        self._warnings.once(
            f"channel {envelope.type} {channel}",
            f"{envelope.type} has the channel {channel[:80]!r}: it is published to {target}",
        )
        return ""

    def _key(self, row: EventType | None, draft: Draft) -> str | None:
        if row is None:
            return None
        try:
            return read_event_key(row, self._contract.decode(draft.type, b"" + draft.data))
        except ContractError:
            return None  # the hub reports the error

    def _note_unknown(self, type: str) -> None:
        hint = error_data(self._contract.explain_unknown(type)).hint or ""
        shown = type[:80]
        if self._warnings.once(
            f"unknown {shown}", f"unknown type {shown!r}: a lenient hub accepts it, a strict one refuses it", hint
        ):
            self.unknown[shown] = 0
        if shown in self.unknown:
            self.unknown[shown] += 1

    def _warn_invalid(self, error: ContractError, body: bytes) -> None:
        text = body[:_MAX_EXCERPT].decode(errors="replace")
        shown = f"{text}…" if len(body) > _MAX_EXCERPT else text
        self._warnings.once(f"invalid {error.code}", f"{error} ({error.code}): {shown!r}", error_data(error).hint or "")


def check_size(envelope: Envelope) -> None:
    """Check that the message that publishes `envelope` is small enough for a hub to read and answer.

    Raises:
        PayloadTooLarge: A hub would close the connection, and with it delay the other events.
    """
    data = len(memoryview(envelope.data))
    header = len(envelope.type) + len(envelope.trace_id or "") + len(envelope.channel or "")
    for name, size, limit in (
        ("$.data", data, MAX_DATA_BYTES),
        ("the length of type, trace id and channel", header, _MAX_HEADER_CHARACTERS),
    ):
        if size > limit:
            raise PayloadTooLarge(f"{name} is {size} bytes; {limit} are allowed", size=size, limit=limit)


def _is_zero(timestamp: str) -> bool:
    if not timestamp or timestamp == GO_ZERO_TIME:
        return True
    if not timestamp.startswith(
        ("0001-01-01", "0000-12-31", "0001-01-02")
    ):  # possibly the zero time with another offset
        return False
    try:
        return canonicalize(timestamp) == GO_ZERO_TIME
    except InvalidTimestamp:
        return False
