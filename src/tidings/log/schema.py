"""The file of the embedded log: its tables, its marks, and how it is opened and told from other files."""

import sqlite3
from pathlib import Path
from typing import Any

from tidings.contract.envelope import Event
from tidings.contract.vocabulary import EventClass, SlotEffect
from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogFull, LogReadOnly, LogTooNew, LogUnavailable
from tidings.log.base import Draft, Record

FILE = "log.db"
APPLICATION_ID = 0x7469_6431
"""ASCII "tid1": marks the file as ours (PRAGMA application_id)."""
SCHEMA_VERSION = 1
_MAGIC = b"SQLite format 3\x00"

# One table holds the range and the snapshot: trimming leaves rows that are the newest of their key.
# Indexes are partial. At a million rows one over every event costs more than everything else together, because progress
# of random keys dirties a page an event; over durable ones only it is a tenth of that.
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE epochs (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, start INTEGER NOT NULL);
CREATE TABLE floors (channel TEXT NOT NULL, key TEXT NOT NULL, trimmed INTEGER NOT NULL, PRIMARY KEY (channel, key))
    WITHOUT ROWID;
CREATE TABLE events (
    offset INTEGER PRIMARY KEY,
    latest INTEGER NOT NULL,
    effect INTEGER NOT NULL,
    channel TEXT NOT NULL,
    type TEXT NOT NULL,
    key TEXT,
    received_ns INTEGER NOT NULL,
    timestamp TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    event_id TEXT,
    data BLOB NOT NULL
);
CREATE INDEX events_key ON events (channel, key, offset) WHERE latest = 0 AND key IS NOT NULL;
CREATE INDEX events_trace ON events (trace_id, offset) WHERE latest = 0;
CREATE INDEX events_latest ON events (offset) WHERE latest = 1;
CREATE INDEX events_global ON events (offset) WHERE channel = 'global';
CREATE UNIQUE INDEX events_id ON events (scope, event_id) WHERE event_id IS NOT NULL;
"""

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS = "offset, latest, effect, channel, type, key, received_ns, timestamp, trace_id, event_id, data"
_DURABLE, _LATEST = EventClass.DURABLE, EventClass.LATEST
_EFFECTS = {int(effect): effect for effect in SlotEffect}

Row = tuple[Any, ...]


def row_of(offset: int, draft: Draft) -> Row:
    """Return what `INSERT` takes for `draft`."""
    event = draft.event
    return (
        offset,
        1 if event.event_class is _LATEST else 0,
        int(event.effect),
        event.channel,
        event.type,
        event.key,
        draft.received_ns,
        event.timestamp,
        event.trace_id,
        draft.scope,
        event.event_id,
        event.data,
    )


def record_of(row: Row) -> Record:
    """Return the record of a row of `COLUMNS`."""
    offset, latest, effect, channel, type, key, received_ns, timestamp, trace_id, event_id, data = row
    event = Event(
        type=type,
        timestamp=timestamp,
        trace_id=trace_id,
        data=data,
        channel=channel,
        key=key,
        event_class=_LATEST if latest else _DURABLE,
        event_id=event_id,
        effect=_EFFECTS[effect],
    )
    return Record(offset, event, received_ns)


def connect(path: Path, *, busy_ms: int) -> sqlite3.Connection:
    """Return a connection as all of ours are: autocommit, WAL, no checkpoint of its own."""
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=busy_ms / 1000, check_same_thread=False, cached_statements=256
    )
    for pragma in (
        "synchronous = NORMAL",
        "wal_autocheckpoint = 0",
        "cache_size = -65536",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to the log at `path`, made if there is none; nothing that is not ours is touched.

    Raises:
        LogForeign: The file is something else.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: It is ours, and damaged.
        LogReadOnly: It cannot be written.
        LogFull: There is no room to make it.
    """
    try:
        fresh = not path.exists() or path.stat().st_size == 0
        if not fresh:
            check_header(path)
        connection = connect(path, busy_ms=0)
    except (OSError, sqlite3.Error) as cause:
        raise refusal(cause, path) from cause
    try:
        if fresh:
            _create(connection)
        else:
            check_marks(connection, path)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LogReadOnly(f"{path}: the file system cannot keep a write-ahead log")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET value = value WHERE name = 'head'")
        connection.execute("COMMIT")
    except LogError:
        connection.close()
        raise
    except sqlite3.Error as cause:
        connection.close()
        raise refusal(cause, path) from cause
    return connection


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # In one transaction: a crash leaves an empty file, which is made anew, or a whole one.
    connection.executescript(
        f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('head', 0), ('durable_floor', 0), ('latest_floor', 0),"
        " ('clean', 1), ('boot', ''), ('checkpoints', 0);"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def check_header(path: Path) -> None:
    """Check that the file at `path` is a SQLite database.

    Raises:
        LogForeign: It is not.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise LogForeign(f"{path} is not a log: it is no SQLite database")


def check_marks(connection: sqlite3.Connection, path: Path) -> None:
    """Check that an open database is a log of a version we know.

    Raises:
        LogForeign: It is not.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: Its first page cannot be read.
    """
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as cause:
        raise refusal(cause, path) from cause
    if application_id != APPLICATION_ID:
        raise LogForeign(f"{path} is a SQLite database of another program")
    if version > SCHEMA_VERSION:
        raise LogTooNew(f"{path} has schema {version}; this tidings knows up to {SCHEMA_VERSION}")


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds the lock that was wanted."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def refusal(error: Exception, path: Path) -> LogError:
    """Return what a fault of the database or the file system means for the log."""
    text = f"{path}: {error}"
    if isinstance(error, LogError):
        return error
    if isinstance(error, OSError):
        return LogReadOnly(text)
    code = _code(error) if isinstance(error, sqlite3.Error) else None
    if code == sqlite3.SQLITE_FULL:
        return LogFull(f"{path}: the disk is full")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return LogReadOnly(text)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LogCorrupt(text)
    return LogUnavailable(text)


def _code(error: sqlite3.Error) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the low byte is the primary code
