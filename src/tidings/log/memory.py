"""The embedded log that keeps no file: everything is gone with the process (`tidings serve --memory`)."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence

from tidings.contract.envelope import Event
from tidings.contract.paths import PathSet
from tidings.contract.positions import Position
from tidings.contract.vocabulary import EventClass
from tidings.log.base import AppendDone, Draft, Known, LogStatistics, Page, Query, ReadDone, Record, Retention, Tail
from tidings.log.epochs import Epoch, Epochs
from tidings.log.floors import Floors
from tidings.log.newest import Newest, page_of

_STEP = 512
"""Offsets looked at in one step of retention."""
_NS = 1_000_000_000


class MemoryLog:
    """A `tidings.log.base.Log` in memory. Completes every call at once.

    Args:
        epoch: The name of its only epoch: 8 lower-case hex digits, new for each process.
        retention: What it keeps.
    """

    def __init__(self, epoch: str, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._epochs = Epochs([Epoch(epoch, 0)])
        self._records: dict[int, Record] = {}
        self._kept: set[int] = set()
        self._ids: dict[tuple[str, str], int] = {}
        self._scopes: dict[int, str] = {}
        self._floors = Floors()
        self._thinned: defaultdict[tuple[str, str, str], deque[int]] = defaultdict(deque)
        self._durable_events = self._durable_bytes = self._latest_events = self._trimmed = 0
        self._tail: Tail = _nobody
        self._head = 0
        self._newest = Newest(
            per_type=self._retention.newest_per_type,
            age_ns=int(self._retention.newest_age_s * _NS),
            ended_ns=int(self._retention.finished_s * _NS),
        )

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._newest

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

    def append(self, batch: Sequence[Draft], done: AppendDone) -> None:
        """See `Log.append`."""
        first = self._head + 1
        records = []
        for offset, draft in enumerate(batch, first):
            record = Record(offset, draft.event, draft.received_ns)
            records.append(record)
            self._store(record, draft.scope)
        self._head += len(batch)
        done(first)
        if records:
            self._tail(records)

    def _store(self, record: Record, scope: str) -> None:
        event = record.event
        self._records[record.offset] = record
        self._newest.note(record.offset, event, record.received_ns)
        if event.event_id is not None:
            self._ids[scope, event.event_id] = record.offset
            self._scopes[record.offset] = scope
        if event.event_class is EventClass.LATEST:
            self._latest_events += 1
            return
        self._durable_events += 1
        self._durable_bytes += len(event.data)
        keep = self._retention.keep_newest.get(event.type)
        if keep is not None and event.key is not None:
            offsets = self._thinned[event.channel, event.type, event.key]
            offsets.append(record.offset)
            if len(offsets) > keep:
                gone = offsets.popleft()
                if self._forget(gone):
                    self._floors.thin(event.channel, event.key, gone)

    def known(self, scope: str, event_id: str) -> Known | None:
        """See `Log.known`."""
        offset = self._ids.get((scope, event_id))
        if offset is None:
            return None
        event = self._records[offset].event
        return Known(offset, event.type, event.data)

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        records: list[Record] = []
        size = 0
        scanned = query.until
        for record in self._candidates(query):
            event = record.event
            if not _wanted(query, event):
                continue
            if self._is_skipped(query, record):
                continue
            records.append(record)
            size += len(event.data)
            if len(records) >= query.limit or size >= query.max_bytes:
                scanned = record.offset
                break
        done(Page(records, scanned))

    def _candidates(self, query: Query) -> Iterator[Record]:
        if query.newest_only:
            offsets: Iterator[int] = iter(
                page_of(self._newest.plan(query.paths, query.but, query.until), query.after, 1 << 30)
            )
        else:
            offsets = self._offsets(query.after, min(query.until, self._head))
        for offset in offsets:
            record = self._records.get(offset)
            if record is not None:
                yield record

    def _offsets(self, after: int, until: int) -> Iterator[int]:
        floor = min(self._newest.durable_floor, self._newest.latest_floor)
        if after < floor:
            yield from (offset for offset in sorted(self._kept) if after < offset <= min(floor, until))
        yield from range(max(after, floor) + 1, until + 1)

    def _is_skipped(self, query: Query, record: Record) -> bool:
        if query.newest_only:
            return not self._newest.is_newest(record.offset, record.event)
        if query.conflate and record.event.event_class is EventClass.LATEST:
            return self._newest.is_superseded(record.offset, record.event)
        return False

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
        more = self._sweep_latest(now_ns)
        more = self._sweep_durable(now_ns) or more
        self._newest.expire(now_ns)
        for offset in self._newest.released:
            record = self._records[offset]
            if record.event.event_class is not EventClass.LATEST:
                self._floors.trim(record.event.channel, offset)
            self._drop(offset)
        self._newest.released.clear()
        return more

    def _sweep_latest(self, now_ns: int) -> bool:
        oldest = now_ns - int(self._retention.superseded_age_s * _NS)

        def due(record: Record) -> bool:
            return self._latest_events > self._retention.superseded_events or record.received_ns <= oldest

        for record in self._sweep(due, latest=True):
            if record.event.event_class is EventClass.LATEST:
                self._latest_events -= 1
                if not self._forget(record.offset):
                    self._kept.add(record.offset)
        return self._newest.latest_floor < self._head and (
            (ahead := self._records.get(self._newest.latest_floor + 1)) is None or due(ahead)
        )

    def _sweep_durable(self, now_ns: int) -> bool:
        retention = self._retention
        oldest = now_ns - int(retention.age_s * _NS)

        def due(record: Record) -> bool:
            return (
                self._durable_events > retention.events
                or self._durable_bytes > retention.bytes
                or record.received_ns <= oldest
            )

        for record in self._sweep(due, latest=False):
            event = record.event
            if event.event_class is EventClass.LATEST:
                continue
            self._durable_events -= 1
            self._durable_bytes -= len(event.data)
            self._unthin(record)
            if self._forget(record.offset):
                self._trimmed += 1
                self._floors.trim(event.channel, record.offset)
            else:
                self._kept.add(record.offset)
        self._floors.forget(self._newest.durable_floor)
        return self._newest.durable_floor < self._head and (
            (ahead := self._records.get(self._newest.durable_floor + 1)) is None or due(ahead)
        )

    def _sweep(self, due: Callable[[Record], bool], *, latest: bool) -> Iterator[Record]:
        floor = self._newest.latest_floor if latest else self._newest.durable_floor
        for offset in range(floor + 1, min(floor + _STEP, self._head) + 1):
            record = self._records.get(offset)
            if record is not None:
                if not due(record):
                    return
                yield record
            if latest:
                self._newest.latest_floor = offset
            else:
                self._newest.durable_floor = offset

    def _unthin(self, record: Record) -> None:
        event = record.event
        if event.type in self._retention.keep_newest and event.key is not None:
            slot = (event.channel, event.type, event.key)
            offsets = self._thinned[slot]
            if offsets and offsets[0] == record.offset:
                offsets.popleft()
            if not offsets:
                del self._thinned[slot]

    def _forget(self, offset: int) -> bool:
        record = self._records[offset]
        if self._newest.is_newest(offset, record.event):
            return False
        self._drop(offset)
        return True

    def _drop(self, offset: int) -> None:
        record = self._records.pop(offset, None)
        self._kept.discard(offset)
        if record is not None and record.event.event_id is not None:
            self._ids.pop((self._scopes.pop(offset), record.event.event_id), None)

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        return LogStatistics(
            epoch=self.epoch,
            head=self._head,
            first=self._newest.durable_floor + 1,
            durable_events=self._durable_events,
            durable_bytes=self._durable_bytes,
            superseded_events=self._latest_events,
            newest=len(self._newest),
            newest_evicted=self._newest.evicted,
            trimmed_events=self._trimmed,
            disk_bytes=0,
        )

    def close(self) -> None:
        """See `Log.close`."""


def _wanted(query: Query, event: Event) -> bool:
    if query.types and event.type not in query.types:
        return False
    if query.trace_id is not None and event.trace_id != query.trace_id:
        return False
    return query.paths.matches(event.channel, event.key) and not (
        query.but and query.but.matches(event.channel, event.key)
    )


def _nobody(records: Sequence[Record]) -> None:
    """Follow nothing: the tail before anyone follows."""
