"""From another service's messages to events that a hub takes.

Event ids for events that came without: the same event, read again, has the same.

The event ids that were published lately: what is sent again after a reconnect need not go to the hub again.

Renaming operations: in every member that names one, and nowhere else.
"""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from tidings.client.decoding import event_key, event_type
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
"""Of 160 bits, no two events share one by chance; with the prefix an id is 46 characters of the 64 allowed."""


def event_id_of(type: str, timestamp: str, trace_id: str, channel: str, data: bytes) -> str:
    """Return the event id of an event, derived from everything that it says.

    Two events that say the same, down to the timestamp, are one: for a service that writes nanoseconds, as Go does,
    these are the same event sent twice.

    Args:
        type: As it was written.
        timestamp: Likewise; it must be there: without it, an event that happens twice looks like one sent twice.
        trace_id: "" where there is none.
        channel: "" where there is none.
        data: The raw JSON.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (type.encode(), timestamp.encode(), trace_id.encode(), channel.encode(), data):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return _PREFIX + digest.hexdigest()


_MOST = 65_536
"""Ids, some 10 MB: more than services keep to send again. Whatever is older, the hub knows."""


class Recent:
    """A bounded set that forgets its oldest.

    Args:
        most: How many it holds.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, event_id: str) -> None:
        """Remember an id."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)


_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_EVERYWHERE = ("operation_id",)
_NAMING: Mapping[str, tuple[str, ...]] = {
    MessageType.OPERATION_START: ("operation_id", "parent_id", "resumes"),
    MessageType.SYSTEM_ALERT: ("operation_id", "alert_id"),
}
"""By event type, the members that name an operation."""


def rename_operations(type: str, data: bytes, rename: Callable[[str], str]) -> bytes:
    """Return `data` with its operations renamed; every other member keeps its bytes.

    An alert's id is renamed where it ends with its operation's, as the hub's own do (`producer_away:op-42`).

    Args:
        type: The event's.
        data: Its JSON.
        rename: Returns an operation's new id.
    """
    if b"_id" not in data and b"resumes" not in data:
        return data
    try:
        members = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data  # no object: the hub says what is wrong with it
    named = {name: _text(members.get(name)) for name in _NAMING.get(type, _EVERYWHERE)}
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
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


DIRECT_DOMAINS = frozenset({"connection", "auth", "channel", "event", "producer"})
"""Domains of what is said to one connection: of that service's connection, and none of our watchers'."""
_MOST_AROUND = 8 << 10
"""Characters of type, trace id and channel, of which the contract allows far fewer: enough to be told what is wrong."""
_EXCERPT = 160
"""Characters of a line that is shown as an example of its fault."""


class Taken(Struct, frozen=True):
    """An event that is to be published."""

    draft: Draft
    rank: Rank
    key: str | None
    """For conflation while it waits; None where nothing is known of it."""


class IntakeCounts(Struct, kw_only=True):
    """What became of what was read."""

    messages: int = 0
    """WebSocket messages."""
    envelopes: int = 0
    """What they held, valid or not."""
    invalid: int = 0
    """Of these, no envelopes."""
    direct: int = 0
    """Said to one connection, or the hub's own to say: not published."""
    known: int = 0
    """Published before, a short while ago."""


