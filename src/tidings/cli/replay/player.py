"""Plays a recording into a hub, with the recorded ids or with new ones."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import BinaryIO

from msgspec import Raw, Struct, structs

from tidings.cli.recordings import HEADER_TYPE, BrokenLine, RecordedEnvelope, moment_of, read_lines
from tidings.cli.replay.selection import Survey, is_from_hub
from tidings.cli.replay.timing import PlaybackSchedule
from tidings.client.decoding import find_event_type, read_event_key
from tidings.client.drafts import Draft, new_event_id
from tidings.client.options import LinkOptions
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits, Rank
from tidings.client.reliable_publisher import ReliablePublisher
from tidings.client.status import State, Status
from tidings.contract.contract import Contract
from tidings.exceptions import (
    CommandRefused,
    ContractError,
    InvalidTimestamp,
    OperationFenced,
    OperationFinished,
    PayloadTooLarge,
)
from tidings.operations.lifecycle import END_STATES, TRANSITIONS, Transition
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import EventClass
from tidings.protocol.messages import Accepted
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.relay.translate import check_size, derive_event_id, rename_operations
from tidings.relay.warnings import RelayWarnings, Report

_MARK_BYTES = 4


class KeptIds:
    """Keeps every id, so that a hub stores a recording once, however often it is played."""

    def event_id(self, envelope: Envelope) -> str | None:
        """Return the event id; for an event without one, an id that is always the same for the same event."""
        if envelope.event_id:
            return envelope.event_id
        if not envelope.timestamp:
            return None
        data = b"" + envelope.data
        return derive_event_id(envelope.type, envelope.timestamp, envelope.trace_id or "", envelope.channel or "", data)

    def trace_id(self, trace_id: str) -> str:
        """Return the trace id."""
        return trace_id

    def data(self, type: str, data: bytes) -> bytes:
        """Return the data."""
        return data


class NewIds:
    """Replaces the ids of operations, traces and events, each by the same new id everywhere.

    New ids are computed from the old ones and a mark, so that a recording of any length needs no memory.

    Args:
        mark: Distinguishes this replay from others; random by default.
        now_ns: Returns nanoseconds since 1970.
    """

    def __init__(self, mark: str | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._mark = mark or secrets.token_hex(_MARK_BYTES)
        self._now_ns = now_ns

    def event_id(self, envelope: Envelope) -> str | None:
        """Return a fresh event id."""
        return new_event_id(self._now_ns())

    def trace_id(self, trace_id: str) -> str:
        """Return the new trace id for an old one, in the form of W3C Trace Context."""
        return hashlib.blake2b(f"{self._mark}:{trace_id}".encode(), digest_size=16).hexdigest()

    def data(self, type: str, data: bytes) -> bytes:
        """Return the data with new operation ids."""
        return rename_operations(type, data, self.operation_id)

    def operation_id(self, operation_id: str) -> str:
        """Return the new operation id: the old one followed by the mark, so that prefixes still match."""
        renamed = f"{operation_id}~{self._mark}"
        if len(renamed.encode()) <= MAX_KEY_BYTES:
            return renamed
        return hashlib.blake2b(renamed.encode(), digest_size=16).hexdigest()


_MAX_IN_FLIGHT = 1_000
"""Events in flight: what one connection may have unacknowledged; PROTOCOL.md, "Publishing"."""
_LIMITS = QueueLimits(events=2 * _MAX_IN_FLIGHT, bytes=256 << 20)
"""Limits of the queue, large enough for every waiting event of any size: nothing is conflated or shed."""

_OVER = frozenset({OperationFinished.code, OperationFenced.code})


class ReplayRequest(Struct, frozen=True, kw_only=True):
    """Options of a replay."""

    file: str
    """Name of the file, as it was given."""
    url: str
    """Full URL of the hub."""
    link: LinkOptions
    speed: float | None
    """Factor of the speed; None is as fast as the hub accepts."""
    max_pause_s: float | None
    """Maximum pause, in seconds of recorded time; None keeps the pauses."""
    new_ids: bool
    """Whether operations, traces and events get new ids."""
    keep_timestamps: bool
    """Whether events keep their recorded timestamps."""


class Played(Struct, kw_only=True):
    """Statistics of a replay."""

    sent: int = 0
    """Events that were sent to the hub."""
    stored: int = 0
    known: int = 0
    """Events that were in the log of the hub before, even if it has dropped them for newer ones since."""
    refused: int = 0
    leftovers: int = 0
    """Events of earlier attempts whose start is not in the recording; they are not played."""
    hubs_own: int = 0
    """Events that only a hub publishes, which are not played."""
    broken: int = 0
    """Lines that are not envelopes."""
    cut: bool = False
    """Whether the recording ends in the middle of a line."""


class Player:
    """Plays one recording once.

    Args:
        request: Options of the replay.
        recording: See `open_recording`.
        survey: The selection of the recording, and its statistics.
        contract: Contract with the event types.
        report: Prints an error and a hint, once for each kind.
    """

    def __init__(
        self, request: ReplayRequest, recording: BinaryIO, survey: Survey, *, contract: Contract, report: Report
    ) -> None:
        self.played = Played()
        self.open: set[str] = set()
        """Ids of operations that were started and not ended."""
        self._rejected: set[str | None] = set()
        """Ids of operations whose last start the hub refused."""
        self._known: set[str] = set()
        """Ids of operations of which the hub had the start before, and whose end is still to be played."""
        self._recording = recording
        self._survey = survey
        self._contract = contract
        self._request = request
        self._schedule = self._new_schedule()
        self._ids: KeptIds | NewIds = NewIds() if request.new_ids else KeptIds()
        self._report = report
        self._remarks = RelayWarnings(report)
        self._away = False
        self._publisher = ReliablePublisher(
            request.url,
            request.link,
            PublishQueue(_LIMITS),
            contract=contract,
            on_settled=self._settled,
            on_retry=self._warn_retrying,
            on_change=self._changed,
        )

    async def run(self) -> None:
        """Play the selection, and return when the hub has answered for each event.

        Raises:
            ClientError: The hub is unreachable, or ended the connection permanently.
        """
        sending = asyncio.create_task(self._publisher.run(), name="tidings replay sender")
        playing = asyncio.create_task(self._play(), name="tidings replay")
        try:
            await asyncio.wait([sending, playing], return_when=asyncio.FIRST_COMPLETED)
            (sending if sending.done() else playing).result()
        finally:
            for task in (playing, sending):
                task.cancel()
            await asyncio.wait([playing, sending])
            await self._publisher.aclose()

    async def _play(self) -> None:
        await self._publisher.wait_live()
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._schedule = self._new_schedule()
        for line in read_lines(self._recording):
            if isinstance(line, BrokenLine):
                self._note_broken(line)
                continue
            envelope = line.envelope
            moment_ns = moment_of(envelope, by_timestamp=self._survey.selection.by_timestamp)
            if envelope.type == HEADER_TYPE or not self._survey.selection.holds(moment_ns):
                continue
            if is_from_hub(self._contract, envelope):
                self.played.hubs_own += 1
                continue
            if self._survey.leftovers.contain(line.number, envelope):
                self.played.leftovers += 1
                continue
            delay_s = began + self._schedule.due_s(moment_ns) - loop.time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            await self._publisher.wait_below(_MAX_IN_FLIGHT)
            if self._publish(line.number, envelope):
                await self._publisher.wait_below(1)
        await self._publisher.wait_below(1)

    def _new_schedule(self) -> PlaybackSchedule:
        request = self._request
        return PlaybackSchedule(
            speed=request.speed,
            max_pause_s=request.max_pause_s,
            start_ns=time.time_ns(),
            end_ns=self._survey.newest_ns,
        )

    def _publish(self, number: int, envelope: RecordedEnvelope) -> bool:
        """Publish an event; return whether the next one depends on the hub's answer.

        A hub may refuse a start that names its attempt, or is queued, and accept what follows: an end names no attempt.
        It would end another attempt, so it is sent only if its start was accepted.
        """
        played = self.played
        played.sent += 1
        data = self._ids.data(envelope.type, b"" + envelope.data)
        envelope = structs.replace(envelope, data=Raw(data))
        try:
            check_size(envelope)
        except PayloadTooLarge as error:
            played.refused += 1
            self._remarks.once(f"too large {envelope.type}", f"line {number}: {error}", error_data(error).hint or "")
            return False
        ask = TRANSITIONS.get(envelope.type)
        key = self._key_of(envelope.type, data) if ask is not None else None
        if key is not None and key in self._rejected:
            if ask is not Transition.START:
                played.refused += 1
                return False
            self._rejected.discard(key)
        self._publisher.put(
            Draft(
                type=envelope.type,
                data=Raw(data),
                timestamp=self._timestamp(envelope.timestamp),
                event_id=self._ids.event_id(envelope) or new_event_id(time.time_ns()),
                trace_id=self._ids.trace_id(envelope.trace_id) if envelope.trace_id else None,
                channel=envelope.channel or None,
            ),
            Rank.DURABLE,
        )
        return ask is Transition.START and (b'"attempt"' in data or b'"queued"' in data or b"\\" in data)

    def _timestamp(self, timestamp: str | None) -> str:
        if not timestamp or self._request.keep_timestamps:
            return timestamp or ""
        try:
            return self._schedule.shifted(timestamp)
        except InvalidTimestamp:
            return timestamp  # the hub refuses it with the reason

    def _key_of(self, type: str, data: bytes) -> str | None:
        row = find_event_type(self._contract, type)
        if row is None:
            return None
        try:
            return read_event_key(row, self._contract.decode(type, data))
        except ContractError:
            return None

    def _note_broken(self, line: BrokenLine) -> None:
        if line.last:
            self.played.cut = True
            self._report(f"line {line.number} is truncated: the recorder was killed, or still writes", "")
            return
        self.played.broken += 1
        self._remarks.once("broken", f"skipped line {line.number}, not an envelope: {line.fault}", "")

    def _settled(self, entry: QueuedEvent, result: Accepted | CommandRefused) -> None:
        played = self.played
        if isinstance(result, Accepted):
            played.known += bool(result.duplicate)
            played.stored += not result.duplicate
            self._note_life(entry.draft, known=bool(result.duplicate))
            return
        if result.refusal in _OVER and self._is_superseded(entry.draft):
            played.known += 1
            return
        played.refused += 1
        if TRANSITIONS.get(entry.draft.type) is Transition.START:
            self._rejected.add(self._key_of(entry.draft.type, entry.draft.data))
        hint = error_data(result).hint or ""
        if result.refusal in _OVER and isinstance(self._ids, KeptIds):
            hint = "These operations have ended or advanced in this hub. Pass --new-ids to play them as new ones."
        self._remarks.once(
            f"refused {result.refusal} {entry.draft.type[:80]}",
            f"the hub refuses {entry.draft.type[:80]}: {result} ({result.refusal})",
            hint,
        )

    def _note_life(self, draft: Draft, *, known: bool) -> None:
        ask = TRANSITIONS.get(draft.type)
        key = self._key_of(draft.type, draft.data) if ask is not None else None
        if key is None:
            return
        for ids in (self.open, self._known) if known else (self.open,):
            if ask in END_STATES:
                ids.discard(key)
            else:
                ids.add(key)

    def _is_superseded(self, draft: Draft) -> bool:
        """Return whether the hub had this event and dropped it, as it does a minute after a newer one of its key."""
        row = find_event_type(self._contract, draft.type)
        return (
            row is not None
            and row.event_class is EventClass.LATEST
            and self._key_of(draft.type, draft.data) in self._known
        )

    def _warn_retrying(self, error: CommandRefused) -> None:
        self._remarks.once(f"held up {error.refusal}", f"the hub accepts no events at the moment: {error}", error.hint)

    def _changed(self, status: Status) -> None:
        if status.state is State.LIVE:
            self._away = False
        elif status.state is State.CONNECTING and status.error is not None and not self._away:
            self._away = True
            self._report(f"{status.error}; the replay continues after a reconnect", "")
