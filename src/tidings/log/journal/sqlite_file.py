"""The database of `tidings.log.journal.sqlite`: its table, how many processes open it together, and its errors."""

import os
import sqlite3
import time
from pathlib import Path

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogFull, LogReadOnly, LogTooNew
from tidings.log.journal.base import JournalEntry, JournalState
from tidings.log.sqlite.database import connect, content_error, is_busy, to_log_error

FILE = "journal.db"
APPLICATION_ID = 0x7469_646A
"""ASCII "tidj": marks the file as a journal of tidings (PRAGMA application_id)."""
SCHEMA_VERSION = 1
_TABLES = """
CREATE TABLE entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('checkpoints', 0);
"""
# AUTOINCREMENT: sequences go on after all entries were trimmed. `checkpoints`: see `tidings.log.sqlite.checkpointer`.
_CACHE_KIB = 2_048
"""Each process reads an entry once, soon after it was written: a larger cache would only hold copies."""
_MAX_OPENING_S = 5.0
_RETRY_DELAY_S = 0.01
_INDEX_BYTES = 65_536
"""Space that entries may take besides their bodies."""


def open_journal(path: Path, *, max_file_bytes: int) -> sqlite3.Connection:
    """Return a connection to the journal at `path`, which is created if it does not exist; never waits for a lock.

    Many processes may open and create it at the same time. Foreign files stay untouched.

    Raises:
        LogForeign: The file is not a journal.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be written.
        LogFull: The disk is full.
        LogUnavailable: The file system failed, or other processes kept the file locked.
    """
    try:
        _check_existing(path)
        connection = connect(path, busy_ms=int(_MAX_OPENING_S * 1_000))
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, path) from cause
    try:
        _switch_to_wal(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection):
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        _check_marks(connection, path)
        connection.execute("SELECT seq, at_ns, body FROM entries LIMIT 0")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, max_file_bytes // page_bytes)}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA busy_timeout = 0")  # the caller tries again, without holding its loop
    except LogError:
        connection.close()
        raise
    except sqlite3.Error as cause:
        connection.close()
        raise content_error(cause, path) from cause
    return connection


def _check_existing(path: Path) -> None:
    if not path.exists():
        # With SQLite's own permissions others could read it; its companions get those of the file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        return
    if path.stat().st_size == 0:
        return
    # Read-only: opened for writing, SQLite might repair a file of another program. And not without SQLite: closing the
    # file would drop the locks of this process on it.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0)
    try:
        if not _is_empty(connection):
            _check_marks(connection, path)
    except sqlite3.DatabaseError as cause:
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise LogForeign(f"{path} is not a journal: it is not a SQLite database") from cause
        raise
    finally:
        connection.close()


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    # SQLite calls no busy handler here.
    give_up = time.monotonic() + _MAX_OPENING_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= give_up:
                raise
            time.sleep(_RETRY_DELAY_S)
            continue
        if mode != "wal":
            raise LogReadOnly(f"{path}: the file system cannot keep a write-ahead log")
        return


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Return whether nothing was created yet: the file is new, or its creator was killed."""
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return application_id == 0 and tables == 0


def _check_marks(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LogForeign(f"{path} is a SQLite database of another program")
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LogTooNew(
            f"{path} has schema {version}; this version of tidings supports up to {SCHEMA_VERSION}",
            hint="Run the version of tidings that wrote the journal, or a newer one.",
        )


def read_range(connection: sqlite3.Connection) -> JournalState:
    """Return the range of entries, read in one moment."""
    last, first = connection.execute(
        "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'entries'), (SELECT min(seq) FROM entries)"
    ).fetchone()
    last = last or 0
    return JournalState(last + 1 if first is None else first, last)


def read_entries(
    connection: sqlite3.Connection, after: int, *, max_entries: int, max_bytes: int
) -> tuple[list[JournalEntry], bool]:
    """Return the next entries after a sequence, and whether there may be more.

    Raises:
        LogCorrupt: A row has values that no version of tidings writes.
        sqlite3.Error: SQLite cannot read the file.
    """
    entries: list[JournalEntry] = []
    size = 0
    cursor = connection.execute("SELECT seq, at_ns, body FROM entries WHERE seq > ? ORDER BY seq", (after,))
    try:
        for row in cursor:
            if entries and (len(entries) == max_entries or size >= max_bytes):
                return entries, True
            if tuple(map(type, row)) != (int, int, bytes):
                if entries:
                    return entries, True  # the next read meets the damaged one first
                raise LogCorrupt(f"the entry at {row[0]} of the journal is damaged")
            entries.append(JournalEntry(*row))
            size += len(row[2])
    finally:
        cursor.close()  # an open cursor would keep the write-ahead log from being restarted
    return entries, False


def write_error(error: Exception, connection: sqlite3.Connection, path: Path, *, size: int) -> LogError:
    """Return the error for a failed write of `size` bytes: LogFull states whether the disk or the journal is full."""
    refused = to_log_error(error, path)
    if isinstance(refused, LogFull):
        try:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (limit,) = connection.execute("PRAGMA max_page_count").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        except sqlite3.Error:
            return refused
        if (limit - pages) * page_bytes < size + _INDEX_BYTES:
            return LogFull(
                f"{path}: the journal has reached its limit of {limit * page_bytes} bytes",
                hint="See why its entries are not trimmed: a hub that follows it has stopped, or its limit is too low.",
            )
    return refused
