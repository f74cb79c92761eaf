"""The embedded log without files: its events are gone with the process (`tidings serve --memory`)."""

import logging
from bisect import bisect_left
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, takewhile

from tidings.exceptions import LogError
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    LogStatistics,
    OnControl,
    Query,
    ReadDone,
    ReceivedControl,
    Record,
    Retention,
    RevokeDone,
    StateAfter,
    StoredRows,
    Tail,
)
from tidings.log.clock_jumps import ClockJumps
from tidings.log.epochs import Epoch, Epochs
from tidings.log.journal.controls import HubControl
from tidings.log.judge import Judge, KnownID, NewID
from tidings.log.matching import QueryMatcher, take_page
from tidings.log.newest import Newest, owner_of
from tidings.log.producers import ProducerTable
from tidings.log.retention import RetainedRow, RetentionSweeper
from tidings.log.revocations import Revocation, RevocationTable
from tidings.log.trim_marks import TrimMarks
from tidings.operations.lifecycle import TRANSITIONS
from tidings.operations.table import OperationTable
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position

logger = logging.getLogger(__name__)

_BLOCK_BITS = 10
"""A block holds 2^10 offsets: finding an offset costs the same with and without long holes."""
MAX_READ_EVENTS = 2_000
"""Maximum number of events that one read looks at: a few milliseconds."""


