"""The state of a SQLite log: the file, and the tables in memory that are derived from its rows."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from tidings.log.base import (
    EventToAppend,
    LogStatistics,
    Outcome,
    Page,
    Query,
    Record,
    Retention,
    StateAfter,
    StoredRows,
)
from tidings.log.epochs import MAX_EPOCHS, Epoch, Epochs
from tidings.log.judge import Judge, KnownID
from tidings.log.newest import owner_of
from tidings.log.opening import OpeningProgress
from tidings.log.producers import ProducerTable
from tidings.log.retention import RetentionSweeper
from tidings.log.revocations import RevocationTable
from tidings.log.sqlite.database import (
    INSERT,
    DamagedRow,
    content_error,
    encode_row,
    open_database,
)
from tidings.log.sqlite.queries import SqliteRows, find_last_before, read_page
from tidings.log.sqlite.saved_clock import SavedClock
from tidings.log.sqlite.saved_ids import SavedIDs
from tidings.log.sqlite.saved_index import SAVE_INTERVAL_EVENTS, SavedIndex
from tidings.log.sqlite.saved_operations import SavedOperations
from tidings.log.sqlite.saved_revocations import SavedRevocations
from tidings.log.sqlite.schema_check import foreign_schema
from tidings.log.sqlite.set_aside import LostEvent, SetAside, is_text_error, reading_any_text
from tidings.log.sqlite.stored_state import StoredState
from tidings.log.trim_marks import TrimMarks
from tidings.operations.lifecycle import TRANSITIONS
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import PathSet

_T = TypeVar("_T")

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
logger = logging.getLogger(__name__)

_STOP_CHECK_INSTRUCTIONS = 100_000
"""Instructions of SQLite's virtual machine between two checks whether the opening should end: about a millisecond."""
_LATEST = EventClass.LATEST
_MAX_CLOSING_DELETIONS = 100
"""Maximum number of deletions of released rows, a step's worth each, when the log is closed: a tenth of a second."""


