"""The embedded log in a file: SQLite in WAL mode, one transaction a batch, no wait for the disk in the loop.

What `AppendDone` reports survives a crash of the process. A crash of the machine may take the last seconds; the log
notices (the boot id changed without the clean mark) and begins a new epoch, so that no position is given twice.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidings.exceptions import LogBusy, LogError, LogFull, LogUnavailable
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    Known,
    LogStatistics,
    Page,
    Query,
    ReadDone,
    Record,
    Retention,
    Scheduler,
    Tail,
)
from tidings.log.newest import Newest
from tidings.log.sqlite.checkpointer import Checkpointer
from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import FILE, is_busy, refusal
from tidings.log.sqlite.disk_space import DiskSpaceGuard
from tidings.log.sqlite.queries import read_page
from tidings.log.sqlite.saved_index import SAVE_EVERY
from tidings.log.sqlite.state import SqliteState, open_log
from tidings.operations.lifecycle import ASKS
from tidings.operations.table import OperationTable
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position

BALLAST_BYTES = 8 << 20
_RETRY_S = 0.001
"""Between two tries while the checkpoint thread holds the write lock."""
_GIVE_UP_S = 5.0


class _Appending(msgspec.Struct):
    batch: Sequence[EventToAppend]
    done: AppendDone
    deadline: float


class SqliteLog:
    """A `tidings.log.base.Log` in one file of a data folder.

    Args:
        folder: The data folder; made if it is not there.
        scheduler: The loop, for trying again when the file is busy.
        new_epoch: Makes names of epochs: 8 lower-case hex digits.
        retention: What it keeps.
        ballast_bytes: See `DataDir`.
        save_every: Events after which what is held in memory is saved, so that opening does not read all of them.

    Raises:
        LogInUse: Another process has the folder.
        LogForeign: The file in it is no log.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be written.
        LogFull: There is no room for it.
    """

    def __init__(
        self,
        folder: Path,
        scheduler: Scheduler,
        new_epoch: Callable[[], str],
        *,
        retention: Retention | None = None,
        ballast_bytes: int = BALLAST_BYTES,
        save_every: int = SAVE_EVERY,
    ) -> None:
        self._scheduler = scheduler
        self._folder = DataDir(folder, ballast_bytes=ballast_bytes)
        self._path = folder / FILE
        self._room = DiskSpaceGuard(self._folder, folder / f"{FILE}-wal")
        self._appending: _Appending | None = None
        self._telling = False
        self._tail: Tail = _nobody
        self._closed = False
        try:
            self._open = self._opened(new_epoch, retention or Retention(), save_every)
        except LogError:
            self._folder.close()
            raise
        self._head = self._open.head
        self._connection = self._open.connection
        self._folder.take_ballast()
        self._checkpointer = Checkpointer(self._path, self._folder)
        self._checkpointer.start()

    def _opened(self, new_epoch: Callable[[], str], retention: Retention, save_every: int) -> SqliteState:
        try:
            return open_log(self._path, new_epoch, retention, save_every=save_every)
        except (LogFull, LogUnavailable):
            # A hub that stopped on a full disk must be able to start on it, to trim.
            if not self._room.make():
                raise
            return open_log(self._path, new_epoch, retention, save_every=save_every)

    # What it is.

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._open.newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._open.operations

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._open.epochs.current.name

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._head

    def follow(self, tail: Tail) -> None:
        """See `Log.follow`."""
        self._tail = tail

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._open.epochs.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._open.epochs.resolve(position)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._open.floors.above(after, paths)

    # Appending.

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        if self._appending is not None:
            raise RuntimeError("the last batch is not done yet")
        if self._closed:
            done(LogUnavailable(f"{self._path} is closed"))
            return
        self._appending = _Appending(batch, done, time.monotonic() + _GIVE_UP_S)
        if self._telling:  # from within `done` or the tail: the tail brings that batch first
            self._scheduler.call_soon(self._try_append)
        else:
            self._try_append()

    def _try_append(self) -> None:
        appending = self._appending
        if appending is None:
            return
        first = self._head + 1
        try:
            self._check_takes_events()
            self._open.append(first, appending.batch)
        except (sqlite3.Error, LogError) as error:
            if not self._closed and is_busy(error) and time.monotonic() < appending.deadline:
                self._scheduler.call_later(_RETRY_S, self._try_append)
                return
            self._appending = None
            appending.done(self._refused(error))
            return
        self._appending = None
        self._appended(first, appending)

    def _check_takes_events(self) -> None:
        """Check that nothing keeps a batch from being tried.

        Raises:
            LogFull: The disk is full, and what room there is is for trimming.
            sqlite3.OperationalError: Busy: a checkpoint comes first.
        """
        if self._room.is_full:
            raise LogFull(f"{self._path}: the disk is full")
        if self._waits_for_checkpoint() and not self._closed:
            if self._checkpointer.failing:
                raise LogFull(f"{self._path}: the disk is full")
            error = sqlite3.OperationalError("a checkpoint is being made")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    def _waits_for_checkpoint(self) -> bool:
        tight = self._room.is_tight()
        if tight:
            self._checkpointer.hurry()
        return tight or self._checkpointer.holds

    def _appended(self, first: int, appending: _Appending) -> None:
        records, size = [], 0
        note, count, fold = self._open.newest.note, self._open.sweeps.note, self._open.operations.note
        for offset, draft in enumerate(appending.batch, first):
            event, received_ns = draft.event, draft.received_ns
            records.append(Record(offset, event, received_ns))
            note(offset, event, received_ns)
            count(event, received_ns)
            if event.type in ASKS:
                fold(offset, event, received_ns, draft.producer_id, draft.lease_s)
            size += len(event.data)
        self._head += len(records)
        self._room.wrote(len(records), size)
        self._telling = True
        try:
            appending.done(first)
            if records:
                self._tail(records)
        finally:
            self._telling = False

    def _refused(self, error: Exception) -> LogError:
        if is_busy(error):
            return LogBusy(f"{self._path} was busy for {_GIVE_UP_S:.0f} s")
        refused = refusal(error, self._path)
        if isinstance(refused, LogFull | LogUnavailable) and self._room.ran_out(refused):
            self._checkpointer.hurry()  # it gives back what the batch took of the write-ahead log
            return LogFull(f"{self._path}: the disk is full")
        return refused

    def known(self, scope: str, event_id: str) -> Known | None:
        """See `Log.known`."""
        try:
            return self._open.known(scope, event_id)
        except sqlite3.Error as error:
            raise refusal(error, self._path) from error

    # Reading.

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        try:
            page: Page | LogError = read_page(self._connection, self._open.newest, query)
        except sqlite3.Error as error:
            page = refusal(error, self._path)
        done(page)

    # Retention.

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        if self._closed:
            return False
        if self._appending is not None:
            return True
        was_full = self._room.is_full
        self._room.look(self._connection)
        more = self._open.newest.expire(now_ns)
        more = self._open.operations.expire(now_ns) or more
        if not self._open.is_due(self._head, now_ns):
            return more
        try:
            if self._waits_for_checkpoint():
                return True
            return self._open.step(self._head, now_ns) or more
        except sqlite3.Error as error:
            if is_busy(error):
                return True
            refused = self._refused(error)
            if was_full and isinstance(refused, LogFull):
                return False  # as it was the last time, and as every publisher is told
            raise refused from error

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        counts, newest = self._open.sweeps.counts, self._open.newest
        return LogStatistics(
            epoch=self.epoch,
            head=self._head,
            first=newest.durable_floor + 1,
            durable_events=counts.durable_events,
            durable_bytes=counts.durable_bytes,
            superseded_events=counts.latest_events,
            newest=len(newest),
            newest_evicted=newest.evicted,
            trimmed_events=counts.trimmed,
            disk_bytes=self._folder.disk_bytes(),
        )

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        self._checkpointer.stop()
        self._try_append()  # what waits is tried once more, and told
        try:
            self._open.close(self._head)
        except sqlite3.Error:
            pass  # a full disk: the write-ahead log stays, and the next opening reads it
        finally:
            self._connection.close()
            self._folder.close()


def _nobody(records: Sequence[Record]) -> None:
    """Follow nothing: the tail before anyone follows."""
