"""The data folder: locked by one hub at a time, private to its owner, with a ballast file to delete on a full disk."""

import errno
import os
import shutil
import sys
import time
from pathlib import Path

from tidings.exceptions import LogFull, LogInUse, LogReadOnly
from tidings.file_lock import try_lock
from tidings.private_folder import make_private_folder

_LOCK = "lock"
_BALLAST = "ballast"
_LOCK_RETRY_DELAY_S = 0.02
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BALLAST_FRACTION = 16
"""The ballast takes at most 1/16 of the disk, which matters on small disks."""


class DataDir:
    """A data folder, locked for this process.

    Args:
        path: The folder; created with permissions for its owner only if it does not exist.
        ballast_bytes: Size of a file that is deleted when the disk is full, so that trimming has space to work in; 0
            disables it.

    Raises:
        LogInUse: Another process uses it.
        LogReadOnly: It cannot be created or written.
        LogFull: The disk has no space for the lock file.
    """

    def __init__(self, path: Path, *, ballast_bytes: int) -> None:
        self.path = path
        self._ballast = path / _BALLAST
        try:
            make_private_folder(path)
            # A link would be followed, and the file behind it emptied.
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
            self.reserve_bytes = min(ballast_bytes, max_ballast_bytes(path))
            """Size of the ballast."""
        except OSError as cause:
            if cause.errno == errno.ELOOP:
                raise LogReadOnly(
                    f"invalid lock file {path / _LOCK}: expected a regular file, not a symbolic link",
                    hint="Find out who made it, and delete it. The folder should belong to the user of the hub alone.",
                ) from cause
            if cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LogFull(f"the disk of the data folder {path} is full") from cause
            raise LogReadOnly(f"the data folder {path} cannot be written: {cause.strerror or cause}") from cause
        if not _lock(self._lock):
            pid = _read_pid(self._lock)
            os.close(self._lock)
            raise LogInUse(
                f"another hub (process {pid or 'unknown'}) uses the data folder {path}",
                hint="Stop it, or give this one its own --data. Many workers share one hub: run one `tidings serve`"
                " beside them and point TIDINGS_URL at it.",
            )
        try:
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"{os.getpid()}\n".encode())
        except OSError:
            pass  # a full disk: other processes then report an unknown process id

    @property
    def lock(self) -> int:
        """Descriptor of the lock file. A process that inherits it keeps the folder locked until it has ended, too."""
        return self._lock

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the folder that is locked: it may be deleted, moved or replaced."""
        try:
            found, locked = os.stat(self.path / _LOCK), os.fstat(self._lock)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (locked.st_dev, locked.st_ino)

    def create_ballast(self) -> None:
        """Create the ballast if it is missing and as much space again stays free. May wait for the disk."""
        if not self.reserve_bytes or self.has_ballast() or self.free_bytes() < 2 * self.reserve_bytes:
            return
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | _NO_FOLLOW, 0o600)
            try:
                _fill(descriptor, self.reserve_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self.drop_ballast()

    def has_ballast(self) -> bool:
        """Return whether the ballast exists."""
        return self._ballast.exists()

    def drop_ballast(self) -> bool:
        """Delete the ballast; return whether it existed."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def owns(self, file: Path) -> bool:
        """Return whether `file` is part of every data folder, regardless of the log in it."""
        return file.name in (_LOCK, _BALLAST)

    def free_bytes(self) -> int:
        """Return the free space on the disk."""
        return shutil.disk_usage(self.path).free

    def disk_bytes(self) -> int:
        """Return the size of the log's files, without the ballast."""
        return log_bytes(self.path)

    def close(self) -> None:
        """Unlock the folder for other processes."""
        os.close(self._lock)


def max_ballast_bytes(path: Path) -> int:
    """Return the maximum size of the ballast on the disk of the folder at `path`, which exists."""
    return shutil.disk_usage(path).total // _BALLAST_FRACTION


def _lock(descriptor: int) -> bool:
    if _try_lock(descriptor):
        return True
    time.sleep(_LOCK_RETRY_DELAY_S)  # `locking_pid` takes the lock for a moment, to see whether it is free
    return _try_lock(descriptor)


def locking_pid(path: Path) -> int | None:
    """Return the id of the process that uses the data folder at `path`: 0 if it is unknown, None if there is none."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _try_lock(descriptor) else _read_pid(descriptor)
    finally:
        os.close(descriptor)


def _read_pid(descriptor: int) -> int:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).strip()
    return int(text) if text.isdigit() else 0


def log_bytes(path: Path) -> int:
    """Return the size of the log's files in the folder at `path`, without the ballast."""
    total = 0
    for file in path.glob("log.db*"):
        try:
            total += file.stat().st_size
        except OSError:  # deleted in this moment, or not reachable
            continue
    return total


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 16)  # written instead of truncated to size: a sparse file would reserve nothing
    for _ in range(-(-size // len(block))):
        os.write(descriptor, block)


def _try_lock(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:  # a file system without locks
        return False
