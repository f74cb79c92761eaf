"""Whether there is room on the disk: a log that has none refuses events, and keeps what room it makes for trimming."""

import sqlite3
from pathlib import Path

from tidings.exceptions import LogError, LogFull
from tidings.log.sqlite.data_dir import DataDir

_NO_ROOM = 1 << 18
"""Bytes: where fewer are free, a write that failed for another reason failed for this one. SQLite's index of the
write-ahead log grows by 32 KiB at a time, and a full disk is an I/O error to it."""
_EVENT_BYTES = 8 << 10
"""What an event may take in the write-ahead log beside its data: a page of the table, and one of an index."""
_LOOK_EVERY = 1 << 20
"""Bytes that are written between two looks at the disk, and that the ballast should have room for."""


class DiskSpaceGuard:
    """The room a log has.

    A full disk is met by dropping the ballast, so that deleting rows, which needs room in the write-ahead log, is
    possible. That room is not for events: they are refused until as much again is free, on the disk or in the file.

    Args:
        folder: The data folder.
        wal: The write-ahead log in it.
    """

    def __init__(self, folder: DataDir, wal: Path) -> None:
        self._folder = folder
        self._wal = wal
        self._written = 0
        self._tight = False
        self.is_full = False

    def ran_out(self, error: LogError) -> bool:
        """Return whether a write failed with `error` for want of room; if so, the log is full from now on."""
        if not isinstance(error, LogFull) and self._folder.free() >= _NO_ROOM:
            return False
        self.is_full = True
        self._folder.drop_ballast()
        return True

    def make(self) -> bool:
        """Drop the ballast if the disk is full; return whether that made room."""
        return self._folder.free() < _NO_ROOM and self._folder.drop_ballast()

    def wrote(self, events: int, size: int) -> None:
        """Note that `events` with `size` bytes of data were appended."""
        self._written += events * _EVENT_BYTES + size

    def is_tight(self) -> bool:
        """Return whether a checkpoint must come first.

        It copies the write-ahead log into the database, which may grow by as much: on a disk that has no room for that
        the log could never be begun anew, and nothing be trimmed.
        """
        if self._tight or self._written >= _LOOK_EVERY:
            self._measure(self._folder.free())
        return self._tight

    def _measure(self, free: int) -> None:
        self._written = 0
        self._tight = self._wal_size() > _LOOK_EVERY + free // 2

    def look(self, connection: sqlite3.Connection) -> None:
        """See whether there is room again; or so little left, with no ballast to drop, that trimming will need it."""
        reserve, free = self._folder.reserve, self._folder.free()
        self._measure(free)
        if self.is_full:
            self.is_full = free < 2 * reserve and not (free >= reserve // 2 and _unused(connection) >= reserve)
        else:
            self.is_full = free < reserve // 4 and not self._folder.has_ballast()

    def _wal_size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0


def _unused(connection: sqlite3.Connection) -> int:
    """Return how many bytes of the file are free for new rows."""
    pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return pages * size
