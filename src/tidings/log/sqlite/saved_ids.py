"""The event ids in the embedded log's file: in a table of their own, which trimming events does not touch."""

import sqlite3
from collections.abc import Sequence

from tidings.log.judge import DIGEST_BYTES, KnownID, NewID
from tidings.log.sqlite.database import SqlRow, has_ids

_DIGESTS_BYTES = (DIGEST_BYTES, 2 * DIGEST_BYTES)
_ROW_TYPES = {(int, str, bytes, attempt) for attempt in (int, type(None))}
PIECE_SIZE = 500
"""Number of forgotten ids deleted in one step: a millisecond."""


class SavedIDs:
    """The rows of `ids` in one file.

    Args:
        connection: To the log's file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.floor = 0
        """Offset up to which ids are forgotten, whether their rows are deleted yet or not."""
        self._saved_floor = 0
        self._next_floor: int | None = None
        self.count = 0
        """Number of rows."""
        self._deleted = 0

    def restore(self) -> None:
        """Read how many ids there are, and which are forgotten."""
        if not has_ids(self._connection):  # a backup of an older log, which is only read
            return
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'ids_floor'").fetchone()
        self.floor = self._saved_floor = 0 if row is None else row[0]
        self._recount()

    def find(self, scope: str, event_id: str) -> KnownID | None:
        """Return what is remembered of an event id, or None.

        Raises:
            sqlite3.Error: The look-up failed.
        """
        row = self._connection.execute(
            "SELECT offset, type, digests, attempt FROM ids WHERE scope = ? AND event_id = ?", (scope, event_id)
        ).fetchone()
        if row is None or row[0] <= self.floor:
            return None
        return KnownID(*row) if self.is_row(row) else KnownID(row[0], "", b"")

    @staticmethod
    def is_row(row: SqlRow) -> bool:
        """Return whether a row of offset, type, digests and attempt is one that a log writes."""
        return tuple(map(type, row)) in _ROW_TYPES and len(row[2]) in _DIGESTS_BYTES

    def add(self, ids: Sequence[NewID]) -> None:
        """Add the ids of accepted events, in the caller's transaction."""
        # A forgotten id whose row is not deleted yet is replaced, and counted twice until the next recount.
        self._connection.executemany(
            "INSERT OR REPLACE INTO ids VALUES (?, ?, ?, ?, ?, ?)",
            [
                (known.offset, scope, event_id, known.type, known.digests, known.attempt)
                for scope, event_id, known in ids
            ],
        )

    def excess(self, limit: int) -> int:
        """Return the offset up to which ids exceed a limit, some at a time; 0 if there are no more.

        Raises:
            sqlite3.Error: The look-up failed.
        """
        more = min(self.count - limit, PIECE_SIZE)
        if more <= 0:
            return 0
        row = self._connection.execute(
            "SELECT offset FROM ids WHERE offset > ? ORDER BY offset LIMIT 1 OFFSET ?", (self.floor, more - 1)
        ).fetchone()
        if row is not None:
            return int(row[0])
        self._recount()
        return 0

    def _recount(self) -> None:
        self.count = self._connection.execute("SELECT count(*) FROM ids").fetchone()[0]

    def is_due(self) -> bool:
        """Return whether a step would do anything."""
        return self._saved_floor < self.floor

    def step(self) -> None:
        """Delete some of the forgotten ids, in the caller's transaction; the caller then calls `commit`."""
        if not self.is_due():
            return
        self._deleted = self._connection.execute(
            "DELETE FROM ids WHERE offset IN (SELECT offset FROM ids WHERE offset <= ? ORDER BY offset LIMIT ?)",
            (self.floor, PIECE_SIZE),
        ).rowcount
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('ids_floor', ?)", (self.floor,))
        self._next_floor = self.floor if self._deleted < PIECE_SIZE else None

    def commit(self) -> None:
        """Record that the step is in the file."""
        if self._next_floor is not None:
            self._saved_floor = self._next_floor
        self.count = max(0, self.count - self._deleted)
        self.roll_back()

    def roll_back(self) -> None:
        """Record that the step is not in the file."""
        self._deleted, self._next_floor = 0, None
