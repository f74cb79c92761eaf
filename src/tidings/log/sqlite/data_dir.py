"""The data folder: one hub at a time, its owner's alone, with some ballast to drop when the disk is full."""

import errno
import os
import shutil
import sys
import time
from pathlib import Path

from tidings.exceptions import LogFull, LogInUse, LogReadOnly

_LOCK = "lock"
_BALLAST = "ballast"
_HOLDER_LOOKS_S = 0.02
_PART = 16
"""Of a small disk, the ballast is no more than one part in so many."""


class DataDir:
    """A data folder, locked for this process.

    Args:
        path: Where; made with permissions for its owner alone if it is not there.
        ballast_bytes: Size of a file that is deleted when the disk is full, so that trimming has room to work; 0 is
            none.

    Raises:
        LogInUse: Another process has it.
        LogReadOnly: It cannot be made or written.
        LogFull: The disk has no room for the lock's file.
    """

    def __init__(self, path: Path, *, ballast_bytes: int) -> None:
        self.path = path
        self._ballast = path / _BALLAST
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            self.reserve = min(ballast_bytes, shutil.disk_usage(path).total // _PART)
            """Bytes of the ballast."""
        except OSError as cause:
            if cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LogFull(f"the disk of the data folder {path} is full") from cause
            raise LogReadOnly(f"the data folder {path} cannot be written: {cause.strerror or cause}") from cause
        if not _lock(self._lock):
            pid = _pid_in(self._lock)
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
            pass  # a full disk: others then hear of an unknown process

    def take_ballast(self) -> None:
        """Take up room for the ballast, if it is not there and as much again stays free. May wait for the disk."""
        if not self.reserve or self.has_ballast() or self.free() < 2 * self.reserve:
            return
        try:
            descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                _fill(descriptor, self.reserve)
            finally:
                os.close(descriptor)
        except OSError:
            self.drop_ballast()

    def has_ballast(self) -> bool:
        """Return whether there is ballast to drop."""
        return self._ballast.exists()

    def drop_ballast(self) -> bool:
        """Make room; return whether there was ballast to drop."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def owns(self, file: Path) -> bool:
        """Return whether `file` is one that every data folder has, whatever log is in it."""
        return file.name in (_LOCK, _BALLAST)

    def free(self) -> int:
        """Return how many bytes fit on the disk beside what is there."""
        return shutil.disk_usage(self.path).free

    def disk_bytes(self) -> int:
        """Return the size of the log's files, ballast left out."""
        return size_of(self.path)

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)


def _lock(descriptor: int) -> bool:
    if _try_lock(descriptor):
        return True
    time.sleep(_HOLDER_LOOKS_S)  # `locking_pid` takes the lock for a moment, to see whether it is free
    return _try_lock(descriptor)


def locking_pid(path: Path) -> int | None:
    """Return the id of the process that uses the data folder at `path`: 0 if that is not known, None if none does."""
    try:
        descriptor = os.open(path / _LOCK, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _try_lock(descriptor) else _pid_in(descriptor)
    finally:
        os.close(descriptor)


def _pid_in(descriptor: int) -> int:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32).strip()
    return int(text) if text.isdigit() else 0


def size_of(path: Path) -> int:
    """Return the size of the log's files in the folder at `path`, ballast left out."""
    total = 0
    for file in path.glob("log.db*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _fill(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(1 << 16)  # written, not truncated to size: a sparse file would weigh nothing
    for _ in range(-(-size // len(block))):
        os.write(descriptor, block)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        # Locked far behind the end: the pid in front stays readable for others.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
