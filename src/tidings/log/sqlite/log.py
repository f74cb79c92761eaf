"""The embedded log in a file: SQLite in WAL mode, one transaction per batch, and no disk sync in the event loop.

Events that `AppendDone` reported survive a crash of the process. A crash of the machine may lose the last seconds.
Every opening begins a new epoch, so that no position is assigned twice, whatever was lost, copied or put back before.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from tidings.exceptions import LogBusy, LogError, LogForeign, LogFull, LogUnavailable
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    LogStatistics,
    OnControl,
    Page,
    Query,
    ReadDone,
    ReceivedControl,
    Record,
    Retention,
    RevokeDone,
    Scheduler,
    StateAfter,
    StoredRows,
    Tail,
)
from tidings.log.journal.controls import HubControl
from tidings.log.journal.sqlite_file import FILE as JOURNAL_FILE
from tidings.log.newest import Newest
from tidings.log.opening import OpeningProgress
from tidings.log.producers import ProducerTable
from tidings.log.revocations import Revocation, RevocationTable
from tidings.log.sqlite.checkpointer import Checkpointer
from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import FILE, is_busy, to_log_error
from tidings.log.sqlite.disk_space import DiskSpaceGuard
from tidings.log.sqlite.saved_index import SAVE_INTERVAL_EVENTS
from tidings.log.sqlite.state import SqliteState, open_log
from tidings.operations.table import OperationTable
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position

logger = logging.getLogger(__name__)

DEFAULT_BALLAST_BYTES = 8 << 20
RETRY_DELAY_S = 0.001
"""Delay before a batch is tried again while the checkpoint thread holds the write lock."""
MAX_BUSY_S = 5.0
"""Time after which a batch that found the file busy is refused with LogBusy."""


class _PendingAppend(msgspec.Struct):
    batch: Sequence[EventToAppend]
    done: AppendDone
    state: StateAfter | None
    rows: StoredRows | None
    deadline: float


class _PendingRevocation(msgspec.Struct, frozen=True):
    revocation: Revocation
    done: RevokeDone
    deadline: float


class SqliteLog:
    """A `tidings.log.base.Log` in one file of a data folder.

    Args:
        folder: The data folder; created if it does not exist.
        scheduler: The loop, for trying again when the file is busy.
        new_epoch: Creates names of epochs: 8 lower-case hex digits.
        retention: How much it keeps.
        ballast_bytes: See `DataDir`.
        save_every: See `SavedIndex`.
        progress: Counts the rows that opening reads, and may stop it.

    Raises:
        LogInUse: Another process uses the folder.
        LogForeign: The file in it is not a log.
        LogTooNew: A newer version of tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be written.
        LogFull: The disk is full.
    """

    def __init__(
        self,
        folder: Path,
        scheduler: Scheduler,
        new_epoch: Callable[[], str],
        *,
        retention: Retention | None = None,
        ballast_bytes: int = DEFAULT_BALLAST_BYTES,
        save_every: int = SAVE_INTERVAL_EVENTS,
        progress: OpeningProgress | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._data_dir = DataDir(folder, ballast_bytes=ballast_bytes)
        self._path = folder / FILE
        if (folder / JOURNAL_FILE).exists():
            self._data_dir.close()
            raise LogForeign(
                f"{folder} belongs to a hub of several workers",
                hint="Run `tidings serve --workers N`, or `tidings serve`, which makes it the folder of one process.",
            )
        self._disk_space = DiskSpaceGuard(self._data_dir, folder / f"{FILE}-wal")
        self._pending: _PendingAppend | None = None
        self._revoking: list[_PendingRevocation] = []
        self._delivering = False
        self._displaced: LogError | None = None
        """Why the file could not be found when it was last looked for; None if it was."""
        self._tail: Tail = _ignore
        self._on_control: OnControl | None = None
        self._closed = False
        try:
            self._state = self._open(new_epoch, retention or Retention(), save_every, progress)
        except LogError:
            self._data_dir.close()
            raise
        self._identity = _identify(self._path)
        self._data_dir.create_ballast()
        self._checkpointer = Checkpointer(self._path, self._data_dir)
        self._checkpointer.start()

    def _open(
        self, new_epoch: Callable[[], str], retention: Retention, save_every: int, progress: OpeningProgress | None
    ) -> SqliteState:
        try:
            return open_log(self._path, new_epoch, retention, save_every=save_every, progress=progress)
        except (LogFull, LogUnavailable):
            # A hub that stopped on a full disk must be able to start on it, to trim.
            if not self._disk_space.drop_ballast_if_full():
                raise
            return open_log(self._path, new_epoch, retention, save_every=save_every, progress=progress)

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._state.newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._state.operations

    @property
    def revocations(self) -> RevocationTable:
        """See `Log.revocations`."""
        return self._state.revocations

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._state.epochs.current.name

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._state.head

    @property
    def failed(self) -> LogError | None:
        """See `Log.failed`."""
        if self._displaced is None and self._disk_space.is_full:
            return self._full()
        return self._displaced

    @property
    def producers(self) -> ProducerTable:
        """See `Log.producers`."""
        return self._state.producers

    @property
    def session(self) -> str:
        """See `Log.session`."""
        return ""

    @property
    def leads(self) -> bool:
        """See `Log.leads`."""
        return True

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """See `Log.follow`."""
        self._tail = tail
        self._on_control = on_control

    def stop_leading(self) -> None:
        """See `Log.stop_leading`."""

    def catch_up(self, done: Callable[[], None]) -> None:
        """See `Log.catch_up`."""
        done()

    def count_fitting(self, batch: Sequence[EventToAppend]) -> int:
        """See `Log.count_fitting`."""
        return len(batch)

    def record(self, control: HubControl) -> None:
        """See `Log.record`."""
        folded = self._state.producers.fold(control, "")
        self._state.producers.changed.clear()
        if self._on_control is not None:
            self._on_control(ReceivedControl(control, True, *folded))

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._state.epochs.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._state.epochs.resolve(position)

    def last_before(self, received_ns: int) -> int:
        """See `Log.last_before`."""
        try:
            return self._state.last_before(received_ns)
        except sqlite3.Error as error:
            logger.warning("%s: no event could be found by its time: %s", self._path, error)
            return 0  # reading from there reports the failure, or succeeds and misses nothing

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._state.trimmed(after, paths)

    # Appending.

    @property
    def stored_state(self) -> bytes:
        """See `LocalLog.stored_state`."""
        return self._state.stored.read()

    @property
    def stored_rows(self) -> dict[str, bytes]:
        """See `LocalLog.stored_rows`."""
        return self._state.stored.read_rows()

    def append(
        self,
        batch: Sequence[EventToAppend],
        done: AppendDone,
        *,
        state: StateAfter | None = None,
        rows: StoredRows | None = None,
    ) -> None:
        """See `Log.append` and `LocalLog.append`."""
        if self._pending is not None:
            raise RuntimeError("append was called before the last batch was done")
        if self._closed:
            done(LogUnavailable(f"{self._path} is closed"))
            return
        self._pending = _PendingAppend(batch, done, state, rows, time.monotonic() + MAX_BUSY_S)
        if self._delivering:  # from within `done` or the tail: the tail brings that batch first
            self._scheduler.call_soon(self._try_append)
        else:
            self._try_append()

    def _try_append(self) -> None:
        pending = self._pending
        if pending is None:
            return
        try:
            self._check_writable()
            outcomes, records, size = self._state.append(pending.batch, pending.state, pending.rows)
        except Exception as error:  # also OSError and MemoryError: a batch without a result would stop all publishing
            if not self._closed and is_busy(error) and time.monotonic() < pending.deadline:
                self._scheduler.call_later(RETRY_DELAY_S, self._try_append)
                return
            self._pending = None
            pending.done(self._write_error(error))
            return
        self._pending = None
        self._disk_space.count_written(len(records), size)
        self._delivering = True
        try:
            try:
                pending.done(outcomes)
            finally:
                if records:
                    self._tail(records)
        finally:
            self._delivering = False

    def _check_writable(self) -> None:
        """Check that nothing prevents a batch from being tried.

        Raises:
            LogFull: The disk is full, and the remaining space is reserved for trimming.
            LogUnavailable: The file is missing, or another one took its place.
            OSError: The file system failed.
            sqlite3.OperationalError: Busy: a checkpoint comes first.
        """
        if self._displaced is not None:
            self._check_file()
        if self._disk_space.is_full:
            self._disk_space.update(self._state.unused_bytes)  # a node tries one entry again, and does nothing else
            if self._disk_space.is_full:
                raise self._full()
            self._data_dir.create_ballast()  # before events use up the space that trimming needs
        if self._must_wait_for_checkpoint() and not self._closed:
            if self._checkpointer.failing:
                raise self._full()
            error = sqlite3.OperationalError("a checkpoint is being made")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    def _check_file(self) -> None:
        """Check that the opened file is in its folder: events in a deleted file would be gone with the process.

        Raises:
            LogUnavailable: It is missing, or another file took its place.
            OSError: The file system failed.
        """
        try:
            identity = _identify(self._path)
        except FileNotFoundError:
            self._displaced = LogUnavailable(
                f"{self._path} was deleted or moved away", hint="Put the data folder back, or restart the hub."
            )
            raise self._displaced from None
        except OSError as error:
            self._displaced = to_log_error(error, self._path)
            raise
        if identity != self._identity:
            self._displaced = LogUnavailable(
                f"{self._path} was replaced by another file while the hub used it",
                hint="Restart the hub. Stop it before you put back a copy.",
            )
            raise self._displaced
        self._displaced = None

    def _full(self) -> LogFull:
        return LogFull(f"{self._path}: the disk is full")

    def _must_wait_for_checkpoint(self) -> bool:
        needed = self._disk_space.needs_checkpoint()
        if needed:
            self._checkpointer.wake()
        return needed or self._checkpointer.holds_appends

    def _write_error(self, error: Exception) -> LogError:
        if is_busy(error):
            return LogBusy(f"{self._path} was busy for {MAX_BUSY_S:.0f} s")
        refused = to_log_error(error, self._path)
        if isinstance(refused, LogFull | LogUnavailable) and self._disk_space.ran_out(refused):
            self._checkpointer.wake()  # it gives back the space that the batch took in the write-ahead log
            return self._full()
        return refused

    # Revoking.

    def revoke(self, revocation: Revocation, done: RevokeDone) -> None:
        """See `Log.revoke`."""
        added = self._state.revocations.add(revocation)
        if self._closed:
            done(LogUnavailable(f"{self._path} is closed"))
            return
        self._revoking.append(_PendingRevocation(added, done, time.monotonic() + MAX_BUSY_S))
        if len(self._revoking) == 1:
            self._try_revoke()

    def _try_revoke(self) -> None:
        if not self._revoking:
            return
        refused: LogError | None = None
        try:
            self._check_file()
            self._state.save_revocations()
        except Exception as error:  # also OSError and MemoryError: the caller waits for a result
            if not self._closed and is_busy(error) and time.monotonic() < self._revoking[0].deadline:
                self._scheduler.call_later(RETRY_DELAY_S, self._try_revoke)
                return
            refused = self._write_error(error)
        done, self._revoking = self._revoking, []
        for pending in done:
            pending.done(refused or pending.revocation)

    # Reading.

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        try:
            page: Page | LogError = self._state.read(query)
        except Exception as error:  # the caller waits for a result
            page = to_log_error(error, self._path)
        done(page)

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        statistics = self._state.statistics(self._data_dir.disk_bytes())
        try:
            free_bytes = self._data_dir.free_bytes()
        except OSError:  # the folder cannot be reached
            return statistics
        return structs.replace(statistics, disk_free_bytes=free_bytes)

    # Retention.

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """See `Log.start_clock`."""
        self._state.start_clock(now_ns, steady_ns)

    def record_jump(self, jump_ns: int) -> None:
        """See `Log.record_jump`."""
        self._state.record_jump(jump_ns)

    def received_ns(self, offset: int, received_ns: int) -> int:
        """See `Log.received_ns`."""
        return self._state.jumps.adjust(offset, received_ns)

    def shown_ns(self, offset: int, at_ns: int) -> int:
        """See `Log.shown_ns`."""
        return self._state.jumps.show(offset, at_ns)

    @property
    def forgettable(self) -> int:
        """See `Log.forgettable`."""
        try:
            return self._state.forgettable
        except sqlite3.Error as error:
            raise to_log_error(error, self._path) from error

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """See `Log.forget`."""
        return self._state.forget(now_ns, ids_until)

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        if self._closed:
            return False
        if self._pending is not None:
            return True
        was_full = self._disk_space.is_full
        try:
            self._check_file()
            self._disk_space.update(self._state.unused_bytes)
            self._state.now_ns = now_ns
            more = self._state.expire(now_ns)
            if not self._state.is_due(now_ns):
                return more
            if self._must_wait_for_checkpoint():
                return True
            return self._state.step(now_ns) or more
        except (sqlite3.Error, OSError) as error:
            if is_busy(error):
                return True
            refused = self._write_error(error)
            if was_full and isinstance(refused, LogFull):
                return False  # reported the first time, and to every publisher since
            raise refused from error

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        self._checkpointer.stop()
        self._try_append()  # a waiting batch is tried once more, and its outcome reported
        self._try_revoke()
        try:
            self._state.close()
        except Exception as error:  # such as a full disk: the write-ahead log stays, and the next opening reads it
            logger.warning("%s was closed without saving its index: %s", self._path, error)
        finally:
            self._data_dir.close()


def _identify(path: Path) -> tuple[int, int]:
    """Return what distinguishes a file from all others that exist: its device and its inode."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _ignore(records: Sequence[Record]) -> None:
    """Do nothing: the tail before the first `follow`."""
