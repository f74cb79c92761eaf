"""Checkpoints: the write-ahead log is copied into the database, and synced to disk, on a thread of its own."""

import logging
import sqlite3
import threading
from pathlib import Path

from tidings.log.schema import connect

_EVERY_S = 1.0
_WAL_BYTES = 16 << 20
"""A write-ahead log of this size is copied and begun anew."""
_PASSIVE_ROUNDS = 4
_FEW_FRAMES = 256
"""Left for RESTART, which holds appends up while it copies and syncs them."""
_IDLE_S = 30.0
"""After which a smaller one is, too: a crash of the machine takes no more than that."""

logger = logging.getLogger(__name__)


class Checkpointer(threading.Thread):
    """The thread, with a connection of its own.

    PASSIVE copies most without holding anyone up, but under load never empties the log. RESTART then copies the rest,
    during which appends find the database busy and are tried again. The first commit after that writes the log's new
    header and waits for the disk: the thread makes it itself, so that the event loop's do not.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name="tidings-checkpoint", daemon=True)
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._told_to_stop = threading.Event()
        self.checkpoints = 0
        """Made so far."""

    def run(self) -> None:
        """Make checkpoints until told to stop."""
        connection = connect(self._path, busy_ms=5_000)
        idle_s = 0.0
        try:
            while not self._told_to_stop.wait(_EVERY_S):
                idle_s += _EVERY_S
                size = self._wal.stat().st_size if self._wal.exists() else 0
                if size >= _WAL_BYTES or (size and idle_s >= _IDLE_S):
                    idle_s = 0.0
                    self._checkpoint(connection)
        finally:
            connection.close()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        try:
            for _ in range(_PASSIVE_ROUNDS):
                _, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if frames - copied < _FEW_FRAMES:
                    break
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
            self.checkpoints += 1
        except sqlite3.Error as error:
            # Nothing is lost: the write-ahead log stays, and the next round tries again.
            logger.warning("the checkpoint of %s failed: %s", self._path, error)

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._told_to_stop.set()
        self.join()
