"""The embedded log that keeps no file: everything is gone with the process (`tidings serve --memory`).

Records in memory, in log order, with the holes that trimming leaves.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

from tidings.exceptions import LogUnavailable
from tidings.log.base import AppendDone, EventToAppend, Known, LogStatistics, Query, ReadDone, Record, Retention, Tail
from tidings.log.epochs import Epoch, Epochs
from tidings.log.matching import QueryMatcher, page_of
from tidings.log.newest import Newest
from tidings.log.retention import RetainedRow, RetentionSweeper
from tidings.log.trim_marks import TrimMarks
from tidings.operations.lifecycle import ASKS
from tidings.operations.table import OperationTable
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position

_BLOCK_BITS = 10
"""Offsets of one block: finding a place costs the same in a log that has long holes and in one that has none."""


class Blocks:
    """Records by offset: appended in order, deleted anywhere, read forward from anywhere."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[int, Record]] = {}
        self._numbers: list[int] = []
        """Of the blocks that hold anything, in order."""

    def append(self, record: Record) -> None:
        """Add a record whose offset is greater than all before."""
        number = record.offset >> _BLOCK_BITS
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = {}
            self._numbers.append(number)
        block[record.offset] = record

    def get(self, offset: int) -> Record | None:
        """Return the record at `offset`, if it is there."""
        return self._blocks.get(offset >> _BLOCK_BITS, {}).get(offset)

    def delete(self, offset: int) -> None:
        """Delete the record at `offset`, if it is there."""
        number = offset >> _BLOCK_BITS
        block = self._blocks.get(number, {})
        if block.pop(offset, None) is not None and not block:
            del self._blocks[number]
            del self._numbers[bisect_left(self._numbers, number)]

    def after(self, offset: int) -> Iterator[Record]:
        """Yield the records with a greater offset, in order; nothing may be deleted meanwhile."""
        first = (offset + 1) >> _BLOCK_BITS
        for index in range(bisect_left(self._numbers, first), len(self._numbers)):
            number = self._numbers[index]
            block = self._blocks[number].values()
            yield from block if number != first else (record for record in block if record.offset > offset)


class MemoryRows:
    """The `tidings.log.retention.RetainedRows` of a log in memory, and its event ids.

    Args:
        thinned: The types of which only the newest few of a key are kept.
    """

    def __init__(self, thinned: Iterable[str]) -> None:
        self.all = Blocks()
        self.ids: dict[tuple[str, str], int] = {}
        """The offsets of events by scope and event id."""
        self._scopes: dict[int, str] = {}
        self._latest = Blocks()
        self._thinned = frozenset(thinned)
        self._of_key: defaultdict[tuple[str, str, str | None], dict[int, None]] = defaultdict(dict)

    def append(self, record: Record, scope: str) -> None:
        """Add a record whose offset is greater than all before."""
        event = record.event
        self.all.append(record)
        if event.event_id is not None:
            self.ids[scope, event.event_id] = record.offset
            self._scopes[record.offset] = scope
        if event.event_class is EventClass.LATEST:
            self._latest.append(record)
        elif event.type in self._thinned:
            self._of_key[event.channel, event.type, event.key][record.offset] = None

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `Rows.after`."""
        return [_row(record) for record in islice(self.all.after(offset), limit)]

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `Rows.latest_after`."""
        return [_row(record) for record in islice(self._latest.after(offset), limit)]

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """See `Rows.durable_of`."""
        offsets = [offset for offset in self._of_key.get((channel, type, key), ()) if offset > after]
        return [row for row in map(self.find, offsets[:-keep][:limit]) if row is not None]

    def find(self, offset: int) -> RetainedRow | None:
        """See `Rows.find`."""
        record = self.all.get(offset)
        return None if record is None else _row(record)

    def delete(self, offsets: Iterable[int]) -> None:
        """See `Rows.delete`."""
        for offset in offsets:
            record = self.all.get(offset)
            if record is None:
                continue
            event = record.event
            self.all.delete(offset)
            self._latest.delete(offset)
            if event.event_id is not None:
                del self.ids[self._scopes.pop(offset), event.event_id]
            slot = event.channel, event.type, event.key
            if slot in self._of_key:
                self._of_key[slot].pop(offset, None)
                if not self._of_key[slot]:
                    del self._of_key[slot]


def _row(record: Record) -> RetainedRow:
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


_LOOK = 2_000
"""Events that one read looks at: a few milliseconds."""


