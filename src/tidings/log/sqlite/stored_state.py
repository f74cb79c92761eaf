"""The state of a log that is folded from a journal, stored in the transactions of its events: bytes, and rows."""

import sqlite3
from collections.abc import Mapping

from tidings.log.sqlite.database import CREATE_STORED_ROWS, CREATE_STORED_STATE, STORED_ROWS, STORED_STATE


class StoredState:
    """The bytes that were stored with the newest batch, and the rows that were stored with all of them.

    Its tables exist in logs that are folded from a journal only.

    Args:
        connection: To the log's file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, state: bytes, rows: Mapping[str, bytes | None]) -> None:
        """Replace the bytes, and add, replace or (None) delete rows, in the caller's transaction."""
        self._connection.execute(CREATE_STORED_STATE)
        self._connection.execute(f"INSERT OR REPLACE INTO {STORED_STATE} VALUES (1, ?)", (state,))
        if rows:
            self._connection.execute(CREATE_STORED_ROWS)
            for key, row in rows.items():
                if row is None:
                    self._connection.execute(f"DELETE FROM {STORED_ROWS} WHERE key = ?", (key,))
                else:
                    self._connection.execute(f"INSERT OR REPLACE INTO {STORED_ROWS} VALUES (?, ?)", (key, row))

    def read(self) -> bytes:
        """Return the bytes; empty if there are none.

        Raises:
            sqlite3.Error: They cannot be read.
        """
        row = (
            self._connection.execute(f"SELECT state FROM {STORED_STATE} WHERE number = 1").fetchone()
            if self._has(STORED_STATE)
            else None
        )
        return row[0] if row and isinstance(row[0], bytes) else b""

    def read_rows(self) -> dict[str, bytes]:
        """Return the rows.

        Raises:
            sqlite3.Error: They cannot be read.
        """
        if not self._has(STORED_ROWS):
            return {}
        return dict(self._connection.execute(f"SELECT key, row FROM {STORED_ROWS}"))

    def _has(self, table: str) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone())
