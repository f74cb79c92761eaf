"""Reads a log from outside while a hub may be using it: its figures, a check of its contents, and all its events."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import ContractError
from tidings.log.base import Retention
from tidings.log.epochs import Epochs
from tidings.log.journal.shared_folder import find_log_folder, read_shared_epochs
from tidings.log.newest import Newest
from tidings.log.sqlite.data_dir import locking_pid, log_bytes
from tidings.log.sqlite.database import (
    COLUMNS,
    EFFECTS,
    FILE,
    DamagedRow,
    SqlRow,
    connect_read_only,
    content_error,
    decode_row,
    has_ids,
)
from tidings.log.sqlite.saved_ids import SavedIDs
from tidings.log.sqlite.schema_check import foreign_schema
from tidings.log.sqlite.set_aside import read_reasons, reading_any_text
from tidings.log.sqlite.state import SqliteState
from tidings.protocol.envelope import Envelope, check_event_id, check_trace_id
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.paths import check_key
from tidings.protocol.timestamps import canonicalize

MAX_FAULTS = 100
READ_ROWS = 2_000
"""Number of rows of one read. A longer one would keep a hub's write-ahead log from being copied into its file."""
_EPOCH = re.compile(r"[a-z0-9]{1,32}")
_NO_LIMIT = 1 << 62
_decode = msgspec.json.Decoder().decode


