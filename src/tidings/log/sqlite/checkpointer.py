"""Checkpoints: the write-ahead log is copied into the database, and synced to disk, on a thread of its own."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import connect

_EVERY_S = 0.5
_WAL_BYTES = 16 << 20
"""A write-ahead log of this size is copied and begun anew."""
_LEAST_WAL_BYTES = 1 << 20
"""On a disk that is nearly full: what is not copied when it is full could not be copied any more."""
_IDLE_S = 30.0
"""After which a smaller one is, too: a crash of the machine takes no more than that."""
_PASSIVE_ROUNDS = 4
_FEW_FRAMES = 256
"""Left for RESTART, which holds appends up while it copies and syncs them."""
_PATIENCE_MS = 100
"""RESTART holds appends up while it waits for who reads the write-ahead log: a backup may read it for long."""
_AGAIN_S = 5.0
"""After which RESTART is tried again where it waited in vain."""

logger = logging.getLogger(__name__)


class Checkpointer(threading.Thread):
    """The thread, with a connection of its own.

    PASSIVE copies most without holding anyone up, but under load never empties the log. RESTART then copies the rest,
    during which appends find the database busy and are tried again. The first commit after that writes the log's new
    header and waits for the disk: the thread makes it itself, and `holds` keeps the event loop's from overtaking it.

    Args:
        path: The database.
        folder: Its folder: the thread, which may wait for the disk, takes the ballast up again.
        now: The monotonic clock, in seconds.
    """

    def __init__(self, path: Path, folder: DataDir, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="tidings-checkpoint", daemon=True)
        self._path = path
        self._folder = folder
        self._now = now
        self._wal = path.with_name(path.name + "-wal")
        self._woken = threading.Event()
        self._told_to_stop = False
        self._not_before = 0.0
        self._last = now()
        self._left_bytes = 0
        self.failing = False
        """Whether the last one failed."""
        self.holds = False
        """Whether appends should wait a moment: the write-ahead log is being begun anew."""
        self.checkpoints = 0
        """Made so far."""

    def run(self) -> None:
        """Make checkpoints until told to stop."""
        connection: sqlite3.Connection | None = None
        try:
            while True:
                self._woken.wait(_EVERY_S)
                self._woken.clear()
                if self._told_to_stop:
                    return
                try:
                    connection = connection or connect_to_checkpoint(self._path)
                    self.round(connection)
                    self.failing = False
                except (sqlite3.Error, OSError) as error:
                    # Nothing is lost: the write-ahead log stays, and the next round tries again.
                    if not self.failing:
                        logger.warning("the checkpoint of %s failed: %s", self._path, error)
                    self.failing = True
        finally:
            if connection is not None:
                connection.close()

    def round(self, connection: sqlite3.Connection) -> None:
        """Look after the ballast, and make a checkpoint if it is time.

        Raises:
            sqlite3.Error: The checkpoint failed; nothing is lost.
            OSError: The file system did.
        """
        self._folder.take_ballast()
        now = self._now()
        size = self._wal.stat().st_size if self._wal.exists() else 0
        limit = max(_LEAST_WAL_BYTES, min(_WAL_BYTES, self._folder.free() // 8))
        idle = now - self._last >= _IDLE_S and size != self._left_bytes
        if (size >= limit or idle) and now >= self._not_before:
            self._checkpoint(connection, now)

    def _checkpoint(self, connection: sqlite3.Connection, now: float) -> None:
        for _ in range(_PASSIVE_ROUNDS):
            _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if frames - copied < _FEW_FRAMES:
                break
        self.holds = True
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if busy:
                self._not_before = now + _AGAIN_S
                return
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
        finally:
            self.holds = False
        self._last = now
        self._left_bytes = self._wal.stat().st_size
        self.checkpoints += 1

    def hurry(self) -> None:
        """Look now whether a checkpoint is due: someone waits for it."""
        self._woken.set()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._told_to_stop = True
        self._woken.set()
        self.join()


def connect_to_checkpoint(path: Path) -> sqlite3.Connection:
    """Return a connection for checkpoints."""
    connection = connect(path, busy_ms=_PATIENCE_MS)
    # The write-ahead log is cut to what is in it when it is begun anew: its size says how much waits, and a flood of
    # events does not keep the room it once took.
    connection.execute("PRAGMA journal_size_limit = 0")
    return connection
