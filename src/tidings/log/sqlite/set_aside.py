"""Rows that cannot be read or written: moved to a table for people, so that they stop neither reading nor trimming.

The table is created with its first row. Each row holds the columns of the other one as JSON, and the reason.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import Struct

TABLE = "set_aside"
MAX_ROWS = 1_000
MAX_BYTES = 16 << 20
"""Maximum number and size of the rows that are kept; beyond it, the oldest are deleted."""
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (number INTEGER PRIMARY KEY, at TEXT NOT NULL, source TEXT NOT NULL,
    reason TEXT NOT NULL, content TEXT NOT NULL)
"""
_KEYS = {"events": "offset", "operations": "number", "names": "name", "revocations": "target"}
"""The tables whose rows are set aside, and the column that identifies a row."""
_MESSAGEPACK = ("status", "history")
"""Columns of MessagePack."""

logger = logging.getLogger(__name__)


class LostEvent(Struct, frozen=True):
    """An event whose row was set aside, for the counters of the range."""

    offset: int
    latest: bool
    size: int


class SetAside:
    """The rows of one file that were set aside, and those that will be with the next step.

    Args:
        connection: To the log's file.
        on_lost: Called with each event that was counted and left the log.
    """

    def __init__(self, connection: sqlite3.Connection, on_lost: Callable[[LostEvent], None]) -> None:
        self._connection = connection
        self._on_lost = on_lost
        self.found: dict[tuple[str, Any], str] = {}
        """The reasons of the rows that will be set aside, by table and key."""
        self._uncounted: set[int] = set()
        self._moved: list[tuple[str, Any]] = []
        self._lost: list[LostEvent] = []
        self.count = self._count()
        """Number of rows in the table."""

    def _count(self) -> int:
        if not _has_table(self._connection):
            return 0
        count: int = self._connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]
        return count

    def note(self, table: str, key: Any, reason: object, *, counted: bool = True) -> None:
        """Record that a row cannot be used.

        Args:
            table: Its table.
            key: Value of the column that identifies it.
            reason: Why not.
            counted: Whether the counters of the range include it.
        """
        if (table, key) not in self.found:
            self.found[table, key] = str(reason)
            logger.error("row %r of table %s is set aside: %s", key, table, reason)
        if not counted:
            self._uncounted.add(key)

    def step(self) -> None:
        """Move the rows that were found, in the transaction that the caller opened.

        The caller then calls `commit` or `roll_back`.
        """
        self._moved, self._lost = list(self.found), []
        if not self._moved:
            return
        self._connection.execute(_CREATE)
        with reading_any_text(self._connection):
            for table, key in self._moved:
                self._move(table, key, self.found[table, key])
        self._trim()

    def add(self, table: str, content: object, reason: object) -> None:
        """Keep `content`, which cannot be written to `table`, in the transaction that the caller opened."""
        logger.error("a row for table %s cannot be written and is set aside: %s", table, reason)
        self._connection.execute(_CREATE)
        self._insert(table, reason, repr(content)[:MAX_BYTES])
        self._trim()

    def commit(self) -> None:
        """Record that the step is in the file."""
        for moved in self._moved:
            self.found.pop(moved, None)
        if self._moved or self._lost:
            self.count = self._count()
        for lost in self._lost:
            self._on_lost(lost)
        self.roll_back()

    def roll_back(self) -> None:
        """Undo the step."""
        self._moved, self._lost = [], []

    def _move(self, table: str, key: Any, reason: str) -> None:
        value = "CAST(? AS TEXT)" if isinstance(key, bytes) else "?"
        where = f"FROM {table} WHERE {_KEYS[table]} = {value}"
        cursor = self._connection.execute(f"SELECT * {where}", (key,))
        names = [column[0] for column in cursor.description]
        for values in cursor.fetchall():
            row = dict(zip(names, values, strict=True))
            if table == "events" and key not in self._uncounted:
                size = len(row["data"]) if isinstance(row["data"], bytes | str) else 0
                self._lost.append(LostEvent(key, row["latest"] == 1, size))
            self._insert(table, reason, _to_json(row))
        self._connection.execute(f"DELETE {where}", (key,))

    def _insert(self, table: str, reason: object, content: str) -> None:
        self._connection.execute(
            f"INSERT INTO {TABLE} (at, source, reason, content)"
            " VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?, ?, ?)",
            (table, str(reason), content),
        )

    def _trim(self) -> None:
        self._connection.execute(
            f"DELETE FROM {TABLE} WHERE number <= (SELECT ifnull(max(number), 0) FROM (SELECT number,"
            f" count(*) OVER newest AS rows, sum(length(content)) OVER newest AS bytes FROM {TABLE}"
            f" WINDOW newest AS (ORDER BY number DESC)) WHERE rows > {MAX_ROWS} OR bytes > {MAX_BYTES})"
        )


def read_reasons(connection: sqlite3.Connection, limit: int) -> list[str]:
    """Return when, from which table and why the newest rows were set aside."""
    if not _has_table(connection):
        return []
    rows = connection.execute(f"SELECT at, source, reason FROM {TABLE} ORDER BY number DESC LIMIT ?", (limit,))
    return [f"{at}, from {source}: {reason}" for at, source, reason in rows]


def _has_table(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (TABLE,)).fetchone()
    return bool(found[0])


def _to_json(row: Mapping[str, Any]) -> str:
    return msgspec.json.encode({name: _readable(name, value) for name, value in row.items()}).decode()


def _readable(name: str, value: Any) -> Any:
    """Return a column's value as JSON can hold it: text as it is, MessagePack decoded, other bytes in hexadecimal."""
    if not isinstance(value, bytes):
        return value
    try:
        if name not in _MESSAGEPACK:
            return value.decode()
        decoded = msgspec.msgpack.decode(value)
        msgspec.json.encode(decoded)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return {"hex": value.hex()}
    return decoded


@contextmanager
def reading_any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is not UTF-8 as bytes, instead of failing the whole statement."""
    connection.text_factory = _decode_text
    try:
        yield
    finally:
        connection.text_factory = str


def _decode_text(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def is_text_error(error: sqlite3.Error) -> bool:
    """Return whether a statement failed because a text in its result is not UTF-8."""
    return getattr(error, "sqlite_errorcode", None) is None and "decode" in str(error)