class Intake:
    """Reads messages, and makes of each envelope what a hub is to be told.

    Args:
        contract: What event types are known here.
        remarks: Is told what is wrong, once a kind.
        prefix: What the ids of operations are to begin with.
        recent: The event ids that were published lately.
        now_ns: Returns the time, in nanoseconds since 1970: for what has none.
    """

    def __init__(
        self,
        contract: Contract,
        remarks: RelayWarnings,
        *,
        prefix: str = "",
        recent: Recent | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.counts = IntakeCounts()
        self.unknown: Counter[str] = Counter()
        """Envelopes of types that the contract does not have, by type; of so many types at most as remarks are."""
        self.recent = recent or Recent()
        self._contract = contract
        self._remarks = remarks
        self._prefix = prefix
        self._now_ns = now_ns

    def read(self, message: bytes) -> Iterator[Taken]:
        """Return the events in one WebSocket message that are to be published."""
        counts = self.counts
        counts.messages += 1
        for body in bodies_in(message):
            counts.envelopes += 1
            try:
                envelope = decode_envelope(body)
                check_size(envelope)
            except ContractError as error:
                counts.invalid += 1
                self._tell_invalid(error, body)
                continue
            taken = self._take(envelope)
            if taken is not None:
                yield taken

    def _take(self, envelope: Envelope) -> Taken | None:
        type = envelope.type
        row = event_type(self._contract, type)
        if type.partition(":")[0] in DIRECT_DOMAINS or (row is not None and not row.publishable):
            self.counts.direct += 1
            if row is not None and row.channel is not None:
                self._remarks.once(f"hub only {type}", f"{type} is a hub's own to say: it is not published")
            return None
        if row is None:
            self._note_unknown(type)
        draft = self._draft(envelope, row)
        if draft.event_id in self.recent:
            self.counts.known += 1
            return None
        return Taken(draft, rank_of(row), self._key(row, draft))

    def _draft(self, envelope: Envelope, row: EventType | None) -> Draft:
        data = b"" + envelope.data
        if self._prefix:
            data = rename_operations(envelope.type, data, self._prefixed)
        said = envelope.timestamp or ""
        trace_id, channel = envelope.trace_id or "", self._channel(envelope, row)
        if _is_zero(said):
            now_ns = self._now_ns()
            timestamp, event_id = from_nanoseconds(now_ns), new_event_id(now_ns)
            self._remarks.once(
                f"no timestamp {envelope.type}",
                f"{envelope.type} comes without a timestamp: what is sent again after a reconnect is stored again",
            )
        else:
            timestamp, event_id = said, event_id_of(envelope.type, said, trace_id, channel, data)
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
        goes = "to its own" if own is None else f"to {str(own)!r}"
        self._remarks.once(
            f"channel {envelope.type} {channel}", f"{envelope.type} names the channel {channel[:80]!r}: it goes {goes}"
        )
        return ""

    def _key(self, row: EventType | None, draft: Draft) -> str | None:
        if row is None:
            return None
        try:
            return event_key(row, self._contract.decode(draft.type, b"" + draft.data))
        except ContractError:
            return None  # the hub says what is wrong with it

    def _note_unknown(self, type: str) -> None:
        hint = error_data(self._contract.explain_unknown(type)).hint or ""
        shown = type[:80]
        if self._remarks.once(
            f"unknown {shown}", f"nothing is called {shown!r}: a lenient hub takes it, a strict one does not", hint
        ):
            self.unknown[shown] = 0
        if shown in self.unknown:
            self.unknown[shown] += 1

    def _tell_invalid(self, error: ContractError, body: bytes) -> None:
        text = body[:_EXCERPT].decode(errors="replace")
        shown = f"{text}…" if len(body) > _EXCERPT else text
        self._remarks.once(f"invalid {error.code}", f"{error} ({error.code}): {shown!r}", error_data(error).hint or "")


def check_size(envelope: Envelope) -> None:
    """Check that a hub reads the message that publishes `envelope`, were it only to refuse it.

    Raises:
        PayloadTooLarge: A hub would close the connection, and with it what is published beside this.
    """
    data = len(memoryview(envelope.data))
    around = len(envelope.type) + len(envelope.trace_id or "") + len(envelope.channel or "")
    for what, size, limit in (("$.data", data, MAX_DATA_BYTES), ("what names the event", around, _MOST_AROUND)):
        if size > limit:
            raise PayloadTooLarge(f"{what} is {size} bytes; {limit} are allowed", size=size, limit=limit)


def _is_zero(timestamp: str) -> bool:
    if not timestamp or timestamp == GO_ZERO_TIME:
        return True
    if not timestamp.startswith(("0001-01-01", "0000-12-31", "0001-01-02")):  # ZERO with another offset, perhaps
        return False
    try:
        return canonicalize(timestamp) == GO_ZERO_TIME
    except InvalidTimestamp:
        return False
