"""Retention, in small steps: which rows go, and what is remembered of them. The same for every embedded log.

What retention must be able to ask of a log's rows, wherever they are kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from tidings.log.base import Retention
from tidings.log.newest import Newest
from tidings.log.trim_marks import TrimMarks
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass


class RetainedRow(NamedTuple):
    """An event in the log, as far as retention looks at it."""

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
    """The rows of a log."""

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """Return the first rows with a greater offset, in order."""
        ...

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """Return the first rows of class `latest` with a greater offset, in order."""
        ...

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """Return the first durable rows of one key and type after `after`, in order, less the newest `keep`."""
        ...

    def find(self, offset: int) -> RetainedRow | None:
        """Return the row at `offset`, if it is still there."""
        ...

    def delete(self, offsets: Iterable[int]) -> None:
        """Delete the rows at `offsets`, which are all there."""
        ...


_STEP = 128
"""Rows that one step deletes at most: each is a page or two of its indexes."""
_FAR = 1.05
"""Times its bounds: beyond it, events come faster than small steps trim them,"""
_HASTE = 4
"""and steps are so many times as large."""
_PASS = 128
"""Rows more than it deletes that one step looks at, to pass those that it does not look for."""
_SLACK = 64
"""How many events of one key beyond `keep_newest` are thinned out at once."""
_NS = 1_000_000_000
_AT_ONCE = -1
"""An hour that has always come: look at the rows, to know."""

Slot = tuple[str, str, str]
"""Channel, type and key."""
CountsOfKeys = dict[str, int]


class Counts(Struct):
    """What is in the range."""

    durable_events: int = 0
    durable_bytes: int = 0
    latest_events: int = 0
    trimmed: int = 0
    """Durable events trimmed since the log was opened."""
    durable_due_ns: int | None = None
    """When the oldest durable event of the range is too old; None where there is none."""
    latest_due_ns: int | None = None
    """When the oldest `latest` one is."""


class _Before(Struct):
    """What a step undoes when its transaction does not end well."""

    counts: Counts
    durable_floor: int
    latest_floor: int
    crowded: list[Slot]
    released: list[int] = field(default_factory=list)


class RetentionSweeper:
    """What retention has to do, counted while events come, and done a step at a time.

    Args:
        rows: The log's rows.
        newest: Its fold: what is the newest of its key stays.
        floors: What is remembered of what went.
        retention: The bounds.
    """

    def __init__(self, rows: RetainedRows, newest: Newest, floors: TrimMarks, retention: Retention) -> None:
        self._rows = rows
        self._newest = newest
        self._floors = floors
        self._retention = retention
        self._age_ns = int(retention.age_s * _NS)
        self._superseded_age_ns = int(retention.superseded_age_s * _NS)
        self._of_key: defaultdict[tuple[str, str], CountsOfKeys] = defaultdict(dict)
        self._crowded: dict[Slot, None] = {}
        self._left = 0
        self._before: _Before | None = None
        self._of_key_before: dict[Slot, int] = {}
        """What the step under way changed of `_of_key`, as it was."""
        self.counts = Counts()
        self.until: int | None = None
        """Up to which offset durable events may be trimmed; None is all of them."""

    def note(self, event: Event, received_ns: int) -> None:
        """Count an event that was appended."""
        self.note_columns(
            event.channel,
            event.type,
            event.key,
            len(event.data),
            received_ns,
            event.event_class is EventClass.LATEST,
        )

    def note_columns(self, channel: str, type: str, key: str | None, size: int, received_ns: int, latest: bool) -> None:
        """Count an event of the range by its parts, as they are read back."""
        counts = self.counts
        if latest:
            counts.latest_events += 1
            if counts.latest_due_ns is None:
                counts.latest_due_ns = received_ns + self._superseded_age_ns
            return
        counts.durable_events += 1
        counts.durable_bytes += size
        if counts.durable_due_ns is None:
            counts.durable_due_ns = received_ns + self._age_ns
        self.note_key(channel, type, key)

    def note_key(self, channel: str, type: str, key: str | None) -> None:
        """Count a durable event of `key`, where only the newest few of its type are kept."""
        if key is not None and (keep := self._retention.keep_newest.get(type)) is not None:
            of_type = self._of_key[channel, type]
            of_type[key] = count = of_type.get(key, 0) + 1
            if count >= keep + min(_SLACK, keep):
                self._crowded[channel, type, key] = None

    def of_key(self, channel: str, type: str) -> Mapping[str, int]:
        """Return how many durable events of each key there are at most, where only the newest few are kept."""
        return self._of_key.get((channel, type), {})

    def restore(self, counts: Counts) -> None:
        """Go on from what was counted of a log before it was closed."""
        self.counts = replace(counts, durable_due_ns=_AT_ONCE, latest_due_ns=_AT_ONCE)

    def restore_keys(self, channel: str, type: str, of_key: CountsOfKeys) -> None:
        """Go on from what was counted of the keys of a type; it may have become less since."""
        if type in self._retention.keep_newest:
            self._of_key[channel, type].update(of_key)

    def is_due(self, now_ns: int) -> bool:
        """Return whether a step would find anything to do."""
        return bool(
            self._newest.released or self._crowded or self._durable_is_due(now_ns) or self._latest_is_due(now_ns)
        )

    def _durable_is_due(self, now_ns: int) -> bool:
        return self._is_over() or _has_come(self.counts.durable_due_ns, now_ns)

    def _latest_is_due(self, now_ns: int) -> bool:
        over = self.counts.latest_events > self._retention.superseded_events
        return over or _has_come(self.counts.latest_due_ns, now_ns)

    def _is_over(self, times: float = 1) -> bool:
        counts, retention = self.counts, self._retention
        return counts.durable_events > times * retention.events or counts.durable_bytes > times * retention.bytes

    def step(self, now_ns: int) -> bool:
        """Do one step, in the transaction that the caller opened; return whether more is waiting.

        The caller then calls `committed` or `rolled_back`.
        """
        newest = self._newest
        self._before = before = _Before(
            replace(self.counts), newest.durable_floor, newest.latest_floor, list(self._crowded)
        )
        self._of_key_before.clear()
        self._left = _STEP * (_HASTE if self._is_over(_FAR) else 1)
        before.released = self._release()
        if self._left:
            self._thin()
        if self._left and self._latest_is_due(now_ns):
            self._sweep_latest(now_ns)
        if self._left and self._durable_is_due(now_ns):
            self._sweep_durable(now_ns)
        return self.is_due(now_ns)

    def release(self) -> None:
        """Delete, in the transaction that the caller opened, some of what is no longer the newest of its key."""
        self._left = _STEP
        self._release()

    def committed(self) -> None:
        """Note that the step is in the log."""
        self._before = None
        self._floors.settle()

    def rolled_back(self) -> None:
        """Be as if the step had not been."""
        before, newest = self._before, self._newest
        if before is None:  # the transaction was another's
            return
        self._before = None
        self.counts = before.counts
        newest.durable_floor, newest.latest_floor = before.durable_floor, before.latest_floor
        newest.released.extendleft(reversed(before.released))
        self._crowded = dict.fromkeys(before.crowded)
        for (channel, type, key), count in self._of_key_before.items():
            self._of_key[channel, type][key] = count
        self._floors.roll_back()

    def _release(self) -> list[int]:
        released = self._newest.released
        gone = []
        while released and self._left:
            gone.append(released.popleft())
            self._left -= 1
        for row in map(self._rows.find, gone):
            if row is not None and not row.latest:
                self._floors.trim(row.channel, row.offset)
                self.counts.trimmed += 1
        self._rows.delete(gone)
        return gone

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
                self._floors.thin(channel, key, rows[-1].offset)
                self._trim(rows)
            if self._left:
                del self._crowded[slot]
                self._set_of_key(slot, min(keep, self._of_key[channel, type].get(key, 0)))

    def _sweep_latest(self, now_ns: int) -> None:
        newest, counts = self._newest, self.counts
        look = self._left + _PASS
        rows = self._rows.latest_after(newest.latest_floor, look)
        counts.latest_due_ns = None if len(rows) < look else _AT_ONCE
        gone: list[int] = []
        for row in rows:
            due_ns = row.received_ns + self._superseded_age_ns
            if counts.latest_events <= self._retention.superseded_events and due_ns > now_ns:
                counts.latest_due_ns = due_ns
                break
            if len(gone) == self._left:
                counts.latest_due_ns = _AT_ONCE
                break
            newest.latest_floor = row.offset
            counts.latest_events -= 1
            if newest.offset(row.channel, row.type, row.key) != row.offset:
                gone.append(row.offset)
        self._left -= len(gone)
        self._rows.delete(gone)

    def _sweep_durable(self, now_ns: int) -> None:
        newest, counts = self._newest, self.counts
        look = self._left + _PASS
        rows = self._rows.after(newest.durable_floor, look)
        counts.durable_due_ns = None if len(rows) < look else _AT_ONCE
        gone: list[RetainedRow] = []
        for row in rows:
            if self.until is not None and row.offset > self.until:
                counts.durable_due_ns = _AT_ONCE
                break
            if not row.latest:
                due_ns = row.received_ns + self._age_ns
                if not self._is_over() and due_ns > now_ns:
                    counts.durable_due_ns = due_ns
                    break
                if len(gone) == self._left:
                    counts.durable_due_ns = _AT_ONCE
                    break
                self._uncount(row)
                if newest.offset(row.channel, row.type, row.key) != row.offset:
                    gone.append(row)
                    self._floors.trim(row.channel, row.offset)
            newest.durable_floor = row.offset
        self._trim(gone)
        self._floors.forget(newest.durable_floor)

    def _trim(self, rows: Sequence[RetainedRow]) -> None:
        self._left -= len(rows)
        self.counts.trimmed += len(rows)
        self._rows.delete([row.offset for row in rows])

    def _uncount(self, row: RetainedRow) -> None:
        self.counts.durable_events -= 1
        self.counts.durable_bytes -= row.size
        if row.key is not None and row.type in self._retention.keep_newest:
            of_key = self._of_key[row.channel, row.type]
            self._set_of_key((row.channel, row.type, row.key), of_key.get(row.key, 0) - 1)

    def _set_of_key(self, slot: Slot, count: int) -> None:
        channel, type, key = slot
        of_type = self._of_key[channel, type]
        self._of_key_before.setdefault(slot, of_type.get(key, 0))
        if count > 0:
            of_type[key] = count
        else:
            of_type.pop(key, None)


def _has_come(due_ns: int | None, now_ns: int) -> bool:
    return due_ns is not None and due_ns <= now_ns