class Blocks:
    """Records by offset: appended in order, deleted anywhere, read forward from anywhere."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[int, Record]] = {}
        self._numbers: list[int] = []
        """Numbers of the blocks that are not empty, in order."""

    def append(self, record: Record) -> None:
        """Add a record whose offset is greater than all before."""
        number = record.offset >> _BLOCK_BITS
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = {}
            self._numbers.append(number)
        block[record.offset] = record

    def get(self, offset: int) -> Record | None:
        """Return the record at `offset`, if it exists."""
        return self._blocks.get(offset >> _BLOCK_BITS, {}).get(offset)

    def delete(self, offset: int) -> None:
        """Delete the record at `offset`, if it exists."""
        number = offset >> _BLOCK_BITS
        block = self._blocks.get(number, {})
        if block.pop(offset, None) is not None and not block:
            del self._blocks[number]
            del self._numbers[bisect_left(self._numbers, number)]

    def after(self, offset: int) -> Iterator[Record]:
        """Yield the records with a greater offset, in order. Nothing may be deleted during the iteration."""
        first = (offset + 1) >> _BLOCK_BITS
        for index in range(bisect_left(self._numbers, first), len(self._numbers)):
            number = self._numbers[index]
            block = self._blocks[number].values()
            yield from block if number != first else (record for record in block if record.offset > offset)

    def last_before(self, received_ns: int) -> int:
        """Return the offset of the last record received before a time, found by bisection; 0 if there is none."""
        blocks = self._blocks
        index = bisect_left(
            self._numbers, received_ns, key=lambda number: next(iter(blocks[number].values())).received_ns
        )
        if index == 0:
            return 0
        records = list(blocks[self._numbers[index - 1]].values())
        return records[bisect_left(records, received_ns, key=lambda record: record.received_ns) - 1].offset


class MemoryIDs:
    """The event ids of a log in memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], KnownID] = OrderedDict()
        """By scope and event id, in the order of their offsets."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, scope: str, event_id: str) -> KnownID | None:
        """Return what is remembered of an event id, or None."""
        return self._known.get((scope, event_id))

    def add(self, ids: Iterable[NewID]) -> None:
        """Add the ids of accepted events, in log order."""
        for scope, event_id, known in ids:
            self._known[scope, event_id] = known

    def forget(self, until: int) -> None:
        """Forget the ids of events up to an offset."""
        known = self._known
        while known and next(iter(known.values())).offset <= until:
            known.popitem(last=False)

    def offset_of_oldest(self, number: int) -> int:
        """Return the offset of the `number`-th of the oldest ids, or 0 if there are fewer."""
        found = next(islice(self._known.values(), number - 1, None), None)
        return 0 if found is None else found.offset


class MemoryRows:
    """The `tidings.log.retention.RetainedRows` of a log in memory.

    Args:
        thinned: The types of which only the newest few of a key are kept.
    """

    def __init__(self, thinned: Iterable[str]) -> None:
        self.all = Blocks()
        self._latest = Blocks()
        self._thinned = frozenset(thinned)
        self._by_key: defaultdict[tuple[str, str, str | None], dict[int, None]] = defaultdict(dict)

    def append(self, record: Record) -> None:
        """Add a record whose offset is greater than all before."""
        event = record.event
        self.all.append(record)
        if event.event_class is EventClass.LATEST:
            self._latest.append(record)
        elif event.type in self._thinned:
            self._by_key[event.channel, event.type, event.key][record.offset] = None

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `RetainedRows.after`."""
        return [_make_row(record) for record in islice(self.all.after(offset), limit)]

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `RetainedRows.latest_after`."""
        return [_make_row(record) for record in islice(self._latest.after(offset), limit)]

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """See `RetainedRows.durable_of`."""
        offsets = [offset for offset in self._by_key.get((channel, type, key), ()) if offset > after]
        return [row for row in map(self.find, offsets[:-keep][:limit]) if row is not None]

    def find(self, offset: int) -> RetainedRow | None:
        """See `RetainedRows.find`."""
        record = self.all.get(offset)
        return None if record is None else _make_row(record)

    def delete(self, offsets: Iterable[int]) -> None:
        """See `RetainedRows.delete`."""
        for offset in offsets:
            record = self.all.get(offset)
            if record is None:
                continue
            event = record.event
            self.all.delete(offset)
            self._latest.delete(offset)
            slot = event.channel, event.type, event.key
            if slot in self._by_key:
                self._by_key[slot].pop(offset, None)
                if not self._by_key[slot]:
                    del self._by_key[slot]


def _make_row(record: Record) -> RetainedRow:
    event = record.event
    return RetainedRow(
        record.offset,
        int(event.event_class is EventClass.LATEST),
        event.channel,
        event.type,
        event.key,
        len(event.data),
        record.received_ns,
    )


class MemoryLog:
    """A `tidings.log.base.Log` in memory. Every call completes within the call.

    Args:
        epoch: The name of its only epoch: 8 lower-case hex digits, new for each process.
        retention: How much it keeps.
    """

    def __init__(self, epoch: str, retention: Retention | None = None) -> None:
        retention = retention or Retention()
        self._epochs = Epochs([Epoch(epoch, 0)])
        self.stored_state = b""
        """See `LocalLog.stored_state`."""
        self.stored_rows: dict[str, bytes] = {}
        """See `LocalLog.stored_rows`."""
        self._max_ids = retention.ids
        self._rows = MemoryRows(retention.keep_newest)
        self._trim_marks = TrimMarks()
        self._tail: Tail = _ignore
        self._on_control: OnControl | None = None
        self._head = 0
        self._appending = False
        self._waiting: deque[tuple[Sequence[EventToAppend], AppendDone, StateAfter | None, StoredRows | None]] = deque()
        self._newest = retention.new_newest()
        self._operations = retention.new_operations()
        self._revocations = RevocationTable()
        self._ids = MemoryIDs()
        self._producers = ProducerTable(self._operations)
        self._judge = Judge(self._operations, self._ids.find, self._epochs.position, self._producers.sign)
        self._jumps = ClockJumps()
        self._now_ns = 0
        self._sweeper = RetentionSweeper(self._rows, self._newest, self._trim_marks, retention, self._jumps)

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._operations

    @property
    def revocations(self) -> RevocationTable:
        """See `Log.revocations`."""
        return self._revocations

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._epochs.current.name

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._head

    @property
    def failed(self) -> LogError | None:
        """See `Log.failed`: never, while there is memory."""
        return None

    @property
    def producers(self) -> ProducerTable:
        """See `Log.producers`."""
        return self._producers

    @property
    def session(self) -> str:
        """See `Log.session`."""
        return ""

    @property
    def leads(self) -> bool:
        """See `Log.leads`."""
        return True

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """See `Log.follow`."""
        self._tail = tail
        self._on_control = on_control

    def stop_leading(self) -> None:
        """See `Log.stop_leading`."""

    def catch_up(self, done: Callable[[], None]) -> None:
        """See `Log.catch_up`."""
        done()

    def count_fitting(self, batch: Sequence[EventToAppend]) -> int:
        """See `Log.count_fitting`."""
        return len(batch)

    def record(self, control: HubControl) -> None:
        """See `Log.record`."""
        folded = self._producers.fold(control, "")
        self._producers.changed.clear()
        if self._on_control is not None:
            self._on_control(ReceivedControl(control, True, *folded))

    def append(
        self,
        batch: Sequence[EventToAppend],
        done: AppendDone,
        *,
        state: StateAfter | None = None,
        rows: StoredRows | None = None,
    ) -> None:
        """See `Log.append` and `LocalLog.append`."""
        # A batch from within `done` or the tail waits until the tail has brought the one before.
        self._waiting.append((batch, done, state, rows))
        if not self._appending:
            self._appending = True
            try:
                while self._waiting:
                    self._append(*self._waiting.popleft())
            finally:
                self._appending = False

    def _append(
        self, batch: Sequence[EventToAppend], done: AppendDone, state: StateAfter | None, rows: StoredRows | None
    ) -> None:
        outcomes, accepted, ids = self._judge.judge(batch, self._head)
        if state is not None:
            self.stored_state = state(outcomes)
        for key, row in (rows or {}).items():
            if row is None:
                self.stored_rows.pop(key, None)
            else:
                self.stored_rows[key] = row
        first = self._head + 1
        records = [Record(offset, entry.event, entry.received_ns) for offset, entry in enumerate(accepted, first)]
        for record, entry in zip(records, accepted, strict=True):
            try:
                self._rows.append(record)
                self._newest.apply(record.offset, entry.event, entry.received_ns, entry.scope)
                self._sweeper.count(entry.event, entry.received_ns)
                if entry.event.type in TRANSITIONS:
                    self._operations.apply(
                        record.offset,
                        entry.event,
                        entry.received_ns,
                        entry.producer_id,
                        entry.lease_s,
                        owner_of(entry.scope),
                    )
            except Exception:
                logger.exception("event %d is not in all tables of the log", record.offset)
        self._operations.discard_changes()
        self._ids.add(ids)
        self._head += len(records)
        try:
            done(outcomes)
        finally:
            if records:
                self._tail(records)

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        records, scanned = self._scan(query)
        matcher = QueryMatcher(query, self._newest)
        done(take_page((record for record in records if _matches(matcher, record)), query, scanned))

    def _scan(self, query: Query) -> tuple[Sequence[Record], int]:
        """Return the records that one read looks at, and the offset up to which they are complete."""
        if query.newest_only:
            limit = min(query.limit, MAX_READ_EVENTS)
            offsets = self._newest.page(query.paths, query.excluded, after=query.after, until=query.until, limit=limit)
            records = [record for offset in offsets if (record := self._rows.all.get(offset)) is not None]
            return records, offsets[-1] if len(offsets) == limit else query.until
        following = takewhile(lambda record: record.offset <= query.until, self._rows.all.after(query.after))
        records = list(islice(following, MAX_READ_EVENTS))
        return records, records[-1].offset if len(records) == MAX_READ_EVENTS else query.until

    def revoke(self, revocation: Revocation, done: RevokeDone) -> None:
        """See `Log.revoke`."""
        added = self._revocations.add(revocation)
        self._revocations.discard_changes()
        done(added)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._trim_marks.above(after, paths)

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._epochs.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._epochs.resolve(position)

    def last_before(self, received_ns: int) -> int:
        """See `Log.last_before`."""
        return self._rows.all.last_before(received_ns)

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """See `Log.start_clock`."""
        self._now_ns = now_ns

    def record_jump(self, jump_ns: int) -> None:
        """See `Log.record_jump`."""
        self._now_ns += jump_ns
        self._jumps.add(self._head, jump_ns)
        self._newest.jump(jump_ns, self._now_ns)
        self._sweeper.note_jump()

    def received_ns(self, offset: int, received_ns: int) -> int:
        """See `Log.received_ns`."""
        return self._jumps.adjust(offset, received_ns)

    def shown_ns(self, offset: int, at_ns: int) -> int:
        """See `Log.shown_ns`."""
        return self._jumps.show(offset, at_ns)

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        self._now_ns = now_ns
        self._revocations.expire(now_ns)
        self._revocations.discard_changes()
        more = self._newest.expire(now_ns)
        self._sweeper.operations_bytes, self._sweeper.ids = self._operations.ended_bytes, len(self._ids)
        if self._sweeper.is_due(now_ns):
            more = self._sweeper.step(now_ns) or more
            self._sweeper.commit()
        return more

    @property
    def forgettable(self) -> int:
        """See `Log.forgettable`."""
        excess = len(self._ids) - self._max_ids
        oldest = self._ids.offset_of_oldest(min(excess, MAX_READ_EVENTS)) if excess > 0 else 0
        return max(oldest, self._newest.durable_floor)

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """See `Log.forget`."""
        self._ids.forget(ids_until)
        more = self._operations.expire(now_ns, self._jumps.adjust)
        self._operations.discard_changes()
        return more or len(self._ids) > self._max_ids

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        return self._sweeper.statistics(self.epoch, self._head, disk_bytes=0)

    def close(self) -> None:
        """See `Log.close`."""


def _matches(matcher: QueryMatcher, record: Record) -> bool:
    event = record.event
    latest = event.event_class is EventClass.LATEST
    return matcher(record.offset, event.channel, event.type, event.key, event.trace_id, latest)


def _ignore(records: Sequence[Record]) -> None:
    """Do nothing: the tail before the first `follow`."""
