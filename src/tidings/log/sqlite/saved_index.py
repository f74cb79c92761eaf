"""The saved index of newest events and key counts, so that opening a log need not read all its events.

The file stores only which rows are the newest of their key, and the number of rows of each key that is thinned. When
the log is opened, rows that are gone are skipped and rows that came later are read. The index may therefore be older
than the log, as after a crash, and the result is right all the same. Nothing is saved while a row that once was the
newest waits to be deleted: after a restart nothing would show that it must go, and it would stay forever.
"""

import logging
import sqlite3
import sys
from array import array
from collections.abc import Iterator, Sequence

import msgspec

from tidings.log.base import Retention
from tidings.log.clock_jumps import ClockJumps
from tidings.log.newest import Newest
from tidings.log.opening import OpeningProgress
from tidings.log.retention import RangeCounts, RetentionSweeper
from tidings.log.sqlite.database import EFFECTS, SqlRow
from tidings.log.sqlite.set_aside import SetAside

SAVE_INTERVAL_EVENTS = 200_000
"""Number of events after which the index is saved again. Reading as many when the log is opened takes half a second."""
PIECE_SIZE = 2_500
"""Number of offsets and counts saved in one step: a millisecond or two, as each key misses the CPU cache."""
_FETCH_SIZE = 500
_COLUMNS = "offset, latest, effect, channel, type, key, received_ns, length(data), scope"
_ROW_TYPES = {(int, int, int, str, str, key, int, int, str) for key in (str, type(None))}
_COUNTS = ("durable_events", "durable_bytes", "latest_events", "latest_bytes", "kept_bytes")
"""The names in `meta` of the saved counts."""
_TEXT_MARKS = ("boot", "thinned")
"""The names in `meta` whose values are text instead of numbers."""
_DONE = object()
logger = logging.getLogger(__name__)
_decode_counts = msgspec.msgpack.Decoder(dict[str, int]).decode


