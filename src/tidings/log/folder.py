"""The data folder: one hub at a time, its owner's alone, with some ballast to drop when the disk is full."""

import os
import shutil
import sys
from pathlib import Path

from tidings.exceptions import LogFull, LogInUse, LogReadOnly

_LOCK = "lock"
_BALLAST = "ballast"


class DataFolder:
    """A data folder, locked for this process.

    Args:
        path: Where; made with permissions for its owner alone if it is not there.
        ballast_bytes: Size of a file that is deleted when the disk is full, so that trimming has room to work.

    Raises:
        LogInUse: Another process has it.
        LogReadOnly: It cannot be made or written.
    """

    def __init__(self, path: Path, *, ballast_bytes: int) -> None:
        self.path = path
        self._ballast_bytes = ballast_bytes
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as cause:
            raise LogReadOnly(f"the data folder {path} cannot be written: {cause.strerror or cause}") from cause
        if not _try_lock(self._lock):
            holder = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise LogInUse(
                f"another hub (process {holder}) uses the data folder {path}",
                hint="Stop it, or give this one its own --data. Many workers share one hub: run one `tidings serve`"
                " beside them and point TIDINGS_URL at it.",
            )
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0) if hasattr(os, "pwrite") else None

    def take_ballast(self) -> None:
        """Write the ballast if it is not there and there is room for twice as much; else do without."""
        file = self.path / _BALLAST
        if not self._ballast_bytes or self.has_ballast():
            return
        if shutil.disk_usage(self.path).free < 2 * self._ballast_bytes:
            return
        try:
            with file.open("wb") as ballast:
                block = bytes(1 << 16)  # written, not truncated to size: a sparse file would weigh nothing
                for _ in range(self._ballast_bytes >> 16):
                    ballast.write(block)
        except OSError:
            file.unlink(missing_ok=True)

    def has_ballast(self) -> bool:
        """Return whether there is ballast to drop."""
        return (self.path / _BALLAST).exists()

    def drop_ballast(self) -> bool:
        """Make room; return whether there was ballast to drop."""
        try:
            (self.path / _BALLAST).unlink()
        except OSError:
            return False
        return True

    def disk_bytes(self) -> int:
        """Return the size of the log's files, ballast left out."""
        total = 0
        for file in self.path.glob("log.db*"):
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)


def check_room(path: Path, size: int) -> None:
    """Check that `size` bytes fit beside `path`.

    Raises:
        LogFull: They do not.
    """
    free = shutil.disk_usage(path).free
    if free < size:
        raise LogFull(f"{path} has room for {free} bytes; {size} are needed")


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
