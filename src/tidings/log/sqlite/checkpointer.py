"""Checkpoints: a thread copies the write-ahead log into the database and syncs it to the disk."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tidings.log.sqlite.database import connect

CHECK_INTERVAL_S = 0.5
MAX_WAL_BYTES = 16 << 20
"""Size at which the write-ahead log is copied and restarted."""
MIN_WAL_BYTES = 1 << 20
"""Lower bound of that size on a disk that is nearly full, where it shrinks: what is not copied before the disk is full
can no longer be copied."""
IDLE_S = 30.0
"""Time after which a smaller write-ahead log is copied as well: a crash of the machine loses no more than that."""
_PASSIVE_ROUNDS = 4
_FEW_FRAMES = 256
"""Number of frames left for RESTART, which blocks appends while it copies and syncs them."""
_MAX_BUSY_MS = 100
"""Time for which RESTART may block appends while it waits for readers of the write-ahead log: a backup reads long."""
_RETRY_DELAY_S = 5.0
"""Delay before RESTART is tried again after it waited in vain."""

logger = logging.getLogger(__name__)


class DiskWithBallast(Protocol):
    """The disk of a database, as its checkpoint thread uses it; `tidings.log.sqlite.data_dir.DataDir` is one."""

    def create_ballast(self) -> None:
        """Create the ballast if it is missing and there is space."""

    def free_bytes(self) -> int:
        """Return the free space on the disk."""


class Checkpointer(threading.Thread):
    """The checkpoint thread, with a connection of its own.

    PASSIVE copies most frames without blocking appends, but under load it never empties the write-ahead log. RESTART
    then copies the rest, while appends find the database busy and are tried again. The first commit after that writes
    a new header and waits for the disk. The thread makes this commit itself, and `holds_appends` keeps the event loop
    from committing first.

    Args:
        path: The database.
        disk: Its disk. The thread, which may wait for it, also recreates the ballast.
        now: The monotonic clock, in seconds.
    """

    def __init__(self, path: Path, disk: DiskWithBallast, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="tidings-checkpoint", daemon=True)
        self._path = path
        self._disk = disk
        self._now = now
        self._wal = path.with_name(path.name + "-wal")
        self._woken = threading.Event()
        self._stopping = False
        self._not_before = 0.0
        self._last = now()
        self._left_bytes = 0
        self.failing = False
        """Whether the last checkpoint failed."""
        self.holds_appends = False
        """Whether appends must wait a moment, because the write-ahead log is being restarted."""
        self.checkpoints = 0
        """Number of checkpoints made so far."""

    def run(self) -> None:
        """Make checkpoints until `stop`."""
        connection: sqlite3.Connection | None = None
        try:
            while True:
                self._woken.wait(CHECK_INTERVAL_S)
                self._woken.clear()
                if self._stopping:
                    return
                try:
                    connection = connection or connect_to_checkpoint(self._path)
                    self.run_once(connection)
                    self.failing = False
                except Exception as error:  # the thread must not end: appends would wait for it
                    # Nothing is lost: the write-ahead log stays, and the next round tries again.
                    if not self.failing:
                        logger.warning("the checkpoint of %s failed: %s", self._path, error)
                    self.failing = True
        finally:
            if connection is not None:
                connection.close()

    def run_once(self, connection: sqlite3.Connection) -> None:
        """Recreate the ballast if necessary, and make a checkpoint if one is due.

        Raises:
            sqlite3.Error: The checkpoint failed; nothing is lost.
            OSError: The file system failed.
        """
        self._disk.create_ballast()
        now = self._now()
        size = self._wal.stat().st_size if self._wal.exists() else 0
        limit = max(MIN_WAL_BYTES, min(MAX_WAL_BYTES, self._disk.free_bytes() // 8))
        idle = now - self._last >= IDLE_S and size != self._left_bytes
        if (size >= limit or idle) and now >= self._not_before:
            self._checkpoint(connection, now)

    def _checkpoint(self, connection: sqlite3.Connection, now: float) -> None:
        for _ in range(_PASSIVE_ROUNDS):
            _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames - copied < _FEW_FRAMES:
                break
        self.holds_appends = True
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if busy:
                self._not_before = now + _RETRY_DELAY_S
                return
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
        finally:
            self.holds_appends = False
        self._last = now
        self._left_bytes = self._wal.stat().st_size
        self.checkpoints += 1

    def wake(self) -> None:
        """Check now whether a checkpoint is due."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping = True
        self._woken.set()
        self.join()


def connect_to_checkpoint(path: Path) -> sqlite3.Connection:
    """Return a connection for checkpoints.

    Raises:
        sqlite3.Error: It cannot be opened. It is not created either: it was deleted, and must not look like a new one.
    """
    connection = connect(f"{path.absolute().as_uri()}?mode=rw", busy_ms=_MAX_BUSY_MS)
    # A restarted write-ahead log is truncated to its contents: its size then shows how much is waiting, and a flood of
    # events does not keep the space it once took.
    connection.execute("PRAGMA journal_size_limit = 0")
    return connection