class SavedIndex:
    """Saves and rebuilds the tables that a log holds in memory.

    Args:
        connection: To the log's file.
        newest: Receives the newest events.
        sweeper: Receives the counts.
        retention: Its `keep_newest` lists the types that are thinned.
        jumps: Jumps of the clock that the events were received by.
        save_every: Number of events after which the index is saved again.
        set_aside: Receives the rows that cannot be read.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        newest: Newest,
        sweeper: RetentionSweeper,
        retention: Retention,
        jumps: ClockJumps,
        *,
        save_every: int,
        set_aside: SetAside,
    ) -> None:
        self._connection = connection
        self._newest = newest
        self._sweeper = sweeper
        self._thinned = ",".join(sorted(retention.keep_newest))
        self._jumps = jumps
        self._save_every = save_every
        self._set_aside = set_aside
        self.damage = ""
        """Why the saved index could not be used; "" if it could."""
        self._saved_to = 0
        self._saving: Iterator[None] | None = None

    # Opening.

    def restore(self, progress: OpeningProgress) -> int:
        """Rebuild the tables; return the offset of the newest event that was ever appended.

        Args:
            progress: Counts the rows.

        Raises:
            KeyError, TypeError, ValueError: The file does not have the contents of a log.
        """
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        wrong = [name for name, value in meta.items() if not isinstance(value, str if name in _TEXT_MARKS else int)]
        if wrong:
            raise ValueError(f"{wrong[0]} is {meta[wrong[0]]!r}")
        newest, sweeper = self._newest, self._sweeper
        newest.durable_floor, newest.latest_floor = meta["durable_floor"], meta["latest_floor"]
        head: int = meta["head"]
        counted_to = head
        # A file of an older version does not have all counts.
        is_usable = meta["thinned"] == self._thinned and all(name in meta for name in _COUNTS)
        saved_to = meta["folded_to"] if is_usable else 0
        if saved_to > head:
            raise ValueError(f"the index was saved up to {saved_to}, but the newest event is {head}")
        saved = self._read_saved(meta["generation"]) if saved_to else None
        if saved is not None:
            sweeper.restore(RangeCounts(**{name: meta[name] for name in _COUNTS}))
            self._restore_saved(saved_to, *saved, progress)
        else:
            counted_to = saved_to = 0
        (newest_offset,) = self._connection.execute("SELECT max(offset) FROM events").fetchone()
        last = max(head, newest_offset or 0)
        counted = meta["durable_events"] + meta["latest_events"] + last - head
        # Most offsets of an old log have no row left, and the rows kept for the snapshot are not counted.
        expected = last - saved_to if saved_to else min(last, counted)
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM events WHERE offset > ? ORDER BY offset", (saved_to,))
        for row in progress.count(rows, expected):
            head = max(head, row[0])
            if self._is_readable(row, counted=row[0] <= counted_to):
                self._apply(row)
                self._count(row, counted_to)
        newest.evicted = 0
        self._saved_to = saved_to
        return head

    def _read_saved(self, generation: int) -> "tuple[array[int], list[tuple[str, str, dict[str, int]]]] | None":
        """Return the saved offsets and key counts, or None if they are damaged: all events are then read instead."""
        offsets, counts = array("q"), []
        try:
            for channel, type, some, of_key in self._connection.execute(
                "SELECT channel, type, offsets, of_key FROM folds WHERE generation = ?", (generation,)
            ):
                if not (isinstance(channel, str) and isinstance(type, str)):
                    raise ValueError("its channel or type is not text")
                offsets += _unpack(some)
                counts.append((channel, type, _decode_counts(of_key)))
        except (sqlite3.OperationalError, msgspec.MsgspecError, TypeError, ValueError) as error:
            self.damage = f"the saved index is damaged: {error}"
            logger.warning("%s; all events are read instead", self.damage)
            return None
        return offsets, counts

    def _restore_saved(
        self,
        saved_to: int,
        offsets: "array[int]",
        counts: list[tuple[str, str, dict[str, int]]],
        progress: OpeningProgress,
    ) -> None:
        """Apply the rows that were the newest of their keys when the index was saved, in log order."""
        for of_type in counts:
            self._sweeper.restore_keys(*of_type)
        wanted = sorted(offset for offset in offsets if offset <= saved_to)
        for row in progress.count(self._read_rows(wanted), len(wanted)):
            if self._is_readable(row, counted=True):
                self._apply(row)

    def _read_rows(self, offsets: Sequence[int]) -> Iterator[SqlRow]:
        for start in range(0, len(offsets), _FETCH_SIZE):
            some = offsets[start : start + _FETCH_SIZE]
            placeholders = ",".join("?" * len(some))
            yield from self._connection.execute(
                f"SELECT {_COLUMNS} FROM events WHERE offset IN ({placeholders}) ORDER BY offset", some
            ).fetchall()

    def _is_readable(self, row: SqlRow, *, counted: bool) -> bool:
        if tuple(map(type, row)) in _ROW_TYPES and row[2] in EFFECTS:
            return True
        reason = "a column has another type, or its effect is unknown"
        self._set_aside.note("events", row[0], reason, counted=counted)
        return False

    def _apply(self, row: SqlRow) -> None:
        offset, latest, effect, channel, type, key, received_ns, _, scope = row
        received_ns = self._jumps.adjust(offset, received_ns)
        self._newest.apply_columns(offset, channel, type, key, received_ns, bool(latest), EFFECTS[effect], scope)

    def _count(self, row: SqlRow, counted_to: int) -> None:
        offset, latest, _, channel, type, key, received_ns, size, _ = row
        if offset <= (self._newest.latest_floor if latest else self._newest.durable_floor):
            if not counted_to:
                self._sweeper.count_kept(size)
            return
        if offset > counted_to:
            received_ns = self._jumps.adjust(offset, received_ns)
            self._sweeper.count_columns(channel, type, key, size, received_ns, bool(latest))
        elif not latest:
            self._sweeper.count_key(channel, type, key)

    # Saving.

    def is_due(self, head: int) -> bool:
        """Return whether a step would save something."""
        return self._saving is not None or head - self._saved_to >= self._save_every

    def step(self, head: int) -> None:
        """Save one piece, in the transaction that the caller opened. Saving the whole index takes several steps."""
        if self._saving is None:
            if self._newest.released:
                return
            self._saving = self._save(head)
        if next(self._saving, _DONE) is _DONE:
            self._saving = None

    def save(self, head: int) -> None:
        """Save the whole index, in the transaction that the caller opened."""
        if not self._newest.released:
            self._saving = None
            for _ in self._save(head):
                pass

    def abandon(self) -> None:
        """Start over with the next step: a transaction was rolled back."""
        self._saving = None

    def _save(self, head: int) -> Iterator[None]:
        """Save piece by piece, as a new generation. The old one stays valid until the new one is complete."""
        execute = self._connection.execute
        (before,) = execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
        execute("DELETE FROM folds WHERE generation <> ?", (before,))  # of a generation that was never completed
        for channel, type in list(self._newest.groups()):
            if self._newest.released:
                # The generation would lack the rows that wait to be deleted, and their deletion might be lost.
                return
            yield from self._save_pieces(before + 1, channel, type)
        for name, value in (("folded_to", head), ("generation", before + 1), ("thinned", self._thinned)):
            execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
        self._saved_to = head
        yield
        numbers = execute("SELECT number FROM folds WHERE generation = ?", (before,)).fetchall()
        for number in numbers:
            execute("DELETE FROM folds WHERE number = ?", number)
            yield

    def _save_pieces(self, generation: int, channel: str, type: str) -> Iterator[None]:
        # Plain copies of the existing tables: for 100,000 keys anything else takes more than five milliseconds.
        offsets = list(self._newest.offsets(channel, type))
        key_counts = self._sweeper.key_counts(channel, type)
        keys = list(key_counts)
        for start in range(0, max(len(offsets), len(keys)), PIECE_SIZE):
            end = start + PIECE_SIZE
            # Keys that were thinned or trimmed since the copy was made have smaller counts, or none.
            counts = {key: key_counts.get(key, 0) for key in keys[start:end]}
            self._connection.execute(
                "INSERT INTO folds (generation, channel, type, offsets, of_key) VALUES (?, ?, ?, ?, ?)",
                (generation, channel, type, _pack(array("q", offsets[start:end])), msgspec.msgpack.encode(counts)),
            )
            yield


def _pack(offsets: "array[int]") -> bytes:
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tobytes()


def _unpack(data: bytes) -> "array[int]":
    if len(data) % 8:
        raise ValueError("the saved offsets are cut off")
    offsets = array("q")
    offsets.frombytes(data)
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets
