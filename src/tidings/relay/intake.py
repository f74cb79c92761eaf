"""From another service's messages to events that a hub takes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Raw, Struct

from tidings.client.decoding import event_key, event_type
from tidings.client.drafts import new_event_id
from tidings.client.pending import Draft
from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.exceptions import ContractError, InvalidTimestamp, PayloadTooLarge
from tidings.producer.outbox.queue import Rank, rank_of
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import MAX_DATA_BYTES, Envelope, decode_envelope
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.protocol.timestamps import ZERO, canonical, from_nanoseconds
from tidings.relay.identity import event_id_of
from tidings.relay.messages import bodies_in
from tidings.relay.operation_ids import rename_operations
from tidings.relay.recent import Recent
from tidings.relay.remarks import Remarks

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
        remarks: Remarks,
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
        hint = error_data(self._contract.unknown(type)).hint or ""
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
    if not timestamp or timestamp == ZERO:
        return True
    if not timestamp.startswith(("0001-01-01", "0000-12-31", "0001-01-02")):  # ZERO with another offset, perhaps
        return False
    try:
        return canonical(timestamp) == ZERO
    except InvalidTimestamp:
        return False
