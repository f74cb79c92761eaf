"""Opening the embedded log's file: what of it is held in memory, kept up step by step, and saved at the end."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Known, Retention
from tidings.log.epochs import Epoch, Epochs
from tidings.log.retention import RetentionSweeper
from tidings.log.sqlite.database import INSERT, misfit, open_database, row_of
from tidings.log.sqlite.queries import SqliteRows
from tidings.log.sqlite.saved_index import SAVE_EVERY, SavedIndex
from tidings.log.sqlite.saved_operations import SavedOperations
from tidings.log.trim_marks import TrimMarks

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_RELEASES = 100
"""When the log is closed, of rows that wait to be deleted, each a step's worth: a tenth of a second."""


class SqliteState:
    """The file, and the state that is a fold over it.

    Raises:
        KeyError, TypeError, ValueError: The file does not hold what a log holds.
    """

    def __init__(self, connection: sqlite3.Connection, retention: Retention, *, save_every: int = SAVE_EVERY) -> None:
        self.connection = connection
        self.newest = retention.new_newest()
        self.operations = retention.new_operations()
        self.floors = TrimMarks()
        self.sweeps = RetentionSweeper(SqliteRows(connection), self.newest, self.floors, retention)
        self.fold = SavedIndex(connection, self.newest, self.sweeps, retention, save_every=save_every)
        self.floors.restore(connection.execute("SELECT channel, key, trimmed FROM floors"))
        self.head = self.fold.restore()
        """Offset of the newest event when the log was opened."""
        self.saved = SavedOperations(connection, self.operations)
        self.saved.restore(self.newest)
        self.epochs = Epochs(read_epochs(connection))

    def begin(self, new_epoch: Callable[[], str]) -> None:
        """Mark the log as in use, and begin an epoch where a position might be given twice otherwise."""
        execute = self.connection.execute
        meta = dict(execute("SELECT name, value FROM meta"))
        boot = _boot_id()
        epochs = read_epochs(self.connection)
        # On the disk before anything is appended: else a crash of the machine could leave the clean mark behind, and
        # take events with it.
        execute("PRAGMA synchronous = FULL")
        with self._transaction():
            if not epochs or not (meta["clean"] or (boot and meta["boot"] == boot)):
                epochs.append(add_epoch(self.connection, new_epoch, self.head))
            execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
            execute("UPDATE meta SET value = ? WHERE name = 'boot'", (boot,))
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA busy_timeout = 0")  # from here on the event loop waits for nobody
        self.epochs = Epochs(epochs)

    def append(self, first: int, batch: Sequence[EventToAppend]) -> None:
        """Store `batch`, its first event at offset `first`, whole or not at all.

        Raises:
            sqlite3.Error: Nothing of it was stored.
        """
        with self._transaction():
            self.connection.executemany(INSERT, [row_of(offset, draft) for offset, draft in enumerate(batch, first)])

    def known(self, scope: str, event_id: str) -> Known | None:
        """Return the event that was published with `event_id` in `scope`, if it is still there.

        Raises:
            sqlite3.Error: It could not be looked up.
        """
        row = self.connection.execute(
            "SELECT offset, type, data FROM events WHERE scope = ? AND event_id = ?", (scope, event_id)
        ).fetchone()
        return None if row is None else Known(*row)

    def is_due(self, head: int, now_ns: int) -> bool:
        """Return whether a step would find anything to do."""
        return self.saved.is_due() or self.sweeps.is_due(now_ns) or self.fold.is_due(head)

    def step(self, head: int, now_ns: int) -> bool:
        """Do one small step of retention, or of saving; return whether more is waiting.

        Raises:
            sqlite3.Error: It could not be; all is as if it had not been tried.
        """
        try:
            with self._transaction():
                # First, so that nothing is trimmed which an operation that is not saved yet was made of.
                self.sweeps.until = self.saved.step(head)
                if self.sweeps.is_due(now_ns):
                    self.sweeps.step(now_ns)
                else:
                    self.fold.step(head)
                self._save(head)
        except sqlite3.Error:
            self.saved.rolled_back()
            self.sweeps.rolled_back()
            self.fold.abandon()
            raise
        self.saved.committed()
        self.sweeps.committed()
        return self.is_due(head, now_ns)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself: a full disk does that. Where the disk fails in rolling back, too,
            # SQLite drops what it held all the same.
            if self.connection.in_transaction:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise

    def _save(self, head: int) -> None:
        counts, newest = self.sweeps.counts, self.newest
        update = "UPDATE meta SET value = ? WHERE name = ?"
        # The head, too: a log that was emptied must not begin again at 1.
        self.connection.executemany(
            update,
            (
                (head, "head"),
                (newest.durable_floor, "durable_floor"),
                (newest.latest_floor, "latest_floor"),
                (counts.durable_events, "durable_events"),
                (counts.durable_bytes, "durable_bytes"),
                (counts.latest_events, "latest_events"),
            ),
        )
        for (channel, key), trimmed in self.floors.changed().items():
            if trimmed is None:
                self.connection.execute("DELETE FROM floors WHERE channel = ? AND key = ?", (channel, key))
            else:
                self.connection.execute("INSERT OR REPLACE INTO floors VALUES (?, ?, ?)", (channel, key, trimmed))

    def close(self, head: int) -> None:
        """Save everything, mark the log as closed, and bring all of it into the one file.

        Raises:
            sqlite3.Error: It could not be; the log is opened the slower way then, and is whole.
        """
        with self._transaction():
            for _ in range(_MOST_RELEASES):
                if self.newest.released:
                    self.sweeps.release()
            self.saved.save(head)
            self._save(head)
            self.fold.save(head)
            self.connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def open_log(path: Path, new_epoch: Callable[[], str], retention: Retention, *, save_every: int) -> SqliteState:
    """Return the log in the file at `path`, made if there is none.

    Raises:
        LogError: See `SqliteLog`.
    """
    connection = open_database(path)
    try:
        opened = SqliteState(connection, retention, save_every=save_every)
        opened.begin(new_epoch)
    except LogError:
        connection.close()
        raise
    except (sqlite3.Error, KeyError, TypeError, ValueError) as cause:
        connection.close()
        raise misfit(cause, path) from cause
    return opened


def read_epochs(connection: sqlite3.Connection) -> list[Epoch]:
    """Return the epochs in the file, oldest first."""
    return [Epoch(name, start) for name, start in connection.execute("SELECT name, start FROM epochs ORDER BY number")]


def add_epoch(connection: sqlite3.Connection, new_epoch: Callable[[], str], head: int) -> Epoch:
    """Begin an epoch after `head`, in the caller's transaction."""
    taken = {epoch.name for epoch in read_epochs(connection)}
    name = next(name for name in iter(new_epoch, None) if name not in taken)
    connection.execute("INSERT INTO epochs (name, start) VALUES (?, ?)", (name, head))
    return Epoch(name, head)


def _boot_id() -> str:
    """Return what tells one start of the machine from another, or "" where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
