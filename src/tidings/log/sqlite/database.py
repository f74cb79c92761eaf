"""The SQLite database of the embedded log: its tables, the encoding of rows, connections, and errors."""

import errno
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogFull, LogReadOnly, LogTooNew, LogUnavailable
from tidings.log.base import EventToAppend, Record
from tidings.log.judge import digest_of
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, MessageType, SlotEffect

FILE = "log.db"
APPLICATION_ID = 0x7469_6431
"""ASCII "tid1": marks the file as a log of tidings (PRAGMA application_id)."""
SCHEMA_VERSION = 4
"""Version of the tables. Version 1 had no operations, version 2 no revocations, version 3 no table of event ids;
such a file is migrated when it is opened for writing. An older program does not open it: it would accept what is
revoked, and store events twice."""
_SCHEMA_WITH_OPERATIONS = 2
_SCHEMA_WITH_REVOCATIONS = 3
_SCHEMA_WITH_IDS = 4

# Tables.

# One table holds the range and the snapshot: trimming leaves rows that are the newest of their key.
# Indexes are partial. At a million rows one over every event costs more than everything else together, because progress
# of random keys dirties a page per event; an index over durable events costs a tenth of that. Those over keys and
# traces begin with the segment, 2,048 offsets: inserts then touch the last few pages only, whatever the keys are (at a
# million rows 60 instead of 490 MB of write-ahead log for 40,000 events), and a key is looked up once per segment.
_OPERATIONS = """
CREATE TABLE operations (number INTEGER PRIMARY KEY, offset INTEGER NOT NULL, status BLOB NOT NULL);
CREATE TABLE names (name TEXT PRIMARY KEY, offset INTEGER NOT NULL, history BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('operations_to', 0);
"""
# In `meta`: `operations_to` is the offset up to which every event is reflected in the rows of `operations`.
_REVOCATIONS = """
CREATE TABLE revocations (target TEXT PRIMARY KEY, issued_before_ns INTEGER NOT NULL, kept_until_ns INTEGER)
    WITHOUT ROWID;
"""
# `target`: `credential:` and its id, or `subject:` and its name.
_IDS = """
CREATE TABLE ids (offset INTEGER PRIMARY KEY, scope TEXT NOT NULL, event_id TEXT NOT NULL, type TEXT NOT NULL,
    digests BLOB NOT NULL, attempt INTEGER);
"""
OLD_IDS_INDEX = "CREATE UNIQUE INDEX events_id ON events (scope, event_id) WHERE event_id IS NOT NULL"
"""The index of event ids before version 4."""
_IDS_INDEX = "CREATE UNIQUE INDEX ids_event ON ids (scope, event_id);"
# `digests` and `attempt`: see `tidings.log.judge.KnownID`. In `meta`, `ids_floor` is the offset up to which ids are
# forgotten. The rows are in the order of their offsets, so that adding and forgetting touch few pages.
_IDS_OF_EVENTS = """
INSERT INTO ids SELECT offset, scope, event_id, type,
    CASE typeof(data) WHEN 'blob' THEN tidings_digests(type, data) ELSE x'' END, NULL
    FROM events WHERE event_id IS NOT NULL ORDER BY offset;
DROP INDEX events_id;
"""
_MIGRATION = """
ALTER TABLE events ADD COLUMN producer_id TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN lease_s REAL NOT NULL DEFAULT 0;
"""
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE epochs (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, start INTEGER NOT NULL);
CREATE TABLE floors (channel TEXT NOT NULL, key TEXT NOT NULL, trimmed INTEGER NOT NULL, PRIMARY KEY (channel, key))
    WITHOUT ROWID;
