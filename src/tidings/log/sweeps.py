"""Retention of the embedded log, in small steps: which rows go, and what is remembered of them."""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from tidings.contract.envelope import Event
from tidings.contract.vocabulary import EventClass
from tidings.log.base import Retention
from tidings.log.floors import Floors
from tidings.log.newest import Newest

_DURABLE_STEP = 200
"""Rows of one step: each is a page or two of its indexes."""
_LATEST_STEP = 400
_RELEASED_STEP = 200
_SLACK = 64
"""How many events of one key beyond `keep_newest` are thinned at once."""
_NS = 1_000_000_000

_Before = tuple[
    tuple[int, int],
    tuple[int, int, int, int],
    tuple[dict[str, int], dict[tuple[str, str], int]],
    list[tuple[str, str, str]],
]


class Sweeps:
    """What retention has to do, counted while events come, and done a step at a time."""

    def __init__(self, connection: sqlite3.Connection, newest: Newest, floors: Floors, retention: Retention) -> None:
        self._connection = connection
        self._newest = newest
        self._floors = floors
        self._retention = retention
        self._of_key: Counter[tuple[str, str, str]] = Counter()
        self._crowded: dict[tuple[str, str, str], None] = {}
        self._uncounted: Counter[tuple[str, str, str]] = Counter()
        self._released = 0
        self._before: _Before
        self.durable_events = 0
        self.durable_bytes = 0
        self.latest_events = 0
        self.trimmed = 0
        """Durable events trimmed since the log was opened."""

    def note(self, event: Event) -> None:
        """Count an event that was appended."""
        self.note_columns(
            event.channel, event.type, event.key, len(event.data), latest=event.event_class is EventClass.LATEST
        )

    def note_columns(self, channel: str, type: str, key: str | None, size: int, *, latest: bool) -> None:
        """Count an event of the range by its parts, as they are read back."""
        if latest:
            self.latest_events += 1
            return
        self.durable_events += 1
        self.durable_bytes += size
        keep = self._retention.keep_newest.get(type)
        if keep is not None and key is not None:
            slot = (channel, type, key)
            self._of_key[slot] += 1
            if self._of_key[slot] >= keep + min(_SLACK, keep):
                self._crowded[slot] = None

    def step(self, now_ns: int) -> bool:
        """Do one step of everything, in the transaction that the caller opened; return whether more is waiting.

        The caller then calls `committed` or `rolled_back`.
        """
        newest = self._newest
        self._before = (
            (newest.durable_floor, newest.latest_floor),
            (self.durable_events, self.durable_bytes, self.latest_events, self.trimmed),
            (dict(self._floors.channels), dict(self._floors.keys)),
            list(self._crowded),
        )
        self._uncounted.clear()
        self._released = 0
        more = self._sweep_durable(now_ns)
        more = self._sweep_latest(now_ns) or more
        more = self._thin() or more
        return self._release() or more

    def committed(self) -> None:
        """Note that the step is in the file."""
        del self._newest.released[: self._released]

    def rolled_back(self) -> None:
        """Be as if the step had not been."""
        newest, floors = self._newest, self._floors
        (
            (newest.durable_floor, newest.latest_floor),
            (self.durable_events, self.durable_bytes, self.latest_events, self.trimmed),
            (floors.channels, floors.keys),
            crowded,
        ) = self._before
        self._of_key.update(self._uncounted)
        self._crowded = dict.fromkeys(crowded)

    def is_due(self, now_ns: int) -> bool:
        """Return whether a step would find anything to do."""
        if self._newest.released or self._crowded or self._is_over():
            return True
        if self.latest_events > self._retention.superseded_events:
            return True
        return self._oldest_is_due(0, now_ns) or self._oldest_is_due(1, now_ns)

    def _is_over(self) -> bool:
        retention = self._retention
        return self.durable_events > retention.events or self.durable_bytes > retention.bytes

    def _oldest_is_due(self, latest: int, now_ns: int) -> bool:
        newest = self._newest
        floor, age_s = (
            (newest.latest_floor, self._retention.superseded_age_s)
            if latest
            else (newest.durable_floor, self._retention.age_s)
        )
        row = self._connection.execute(
            "SELECT received_ns FROM events WHERE latest = ? AND offset > ? ORDER BY offset LIMIT 1", (latest, floor)
        ).fetchone()
        return row is not None and row[0] <= now_ns - int(age_s * _NS)

    def _sweep_durable(self, now_ns: int) -> bool:
        newest = self._newest
        oldest = now_ns - int(self._retention.age_s * _NS)
        rows = self._connection.execute(
            "SELECT offset, channel, type, key, length(data), received_ns FROM events"
            " WHERE latest = 0 AND offset > ? ORDER BY offset LIMIT ?",
            (newest.durable_floor, _DURABLE_STEP),
        ).fetchall()
        gone = []
        done = 0
        for offset, channel, type, key, size, received_ns in rows:
            if not (self._is_over() or received_ns <= oldest):
                break
            done += 1
            newest.durable_floor = offset
            self._uncount(channel, type, key, size)
            if newest.offset(channel, type, key) != offset:
                gone.append(offset)
                self._floors.trim(channel, offset)
        self._delete(gone)
        self.trimmed += len(gone)
        self._floors.forget(newest.durable_floor)
        return done == _DURABLE_STEP

    def _sweep_latest(self, now_ns: int) -> bool:
        newest = self._newest
        oldest = now_ns - int(self._retention.superseded_age_s * _NS)
        rows = self._connection.execute(
            "SELECT offset, channel, type, key, received_ns FROM events INDEXED BY events_latest"
            " WHERE latest = 1 AND offset > ? ORDER BY offset LIMIT ?",
            (newest.latest_floor, _LATEST_STEP),
        ).fetchall()
        gone = []
        done = 0
        for offset, channel, type, key, received_ns in rows:
            if not (self.latest_events > self._retention.superseded_events or received_ns <= oldest):
                break
            done += 1
            newest.latest_floor = offset
            self.latest_events -= 1
            if newest.offset(channel, type, key) != offset:
                gone.append(offset)
        self._delete(gone)
        return done == _LATEST_STEP

    def _thin(self) -> bool:
        for slot in list(self._crowded)[:1]:
            del self._crowded[slot]
            channel, type, key = slot
            keep = self._retention.keep_newest[type]
            rows = self._connection.execute(
                "SELECT offset, length(data) FROM events INDEXED BY events_key"
                " WHERE latest = 0 AND channel = ? AND key = ? AND type = ? ORDER BY offset DESC LIMIT -1 OFFSET ?",
                (channel, key, type, keep),
            ).fetchall()
            for offset, size in rows:
                if offset > self._newest.durable_floor:
                    self._uncount(channel, type, key, size)
            if rows:
                self._floors.thin(channel, key, rows[0][0])
                self._delete(offset for offset, _ in rows)
                self.trimmed += len(rows)
        return bool(self._crowded)

    def _release(self) -> bool:
        released = self._newest.released
        some = released[:_RELEASED_STEP]
        self._released = len(some)
        for offset in some:
            row = self._connection.execute("SELECT latest, channel FROM events WHERE offset = ?", (offset,)).fetchone()
            if row is not None and not row[0]:
                self._floors.trim(row[1], offset)
        self._delete(some)
        return len(released) > len(some)

    def _uncount(self, channel: str, type: str, key: str | None, size: int) -> None:
        self.durable_events -= 1
        self.durable_bytes -= size
        if type in self._retention.keep_newest and key is not None:
            slot = (channel, type, key)
            self._uncounted[slot] += 1
            self._of_key[slot] -= 1
            if self._of_key[slot] <= 0:
                del self._of_key[slot]

    def _delete(self, offsets: Iterable[int]) -> None:
        self._connection.executemany("DELETE FROM events WHERE offset = ?", ((offset,) for offset in offsets))
