"""Disk-space policy: on a full disk, refuse events and use the reserved space for trimming."""

from collections.abc import Callable
from pathlib import Path

from tidings.exceptions import LogError, LogFull
from tidings.log.sqlite.data_dir import DataDir

MIN_FREE_BYTES = 1 << 18
"""Free space below which a write that failed for another reason failed for lack of space. SQLite's index of the
write-ahead log grows by 32 KiB at a time, and SQLite reports a full disk there as an I/O error."""
EVENT_OVERHEAD_BYTES = 8 << 10
"""Maximum size of an event in the write-ahead log besides its data: a page of the table, and one of an index."""
CHECK_INTERVAL_BYTES = 1 << 20
"""Bytes written between two checks of the disk; the ballast should be at least as large."""


class DiskSpaceGuard:
    """Decides whether the log may append, from the free disk space.

    When the disk is full, the guard deletes the ballast, so that rows can be deleted, which needs space in the
    write-ahead log. Events must not use that space: they are refused until as much again is free, on the disk or in
    the file.

    Args:
        data_dir: The data folder.
        wal: The write-ahead log in it.
    """

    def __init__(self, data_dir: DataDir, wal: Path) -> None:
        self._data_dir = data_dir
        self._wal = wal
        self._written_bytes = 0
        """Bytes written since the disk was last checked."""
        self._tight = False
        self.is_full = False
        """Whether events are refused."""

    def ran_out(self, error: LogError) -> bool:
        """Return whether a write failed with `error` for lack of space. If so, the log is full from now on."""
        if not isinstance(error, LogFull) and not self._lacks_space():
            return False
        self.is_full = True
        self._data_dir.drop_ballast()
        return True

    def drop_ballast_if_full(self) -> bool:
        """Delete the ballast if the disk is full; return whether that freed space."""
        return self._lacks_space() and self._data_dir.drop_ballast()

    def _lacks_space(self) -> bool:
        try:
            return self._data_dir.free_bytes() < MIN_FREE_BYTES
        except OSError:  # the folder cannot be reached, which is another failure
            return False

    def count_written(self, events: int, size: int) -> None:
        """Count `events` with `size` bytes of data that were appended."""
        self._written_bytes += events * EVENT_OVERHEAD_BYTES + size

    def needs_checkpoint(self) -> bool:
        """Return whether a checkpoint must come before the next write.

        A checkpoint copies the write-ahead log into the database, which may grow by as much. On a disk without space
        for that, the write-ahead log could never be restarted, and nothing could be trimmed.
        """
        if self._tight or self._written_bytes >= CHECK_INTERVAL_BYTES:
            self._measure(self._data_dir.free_bytes())
        return self._tight

    def update(self, unused_bytes: Callable[[], int]) -> None:
        """Check whether there is space again, or so little left, without ballast, that trimming will need it.

        Args:
            unused_bytes: Returns the space in the database file that is free for new rows.
        """
        reserve, free = self._data_dir.reserve_bytes, self._data_dir.free_bytes()
        self._measure(free)
        if self.is_full:
            self.is_full = free < 2 * reserve and not (free >= reserve // 2 and unused_bytes() >= reserve)
        else:
            self.is_full = free < reserve // 4 and not self._data_dir.has_ballast()

    def _measure(self, free: int) -> None:
        self._written_bytes = 0
        try:
            size = self._wal.stat().st_size
        except FileNotFoundError:
            size = 0
        self._tight = size > CHECK_INTERVAL_BYTES + free // 2