CREATE TABLE folds (number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT NOT NULL,
    offsets BLOB NOT NULL, of_key BLOB NOT NULL);
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
    data BLOB NOT NULL,
    producer_id TEXT NOT NULL DEFAULT '',
    lease_s REAL NOT NULL DEFAULT 0
);
CREATE INDEX events_key ON events (offset >> 11, key) WHERE latest = 0 AND key IS NOT NULL;
CREATE INDEX events_trace ON events (offset >> 11, trace_id) WHERE latest = 0;
CREATE INDEX events_latest ON events (offset) WHERE latest = 1;
CREATE INDEX events_global ON events (offset) WHERE channel = 'global';
INSERT INTO meta VALUES ('head', 0), ('durable_floor', 0), ('latest_floor', 0), ('durable_events', 0),
    ('durable_bytes', 0), ('latest_events', 0), ('folded_to', 0), ('generation', 0), ('thinned', ''), ('clean', 1),
    ('boot', ''), ('checkpoints', 0);
"""
STORED_STATE = "stored_state"
"""Table with one row: the bytes that were stored with the newest batch that had some. Only logs that are folded from a
journal have it."""
CREATE_STORED_STATE = f"CREATE TABLE IF NOT EXISTS {STORED_STATE} (number INTEGER PRIMARY KEY, state BLOB NOT NULL)"
STORED_ROWS = "stored_rows"
"""Table of the rows that were stored together with batches; see `STORED_STATE`."""
CREATE_STORED_ROWS = f"CREATE TABLE IF NOT EXISTS {STORED_ROWS} (key TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID"
# In `meta`: `head` and the counters belong together and date from the last step of retention; events after `head` are
# counted when the log is opened. `folded_to`, `generation` and `thinned`: see `tidings.log.sqlite.saved_index`.
# `clean`: the log was closed. `boot`: the boot id of the machine when the log was opened.
# `floors` holds the trim marks, `folds` the saved index.

# Rows.

SEGMENT_BITS = 11
SEGMENTS = (
    "WITH RECURSIVE segments (n) AS (SELECT ? >> 11 UNION ALL SELECT n + 1 FROM segments WHERE n < ? >> 11)"
    " SELECT {columns} FROM segments CROSS JOIN events INDEXED BY {index}"
    " WHERE offset >> 11 = n AND latest = 0 AND {condition} AND offset > ? AND offset <= ? LIMIT ?"
)
"""Query through an index of segments, in offset order: the join visits the segments in order, and the index holds the
rows of one key in order. Parameters: the first and the last offset to look at, the values of the condition, the
offsets to read after and until, and the limit."""
KEY_CONDITION = "key = ? AND key IS NOT NULL AND channel = ?"
INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COLUMNS = "offset, latest, effect, channel, type, key, received_ns, timestamp, trace_id, event_id, data"
_DURABLE, _LATEST = EventClass.DURABLE, EventClass.LATEST
EFFECTS = {int(effect): effect for effect in SlotEffect}

_ADDED_ATTEMPT = re.compile(rb',"attempt":[0-9]+\}\Z')
_ADDED_OPERATION = re.compile(rb'\A\{"operation_id":"(?:[^"\\]|\\.)*",')

SqlRow = tuple[Any, ...]
_ROW_TYPES = {
    (int, int, int, str, str, key, int, str, str, event_id, bytes)
    for key in (str, type(None))
    for event_id in (str, type(None))
}
"""The types of the values of `COLUMNS`."""


class DamagedRow(ValueError):
    """A row that no version of tidings writes; `key` is its offset."""

    def __init__(self, key: int, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def encode_row(offset: int, entry: EventToAppend) -> SqlRow:
    """Return the parameters of `INSERT` for `entry`."""
    event = entry.event
    return (
        offset,
        1 if event.event_class is _LATEST else 0,
        int(event.effect),
        event.channel,
        event.type,
        event.key,
        entry.received_ns,
        event.timestamp,
        event.trace_id,
        entry.scope,
        event.event_id,
        event.data,
        entry.producer_id,
        entry.lease_s,
    )


def decode_row(row: SqlRow) -> Record:
    """Return the record of a row of `COLUMNS`.

    Raises:
        DamagedRow: No version of tidings writes such a row.
    """
    if tuple(map(type, row)) not in _ROW_TYPES or row[2] not in EFFECTS:
        raise DamagedRow(row[0], "a column has another type, or its effect is unknown")
    offset, latest, effect, channel, event_type, key, received_ns, timestamp, trace_id, event_id, data = row
    event = Event(
        type=event_type,
        timestamp=timestamp,
        trace_id=trace_id,
        data=data,
        channel=channel,
        key=key,
        event_class=_LATEST if latest else _DURABLE,
        event_id=event_id,
        effect=EFFECTS[effect],
    )
    return Record(offset, event, received_ns)


# Connections.


def connect(path: Path | str, *, busy_ms: int) -> sqlite3.Connection:
    """Return a connection for writing, to a path or a URI: autocommit, WAL, without automatic checkpoints."""
    connection = sqlite3.connect(
        path,
        uri=isinstance(path, str),
        isolation_level=None,
        timeout=busy_ms / 1000,
        check_same_thread=False,
        cached_statements=256,
    )
    for pragma in (
        "synchronous = NORMAL",
        "wal_autocheckpoint = 0",
        "cache_size = -65536",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        "secure_delete = OFF",  # some distributions build SQLite with it on: each deleted page would be written again
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing, to a log that a hub may be using at the same time.

    Raises:
        LogForeign: The file is missing or not a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is a damaged log.
        LogReadOnly: Its write-ahead log is in a folder that cannot be written: SQLite could not read it reliably.
    """
    if not path.is_file():
        raise LogForeign(f"there is no log at {path}")
    wal = path.with_name(path.name + "-wal")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not (wal.exists() or path.with_name(path.name + "-shm").exists()):
        uri += "&immutable=1"  # no process uses it, and SQLite could not create the files that its users share
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        check_marks(application_id, connection.execute("PRAGMA user_version").fetchone()[0], path)
    except LogError:
        connection.close()
        raise
    except sqlite3.Error as cause:
        connection.close()
        if _primary_code(cause) == sqlite3.SQLITE_NOTADB:
            raise LogForeign(f"{path} is not a log: it is not a SQLite database") from cause
        raise to_log_error(cause, path) from cause
    return connection


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to the log at `path`, which is created if it does not exist. Foreign files stay untouched.

    Raises:
        LogForeign: The file is not a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is a damaged log.
        LogReadOnly: It cannot be written.
        LogFull: The disk has no space for a new log.
        LogUnavailable: The file system failed.
    """
    try:
        if not path.exists() or path.stat().st_size == 0:
            _create(path)
        check_header(path)
        connection = connect(path, busy_ms=5_000)
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, path) from cause
    try:
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LogReadOnly(f"{path}: the file system cannot keep a write-ahead log")
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA_VERSION:
            _migrate(connection, version)
    except LogError:
        connection.close()
        raise
    except sqlite3.Error as cause:
        connection.close()
        raise to_log_error(cause, path) from cause
    return connection


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    steps = [_IDS, _IDS_OF_EVENTS, _IDS_INDEX]
    if version < _SCHEMA_WITH_REVOCATIONS:
        steps.insert(0, _REVOCATIONS)
    if version < _SCHEMA_WITH_OPERATIONS:
        steps.insert(0, _MIGRATION + _OPERATIONS)
    connection.create_function("tidings_digests", 2, _digests_of_stored, deterministic=True)
    connection.executescript(f"BEGIN IMMEDIATE; {' '.join(steps)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _digests_of_stored(type: str, data: bytes) -> bytes:
    """Return `KnownID.digests` of an event of an older version, which may have filled in what was not published."""
    if type == MessageType.OPERATION_START:
        published = _ADDED_ATTEMPT.sub(b"}", data)
    elif type == MessageType.OPERATION_FAILED:
        published = _ADDED_OPERATION.sub(b"{", data)
    else:
        published = data
    return digest_of(data) if published == data else digest_of(published) + digest_of(data)


def _create(path: Path) -> None:
    """Create an empty log under a temporary name first, so that a crash leaves either no log or a whole one."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise LogCorrupt(f"{path} is missing, but its write-ahead log {wal.name} exists")
    partial = path.with_name(path.name + ".new")
    for left in (partial, partial.with_name(partial.name + "-wal"), partial.with_name(partial.name + "-shm")):
        left.unlink(missing_ok=True)
    connection = sqlite3.connect(partial, isolation_level=None)
    try:
        create_tables(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    partial.chmod(0o600)
    replace_file(partial, path)


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of a new log."""
    connection.executescript(
        f"BEGIN; {_TABLES} {_OPERATIONS} {_REVOCATIONS} {_IDS} {_IDS_INDEX}"
        f" PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def has_revocations(connection: sqlite3.Connection) -> bool:
    """Return whether a log has the table of revocations; one that was not opened for writing since may lack it."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version >= _SCHEMA_WITH_REVOCATIONS


def has_ids(connection: sqlite3.Connection) -> bool:
    """Return whether a log has the table of event ids; one that was not opened for writing since may lack it."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version >= _SCHEMA_WITH_IDS


def replace_file(source: Path, target: Path) -> None:
    """Rename `source` to `target`, so that a crash of the machine leaves one of the two whole."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_header(path: Path) -> None:
    """Check that the file at `path` is a log of a supported version, without SQLite, which might repair it.

    Not to be called while this process has the log open: closing the file would drop SQLite's locks on it.

    Raises:
        LogForeign: It is not a log.
        LogTooNew: A newer version of tidings wrote it.
    """
    with path.open("rb") as file:
        header = file.read(100)  # https://www.sqlite.org/fileformat2.html#the_database_header
    if not header.startswith(b"SQLite format 3\x00"):
        raise LogForeign(f"{path} is not a log: it is not a SQLite database")
    check_marks(int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big"), path)


def check_marks(application_id: int, version: int, path: Path) -> None:
    """Check the application id and the schema version of a database.

    Raises:
        LogForeign: It is not a log.
        LogTooNew: A newer version of tidings wrote it.
    """
    if application_id != APPLICATION_ID:
        raise LogForeign(f"{path} is a SQLite database of another program")
    if version > SCHEMA_VERSION:
        raise LogTooNew(f"{path} has schema {version}; this version of tidings supports up to {SCHEMA_VERSION}")


# Errors.


def is_busy(error: Exception) -> bool:
    """Return whether another connection holds the lock."""
    return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def to_log_error(error: Exception, path: Path) -> LogError:
    """Return the LogError for an error of the database or the file system, or for any other one."""
    text = f"{path}: {str(error) or type(error).__name__}"  # a MemoryError has no text
    if isinstance(error, LogError):
        return error
    if isinstance(error, OSError):
        text = f"{path}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return LogFull(text)
        return LogReadOnly(text) if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else LogUnavailable(text)
    match _primary_code(error):
        case sqlite3.SQLITE_FULL:
            return LogFull(f"{path}: the disk is full")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return LogReadOnly(text)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LogCorrupt(text)
        case _:
            return LogUnavailable(text)


def content_error(error: Exception, path: Path) -> LogError:
    """Return the LogError for an error that came while a log's own tables were read: LogCorrupt for wrong contents."""
    if isinstance(error, LogError):
        return error
    # SQLite has no code for missing tables or invalid text; Python raises errors for the rest.
    if isinstance(error, sqlite3.Error) and _primary_code(error) not in (None, sqlite3.SQLITE_ERROR):
        return to_log_error(error, path)
    return LogCorrupt(f"{path} does not have the contents of a log: {error!r}")


def _primary_code(error: Exception) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the low byte is the primary code
