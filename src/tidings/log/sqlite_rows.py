"""The rows of the embedded log's file, as retention asks for them."""

import sqlite3
from collections.abc import Iterable, Sequence

from tidings.log.rows import Row
from tidings.log.schema import OF_KEY, SEGMENTS

_COLUMNS = "offset, latest, channel, type, key, length(data), received_ns"


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
        until = self._connection.execute("SELECT max(offset) FROM events").fetchone()[0] or 0
        rows = self._rows(
            SEGMENTS.format(columns=_COLUMNS, index="events_key", condition=f"{OF_KEY} AND type = ?"),
            *(after, until),
            *(key, channel, type),
            *(after, until, keep + limit),
        )
        return rows[: max(0, len(rows) - keep)]

    def find(self, offset: int) -> Row | None:
        """See `Rows.find`."""
        found = self._rows(f"SELECT {_COLUMNS} FROM events WHERE offset = ?", offset)
        return found[0] if found else None

    def delete(self, offsets: Iterable[int]) -> None:
        """See `Rows.delete`."""
        self._connection.executemany("DELETE FROM events WHERE offset = ?", ((offset,) for offset in offsets))

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return list(map(Row._make, self._connection.execute(sql, values)))
