"""The journal of many processes on one machine: a table in a file that all of them open, and bells between them.

An entry that was received survives a crash of its processes. A crash of the machine may lose the last seconds.
"""

import asyncio
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from tidings.exceptions import LogBusy, LogError, LogUnavailable
from tidings.file_lock import try_lock
from tidings.log.journal.base import JournalEntry, JournalState, LossReason, Lost, Receive
from tidings.log.journal.bells import Bells
from tidings.log.journal.sqlite_file import FILE, open_journal, read_entries, read_range, write_error
from tidings.log.sqlite.checkpointer import Checkpointer
from tidings.log.sqlite.database import is_busy, to_log_error

LOOK_INTERVAL_S = 0.25
"""Time after which a follower reads even if no bell rang: the delay of an entry whose bell was lost."""
MAX_BODY_BYTES = 1 << 20
MAX_QUEUED_BYTES = 4 << 20
"""Size of the entries that may wait while other processes keep the file locked. Others are lost, as the port allows."""
MAX_BUSY_S = 5.0
"""Time after which what waits is lost with LogBusy."""
DEFAULT_FILE_BYTES = 4 << 30
_SPINS = 3
"""Number of tries in the next rounds of the loop, before the loop waits `_RETRY_DELAY_S` between two of them: another
process holds the lock for a tenth of a millisecond."""
_RETRY_DELAY_S = 0.001
_READ_ENTRIES = 64
_READ_BYTES = 1 << 20
"""Size of one read: after it the loop runs other callbacks."""
_TRIM_ENTRIES = 16
"""Number of entries that are deleted in one transaction, which holds the lock for about a millisecond."""
_CHECKPOINT_LOCK = "journal.checkpoint.lock"

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class SqliteJournal:
    """A `tidings.log.journal.base.Journal` in one file of a folder, for all processes of one machine.

    Nothing is claimed on network file systems: SQLite's write-ahead log needs shared memory.

    Args:
        folder: The folder, which exists.
        loop: The event loop of the calling thread.
        max_file_bytes: Size of the file at which appending fails with LogFull. Default: 4 GiB.
        wall_ns: The clock for `JournalEntry.at_ns`, nanoseconds since 1970.
        bells: Whether processes wake each other; without it, each one reads every `LOOK_INTERVAL_S`.

    Raises:
        LogError: The file cannot be opened; the kinds are those of `open_journal`.
    """

    max_bytes = MAX_BODY_BYTES

    def __init__(
        self,
        folder: Path,
        loop: asyncio.AbstractEventLoop,
        *,
        max_file_bytes: int = DEFAULT_FILE_BYTES,
        wall_ns: Callable[[], int] = time.time_ns,
        bells: bool = True,
    ) -> None:
        self.failure: LogError | None = None
        self._path = folder / FILE
        self._loop = loop
        self._wall_ns = wall_ns
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._busy_since: float | None = None
        self._tries = 0
        self._place = 0
        """The sequence up to which entries were received."""
        self._receive: Receive | None = None
        self._lost: Lost = _ignore_loss
        self._reading = False
        self._paused = False
        self._closed = False
        self._connection = open_journal(self._path, max_file_bytes=max_file_bytes)
        try:
            self._identity = _Identity.of(self._path)
            self._checkpoints = _SharedCheckpointer(self._path)
        except OSError as cause:
            self._connection.close()
            raise to_log_error(cause, self._path) from cause
        self._checkpoints.try_start()
        self._displaced: LogError | None = None
        self._bells = Bells(folder, loop, self._read_soon) if bells else None
        self._timer = loop.call_later(LOOK_INTERVAL_S, self._look)

    @property
    def has_bells(self) -> bool:
        """Whether this process and others wake each other."""
        return self._bells is not None and self._bells.working

    # Appending.

    def append(self, body: bytes) -> None:
        """See `Journal.append`."""
        if self._closed:
            self.failure = LogUnavailable(f"{self._path} is closed")
        elif len(body) > self.max_bytes:
            self.failure = LogUnavailable(f"the entry has {len(body)} bytes; {self.max_bytes} are allowed")
        elif self._queued_bytes + len(body) > MAX_QUEUED_BYTES:
            self.failure = LogBusy(f"{self._path}: too much waits to be appended")
        else:
            self._queue.append(body)
            self._queued_bytes += len(body)
            if self._busy_since is None:
                self._write()

    def _write(self) -> None:
        """Store what waits, or try again later while another process writes."""
        if not self._queue:
            return
        try:
            if self._displaced is not None:
                raise self._displaced
            self._insert()
        except Exception as error:  # also OSError and MemoryError: appending never raises
            self._roll_back()
            if is_busy(error) and self._try_later():
                return
            self._settle(self._refusal(error))
        else:
            self._settle(None)
            if self._bells is not None:
                self._bells.ring()
            self._read_soon()

    def _settle(self, refused: LogError | None) -> None:
        """Empty the queue: it is stored, or lost."""
        self.failure = refused
        self._queue.clear()
        self._queued_bytes = 0
        self._busy_since = None
        self._tries = 0

    def _insert(self) -> None:
        now = self._wall_ns()
        if len(self._queue) == 1:
            self._connection.execute("INSERT INTO entries (at_ns, body) VALUES (?, ?)", (now, self._queue[0]))
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO entries (at_ns, body) VALUES (?, ?)", [(now, body) for body in self._queue]
        )
        self._connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # SQLite has rolled back itself
                self._connection.execute("ROLLBACK")

    def _try_later(self) -> bool:
        """Schedule the next try; return whether there is one."""
        now = self._loop.time()
        if self._busy_since is None:
            self._busy_since = now
        if self._closed or now - self._busy_since >= MAX_BUSY_S:
            return False
        self._tries += 1
        if self._tries <= _SPINS:
            self._loop.call_soon(self._write)
        else:
            self._loop.call_later(_RETRY_DELAY_S, self._write)
        return True

    def _refusal(self, error: Exception) -> LogError:
        if is_busy(error):
            return LogBusy(f"{self._path} was locked for {MAX_BUSY_S:.0f} s")
        return write_error(error, self._connection, self._path, size=self._queued_bytes)

    # Following.

    def follow(self, after: int, receive: Receive, lost: Lost) -> None:
        """See `Journal.follow`."""
        self._place = after
        self._paused = False
        self._receive = receive
        self._lost = lost
        self._loop.call_soon(self._check_place)

    def pause(self) -> None:
        """See `Journal.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Journal.resume`."""
        self._paused = False
        self._read_soon()

    def _read_soon(self) -> None:
        if not self._reading and self._receive is not None:
            self._reading = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._reading = False
        receive = self._receive
        if receive is None or self._paused or self._closed:
            return
        try:
            entries, more = read_entries(
                self._connection, self._place, max_entries=_READ_ENTRIES, max_bytes=_READ_BYTES
            )
        except Exception as error:  # also OSError and MemoryError: a follower must not be silent without a reason
            if is_busy(error):
                self._loop.call_later(_RETRY_DELAY_S, self._read_soon)
            else:
                self._lose(LossReason.FAILED, to_log_error(error, self._path))
            return
        connected = _connected(self._place, entries)
        if connected:
            self._place = connected[-1].seq
        if len(connected) < len(entries):
            self._loop.call_soon(self._lose_trimmed, entries[len(connected)].seq)
        elif more:
            self._read_soon()
        if connected:
            receive(connected)

    def _lose_trimmed(self, first: int) -> None:
        self._lose(
            LossReason.TRIMMED,
            LogUnavailable(f"{self._path}: the entries from {self._place + 1} to {first - 1} were trimmed"),
        )

    def _lose(self, reason: LossReason, error: LogError) -> None:
        if self._receive is None:
            return
        self._receive = None
        self._lost(reason, error)

    def _look(self) -> None:
        if self._closed:
            return
        self._timer = self._loop.call_later(LOOK_INTERVAL_S, self._look)
        if self._bells is not None:
            self._bells.refresh()
        self._checkpoints.try_start()
        self._check_file()
        self._check_place()

    def _check_file(self) -> None:
        """Notice that the file is no longer the one in its folder, or was emptied: other processes see another one."""
        try:
            found = _Identity.of(self._path)
            displaced = not found.continues(self._identity)
        except OSError as error:
            displaced = True
            logger.debug("%s cannot be found: %s", self._path, error)
        if not displaced:
            self._identity = found
            self._displaced = None
        elif self._displaced is None:
            self._displaced = LogUnavailable(
                f"{self._path} was deleted, moved away, replaced or emptied while it was used",
                hint="Stop all processes that use the folder before you put back a copy.",
            )
            self._lose(LossReason.FAILED, self._displaced)

    def _check_place(self) -> None:
        """Read on, and check that the journal does not end before the place or begin after it."""
        if self._closed or self._receive is None:
            return
        try:
            state = read_range(self._connection)
        except Exception as error:  # see `_read`
            if is_busy(error):
                self._loop.call_later(_RETRY_DELAY_S, self._check_place)
            else:
                self._lose(LossReason.FAILED, to_log_error(error, self._path))
            return
        if state.last < self._place:
            self._lose(
                LossReason.REWRITTEN,
                LogUnavailable(
                    f"{self._path} ends at {state.last}, before {self._place}: it is another journal or an older copy"
                ),
            )
        elif state.first > self._place + 1:
            self._lose_trimmed(state.first)
        else:
            self._read_soon()

    # Asking.

    async def look(self) -> JournalState:
        """See `Journal.look`."""
        return await self._retry(lambda: read_range(self._connection))

    async def entry(self, seq: int) -> JournalEntry | None:
        """See `Journal.entry`."""
        entries, _ = await self._retry(lambda: read_entries(self._connection, seq - 1, max_entries=1, max_bytes=1))
        return entries[0] if entries and entries[0].seq == seq else None

    async def trim(self, until: int) -> None:
        """See `Journal.trim`."""
        while not self._closed:
            first = (await self.look()).first
            piece = min(until, first + _TRIM_ENTRIES - 1)
            if piece < first or not await self._retry(partial(self._delete, piece)):
                return
            await asyncio.sleep(_RETRY_DELAY_S)  # other processes write in between

    def _delete(self, until: int) -> bool:
        """Delete a piece; return whether there was one."""
        return self._connection.execute("DELETE FROM entries WHERE seq <= ?", (until,)).rowcount > 0

    async def _retry(self, call: Callable[[], Result]) -> Result:
        """Return the result of a call, which is made again while another process has the lock.

        Raises:
            LogError: It failed, or the file stayed locked.
        """
        give_up = self._loop.time() + MAX_BUSY_S
        while True:
            try:
                return call()
            except Exception as error:
                if not is_busy(error):
                    raise write_error(error, self._connection, self._path, size=0) from error
                if self._loop.time() >= give_up:
                    raise LogBusy(f"{self._path} was locked for {MAX_BUSY_S:.0f} s") from error
            await asyncio.sleep(_RETRY_DELAY_S)

    def close(self) -> None:
        """See `Journal.close`."""
        if self._closed:
            return
        self._closed = True
        self._receive = None
        self._timer.cancel()
        self._write()
        if self._bells is not None:
            self._bells.close()
        self._checkpoints.stop()
        self._connection.close()


