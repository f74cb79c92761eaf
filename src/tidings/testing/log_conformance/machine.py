"""Compares a log with a model for any order of calls, in a hypothesis state machine.

The model keeps every event ever appended, and marks those that the log may have removed.
"""

from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tidings.exceptions import OperationError
from tidings.log.base import EVENT_OVERHEAD_BYTES, EventToAppend, Log, Query, Record, Retention
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, apply_event
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import ChannelType, EventClass, SlotEffect
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.positions import Position
from tidings.protocol.raw_json import with_last_member
from tidings.testing.log_conformance.harness import ALL, NS, EventFactory, LogHarness
from tidings.testing.log_conformance.judging import show

Slot = tuple[str, str, str | None]


def slot_of(event: Event) -> Slot:
    """Return the (channel, type, key) of `event`."""
    return event.channel, event.type, event.key


def is_latest(record: Record) -> bool:
    """Return whether the event is of class `latest`."""
    return record.event.event_class is EventClass.LATEST


class LogModel:
    """A log that removes nothing, and tracks the events that another one may remove under `retention`."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.records: dict[int, Record] = {}
        self.ids: dict[str, int] = {}
        """Offset of the newest event with each event id."""
        self.published: dict[int, Event] = {}
        """The events with an id as they were published, by offset."""
        self.forgotten_to = 0
        """Offset up to which event ids are forgotten."""
        self.lives: dict[str, OperationLife] = {}
        self.newest: dict[Slot, int] = {}
        self.expired: set[Slot] = set()
        """Slots that leave the newest events with the next steps of retention, or have left already."""
        self.removable: set[int] = set()
        """Offsets that retention may have removed, unless they are the newest of their key."""

    @property
    def head(self) -> int:
        """Offset of the last event."""
        return len(self.records)

    def append(self, batch: Iterable[EventToAppend]) -> list[str]:
        """Append a batch; return the outcome of each event as `show` does."""
        return [self._append(entry) for entry in batch]

    def _append(self, entry: EventToAppend) -> str:
        event = entry.event
        first = self.ids.get(event.event_id or "", 0)
        if first > self.forgotten_to:
            same = (event.type, event.data) == (self.published[first].type, self.published[first].data)
            return f"={first}" if same else "event_id_reused"
        data = event.data
        if event.key is not None and event.type in TRANSITIONS:
            before = self.lives.get(event.key)
            try:
                life = apply_event(event.key, before, event)
            except OperationError as error:
                return error.code
            if life is not None and life is not before:
                self.lives[event.key] = life
                if event.type == "operation:start" and life.attempt > 1:
                    data = with_last_member(data, "attempt", b"%d" % life.attempt)
        offset = self.head + 1
        if event.event_id is not None:
            self.ids[event.event_id], self.published[offset] = offset, event
        self._store(Record(offset, msgspec.structs.replace(event, data=data), entry.received_ns))
        return str(offset)

    def _store(self, record: Record) -> None:
        event, offset = record.event, record.offset
        self.records[offset] = record
        slot = slot_of(event)
        # A slot that is due leaves with the next event of its key at the latest: the newest events depend on the log
        # alone, and not on when retention ran.
        for other in self._ended(record.received_ns):
            if (other[0], other[2]) == (slot[0], slot[2]):
                self.newest.pop(other)
                self.expired.discard(other)
        if event.effect is SlotEffect.CLEAR:
            self.newest.pop(slot, None)
        else:
            self.newest[slot] = offset
        self._thin(slot)

    def _thin(self, slot: Slot) -> None:
        keep = self.retention.keep_newest.get(slot[1])
        if keep is not None and slot[2] is not None:
            offsets = [offset for offset, record in self.records.items() if slot_of(record.event) == slot]
            self.removable.update(offsets[:-keep])

    def maintain(self, present: Iterable[Record], now_ns: int) -> None:
        """Mark which of the `present` records, in log order, a step of retention at `now_ns` may remove."""
        retention = self.retention
        durable, size, latest = 0, 0, 0
        for record in sorted(present, key=lambda record: -record.offset):
            if is_latest(record):
                latest += 1
                over = latest > retention.superseded_events
                age_s = retention.superseded_age_s
            else:
                durable += 1
                size += len(record.event.data)
                over = durable > retention.events or size > retention.bytes
                age_s = retention.age_s
            if over or record.received_ns <= now_ns - int(age_s * NS):
                self.removable.add(record.offset)
        self.expired.update(self._ended(now_ns))

    def _ended(self, now_ns: int) -> set[Slot]:
        ends: dict[tuple[str, str | None], int] = {}
        for (channel, _, key), offset in self.newest.items():
            if self.records[offset].event.effect is SlotEffect.END:
                ends[channel, key] = max(offset, ends.get((channel, key), 0))
        due = now_ns - int(self.retention.finished_s * NS)
        ended = {name: offset for name, offset in ends.items() if self.records[offset].received_ns <= due}
        return {slot for slot, offset in self.newest.items() if offset <= ended.get((slot[0], slot[2]), 0)}

    def forget_expired(self) -> None:
        """Record that retention has done all its steps."""
        for slot in self.expired:
            self.newest.pop(slot, None)
        self.expired.clear()

    def may_be_gone(self, offset: int) -> bool:
        """Return whether the log may have removed the event at `offset`."""
        slot = slot_of(self.records[offset].event)
        kept = self.newest.get(slot) == offset and slot not in self.expired
        return offset in self.removable and not kept


RETENTION = Retention(
    events=12,
    bytes=400,
    age_s=600.0,
    superseded_age_s=30.0,
    superseded_events=6,
    newest_age_s=1e7,
    finished_s=120.0,
    keep_newest={"operation:log": 2},
)
_KEYS = (None, "a", "ab", "b")
_TYPES = (
    "operation:start",
    "operation:progress",
    "operation:log",
    "operation:complete",
    "data:update",
    "system:alert",
    "system:status",
)
_IDS = [f"event-{number:010}" for number in range(12)]
_PATHS = (
    Path("operations"),
    Path("operations", "a"),
    Path("operations", "a", prefix=True),
    Path("data"),
    Path("data", "b"),
    Path("system"),
    Path("system", "ab"),
)

_entries = st.fixed_dictionaries(
    {
        "type": st.sampled_from(_TYPES),
        "key": st.sampled_from(_KEYS),
        "in_global": st.integers(0, 4).map(lambda number: number == 0),
        "cleared": st.booleans(),
        "event_id": st.none() | st.sampled_from(_IDS),
        "size": st.integers(2, 60),
    }
)
_path_sets = st.sets(st.sampled_from(_PATHS), min_size=1, max_size=3).map(PathSet.of)


class LogMachine(RuleBasedStateMachine):
    """One log, one model, one clock."""

    harness: LogHarness

    @initialize()
    def open(self) -> None:
        """Open an empty log."""
        self.make = EventFactory()
        self.model = LogModel(RETENTION)
        self.log: Log = self.harness.open(RETENTION)
        self.tail: list[Record] = []
        self.log.follow(self.tail.extend)
        self.positions = {0: self.log.position(0)}

    def teardown(self) -> None:
        """Remove the log."""
        self.harness.close()

    # Changes.

    @rule(batch=st.lists(_entries, min_size=1, max_size=8))
    def append(self, batch: list[dict[str, Any]]) -> None:
        """Append a batch."""
        entries = [self._make_entry(**facts) for facts in batch]
        head = self.model.head
        outcomes = self.harness.outcomes(self.log, *entries)
        assert show(outcomes) == self.model.append(entries)
        appended = range(head + 1, self.model.head + 1)
        assert self.tail == [self.model.records[offset] for offset in appended]
        self.tail.clear()
        for offset in appended:
            self.positions[offset] = self.log.position(offset)
        assert len(set(self.positions.values())) == len(self.positions), "a position was assigned twice"

    def _make_entry(
        self, type: str, key: str | None, in_global: bool, cleared: bool, event_id: str | None, size: int
    ) -> EventToAppend:
        return self.make(
            type,
            key,
            channel=ChannelType.GLOBAL if in_global else None,
            effect=SlotEffect.CLEAR if type == "system:alert" and cleared else None,
            event_id=event_id,
            data=b"1" * size,
        )

    @rule(seconds=st.sampled_from([0.001, 1.0, 20.0, 100.0, 400.0]))
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.make.advance(seconds)

    @rule(share=st.floats(0, 1))
    def forget(self, share: float) -> None:
        """Forget some event ids, and save that."""
        until = int(share * self.model.head)
        self.log.forget(self.make.now_ns, until)
        self.model.forgotten_to = max(self.model.forgotten_to, until)
        self.maintain()

    @rule()
    def maintain_once(self) -> None:
        """Do one step of retention."""
        self.model.maintain(self.harness.history(self.log), self.make.now_ns)
        self.log.maintain(self.make.now_ns)
        self.harness.settle()

    @rule()
    def maintain(self) -> None:
        """Do all steps of retention, after which every limit holds."""
        self.model.maintain(self.harness.history(self.log), self.make.now_ns)
        self.harness.maintain(self.log, self.make.now_ns)
        self.model.forget_expired()
        statistics = self.log.statistics()
        assert statistics.durable_events <= RETENTION.events
        assert statistics.durable_bytes <= RETENTION.bytes
        assert statistics.superseded_events <= RETENTION.superseded_events
        history = self.harness.history(self.log)
        durable = [record for record in history if not is_latest(record) and record.offset >= statistics.first]
        assert statistics.durable_events == len(durable)
        assert statistics.durable_bytes == sum(len(record.event.data) for record in durable)
        self._check_sizes(history)
        for slot in {slot_of(record.event) for record in history}:
            if keep := RETENTION.keep_newest.get(slot[1]) if slot[2] is not None else None:
                assert sum(slot_of(record.event) == slot for record in history) <= 2 * keep

    def _check_sizes(self, history: list[Record]) -> None:
        """Compare the sizes that limits depend on with those of the events in the log."""
        superseded = kept = 0
        newest = self.log.newest
        for record in history:
            size = len(record.event.data)
            floor = newest.latest_floor if is_latest(record) else newest.durable_floor
            if record.offset <= floor:
                kept += size + EVENT_OVERHEAD_BYTES
            elif is_latest(record):
                superseded += size
        statistics = self.log.statistics()
        assert (statistics.superseded_bytes, statistics.newest_bytes) == (superseded, kept)
        assert kept <= RETENTION.newest_bytes

    @rule(killed=st.booleans())
    def open_again(self, killed: bool) -> None:
        """Close or kill the log and open it again; run retention first, as a hub does."""
        again = self.harness.crash(self.log, RETENTION) if killed else self.harness.reopen(self.log, RETENTION)
        if again is None:
            return
        self.log = again
        again.follow(self.tail.extend)
        self.maintain()

    # Checks.

    @rule(paths=_path_sets, after=st.integers(0, 30), limit=st.integers(1, 20), conflate=st.booleans())
    def read_forward(self, paths: PathSet, after: int, limit: int, conflate: bool) -> None:
        """Read some paths: all their events in the log, except those that conflation skips."""
        after = min(after, self.model.head)
        query = Query(after=after, until=self.model.head, paths=paths, conflate=conflate, limit=limit)
        newest = self.log.newest
        expected = [
            record
            for record in self.harness.history(self.log)
            if record.offset > after
            and paths.matches(record.event.channel, record.event.key)
            and not (conflate and is_latest(record) and (newest.offset(*slot_of(record.event)) or 0) > record.offset)
        ]
        assert self.harness.read_all(self.log, query) == expected

    @rule(paths=_path_sets, limit=st.integers(1, 20))
    def read_snapshot(self, paths: PathSet, limit: int) -> None:
        """Read a snapshot: the newest events of the paths' keys, in log order, all readable."""
        query = Query(after=0, until=self.model.head, paths=paths, newest_only=True, limit=limit)
        offsets = [self.log.newest.offset(*slot) for slot in self.model.newest if paths.matches(slot[0], slot[2])]
        expected = sorted(offset for offset in offsets if offset is not None)
        assert self.harness.read_all(self.log, query) == [self.model.records[offset] for offset in expected]

    @invariant()
    @precondition(lambda self: hasattr(self, "log"))
    def check_events(self) -> None:
        """Compare the events in the log with those that were appended: only removable ones may be missing."""
        history = self.harness.history(self.log)
        present = {record.offset for record in history}
        assert [record.offset for record in history] == sorted(present)
        assert all(record == self.model.records[record.offset] for record in history)
        missing = self.model.records.keys() - present
        assert not [offset for offset in missing if not self.model.may_be_gone(offset)]
        for offset in missing:
            event = self.model.records[offset].event
            if not is_latest(self.model.records[offset]):
                floor = self.log.trimmed(offset - 1, PathSet((Path(event.channel, event.key),)))
                assert floor is not None, f"{offset} is missing, but `trimmed` does not report it"
                assert floor >= offset
        for channel in ChannelType:
            floor = self.log.trimmed(0, PathSet((Path(channel),)))
            assert floor is None or floor in missing, "a gap ends with an event that is missing"

    @invariant()
    @precondition(lambda self: hasattr(self, "log"))
    def check_newest(self) -> None:
        """Compare the newest events, and check that each can be read."""
        newest = self.log.newest
        readable = {record.offset for record in self.harness.history(self.log, ALL)}
        named = 0
        for slot in {slot_of(record.event) for record in self.model.records.values()}:
            offset = newest.offset(*slot)
            if slot in self.model.expired:
                assert offset in (None, self.model.newest[slot])
            else:
                assert offset == self.model.newest.get(slot)
            named += offset is not None
            assert offset is None or offset in readable
        assert named == len(newest) == self.log.statistics().newest

    @invariant()
    @precondition(lambda self: hasattr(self, "log"))
    def check_positions(self) -> None:
        """Check that all positions resume, of whatever epoch, and none beyond the last one that its epoch assigned."""
        assert self.log.head == self.model.head
        for offset, position in self.positions.items():
            assert self.log.resolve(position) == offset
            assert self.log.position(offset) == position
            if position.epoch != self.log.epoch:
                following = self.positions.get(offset + 1)
                is_last = following is None or following.epoch != position.epoch
                beyond = self.log.resolve(Position(position.epoch, offset + 1))
                assert beyond == (None if is_last else offset + 1)


def check_against_model(harness: LogHarness, model_settings: settings) -> None:
    """Run the machine with logs of `harness`."""

    class Machine(LogMachine):
        pass

    Machine.harness = harness
    run_state_machine_as_test(Machine, settings=model_settings)
