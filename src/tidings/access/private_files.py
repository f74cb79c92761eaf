"""Files that hold secrets or decide on access: private to their owner, replaced whole, locked while they change.

Unix permissions are checked; on Windows, a file has those of its folder.
"""

import contextlib
import glob
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tidings.exceptions import UnsafeFile
from tidings.file_lock import try_lock

MAX_PRIVATE_FILE_BYTES: Final = 16 << 20
"""Size of a file that is read: 10,000 API keys have 4 MiB."""
_LOCK_TIMEOUT_S: Final = 10.0
"""How long a change waits for the changes of other processes, each of which takes milliseconds."""
_LOCK_POLL_S: Final = 0.02
_LEFTOVER_S: Final = 600.0
"""Age in seconds of an unfinished file that no process still writes: writing takes milliseconds."""
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)

FileStamp = tuple[int, int, int]
"""Distinguishes versions of a file: its inode, its size, and the time of its last change in nanoseconds."""


def file_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of the file at `path`, or None if it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_private(path: Path, thing: str, *, secret: bool = True) -> bytes:
    """Return the contents of a file after checking that other users can neither write nor, if it is secret, read it.

    As PostgreSQL does for private keys, a file of root may be readable by its group.

    Args:
        path: The file.
        thing: What the file is, for errors, such as `key file`.
        secret: Whether other users may not read it.

    Raises:
        UnsafeFile: Other users can read or write it, or it belongs to another user.
        OSError: It cannot be read.
    """
    with open(path, "rb", opener=open_at_once) as file:
        if sys.platform != "win32":
            _check_mode(path, thing, os.fstat(file.fileno()), secret)
        data = file.read(MAX_PRIVATE_FILE_BYTES + 1)
    if len(data) > MAX_PRIVATE_FILE_BYTES:
        raise UnsafeFile(
            f"invalid {thing} {path}: expected at most {MAX_PRIVATE_FILE_BYTES >> 20} MiB",
            hint="Check that the path names the right file.",
        )
    return data


def open_at_once(path: str, flags: int) -> int:
    """Open a file for `open`; a named pipe without a writer keeps no hub waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_mode(path: Path, thing: str, found: os.stat_result, secret: bool) -> None:
    user = os.geteuid()
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile(f"invalid {thing} {path}: expected a regular file", hint="Name a file.")
    if user != 0 and found.st_uid not in (0, user):
        raise UnsafeFile(
            f"unsafe {thing} {path}: it belongs to another user (uid {found.st_uid})",
            hint=f"Run `chown {user} {path}`.",
        )
    forbidden = stat.S_IWGRP | stat.S_IWOTH
    if secret:
        forbidden |= stat.S_IROTH if found.st_uid == 0 else stat.S_IRGRP | stat.S_IROTH
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        verb = "write" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else "read"
        change = "replace the secrets in it" if secret else "get a new copy from its issuer"
        raise UnsafeFile(
            f"unsafe {thing} {path}: other users can {verb} it (mode {mode:04o})",
            hint=f"Run `chmod {600 if secret else 644} {path}`, and {change} if others had access.",
        )


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file for its owner only; a reader sees the old or the new contents, never a part.

    A process of root gives the file to the owner of the old one, or of the folder: root may add a key for a hub that
    runs as another user.

    Args:
        path: The file; a symbolic link is followed.
        data: Its contents.
        replace: Whether an existing file is replaced.

    Raises:
        FileExistsError: It exists, and `replace` is False.
        OSError: It cannot be written.
    """
    path = Path(os.path.realpath(path))
    _remove_leftovers(path)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | getattr(os, "O_BINARY", 0), 0o600)
    try:
        try:
            if sys.platform != "win32" and os.geteuid() == 0:
                owner = path.stat() if path.exists() else path.parent.stat()
                os.fchown(file, owner.st_uid, owner.st_gid)
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        if replace:
            new.replace(path)
        else:
            os.link(new, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def _remove_leftovers(path: Path) -> None:
    """Delete unfinished files beside `path` of processes that were killed while they wrote it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        with contextlib.suppress(OSError):
            if abs(time.time() - left.lstat().st_mtime) > _LEFTOVER_S:
                left.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename last: without it, a revoked key could be valid again after a power failure."""
    if hasattr(os, "O_DIRECTORY"):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # a few file systems of networks refuse it
                os.fsync(file)
        finally:
            os.close(file)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time change the file at `path`; its lock is a file beside it, because the file is replaced.

    Raises:
        UnsafeFile: Another process holds the lock for 10 s.
        OSError: The lock cannot be created.
    """
    path = Path(os.path.realpath(path))  # the same lock, whatever link leads to the file
    lock = path.with_name(f"{path.name}.lock")
    file = os.open(lock, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise UnsafeFile(
                    f"cannot change {path}: another process has locked it",
                    hint=f"Find the process that has {lock} open, and end it.",
                )
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(file)