class _SharedCheckpointer:
    """The checkpoint thread of a journal, in one of its processes: the one that holds a lock, which ends with it.

    Args:
        path: The database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: Checkpointer | None = None
        no_follow = getattr(os, "O_NOFOLLOW", 0)
        self._lock = os.open(path.with_name(_CHECKPOINT_LOCK), os.O_RDWR | os.O_CREAT | no_follow, 0o600)

    def try_start(self) -> None:
        """Start the thread if no other process has one."""
        if self._thread is not None:
            return
        try:
            locked = try_lock(self._lock)
        except OSError:  # a file system without locks: each process has a thread, and SQLite lets one at a time work
            locked = True
        if locked:
            self._thread = Checkpointer(self._path, _DiskWithoutBallast(self._path.parent))
            self._thread.start()

    def stop(self) -> None:
        """End the thread, and let another process start one."""
        if self._thread is not None:
            self._thread.stop()
        os.close(self._lock)


class _DiskWithoutBallast:
    """The disk of a journal: the data folder around it has the ballast."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create_ballast(self) -> None:
        """Do nothing."""

    def free_bytes(self) -> int:
        """Return the free space on the disk."""
        return shutil.disk_usage(self._folder).free


class _Identity(NamedTuple):
    device: int
    inode: int
    size: int
    """SQLite never makes the file smaller: it is not vacuumed."""

    @classmethod
    def of(cls, path: Path) -> "_Identity":
        found = path.stat()
        return cls(found.st_dev, found.st_ino, found.st_size)

    def continues(self, earlier: "_Identity") -> bool:
        return self[:2] == earlier[:2] and self.size >= earlier.size


def _connected(place: int, entries: list[JournalEntry]) -> list[JournalEntry]:
    """Return the entries that follow a place without a gap."""
    if not entries or entries[-1].seq == place + len(entries):  # sequences are unique and in order
        return entries
    return [entry for number, entry in enumerate(entries, place + 1) if entry.seq == number]


def _ignore_loss(reason: LossReason, error: LogError) -> None:
    """Do nothing: before the first `follow`."""
