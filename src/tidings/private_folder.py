"""Folders that belong to one user: their creation, and whose they are."""

import os
from pathlib import Path

_PARENT_MODE = 0o755
"""Mode of created parents: in a folder that others may write to, they could replace the private one."""


def make_private_folder(folder: Path) -> None:
    """Create a folder for this user only, and its missing parents, which only this user may write to.

    `Path.mkdir` creates parents as the umask allows: writable by everyone under the umask 000 of some service managers.

    Raises:
        OSError: It cannot be created, or is not a folder.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        missing = [folder]
        while not missing[-1].parent.exists() and missing[-1].parent != missing[-1]:
            missing.append(missing[-1].parent)
        for parent in reversed(missing[1:]):
            parent.mkdir(mode=_PARENT_MODE, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def belongs_to_us(status: os.stat_result) -> bool:
    """Return whether a file or folder belongs to this user or to root."""
    return not hasattr(os, "getuid") or status.st_uid in (os.getuid(), 0)


def has_foreign_home(folder: Path) -> bool:
    """Return whether the nearest existing parent of a missing folder is of another user, and this one is root.

    What root creates there, as `sudo` with the home of its caller does, would be closed to that user.
    """
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
    return existing is not None and existing.stat().st_uid != 0
