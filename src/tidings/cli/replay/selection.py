"""Selects the envelopes of a recording to play, and surveys it before."""

from typing import BinaryIO

import msgspec
from msgspec import Struct

from tidings.cli.recordings import HEADER_TYPE, BrokenLine, RecordedEnvelope, RecordedLine, moment_of, read_lines
from tidings.cli.replay.timing import Bound
from tidings.client.decoding import find_event_type
from tidings.contract.contract import Contract
from tidings.exceptions import InvalidTimestamp
from tidings.protocol.message_types import MessageType
from tidings.protocol.timestamps import to_nanoseconds
from tidings.relay.translate import DIRECT_DOMAINS

HUB = "tidings"
"""Source name of a hub in its own status, metrics and alerts."""


class _Named(Struct):
    source: str | None = None
    alert_id: str | None = None


_decode_named = msgspec.json.Decoder(_Named).decode
_OWN_TYPES = frozenset({MessageType.SYSTEM_STATUS, MessageType.SYSTEM_METRICS, MessageType.SYSTEM_ALERT})


def is_from_hub(contract: Contract, envelope: RecordedEnvelope) -> bool:
    """Return whether a hub published this, of itself or as only hubs may: the receiving hub publishes its own."""
    if envelope.type.partition(":")[0] in DIRECT_DOMAINS:
        return True
    row = find_event_type(contract, envelope.type)
    if row is not None and not row.publishable:
        return True
    if envelope.type not in _OWN_TYPES:
        return False
    try:
        named = _decode_named(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return named.source == HUB or (named.alert_id or "").startswith(f"{HUB}:")


class Selection(Struct, frozen=True, kw_only=True):
    """The part of a recording to play: from `from_ns` (None: its beginning) to before `until_ns` (None: its end)."""

    by_timestamp: bool
    from_ns: int | None
    until_ns: int | None

    def holds(self, moment_ns: int | None) -> bool:
        """Return whether the selection has an envelope of this moment; it has those without a moment."""
        if moment_ns is None:
            return True
        return (self.from_ns is None or moment_ns >= self.from_ns) and (
            self.until_ns is None or moment_ns < self.until_ns
        )


class Survey(Struct, frozen=True, kw_only=True):
    """Facts about a recording, from reading it once before the replay."""

    selection: Selection
    events: int
    """Number of events to play."""
    newest_ns: int
    """Newest timestamp of these, in nanoseconds since 1970; 0 without any."""


def survey(
    recording: BinaryIO, contract: Contract, *, by_timestamp: bool, begin: Bound | None, end: Bound | None
) -> Survey:
    """Read a recording once, and return its selection and statistics.

    Args:
        recording: See `open_recording`.
        contract: Contract with the event types.
        by_timestamp: See `moment_of`.
        begin: First moment to play; None is the beginning.
        end: First moment not to play; None is the end.

    Raises:
        ConfigError: The file is not a recording.
    """
    first_ns: int | None = None
    selection = Selection(by_timestamp=by_timestamp, from_ns=None, until_ns=None)
    events = newest_ns = 0
    for line in read_lines(recording):
        if isinstance(line, BrokenLine):
            continue
        moment_ns = moment_of(line.envelope, by_timestamp=by_timestamp)
        # By receipt, a recording begins with its header; by timestamps, with its first event to play.
        begins = not by_timestamp or not (line.envelope.type == HEADER_TYPE or is_from_hub(contract, line.envelope))
        if first_ns is None and moment_ns is not None and begins:
            first_ns = moment_ns
            selection = Selection(
                by_timestamp=by_timestamp,
                from_ns=None if begin is None else begin.moment_ns(first_ns),
                until_ns=None if end is None else end.moment_ns(first_ns),
            )
        if is_played(line, contract, selection, moment_ns):
            events += 1
            newest_ns = max(newest_ns, _timestamp_ns(line.envelope))
    return Survey(selection=selection, events=events, newest_ns=newest_ns)


def is_played(line: RecordedLine, contract: Contract, selection: Selection, moment_ns: int | None) -> bool:
    """Return whether the envelope of a line, whose moment is `moment_ns`, is published."""
    if line.envelope.type == HEADER_TYPE or not selection.holds(moment_ns):
        return False
    return not is_from_hub(contract, line.envelope)


def _timestamp_ns(envelope: RecordedEnvelope) -> int:
    try:
        return to_nanoseconds(envelope.timestamp) if envelope.timestamp else 0
    except InvalidTimestamp:
        return 0
