"""The fold of the log, rebuilt when it is opened: from what was saved of it, and the rows that came after.

What is saved is only which rows are the newest of their key, and how many there are of each key that is thinned out.
Rows that are gone by then are not found, and those that came after are read: so it may be older than the log, as it is
after a crash, and the fold is right all the same. Nothing is saved while a row waits to be deleted that was the newest
once: it would never be deleted, since nothing would tell.
"""

import sqlite3
import sys
from array import array
from collections.abc import Iterator

import msgspec

from tidings.log.base import Retention
from tidings.log.newest import Newest
from tidings.log.retention import Counts, RetentionSweeper
from tidings.log.sqlite.database import EFFECTS, SqlRow

SAVE_EVERY = 200_000
"""Reading so many rows when the log is opened takes half a second."""
_PIECE = 2_500
"""Offsets, and counts, saved in one step: a millisecond or two, where each key is a miss of the cache."""
_AT_ONCE = 500
_COLUMNS = "offset, latest, effect, channel, type, key, received_ns, length(data)"
_TEXTS = ("boot", "thinned")
"""The marks that are no numbers."""
_DONE = object()
_decode_counts = msgspec.msgpack.Decoder(dict[str, int]).decode


class SavedIndex:
    """Saves and rebuilds what a log holds in memory.

    Args:
        connection: To the log's file.
        newest: To be filled.
        sweeps: To be told of what there is.
        retention: Names the types that are thinned out.
        save_every: Events after which the fold is saved anew.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        newest: Newest,
        sweeps: RetentionSweeper,
        retention: Retention,
        *,
        save_every: int,
    ) -> None:
        self._connection = connection
        self._newest = newest
        self._sweeps = sweeps
        self._thinned = ",".join(sorted(retention.keep_newest))
        self._save_every = save_every
        self._saved_to = 0
        self._saving: Iterator[None] | None = None

    # Opening.

    def restore(self) -> int:
        """Rebuild everything; return the offset of the newest event there ever was.

        Raises:
            KeyError, TypeError, ValueError: The file does not hold what a log holds.
        """
        meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        if wrong := [name for name, value in meta.items() if not isinstance(value, str if name in _TEXTS else int)]:
            raise ValueError(f"{wrong[0]} is {meta[wrong[0]]!r}")
        newest, sweeps = self._newest, self._sweeps
        newest.durable_floor, newest.latest_floor = meta["durable_floor"], meta["latest_floor"]
        head: int = meta["head"]
        counted_to = head
        folded_to = meta["folded_to"] if meta["thinned"] == self._thinned else 0
        if folded_to > head:
            raise ValueError(f"the fold was saved up to {folded_to}, and the newest event is {head}")
        if folded_to:
            sweeps.restore(Counts(*(meta[name] for name in ("durable_events", "durable_bytes", "latest_events"))))
            self._restore_saved(folded_to, meta["generation"])
        else:
            counted_to = 0
        for row in self._connection.execute(
            f"SELECT {_COLUMNS} FROM events WHERE offset > ? ORDER BY offset", (folded_to,)
        ):
            self._note(row)
            self._count(row, counted_to)
            head = max(head, row[0])
        newest.evicted = 0
        self._saved_to = folded_to
        return head

    def _restore_saved(self, folded_to: int, generation: int) -> None:
        """Note the rows that were the newest of their keys when the fold was saved, in log order."""
        offsets = array("q")
        for channel, type, some, of_key in self._connection.execute(
            "SELECT channel, type, offsets, of_key FROM folds WHERE generation = ?", (generation,)
        ):
            offsets += _unpacked(some)
            self._sweeps.restore_keys(channel, type, _decode_counts(of_key))
        wanted = sorted(offset for offset in offsets if offset <= folded_to)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            for row in self._connection.execute(
                f"SELECT {_COLUMNS} FROM events WHERE offset IN ({marks}) ORDER BY offset", some
            ):
                self._note(row)

    def _note(self, row: SqlRow) -> None:
        offset, latest, effect, channel, type, key, received_ns, _ = row
        self._newest.note_columns(offset, channel, type, key, received_ns, bool(latest), EFFECTS[effect])

    def _count(self, row: SqlRow, counted_to: int) -> None:
        offset, latest, _, channel, type, key, received_ns, size = row
        if offset <= (self._newest.latest_floor if latest else self._newest.durable_floor):
            return
        if offset > counted_to:
            self._sweeps.note_columns(channel, type, key, size, received_ns, bool(latest))
        elif not latest:
            self._sweeps.note_key(channel, type, key)

    # Saving.

    def is_due(self, head: int) -> bool:
        """Return whether a step would save something."""
        return self._saving is not None or head - self._saved_to >= self._save_every

    def step(self, head: int) -> None:
        """Save one piece, in the transaction that the caller opened. All of them take some steps."""
        if self._saving is None:
            if self._newest.released:
                return
            self._saving = self._save(head)
        if next(self._saving, _DONE) is _DONE:
            self._saving = None

    def save(self, head: int) -> None:
        """Save everything, in the transaction that the caller opened."""
        if not self._newest.released:
            self._saving = None
            for _ in self._save(head):
                pass

    def abandon(self) -> None:
        """Begin anew: a transaction did not end well."""
        self._saving = None

    def _save(self, head: int) -> Iterator[None]:
        """Save piece by piece, each beside what was saved before, which stands until all of them are there."""
        execute = self._connection.execute
        (before,) = execute("SELECT value FROM meta WHERE name = 'generation'").fetchone()
        execute("DELETE FROM folds WHERE generation <> ?", (before,))  # of a saving that came to no end
        for channel, type in list(self._newest.groups()):
            if self._newest.released:
                # What waits to be deleted is missing here, and its deletion might be lost.
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
        # Lists of what is there already: of a hundred thousand keys, anything else takes more than five milliseconds.
        offsets = list(self._newest.offsets(channel, type))
        of_key = self._sweeps.of_key(channel, type)
        keys = list(of_key)
        for start in range(0, max(len(offsets), len(keys)), _PIECE):
            end = start + _PIECE
            # Keys that were thinned out or trimmed meanwhile count for less, or not at all.
            counts = {key: of_key.get(key, 0) for key in keys[start:end]}
            self._connection.execute(
                "INSERT INTO folds (generation, channel, type, offsets, of_key) VALUES (?, ?, ?, ?, ?)",
                (generation, channel, type, _packed(array("q", offsets[start:end])), msgspec.msgpack.encode(counts)),
            )
            yield


def _packed(offsets: "array[int]") -> bytes:
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tobytes()


def _unpacked(data: bytes) -> "array[int]":
    if len(data) % 8:
        raise ValueError("the saved offsets are cut off")
    offsets = array("q")
    offsets.frombytes(data)
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets
