"""The embedded log in a file: SQLite in WAL mode, one transaction a batch, no wait for the disk in the loop.

What `AppendDone` reports survives a crash of the process. A crash of the machine may take the last seconds; the log
notices (the boot id changed without the clean mark) and begins a new epoch, so that no position is given twice.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidings.contract.paths import PathSet
from tidings.contract.positions import Position
from tidings.contract.vocabulary import SlotEffect
from tidings.exceptions import LogBusy, LogError, LogFull
from tidings.log.base import (
    AppendDone,
    Draft,
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
from tidings.log.checkpoint import Checkpointer
from tidings.log.epochs import Epoch, Epochs
from tidings.log.floors import Floors
from tidings.log.folder import DataFolder
from tidings.log.newest import Newest
from tidings.log.reads import read_page
from tidings.log.schema import FILE, INSERT, is_busy, open_database, refusal, row_of
from tidings.log.sweeps import Sweeps

BALLAST_BYTES = 8 << 20
_RETRY_S = 0.001
"""Between two tries while the checkpoint thread holds the write lock."""
_GIVE_UP_S = 5.0
_NS = 1_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EFFECTS = {int(effect): effect for effect in SlotEffect}


class _Appending(msgspec.Struct):
    batch: Sequence[Draft]
    done: AppendDone
    deadline: float


class SqliteLog:
    """A `tidings.log.base.Log` in one file of a data folder.

    Args:
        folder: The data folder; made if it is not there.
        scheduler: The loop, for trying again when the file is busy.
        new_epoch: Makes names of epochs: 8 lower-case hex digits.
        retention: What it keeps.
        ballast_bytes: See `DataFolder`.

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
    ) -> None:
        self._retention = retention or Retention()
        self._scheduler = scheduler
        self._folder = DataFolder(folder, ballast_bytes=ballast_bytes)
        self._path = folder / FILE
        self._appending: _Appending | None = None
        self._tail: Tail = _nobody
        self._head = 0
        self._closed = False
        self._floors = Floors()
        self._saved_floors: dict[tuple[str, str], int] = {}
        self._newest = Newest(
            per_type=self._retention.newest_per_type,
            age_ns=int(self._retention.newest_age_s * _NS),
            ended_ns=int(self._retention.finished_s * _NS),
        )
        try:
            self._connection = open_database(self._path)
            try:
                self._sweeps = Sweeps(self._connection, self._newest, self._floors, self._retention)
                self._epochs = self._load(new_epoch)
            except sqlite3.Error as cause:
                self._connection.close()
                raise refusal(cause, self._path) from cause
        except LogError:
            self._folder.close()
            raise
        self._folder.take_ballast()
        self._checkpointer = Checkpointer(self._path)
        self._checkpointer.start()

    # Opening.

    def _load(self, new_epoch: Callable[[], str]) -> Epochs:
        execute = self._connection.execute
        meta = dict(execute("SELECT name, value FROM meta"))
        self._newest.durable_floor = meta["durable_floor"]
        self._newest.latest_floor = meta["latest_floor"]
        for channel, key, trimmed in execute("SELECT channel, key, trimmed FROM floors"):
            if key:
                self._floors.keys[channel, key] = trimmed
            else:
                self._floors.channels[channel] = trimmed
            self._saved_floors[channel, key] = trimmed
        last = self._fold()
        self._head = max(meta["head"], last)
        epochs = [Epoch(name, start) for name, start in execute("SELECT name, start FROM epochs ORDER BY number")]
        boot = _boot_id()
        if not epochs or (not meta["clean"] and meta["boot"] != boot):
            epochs.append(Epoch(new_epoch(), self._head))
            execute("INSERT INTO epochs (name, start) VALUES (?, ?)", (epochs[-1].name, epochs[-1].start))
        execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
        execute("UPDATE meta SET value = ? WHERE name = 'boot'", (boot,))
        return Epochs(epochs)

    def _fold(self) -> int:
        """Rebuild from the rows what is held in memory; return the last offset."""
        newest, sweeps = self._newest, self._sweeps
        offset = 0
        rows = self._connection.execute(
            "SELECT offset, latest, effect, channel, type, key, received_ns, length(data) FROM events ORDER BY offset"
        )
        for offset, latest, effect, channel, type, key, received_ns, size in rows:
            newest.note_columns(offset, channel, type, key, received_ns, latest=bool(latest), effect=_EFFECTS[effect])
            if offset > (newest.latest_floor if latest else newest.durable_floor):
                sweeps.note_columns(channel, type, key, size, latest=bool(latest))
        return offset

    # What it is.

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._newest

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._epochs.current.name

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._head

    def follow(self, tail: Tail) -> None:
        """See `Log.follow`."""
        self._tail = tail

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._epochs.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._epochs.resolve(position)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._floors.above(after, paths)

    # Appending.

    def append(self, batch: Sequence[Draft], done: AppendDone) -> None:
        """See `Log.append`."""
        self._appending = _Appending(batch, done, time.monotonic() + _GIVE_UP_S)
        self._try_append()

    def _try_append(self) -> None:
        appending = self._appending
        if appending is None:
            return
        first = self._head + 1
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                INSERT, [row_of(offset, draft) for offset, draft in enumerate(appending.batch, first)]
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if is_busy(error) and time.monotonic() < appending.deadline:
                self._scheduler.call_later(_RETRY_S, self._try_append)
                return
            self._appending = None
            appending.done(self._refused(error))
            return
        self._appending = None
        self._appended(first, appending)

    def _appended(self, first: int, appending: _Appending) -> None:
        records = []
        note, count = self._newest.note, self._sweeps.note
        for offset, draft in enumerate(appending.batch, first):
            event = draft.event
            records.append(Record(offset, event, draft.received_ns))
            note(offset, event, draft.received_ns)
            count(event)
        self._head += len(records)
        appending.done(first)
        if records:
            self._tail(records)

    def _roll_back(self) -> None:
        # SQLite may have rolled back by itself: a full disk does that.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _refused(self, error: sqlite3.Error) -> LogError:
        if is_busy(error):
            return LogBusy(f"{self._path} was busy for {_GIVE_UP_S:.0f} s")
        refused = refusal(error, self._path)
        if isinstance(refused, LogFull):
            self._folder.drop_ballast()
        return refused

    def known(self, scope: str, event_id: str) -> Known | None:
        """See `Log.known`."""
        row = self._connection.execute(
            "SELECT offset, type, data FROM events WHERE scope = ? AND event_id = ?", (scope, event_id)
        ).fetchone()
        return None if row is None else Known(*row)

    # Reading.

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        try:
            page: Page | LogError = read_page(self._connection, self._newest, query)
        except sqlite3.Error as error:
            page = refusal(error, self._path)
        done(page)

    # Retention.

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        if self._closed or self._appending is not None:
            return True
        self._newest.expire(now_ns)
        self._folder.take_ballast()
        if not self._sweeps.is_due(now_ns):
            return False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error):
                return True
            raise self._refused(error) from error
        saved = self._saved_floors
        try:
            more = self._sweeps.step(now_ns)
            self._save_floors()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._sweeps.rolled_back()
            self._saved_floors = saved
            raise self._refused(error) from error
        self._sweeps.committed()
        return more

    def _save_floors(self) -> None:
        execute = self._connection.execute
        # The head, too: a log that was emptied must not begin again at 1.
        for name, value in (
            ("head", self._head),
            ("durable_floor", self._newest.durable_floor),
            ("latest_floor", self._newest.latest_floor),
        ):
            execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
        floors = {(channel, ""): trimmed for channel, trimmed in self._floors.channels.items()} | self._floors.keys
        for slot in self._saved_floors.keys() - floors.keys():
            execute("DELETE FROM floors WHERE channel = ? AND key = ?", slot)
        for (channel, key), trimmed in floors.items():
            if self._saved_floors.get((channel, key)) != trimmed:
                execute("INSERT OR REPLACE INTO floors VALUES (?, ?, ?)", (channel, key, trimmed))
        self._saved_floors = floors

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        sweeps = self._sweeps
        return LogStatistics(
            epoch=self.epoch,
            head=self._head,
            first=self._newest.durable_floor + 1,
            durable_events=sweeps.durable_events,
            durable_bytes=sweeps.durable_bytes,
            superseded_events=sweeps.latest_events,
            newest=len(self._newest),
            newest_evicted=self._newest.evicted,
            trimmed_events=sweeps.trimmed,
            disk_bytes=self._folder.disk_bytes(),
        )

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        self._checkpointer.stop()
        try:
            self._connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            pass  # a full disk: the write-ahead log stays, and the next opening reads it
        finally:
            self._connection.close()
            self._folder.close()


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _nobody(records: Sequence[Record]) -> None:
    """Follow nothing: the tail before anyone follows."""