class MemoryLog:
    """A `tidings.log.base.Log` in memory. Completes every call at once.

    Args:
        epoch: The name of its only epoch: 8 lower-case hex digits, new for each process.
        retention: What it keeps.
    """

    def __init__(self, epoch: str, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._epochs = Epochs([Epoch(epoch, 0)])
        self._rows = MemoryRows(self._retention.keep_newest)
        self._floors = TrimMarks()
        self._tail: Tail = _nobody
        self._head = 0
        self._telling = False
        self._waiting: deque[tuple[Sequence[EventToAppend], AppendDone]] = deque()
        self._newest = self._retention.new_newest()
        self._operations = self._retention.new_operations()
        self._sweeps = RetentionSweeper(self._rows, self._newest, self._floors, self._retention)

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._operations

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._epochs.current.name

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._head

    def follow(self, tail: Tail) -> None:
        """See `Log.follow`."""
        self._tail = tail

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        # From within `done` or the tail, a batch waits until the tail has brought the one before.
        self._waiting.append((batch, done))
        if not self._telling:
            self._telling = True
            try:
                while self._waiting:
                    self._append(*self._waiting.popleft())
            finally:
                self._telling = False

    def _append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        if self._repeats_an_id(batch):
            done(LogUnavailable("an event id of the batch is in the log already"))
            return
        first = self._head + 1
        records = []
        for offset, draft in enumerate(batch, first):
            record = Record(offset, draft.event, draft.received_ns)
            records.append(record)
            self._rows.append(record, draft.scope)
            self._newest.note(offset, draft.event, draft.received_ns)
            self._sweeps.note(draft.event, draft.received_ns)
            if draft.event.type in ASKS:
                self._operations.note(offset, draft.event, draft.received_ns, draft.producer_id, draft.lease_s)
        # Nothing is saved anywhere.
        self._operations.dirty.clear()
        self._operations.dirty_names.clear()
        self._head += len(batch)
        done(first)
        if records:
            self._tail(records)

    def _repeats_an_id(self, batch: Sequence[EventToAppend]) -> bool:
        ids = [(draft.scope, draft.event.event_id) for draft in batch if draft.event.event_id is not None]
        return len(set(ids)) < len(ids) or any(name in self._rows.ids for name in ids)

    def known(self, scope: str, event_id: str) -> Known | None:
        """See `Log.known`."""
        offset = self._rows.ids.get((scope, event_id))
        record = None if offset is None else self._rows.all.get(offset)
        return None if record is None else Known(record.offset, record.event.type, record.event.data)

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        records, scanned = self._looked_at(query)
        wanted = QueryMatcher(query, self._newest)
        found = (record for record in records if _is_wanted(wanted, record))
        done(page_of(found, query, scanned))

    def _looked_at(self, query: Query) -> tuple[Sequence[Record], int]:
        """Return the records that one read looks at, and up to where they are all."""
        if query.newest_only:
            offsets = self._newest.page(
                query.paths, query.but, after=query.after, until=query.until, limit=min(query.limit, _LOOK)
            )
            records = [record for offset in offsets if (record := self._rows.all.get(offset)) is not None]
            return records, offsets[-1] if len(offsets) == min(query.limit, _LOOK) else query.until
        following = takewhile(lambda record: record.offset <= query.until, self._rows.all.after(query.after))
        records = list(islice(following, _LOOK))
        return records, records[-1].offset if len(records) == _LOOK else query.until

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._floors.above(after, paths)

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._epochs.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._epochs.resolve(position)

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        more = self._newest.expire(now_ns)
        more = self._operations.expire(now_ns) or more
        self._operations.forgotten.clear()
        if self._sweeps.is_due(now_ns):
            more = self._sweeps.step(now_ns) or more
            self._sweeps.committed()
        return more

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        counts = self._sweeps.counts
        return LogStatistics(
            epoch=self.epoch,
            head=self._head,
            first=self._newest.durable_floor + 1,
            durable_events=counts.durable_events,
            durable_bytes=counts.durable_bytes,
            superseded_events=counts.latest_events,
            newest=len(self._newest),
            newest_evicted=self._newest.evicted,
            trimmed_events=counts.trimmed,
            disk_bytes=0,
        )

    def close(self) -> None:
        """See `Log.close`."""


def _is_wanted(wanted: QueryMatcher, record: Record) -> bool:
    event = record.event
    latest = event.event_class is EventClass.LATEST
    return wanted(record.offset, event.channel, event.type, event.key, event.trace_id, latest)


def _nobody(records: Sequence[Record]) -> None:
    """Follow nothing: the tail before anyone follows."""
