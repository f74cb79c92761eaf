"""Selects the envelopes of a recording to play, and surveys it before."""

from typing import BinaryIO

import msgspec
from msgspec import Struct

from tidings.cli.recordings import (
    HEADER_TYPE,
    RECORDING_HINT,
    BrokenLine,
    RecordedEnvelope,
    RecordedLine,
    moment_of,
    read_lines,
)
from tidings.cli.replay.timing import Bound
from tidings.client.decoding import find_event_type
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError, InvalidTimestamp
from tidings.operations.lifecycle import END_STATES, TRANSITIONS, Transition
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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


class _Life(Struct, frozen=True):
    """The fields of an operation's event that decide whether it is a leftover."""

    operation_id: str
    attempt: int = 1
    queued: bool = False


_decode_life = msgspec.json.Decoder(_Life).decode


class _Unstarted(Struct):
    """Events of an operation without a start before them."""

    since: int
    """Number of the first line."""
    attempt: int
    count: int = 0
    running: bool = False
    ended: bool = False
    mixed: bool = False
    """Whether an event follows an end: the events belong to several attempts."""


class Leftovers:
    """Events of earlier attempts of an operation, whose starts are not in the recording.

    A snapshot has the newest event of each type. If an operation ran twice, it may hold progress of the first attempt,
    and then the start of the second; a hub would count the first as still running, and reject the start. Memory is
    needed for running operations, and for those without a start.
    """

    def __init__(self) -> None:
        self.count = 0
        """Number of events that are leftovers."""
        self._running: set[str] = set()
        self._unstarted: dict[str, _Unstarted] = {}
        self._ranges: dict[str, list[tuple[int, int]]] = {}

    def read(self, number: int, envelope: RecordedEnvelope) -> None:
        """Read the next event of the selection; `number` is its line."""
        life = _life_of(envelope)
        if life is None:
            return
        transition, key = TRANSITIONS[envelope.type], life.operation_id
        if transition is Transition.START:
            self._running.add(key)
            before = self._unstarted.pop(key, None)
            later = before is not None and before.running and (life.attempt > before.attempt or life.queued)
            if before is not None and (before.mixed or later):
                self._ranges.setdefault(key, []).append((before.since, number))
                self.count += before.count
            return
        if key in self._running:
            if transition in END_STATES:
                self._running.discard(key)
            return
        events = self._unstarted.setdefault(key, _Unstarted(number, life.attempt))
        events.count += 1
        events.mixed = events.mixed or events.ended
        events.ended = events.ended or transition in END_STATES
        events.running = not events.ended and (events.running or transition is Transition.PROGRESS)

    def contain(self, number: int, envelope: RecordedEnvelope) -> bool:
        """Return whether the event at a line is a leftover; the whole recording has been read."""
        life = _life_of(envelope) if self._ranges else None
        return life is not None and any(
            since <= number < until for since, until in self._ranges.get(life.operation_id, ())
        )


def _life_of(envelope: RecordedEnvelope) -> _Life | None:
    if envelope.type not in TRANSITIONS:
        return None
    try:
        return _decode_life(envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the hub refuses it with the reason


class Survey(Struct, frozen=True, kw_only=True):
    """Facts about a recording, from reading it once before the replay."""

    selection: Selection
    leftovers: Leftovers
    """Events that are skipped."""
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
    events = newest_ns = lines = 0
    leftovers = Leftovers()
    for line in read_lines(recording):
        if isinstance(line, BrokenLine):
            continue
        lines += 1
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
            leftovers.read(line.number, line.envelope)
            newest_ns = max(newest_ns, _timestamp_ns(line.envelope))
    if not lines:
        raise ConfigError(
            "not a recording: expected at least one envelope", option="FILE", source="argument", hint=RECORDING_HINT
        )
    return Survey(selection=selection, leftovers=leftovers, events=events - leftovers.count, newest_ns=newest_ns)


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