class SqliteState:
    """The only owner of a log's connection and of the tables in memory that are derived from its rows.

    Each method is one transaction at most. After an exception the file and the tables are as they were before.

    Args:
        connection: To the log's file; `close` closes it.
        retention: How much the log keeps.
        save_every: See `SavedIndex`.
        progress: Counts the rows that are read.

    Raises:
        KeyError, TypeError, ValueError: The file does not have the contents of a log.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        retention: Retention,
        *,
        save_every: int = SAVE_INTERVAL_EVENTS,
        progress: OpeningProgress | None = None,
    ) -> None:
        progress = progress or OpeningProgress()
        self._connection = connection
        self.newest = retention.new_newest()
        self.operations = retention.new_operations()
        self.revocations = RevocationTable()
        self._trim_marks = TrimMarks()
        self._clock = SavedClock(connection)
        self.jumps = self._clock.jumps
        rows = SqliteRows(connection)
        self._sweeper = RetentionSweeper(rows, self.newest, self._trim_marks, retention, self.jumps)
        self.set_aside = SetAside(connection, self._forget)
        """The rows that could not be read or written."""
        self.saved_index = SavedIndex(
            connection,
            self.newest,
            self._sweeper,
            retention,
            self.jumps,
            save_every=save_every,
            set_aside=self.set_aside,
        )
        self.head = self.saved_index.restore(progress)
        """Offset of the newest event; 0 in an empty log."""
        self._restore_trim_marks()
        self._saved_operations = SavedOperations(connection, self.operations, self.set_aside)
        self._saved_operations.restore(self.newest, progress)
        self._saved_revocations = SavedRevocations(connection, self.revocations, self.set_aside)
        self._saved_revocations.restore()
        self.epochs = Epochs(read_epochs(connection))
        self._max_ids = retention.ids
        self._ids = SavedIDs(connection)
        self._ids.restore()
        self.producers = ProducerTable(self.operations)
        self.stored = StoredState(connection)
        self._judge = Judge(
            self.operations, self._find_id, lambda offset: self.epochs.position(offset), self.producers.sign
        )
        self.now_ns = 0
        """The hub's clock at the last step of retention, nanoseconds since 1970; 0 before the first."""

    def _restore_trim_marks(self) -> None:
        marks = self._connection.execute("SELECT channel, key, trimmed FROM floors").fetchall()
        good = [mark for mark in marks if tuple(map(type, mark)) == (str, str, int)]
        self._trim_marks.restore(good)
        if len(good) < len(marks):  # a reader may then receive a gap that it does not have, but misses none
            logger.error("%d rows of table floors are damaged and not used", len(marks) - len(good))
            for channel, _ in self.newest.groups():
                self._trim_marks.mark_trimmed(channel, self.newest.durable_floor)

    def _forget(self, lost: LostEvent) -> None:
        self._sweeper.forget(lost.offset, latest=lost.latest, size=lost.size)

    def begin(self, new_epoch: Callable[[], str]) -> None:
        """Mark the log as in use, and begin an epoch."""
        execute = self._connection.execute
        boot_id = _read_boot_id()
        # Synced before anything is appended: otherwise a crash of the machine could leave the clean mark behind, and
        # lose events.
        execute("PRAGMA synchronous = FULL")
        with self._transaction():
            add_epoch(self._connection, new_epoch, self.head)
            self._clock.begin(boot_id)
            execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
            execute("UPDATE meta SET value = ? WHERE name = 'boot'", (boot_id,))
            self.set_aside.step()
        self.set_aside.commit()
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA busy_timeout = 0")  # from here on the event loop never waits for a lock
        self.epochs = Epochs(read_epochs(self._connection))

    # Appending.

    def append(
        self, batch: Sequence[EventToAppend], state: StateAfter | None = None, rows: StoredRows | None = None
    ) -> tuple[list[Outcome], list[Record], int]:
        """Judge `batch`, and store the accepted events after the head, with the bytes that `state` returns.

        Returns:
            The outcomes, the records, and the size of their data in bytes.

        Raises:
            sqlite3.Error: Nothing was stored.
        """
        first = self.head + 1
        # Everything that may fail comes before the commit: after it the events are in the log.
        if len(batch) == 1 and batch[0].event.event_id is None and state is None:
            outcomes, accepted, ids = self._judge.judge(batch, self.head)
            self._insert(first, accepted)  # one statement is a transaction by itself
        else:
            with self._transaction():  # a busy file fails here, before the batch is judged in vain
                outcomes, accepted, ids = self._judge.judge(batch, self.head)
                self._insert(first, accepted)
                if ids:
                    self._ids.add(ids)
                if state is not None:
                    self.stored.write(state(outcomes), rows or {})
                    self._saved_operations.save_held()
        if state is not None:
            self.operations.held.clear()
        self._ids.count += len(ids)
        self.head += len(accepted)
        records: list[Record] = []
        size = 0
        apply, count, note = self.newest.apply_columns, self._sweeper.count_columns, self.operations.apply
        for offset, entry in enumerate(accepted, first):
            event, received_ns = entry.event, entry.received_ns
            records.append(Record(offset, event, received_ns))
            channel, type, key, bytes_ = event.channel, event.type, event.key, len(event.data)
            latest = event.event_class is _LATEST
            size += bytes_
            try:
                apply(offset, channel, type, key, received_ns, latest, event.effect, entry.scope)
                count(channel, type, key, bytes_, received_ns, latest)
                if type in TRANSITIONS:
                    note(offset, event, received_ns, entry.producer_id, entry.lease_s, owner_of(entry.scope))
            except Exception:
                logger.exception("event %d is in the log, but not in the tables made from it", offset)
        return outcomes, records, size

    def _insert(self, first: int, accepted: Sequence[EventToAppend]) -> None:
        self._connection.executemany(
            INSERT, [encode_row(offset, entry) for offset, entry in enumerate(accepted, first)]
        )

    def save_revocations(self) -> None:
        """Save the changes of `revocations`.

        Raises:
            sqlite3.Error: They are not saved; the next step tries again.
        """
        with self._transaction():
            self._saved_revocations.step()
        self._saved_revocations.commit()

    # Reading.

    def _find_id(self, scope: str, event_id: str) -> KnownID | None:
        return self._read_any_text(partial(self._ids.find, scope, event_id))

    def read(self, query: Query) -> Page:
        """Return one page of `query`.

        Raises:
            sqlite3.Error: The read failed.
        """
        return self._read_any_text(lambda: read_page(self._connection, self.newest, query, self.set_aside))

    def _read_any_text(self, read: Callable[[], _T]) -> _T:
        """Call `read`; if a text is not UTF-8, once more with such texts as bytes, which make a row a damaged one."""
        try:
            return read()
        except sqlite3.OperationalError as error:
            if not is_text_error(error):
                raise
        with reading_any_text(self._connection):
            return read()

    def last_before(self, received_ns: int) -> int:
        """See `Log.last_before`.

        Raises:
            sqlite3.Error: The search failed.
        """
        return find_last_before(self._connection, self.head, received_ns)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._trim_marks.above(after, paths)

    def unused_bytes(self) -> int:
        """Return how many bytes of the file are free for new rows."""
        pages: int = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        size: int = self._connection.execute("PRAGMA page_size").fetchone()[0]
        return pages * size

    def statistics(self, disk_bytes: int) -> LogStatistics:
        """Return the log's figures, with the size of its files."""
        return self._sweeper.statistics(
            self.epochs.current.name, self.head, disk_bytes, self.set_aside.count + len(self.set_aside.found)
        )

    # Clocks.

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """See `Log.start_clock`."""
        self.now_ns = now_ns
        jump_ns = self._clock.start(now_ns, steady_ns, self.head)
        self.newest.jump(jump_ns, now_ns)
        self._sweeper.note_jump()

    def record_jump(self, jump_ns: int) -> None:
        """See `Log.record_jump`."""
        self.now_ns += jump_ns
        self._clock.record_jump(jump_ns, self.head)
        self.newest.jump(jump_ns, self.now_ns)
        self._sweeper.note_jump()

    # Retention and saving.

    def expire(self, now_ns: int) -> bool:
        """Remove some entries that are too old from the tables in memory; return whether to continue."""
        more = self.newest.expire(now_ns)
        self.revocations.expire(now_ns)
        self._sweeper.operations_bytes, self._sweeper.ids = self.operations.ended_bytes, self._ids.count
        return more

    @property
    def forgettable(self) -> int:
        """See `Log.forgettable`.

        Raises:
            sqlite3.Error: The look-up failed.
        """
        return max(self._ids.excess(self._max_ids), self.newest.durable_floor)

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """See `Log.forget`."""
        self._ids.floor = max(self._ids.floor, min(ids_until, self.head))
        return self.operations.expire(now_ns, self.jumps.adjust) or self._ids.count > self._max_ids

    def is_due(self, now_ns: int) -> bool:
        """Return whether a step would do anything."""
        return (
            bool(self.set_aside.found)
            or self._saved_operations.is_due()
            or self._saved_revocations.is_due()
            or self._clock.is_due()
            or self._ids.is_due()
            or self._sweeper.is_due(now_ns)
            or self.saved_index.is_due(self.head)
        )

    def step(self, now_ns: int) -> bool:
        """Do one small step of retention or of saving; return whether more work is waiting.

        Raises:
            sqlite3.Error: The step failed and was undone.
        """
        try:
            return self._read_any_text(partial(self._step, now_ns))
        except DamagedRow as row:  # nothing was deleted; the next step sets it aside
            self.set_aside.note("events", row.key, row)
            return True

    def _step(self, now_ns: int) -> bool:
        if self.set_aside.found:  # by itself, because retention decides by the counts
            self._set_aside_found()
            return True
        try:
            with self._transaction():
                # First, so that no event is trimmed that an unsaved operation was derived from.
                self._sweeper.until = self._saved_operations.step(self.head)
                if self._sweeper.is_due(now_ns):
                    self._sweeper.step(now_ns)
                else:
                    self.saved_index.step(self.head)
                self._save_marks()
                self._saved_revocations.step()
                self._ids.step()
                self._clock.save(now_ns)
        except Exception:
            self._ids.roll_back()
            self._saved_operations.roll_back()
            self._sweeper.roll_back()
            self.saved_index.abandon()
            raise
        self._ids.commit()
        self._saved_operations.commit()
        self._saved_revocations.commit()
        self._sweeper.commit()
        self._clock.commit()
        return self.is_due(now_ns)

    def _set_aside_found(self) -> None:
        try:
            with self._transaction():
                self.set_aside.step()
        except Exception:
            self.set_aside.roll_back()
            raise
        self.set_aside.commit()
        with self._transaction():
            self._save_marks()

    def _save_marks(self) -> None:
        counts, newest = self._sweeper.counts, self.newest
        # The head is saved because a log that was emptied must not begin again at 1.
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta (value, name) VALUES (?, ?)",  # older files lack some
            (
                (self.head, "head"),
                (newest.durable_floor, "durable_floor"),
                (newest.latest_floor, "latest_floor"),
                (counts.durable_events, "durable_events"),
                (counts.durable_bytes, "durable_bytes"),
                (counts.latest_events, "latest_events"),
                (counts.latest_bytes, "latest_bytes"),
                (counts.kept_bytes, "kept_bytes"),
            ),
        )
        for (channel, key), trimmed in self._trim_marks.changed().items():
            if trimmed is None:
                self._connection.execute("DELETE FROM floors WHERE channel = ? AND key = ?", (channel, key))
            else:
                self._connection.execute("INSERT OR REPLACE INTO floors VALUES (?, ?, ?)", (channel, key, trimmed))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back on its own, as it does when the disk is full. If the disk fails during the
            # rollback as well, SQLite drops the transaction all the same.
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Save everything, mark the log as closed, and copy the write-ahead log into the database file.

        Raises:
            sqlite3.Error: Saving failed; the file is whole, but opening it reads all its events.
        """
        try:
            with self._transaction():
                for _ in range(_MAX_CLOSING_DELETIONS):
                    if self.newest.released:
                        self._sweeper.delete_released()
                self.set_aside.step()
                self._saved_operations.save(self.head)
                self._saved_revocations.step()
                self._ids.step()
                self._save_marks()
                self.saved_index.save(self.head)
                self._clock.save(self.now_ns)
                self._connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._connection.close()


def open_log(
    path: Path,
    new_epoch: Callable[[], str],
    retention: Retention,
    *,
    save_every: int,
    progress: OpeningProgress | None = None,
) -> SqliteState:
    """Return the state of the log in the file at `path`, which is created if it does not exist.

    Raises:
        LogError: See `SqliteLog`.
    """
    progress = progress or OpeningProgress()
    connection = open_database(path)
    connection.set_progress_handler(progress.is_stopped, _STOP_CHECK_INSTRUCTIONS)
    try:
        state = _open_state(connection, retention, save_every, progress)
        state.begin(new_epoch)
        connection.set_progress_handler(None, 0)
    except Exception as cause:
        connection.close()
        raise content_error(cause, path) from cause
    for fault in foreign_schema(connection):
        logger.warning("%s: %s", path, fault)
    return state


def _open_state(
    connection: sqlite3.Connection, retention: Retention, save_every: int, progress: OpeningProgress
) -> SqliteState:
    try:
        return SqliteState(connection, retention, save_every=save_every, progress=progress)
    except sqlite3.OperationalError as error:
        if not is_text_error(error):
            raise
    with reading_any_text(connection):
        return SqliteState(connection, retention, save_every=save_every, progress=progress)


def read_epochs(connection: sqlite3.Connection) -> list[Epoch]:
    """Return the epochs in the file, oldest first."""
    return [Epoch(name, start) for name, start in connection.execute("SELECT name, start FROM epochs ORDER BY number")]


def add_epoch(connection: sqlite3.Connection, new_epoch: Callable[[], str], head: int) -> None:
    """Begin an epoch after `head`, in the caller's transaction."""
    epochs = read_epochs(connection)
    taken = {epoch.name for epoch in epochs}
    name = next(name for name in iter(new_epoch, None) if name not in taken)
    if len(epochs) > 1 and epochs[-1].start == head:
        # No event was appended in it, so no position has its name. (The first has the position of an empty log.)
        connection.execute("DELETE FROM epochs WHERE name = ?", (epochs[-1].name,))
    connection.execute("INSERT INTO epochs (name, start) VALUES (?, ?)", (name, head))
    connection.executemany("DELETE FROM epochs WHERE name = ?", ((epoch.name,) for epoch in epochs[: 1 - MAX_EPOCHS]))


def _read_boot_id() -> str:
    """Return an id of the machine's current boot, or "" on systems without one."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return ""
