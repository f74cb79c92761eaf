"""Copies of a log: `backup` makes one, also while a hub uses the log, and `restore` makes a log of it."""

import contextlib
import os
import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from msgspec import Struct

from tidings.exceptions import LogCorrupt, LogError, LogFull
from tidings.log.epochs import Epochs
from tidings.log.journal.shared_folder import detach
from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import FILE, replace_file, to_log_error
from tidings.log.sqlite.inspect import read_log, verify
from tidings.log.sqlite.state import read_epochs

_WRITABLE_PLACE: Final = "Name a file in a folder that you may write to."
_FREE_SPACE: Final = "Free disk space, or copy to another disk."


class Backup(Struct, frozen=True, kw_only=True):
    """A copy that was made."""

    path: Path
    position: str
    """Position of the newest event in it."""
    events: int
    bytes: int
    """Size of the file."""


class Restored(Struct, frozen=True, kw_only=True):
    """A log that was made from a copy."""

    folder: Path
    position: str
    """Position of the newest event in it, in an older epoch, from which clients resume."""
    events: int


def backup(folder: Path, target: Path) -> Backup:
    """Copy the log in `folder`, as it is at this moment, to the file `target`.

    Raises:
        LogError: `target` exists, or its folder does not.
        LogForeign: `folder` does not contain a log.
        LogFull: The disk has no space for the copy.
        LogReadOnly: The copy cannot be written there.
    """
    try:
        if target.exists():
            raise _exists(target)
        if not target.parent.is_dir():
            raise LogError(f"there is no folder {target.parent}", hint="Create the folder, then try again.")
    except OSError as cause:
        raise _write_error(cause, target) from cause
    # Beside the target, so that renaming it is one step. A backup that was interrupted keeps this other name.
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        partial.touch(mode=0o600, exist_ok=False)  # fails with an error about the copy, not about the log
        with read_log(folder / FILE, in_transaction=False) as connection:
            connection.execute("VACUUM INTO ?", (str(partial),))
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            detach(copy)
            events, position = _summarize(copy)
        _rename_new(partial, target)
    except LogFull as cause:  # nothing is written to the log
        raise LogFull(f"{target}: the disk is full", hint=_FREE_SPACE) from cause
    except (sqlite3.Error, OSError) as cause:
        raise _write_error(cause, target) from cause
    finally:
        for left in (partial, partial.with_name(partial.name + "-journal")):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    return Backup(path=target, position=position, events=events, bytes=target.stat().st_size)


def restore(backup_file: Path, folder: Path) -> Restored:
    """Make `folder` a data folder with the log in `backup_file`, which continues in a new epoch, as every opening does.

    Events that clients received after the copy was made are missing, and their positions are not assigned again: a
    position up to the last one of the copy resumes exactly, a later one is a gap.

    Args:
        backup_file: A file that `backup` created.
        folder: Must be empty; created if it does not exist.

    Raises:
        LogError: `folder` is not empty.
        LogInUse: A hub uses it.
        LogCorrupt: The copy is damaged.
        LogForeign: `backup_file` is not a copy of a log.
        LogFull: The disk is full.
        LogReadOnly: The folder cannot be written.
    """
    found = verify(backup_file)
    if found.faults:
        raise LogCorrupt(
            f"{backup_file} is damaged: {found.faults[0]}",
            hint="Restore from another copy.",
            details="\n".join(found.faults),
        )
    data_dir = DataDir(folder, ballast_bytes=0)
    partial = folder / f"{FILE}.new"
    try:
        others = sorted(file.name for file in folder.iterdir() if not data_dir.owns(file))
        if others:
            raise LogError(
                f"{folder} is not empty: it contains {', '.join(others[:3])}", hint="Restore into an empty folder."
            )
        shutil.copyfile(backup_file, partial)
        partial.chmod(0o600)
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            copy.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
            events, position = _summarize(copy)
        replace_file(partial, folder / FILE)
    except (sqlite3.Error, OSError) as cause:
        raise to_log_error(cause, folder) from cause
    finally:
        partial.unlink(missing_ok=True)
        data_dir.close()
    return Restored(folder=folder, position=position, events=events)


def _read_head(connection: sqlite3.Connection) -> int:
    head: int = connection.execute(
        "SELECT max((SELECT value FROM meta WHERE name = 'head'), (SELECT ifnull(max(offset), 0) FROM events))"
    ).fetchone()[0]
    return head


def _summarize(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return the number of events, and the position of the newest."""
    epochs = read_epochs(connection)
    events: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return events, str(Epochs(epochs).position(_read_head(connection))) if epochs else ""


def _rename_new(source: Path, target: Path) -> None:
    """Rename `source` to `target`, unless that exists by now."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without links
        pass
    replace_file(source, target)


def _write_error(cause: Exception, target: Path) -> LogError:
    error = to_log_error(cause, target)
    error.hint = _FREE_SPACE if isinstance(error, LogFull) else _WRITABLE_PLACE
    return error


def _exists(target: Path) -> LogError:
    return LogError(f"{target} exists", hint="Name a file that does not exist: a backup never overwrites a file.")
