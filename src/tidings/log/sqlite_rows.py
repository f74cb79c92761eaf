"""The rows of the embedded log's file, as retention asks for them."""

import sqlite3
from collections.abc import Iterable, Sequence

from tidings.log.rows import Row

_COLUMNS = "offset, latest, channel, type, key, length(data), received_ns"
_OF_KEY = "FROM events INDEXED BY events_key WHERE latest = 0 AND channel = ? AND key = ? AND type = ?"


class SqliteRows:
    """The `tidings.log.rows.Rows` of a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def after(self, offset: int, limit: int) -> Sequence[Row]:
        """See `Rows.after`."""
        return self._rows(f"SELECT {_COLUMNS} FROM events WHERE offset > ? ORDER BY offset LIMIT ?", offset, limit)

    def latest_after(self, offset: int, limit: int) -> Sequence[Row]:
        """See `Rows.latest_after`."""
        return self._rows(
            f"SELECT {_COLUMNS} FROM events INDEXED BY events_latest"
            " WHERE latest = 1 AND offset > ? ORDER BY offset LIMIT ?",
            offset,
            limit,
        )

    def durable_of(self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int) -> Sequence[Row]:
        """See `Rows.durable_of`."""
        slot = channel, key, type
        last = self._connection.execute(
            f"SELECT offset {_OF_KEY} AND offset > ? ORDER BY offset DESC LIMIT 1 OFFSET ?", (*slot, after, keep)
        ).fetchone()
        if last is None:
            return []
        return self._rows(
            f"SELECT {_COLUMNS} {_OF_KEY} AND offset > ? AND offset <= ? ORDER BY offset LIMIT ?",
            *slot,
            after,
            last[0],
            limit,
        )

    def find(self, offset: int) -> Row | None:
        """See `Rows.find`."""
        found = self._rows(f"SELECT {_COLUMNS} FROM events WHERE offset = ?", offset)
        return found[0] if found else None

    def delete(self, offsets: Iterable[int]) -> None:
        """See `Rows.delete`."""
        self._connection.executemany("DELETE FROM events WHERE offset = ?", ((offset,) for offset in offsets))

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return list(map(Row._make, self._connection.execute(sql, values)))