@contextmanager
def read_log(path: Path, *, in_transaction: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a log for reading. In a transaction the connection sees the log as it is at one moment.

    Raises:
        LogForeign: The path does not contain a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be read reliably; see `connect_read_only`.
    """
    connection = connect_read_only(path)
    try:
        if in_transaction:
            connection.execute("BEGIN")
        yield connection
    except (sqlite3.Error, LookupError, TypeError, ValueError, ArithmeticError) as cause:
        raise content_error(cause, path) from cause
    finally:
        connection.close()


# Figures.


class LogInfo(Struct, frozen=True, kw_only=True):
    """The figures of a log, read from its files."""

    path: Path
    """The database file."""
    schema: int
    """Version of its tables."""
    epoch: str
    """The newest epoch."""
    epochs: int
    """Number of epochs."""
    head: int
    """Offset of the newest event; 0 in an empty log."""
    first: int
    """Offset after the last one trimmed from the range."""
    events: int
    """Events that can be read, including those kept for the snapshot."""
    durable_events: int
    """Durable events in the range."""
    durable_bytes: int
    """Size of their data."""
    latest_events: int
    """`latest` events in the range."""
    oldest_ns: int | None
    """Receipt of the oldest event, nanoseconds since 1970; None in an empty log."""
    newest_ns: int | None
    """Receipt of the newest event, nanoseconds since 1970; None in an empty log."""
    disk_bytes: int
    """Size of the files, without the ballast."""
    unused_bytes: int
    """The part of it that is free for new events."""
    closed: bool
    """Whether the log was closed properly: false while a hub uses it, and after a crash."""
    process: int | None
    """Process id of the hub that uses it: 0 if it is unknown, None if there is none."""


def info(data: Path) -> LogInfo:
    """Return the figures of the log in the data folder `data`; of several workers', those of the one that is furthest.

    Raises:
        LogForeign: The path does not contain a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is damaged.
    """
    folder = find_log_folder(data)
    path = folder / FILE
    with read_log(path) as connection:
        execute = connection.execute
        meta = dict(execute("SELECT name, value FROM meta"))
        counts = {0: (0, 0), 1: (0, 0)}
        for latest, name in ((0, "durable_floor"), (1, "latest_floor")):
            counts[latest] = execute(
                "SELECT count(*), ifnull(sum(length(data)), 0) FROM events WHERE latest = ? AND offset > ?",
                (latest, meta[name]),
            ).fetchone()
        events, last, oldest, newest = execute(
            "SELECT count(*), ifnull(max(offset), 0), min(received_ns), max(received_ns) FROM events"
        ).fetchone()
        epochs = read_shared_epochs(connection)
        return LogInfo(
            path=path,
            schema=execute("PRAGMA user_version").fetchone()[0],
            epoch=epochs[-1].name if epochs else "",
            epochs=len(epochs),
            head=max(meta["head"], last),
            first=meta["durable_floor"] + 1,
            events=events,
            durable_events=counts[0][0],
            durable_bytes=counts[0][1],
            latest_events=counts[1][0],
            oldest_ns=oldest,
            newest_ns=newest,
            disk_bytes=log_bytes(folder),
            unused_bytes=execute("PRAGMA freelist_count").fetchone()[0] * execute("PRAGMA page_size").fetchone()[0],
            closed=bool(meta["clean"]),
            process=locking_pid(data),
        )


# Checking.


class Verification(Struct, frozen=True, kw_only=True):
    """The result of a check."""

    path: Path
    events: int
    """Number of events that were checked."""
    faults: tuple[str, ...]
    """The faults found, at most 100; empty for a log that is whole."""
    set_aside: tuple[str, ...] = ()
    """The reasons of the newest rows in the table `set_aside`, at most 100: a hub found them damaged and left them."""


def verify(path: Path) -> Verification:
    """Check a log or a copy of one: that its file is whole, and that it has the contents of a log.

    Args:
        path: The data folder, or a file that `tidings.log.sqlite.backup.backup` created.

    Raises:
        LogForeign: The path does not contain a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is too damaged to be checked.
    """
    file = find_log_folder(path) / FILE if path.is_dir() else path
    faults: list[str] = []
    events = 0
    aside: tuple[str, ...] = ()
    with read_log(file) as connection, reading_any_text(connection):
        try:
            found = connection.execute(f"PRAGMA integrity_check({MAX_FAULTS})").fetchall()
            faults += [f"SQLite: {fault}" for (fault,) in found if fault != "ok"]
        except sqlite3.DatabaseError as error:  # too damaged to be checked
            faults.append(f"SQLite: {error}")
        if not faults:
            faults += foreign_schema(connection)
            aside = tuple(read_reasons(connection, MAX_FAULTS))
            check = _Check(connection)
            faults += islice(check.run(), MAX_FAULTS - len(faults))
            events = check.events
    return Verification(path=file, events=events, faults=tuple(faults), set_aside=aside)


class _Check:
    """The checks of one log whose file SQLite found whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._meta = dict(connection.execute("SELECT name, value FROM meta"))
        (last,) = connection.execute("SELECT ifnull(max(offset), 0) FROM events").fetchone()
        self._head = max(self._meta["head"], last)
        self._newest = Newest(per_type=_NO_LIMIT, age_ns=_NO_LIMIT, ended_ns=_NO_LIMIT)
        self._counted = {0: [0, 0], 1: [0, 0]}
        """By `latest`: events and bytes in the range, up to the head that the counters belong to."""
        self.events = 0

    def run(self) -> Iterator[str]:
        """Yield the faults."""
        yield from self._check_marks()
        yield from self._check_rows()
        yield from self._check_ids()
        yield from self._check_counters()
        yield from self._check_opening()

    def _check_marks(self) -> Iterator[str]:
        meta, head = self._meta, self._head
        for name in ("durable_floor", "latest_floor", "folded_to"):
            if not 0 <= meta[name] <= head:
                yield f"{name} is {meta[name]}, but the head is {head}"
        start = 0
        epochs = read_shared_epochs(self._connection)
        if not epochs and head:  # a log that was created but never opened has no epoch and needs none
            yield "there is no epoch"
        for epoch in epochs:
            if not _EPOCH.fullmatch(epoch.name) or epoch.start < start:
                yield f"epoch {epoch.name!r} begins after {epoch.start}, but the one before after {start}"
            start = epoch.start
        for channel, key, trimmed in self._connection.execute("SELECT channel, key, trimmed FROM floors"):
            if not 0 < trimmed <= head:
                yield f"{channel}/{key} was trimmed up to {trimmed}, but the head is {head}"

    def _check_rows(self) -> Iterator[str]:
        floors = {0: self._meta["durable_floor"], 1: self._meta["latest_floor"]}
        for row in self._connection.execute(
            f"SELECT {COLUMNS}, scope, producer_id, lease_s FROM events ORDER BY offset"
        ):
            self.events += 1
            offset, latest, effect, channel, type, key, received_ns, *_, data, _, _, _ = row
            fault = _find_fault(row)
            if fault:
                yield f"event {offset}: {fault}"
                continue
            self._newest.apply_columns(offset, channel, type, key, received_ns, bool(latest), EFFECTS[effect])
            if floors[latest] < offset <= self._meta["head"]:
                self._counted[latest][0] += 1
                self._counted[latest][1] += len(data)

    def _check_ids(self) -> Iterator[str]:
        if not has_ids(self._connection):  # not migrated yet
            return
        floor = self._meta.get("ids_floor", 0)
        if not 0 <= floor <= self._head:
            yield f"ids_floor is {floor}, but the head is {self._head}"
        for row in self._connection.execute("SELECT offset, type, digests, attempt FROM ids"):
            if not SavedIDs.is_row(row) or not 0 < row[0] <= self._head:
                yield f"the event id of event {row[0]} is not one that a log writes"
        for offset, event_id in self._connection.execute(
            "SELECT events.offset, events.event_id FROM events LEFT JOIN ids ON ids.offset = events.offset"
            " AND ids.scope = events.scope AND ids.event_id = events.event_id AND ids.type = events.type"
            " WHERE events.event_id IS NOT NULL AND events.offset > ? AND ids.offset IS NULL ORDER BY events.offset",
            (floor,),
        ):
            yield f"event {offset}: its event id {event_id!r} is not remembered"

    def _check_counters(self) -> Iterator[str]:
        durable, latest = self._counted[0], self._counted[1]
        for name, found in (
            ("durable_events", durable[0]),
            ("durable_bytes", durable[1]),
            ("latest_events", latest[0]),
        ):
            # Before the first step of retention the counters are not saved.
            if self._meta["head"] and self._meta[name] != found:
                yield f"{name} is {self._meta[name]}, but the log holds {found}"

    def _check_opening(self) -> Iterator[str]:
        """Do what a hub does with the log when it opens and closes it, and compare the saved index."""
        try:
            state = self._open()
        except (sqlite3.Error, LookupError, TypeError, ValueError, ArithmeticError) as error:
            yield f"a hub cannot open it: {error!r}"
            return
        for (table, key), reason in state.set_aside.found.items():
            if table != "events":
                yield f"row {key!r} of table {table}: {reason}"
        if state.saved_index.damage:
            yield state.saved_index.damage
        for status in (*state.operations.live, *state.operations.ended):
            try:
                msgspec.msgpack.encode(status)
            except (msgspec.MsgspecError, OverflowError, TypeError, ValueError) as error:
                yield f"operation {status.operation_id!r} cannot be saved: {error}"
        for channel, type in state.newest.groups():
            for key, offset in state.newest.keys(channel, type):
                newest = self._newest.offset(channel, type, key)
                if newest != offset:
                    yield f"the newest {type} of {channel}/{key} is {newest}, but {offset} was saved"

    def _open(self) -> SqliteState:
        # With the types it was saved for, so that the saved index is used instead of a new one; and nothing expires.
        thinned = [type for type in self._meta["thinned"].split(",") if type]
        retention = Retention(
            newest_per_type=_NO_LIMIT,
            newest_age_s=4e9,
            finished_s=4e9,
            keep_newest=dict.fromkeys(thinned, _NO_LIMIT),
        )
        return SqliteState(self._connection, retention)


def _find_fault(row: SqlRow) -> str:
    """Return what is wrong with a row of `COLUMNS`, the scope, the producer and the lease; "" if nothing is."""
    offset, latest, effect, channel, type, key, received, timestamp, trace_id, event_id, data, *more = row
    if offset < 1 or latest not in (0, 1) or effect not in SlotEffect.__members__.values():
        return "its offset, class or effect is not one that a log writes"
    texts = (channel, type, timestamp, trace_id, *more[:2])
    if not (all(isinstance(text, str) for text in texts) and isinstance(key, str | None) and channel and type):
        return "its channel, type, key, timestamp, trace id, scope or producer is not text"
    if not (isinstance(received, int) and isinstance(data, bytes) and isinstance(more[2], float | int)):
        return "its lease, time or data is not one that a log writes"
    try:
        # As events enter the log, apart from the year of the timestamp, which older hubs did not check.
        if canonicalize(timestamp) != timestamp:
            return f"its timestamp {timestamp[:64]!r} is not in canonical form"
        check_trace_id(trace_id)
        if event_id is not None:
            check_event_id(event_id)
        if key is not None:
            check_key(key)
        _decode(data)
    except msgspec.DecodeError as error:
        return f"its data is not JSON: {error}"
    except (ContractError, TypeError) as error:
        return f"it is not a valid event: {error}"
    return ""


# Reading everything.


def stored_envelopes(path: Path) -> Iterator[Envelope]:
    """Yield every event as its envelope, with its position.

    Events that are trimmed during the iteration are left out; events that are appended are included.

    Args:
        path: The data folder, or a file that `tidings data backup` created.

    Raises:
        LogForeign: The path does not contain a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be read reliably; see `connect_read_only`.
    """
    file = find_log_folder(path) / FILE if path.is_dir() else path
    with read_log(file, in_transaction=False) as connection, reading_any_text(connection):
        after = 0
        while rows := connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE offset > ? ORDER BY offset LIMIT ?", (after, READ_ROWS)
        ).fetchall():
            epochs = Epochs(read_shared_epochs(connection))
            for row in rows:
                after = row[0]
                try:
                    record = decode_row(row)
                except DamagedRow:
                    continue  # `verify` reports it, and a hub sets it aside
                event = record.event
                yield Envelope(
                    type=event.type,
                    timestamp=event.timestamp,
                    trace_id=event.trace_id,
                    data=Raw(event.data),
                    channel=event.channel,
                    position=str(epochs.position(record.offset)),
                    event_id=event.event_id,
                )
