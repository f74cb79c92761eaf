"""Retention in small steps: which rows are deleted, and what is recorded of them. Shared by the embedded logs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from tidings.log.base import EVENT_OVERHEAD_BYTES, ID_BYTES, LogStatistics, Retention
from tidings.log.clock_jumps import ClockJumps
from tidings.log.newest import Newest
from tidings.log.trim_marks import TrimMarks
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass

MAX_STEP_ROWS = 128
"""Maximum number of rows that one step deletes: each is a page or two of its indexes."""
FAST_OVERSHOOT = 1.05
"""Overshoot (x the limit) at which trimming speeds up: events come faster than small steps trim them."""
FAST_FACTOR = 4
"""Factor by which trim steps grow beyond `FAST_OVERSHOOT`."""
_SKIPPED_ROWS = 128
"""Number of rows that one step reads beyond those it may delete, to get past rows that it does not delete."""
MAX_EXTRA_EVENTS = 64
"""Number of events of one key beyond `Retention.keep_newest` at which the key is thinned; at most `keep_newest`."""
_NS = 1_000_000_000
_CHECK_NOW = -1
"""Sentinel due time that is always reached: check the rows now."""

Slot = tuple[str, str, str]
"""Channel, type and key."""
KeyCounts = dict[str, int]
"""Number of durable events by key."""


class RetainedRow(NamedTuple):
    """The columns of a stored event that retention looks at."""

    offset: int
    latest: int
    """1 for the class `latest`, 0 for durable."""
    channel: str
    type: str
    key: str | None
    size: int
    """Bytes of its `data`."""
    received_ns: int


class RetainedRows(Protocol):
    """The rows of a log, wherever they are stored."""

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """Return the first rows with a greater offset, in order."""

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """Return the first rows of class `latest` with a greater offset, in order."""

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """Return the first durable rows of one key and type after `after`, in order, without the newest `keep`."""

    def find(self, offset: int) -> RetainedRow | None:
        """Return the row at `offset`, if it exists."""

    def delete(self, offsets: Iterable[int]) -> None:
        """Delete the rows at `offsets`, which all exist."""


class RangeCounts(Struct):
    """The contents of the range."""

    durable_events: int = 0
    durable_bytes: int = 0
    latest_events: int = 0
    latest_bytes: int = 0
    kept_bytes: int = 0
    """Size of the events below their floor, which are kept as the newest of their keys, overhead included."""
    trimmed: int = 0
    """Durable events trimmed since the log was opened."""
    durable_due_ns: int | None = None
    """Time at which the oldest durable event of the range becomes too old; None if there is no such event."""
    latest_due_ns: int | None = None
    """Time at which the oldest `latest` event of the range becomes too old; None if there is no such event."""


class _Before(Struct):
    """The state that a step restores if its transaction fails."""

    counts: RangeCounts
    durable_floor: int
    latest_floor: int
    crowded: list[Slot]
    released: list[int] = field(default_factory=list)


class RetentionSweeper:
    """Counts events as they come, and trims them one step at a time.

    Args:
        rows: The log's rows.
        newest: The log's newest events: they are not deleted.
        trim_marks: Receives the offsets of deleted events.
        retention: The limits.
        jumps: Jumps of the clock that the rows were received by.
    """

    def __init__(
        self,
        rows: RetainedRows,
        newest: Newest,
        trim_marks: TrimMarks,
        retention: Retention,
        jumps: ClockJumps | None = None,
    ) -> None:
        self._rows = rows
        self._newest = newest
        self._trim_marks = trim_marks
        self._retention = retention
        self._jumps = jumps or ClockJumps()
        self._first_step_ns: int | None = None
        self._age_ns = int(retention.age_s * _NS)
        self._superseded_age_ns = int(retention.superseded_age_s * _NS)
        self._key_counts: defaultdict[tuple[str, str], KeyCounts] = defaultdict(dict)
        self._crowded: dict[Slot, None] = {}
        """Keys with enough events to be thinned."""
        self._left = 0
        """Number of rows that the current step may still delete."""
        self._before: _Before | None = None
        self._key_counts_before: dict[Slot, int] = {}
        """The values in `_key_counts` that the current step changed, from before the step."""
        self.counts = RangeCounts()
        self.operations_bytes = 0
        """Size of the operations, which counts towards `Retention.total_bytes`."""
        self.ids = 0
        """Number of event ids, whose size counts towards `Retention.total_bytes`."""
        self._kept_after = 0
        """Offset up to which the current pass of `_evict_kept` has looked at events."""
        self._kept_seen: int | None = 0
        """Size of the kept events in this pass; None once a key has left."""
        self.until: int | None = None
        """Offset up to which durable events may be trimmed; None allows all."""

    # Counting.

    def count(self, event: Event, received_ns: int) -> None:
        """Count an event that was appended."""
        self.count_columns(
            event.channel,
            event.type,
            event.key,
            len(event.data),
            received_ns,
            event.event_class is EventClass.LATEST,
        )

    def count_columns(
        self, channel: str, type: str, key: str | None, size: int, received_ns: int, latest: bool
    ) -> None:
        """Count an event of the range by its columns, as an adapter reads them back."""
        counts = self.counts
        if latest:
            counts.latest_events += 1
            counts.latest_bytes += size
            if counts.latest_due_ns is None:
                counts.latest_due_ns = received_ns + self._superseded_age_ns
            return
        counts.durable_events += 1
        counts.durable_bytes += size
        if counts.durable_due_ns is None:
            counts.durable_due_ns = received_ns + self._age_ns
        self.count_key(channel, type, key)

    def count_kept(self, size: int) -> None:
        """Count an event below its floor, as an adapter reads it back."""
        self.counts.kept_bytes += size + EVENT_OVERHEAD_BYTES

    def count_key(self, channel: str, type: str, key: str | None) -> None:
        """Count a durable event of `key`, if only the newest few of its type are kept."""
        if key is not None and (keep := self._retention.keep_newest.get(type)) is not None:
            counts = self._key_counts[channel, type]
            counts[key] = count = counts.get(key, 0) + 1
            if count >= keep + min(MAX_EXTRA_EVENTS, keep):
                self._crowded[channel, type, key] = None

    def key_counts(self, channel: str, type: str) -> Mapping[str, int]:
        """Return upper limits of the number of durable events per key, for types that keep only the newest few."""
        return self._key_counts.get((channel, type), {})

    def statistics(self, epoch: str, head: int, disk_bytes: int, set_aside: int = 0) -> LogStatistics:
        """Return the log's figures; the sweeper has all but these."""
        counts, newest = self.counts, self._newest
        return LogStatistics(
            epoch=epoch,
            head=head,
            first=newest.durable_floor + 1,
            durable_events=counts.durable_events,
            durable_bytes=counts.durable_bytes,
            superseded_events=counts.latest_events,
            superseded_bytes=counts.latest_bytes,
            newest=len(newest),
            newest_bytes=counts.kept_bytes,
            newest_evicted=newest.evicted,
            trimmed_events=counts.trimmed,
            disk_bytes=disk_bytes,
            limits=self._retention,
            set_aside=set_aside,
        )

    def forget(self, offset: int, *, latest: bool, size: int) -> None:
        """Take an event that was counted and whose row is gone out of the counts."""
        counts = self.counts
        if offset <= (self._newest.latest_floor if latest else self._newest.durable_floor):
            counts.kept_bytes -= size + EVENT_OVERHEAD_BYTES
        elif latest:
            counts.latest_events -= 1
            counts.latest_bytes -= size
        else:
            counts.durable_events -= 1
            counts.durable_bytes -= size

    def restore(self, counts: RangeCounts) -> None:
        """Continue from the saved counts of a log."""
        self.counts = replace(counts, durable_due_ns=_CHECK_NOW, latest_due_ns=_CHECK_NOW)

    def restore_keys(self, channel: str, type: str, counts: KeyCounts) -> None:
        """Continue from the saved key counts of a type; the real numbers may be smaller by now."""
        if type in self._retention.keep_newest:
            self._key_counts[channel, type].update(counts)

    def note_jump(self) -> None:
        """Check all ages again: the clock has jumped."""
        self.counts.durable_due_ns = self.counts.latest_due_ns = _CHECK_NOW

    # Sweeping.

    def is_due(self, now_ns: int) -> bool:
        """Return whether a step would do anything."""
        return bool(
            self._newest.released
            or self._crowded
            or self._keeps_too_much()
            or self._durable_is_due(now_ns)
            or self._latest_is_due(now_ns)
        )

    def _durable_is_due(self, now_ns: int) -> bool:
        return self._is_over() or _is_reached(self.counts.durable_due_ns, now_ns)

    def _latest_is_due(self, now_ns: int) -> bool:
        return self._latest_is_over() or _is_reached(self.counts.latest_due_ns, now_ns)

    def _latest_is_over(self) -> bool:
        counts, retention = self.counts, self._retention
        return counts.latest_events > retention.superseded_events or self._latest_size() > retention.superseded_bytes

    def _latest_size(self) -> int:
        return self.counts.latest_bytes + EVENT_OVERHEAD_BYTES * self.counts.latest_events

    def _keeps_too_much(self) -> bool:
        return self.counts.kept_bytes > self._retention.newest_bytes

    def _is_over(self, times: float = 1) -> bool:
        counts = self.counts
        return counts.durable_events > times * self._retention.events or counts.durable_bytes > times * self._limit()

    def _limit(self) -> int:
        """Return how many bytes the data of the range may have."""
        counts, retention = self.counts, self._retention
        total = retention.total_bytes
        if total is None:
            return retention.bytes
        others = counts.kept_bytes + self._latest_size() + self.operations_bytes + self._ids_size()
        return max(total // 8 * 3, min(retention.bytes, total - others))

    def _ids_size(self) -> int:
        """Return the size of the event ids beyond those of the range, of which only the data counts."""
        return ID_BYTES * max(0, self.ids - self.counts.durable_events)

    def step(self, now_ns: int) -> bool:
        """Do one step, in the transaction that the caller opened; return whether more work is waiting.

        The caller then calls `commit` or `roll_back`.
        """
        newest = self._newest
        self._before = before = _Before(
            replace(self.counts), newest.durable_floor, newest.latest_floor, list(self._crowded)
        )
        self._key_counts_before.clear()
        if self._first_step_ns is None:
            self._first_step_ns = now_ns
        self._left = MAX_STEP_ROWS * (FAST_FACTOR if self._is_over(FAST_OVERSHOOT) else 1)
        before.released = self._delete_released()
        if self._left and self._keeps_too_much():
            self._evict_kept()
        if self._left:
            self._thin()
        if self._left and self._latest_is_due(now_ns):
            self._sweep_latest(now_ns)
        if self._left and self._durable_is_due(now_ns):
            self._sweep_durable(now_ns)
        return self.is_due(now_ns)

    def delete_released(self) -> None:
        """Delete, in the transaction that the caller opened, some of `Newest.released`."""
        self._left = MAX_STEP_ROWS
        self._delete_released()

    def commit(self) -> None:
        """Record that the step is in the log."""
        self._before = None
        self._trim_marks.commit()

    def roll_back(self) -> None:
        """Undo the step."""
        before, newest = self._before, self._newest
        if before is None:  # the transaction did not contain a step
            return
        self._before = None
        self.counts = before.counts
        newest.durable_floor, newest.latest_floor = before.durable_floor, before.latest_floor
        newest.return_released(before.released)
        self._crowded = dict.fromkeys(before.crowded)
        for (channel, type, key), count in self._key_counts_before.items():
            self._key_counts[channel, type][key] = count
        self._trim_marks.roll_back()

    def _delete_released(self) -> list[int]:
        gone = self._newest.take_released(self._left)
        self._left -= len(gone)
        for row in map(self._rows.find, gone):
            if row is None:
                continue
            self.counts.kept_bytes -= row.size + EVENT_OVERHEAD_BYTES
            if not row.latest:
                self._trim_marks.mark_trimmed(row.channel, row.offset)
                self.counts.trimmed += 1
        self._rows.delete(gone)
        return gone

    def _evict_kept(self) -> None:
        """Let the oldest keys leave the snapshot; the next step deletes their events."""
        newest = self._newest
        excess = self.counts.kept_bytes - self._retention.newest_bytes
        last = max(newest.latest_floor, newest.durable_floor)
        limit = self._left + _SKIPPED_ROWS
        rows = self._rows.after(self._kept_after, limit)
        for row in rows:
            # Events of the other class, whose floor is lower, lie between them.
            if row.offset <= (newest.latest_floor if row.latest else newest.durable_floor):
                size = row.size + EVENT_OVERHEAD_BYTES
                if self._kept_seen is not None:
                    self._kept_seen += size
                excess -= size
                if newest.offset(row.channel, row.type, row.key) == row.offset:
                    newest.evict(row.channel, row.type, row.key)
                    self._kept_seen = None
            self._kept_after = row.offset
            if excess <= 0 or row.offset >= last:
                break
        if self._kept_after >= last or len(rows) < limit:
            if self._kept_seen is not None:  # nothing can leave: rows were counted that are gone
                self.counts.kept_bytes = self._kept_seen
            self._kept_after = self._kept_seen = 0

    def _thin(self) -> None:
        for slot in list(self._crowded)[:1]:
            channel, type, key = slot
            keep = max(1, self._retention.keep_newest[type])
            rows = self._rows.durable_of(
                channel, type, key, after=self._newest.durable_floor, keep=keep, limit=self._left
            )
            for row in rows:
                self._uncount(row)
            if rows:
                self._trim_marks.mark_thinned(channel, key, rows[-1].offset)
                self._trim(rows)
            if self._left:
                del self._crowded[slot]
                self._set_key_count(slot, min(keep, self._key_counts[channel, type].get(key, 0)))

    def _sweep_latest(self, now_ns: int) -> None:
        newest, counts = self._newest, self.counts
        limit = self._left + _SKIPPED_ROWS
        rows = self._rows.latest_after(newest.latest_floor, limit)
        counts.latest_due_ns = None if len(rows) < limit else _CHECK_NOW
        gone: list[int] = []
        for row, received_ns in zip(rows, self._received(rows, now_ns), strict=True):
            due_ns = received_ns + self._superseded_age_ns
            if not self._latest_is_over() and due_ns > now_ns:
                counts.latest_due_ns = due_ns
                break
            if len(gone) == self._left:
                counts.latest_due_ns = _CHECK_NOW
                break
            newest.latest_floor = row.offset
            counts.latest_events -= 1
            counts.latest_bytes -= row.size
            if newest.offset(row.channel, row.type, row.key) != row.offset:
                gone.append(row.offset)
            else:
                self.count_kept(row.size)
        self._left -= len(gone)
        self._rows.delete(gone)

    def _sweep_durable(self, now_ns: int) -> None:
        newest, counts = self._newest, self.counts
        limit = self._left + _SKIPPED_ROWS
        rows = self._rows.after(newest.durable_floor, limit)
        counts.durable_due_ns = None if len(rows) < limit else _CHECK_NOW
        gone: list[RetainedRow] = []
        for row, received_ns in zip(rows, self._received(rows, now_ns), strict=True):
            if self.until is not None and row.offset > self.until:
                counts.durable_due_ns = _CHECK_NOW
                break
            if not row.latest:
                due_ns = received_ns + self._age_ns
                if not self._is_over() and due_ns > now_ns:
                    counts.durable_due_ns = due_ns
                    break
                if len(gone) == self._left:
                    counts.durable_due_ns = _CHECK_NOW
                    break
                self._uncount(row)
                if newest.offset(row.channel, row.type, row.key) != row.offset:
                    gone.append(row)
                    self._trim_marks.mark_trimmed(row.channel, row.offset)
                else:
                    self.count_kept(row.size)
            newest.durable_floor = row.offset
        self._trim(gone)
        self._trim_marks.merge_keys(newest.durable_floor)

    def _received(self, rows: Sequence[RetainedRow], now_ns: int) -> list[int]:
        """Return when each row was received by the present clock.

        Rows from the future, of an older version that recorded no jumps, count as received by the first step.
        """
        received = [self._jumps.adjust(row.offset, row.received_ns) for row in rows]
        if self._first_step_ns is not None and any(each > now_ns for each in received):
            return [each if each <= now_ns else self._first_step_ns for each in received]
        return received

    def _trim(self, rows: Sequence[RetainedRow]) -> None:
        self._left -= len(rows)
        self.counts.trimmed += len(rows)
        self._rows.delete([row.offset for row in rows])

    def _uncount(self, row: RetainedRow) -> None:
        self.counts.durable_events -= 1
        self.counts.durable_bytes -= row.size
        if row.key is not None and row.type in self._retention.keep_newest:
            counts = self._key_counts[row.channel, row.type]
            self._set_key_count((row.channel, row.type, row.key), counts.get(row.key, 0) - 1)

    def _set_key_count(self, slot: Slot, count: int) -> None:
        channel, type, key = slot
        counts = self._key_counts[channel, type]
        self._key_counts_before.setdefault(slot, counts.get(key, 0))
        if count > 0:
            counts[key] = count
        else:
            counts.pop(key, None)


def _is_reached(due_ns: int | None, now_ns: int) -> bool:
    return due_ns is not None and due_ns <= now_ns
