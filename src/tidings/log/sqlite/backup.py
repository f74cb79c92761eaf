"""Logs as files: looking at one, checking it, and keeping a copy. All but `restore` while a hub uses it, too."""

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct

from tidings.exceptions import LogCorrupt, LogError
from tidings.log.epochs import Epochs
from tidings.log.sqlite.data_dir import DataDir, locking_pid, size_of
from tidings.log.sqlite.database import FILE, connect_to_read, misfit, refusal, replace_file
from tidings.log.sqlite.inspect import Verification, verify_database
from tidings.log.sqlite.state import add_epoch, read_epochs

_BACKED_UP = "backup"
"""In the place of the boot id: a copy that is used as it is begins a new epoch, like one that was restored."""


class LogInfo(Struct, frozen=True, kw_only=True):
    """A log, as one sees it from outside."""

    path: Path
    """Its file."""
    schema: int
    """The version of its tables."""
    epoch: str
    """Its newest epoch."""
    epochs: int
    """How many there were."""
    head: int
    """Offset of the newest event; 0 in an empty log."""
    first: int
    """Offset after the last one trimmed from the range."""
    events: int
    """All that can be read, those kept for the snapshot included."""
    durable_events: int
    """Durable ones in the range,"""
    durable_bytes: int
    """and the size of their data."""
    latest_events: int
    """`latest` ones in the range."""
    oldest_ns: int | None
    """When the oldest event was received, nanoseconds since 1970; None in an empty log."""
    newest_ns: int | None
    """When the newest was."""
    disk_bytes: int
    """Size of the files, ballast left out."""
    unused_bytes: int
    """What of them is free for events to come."""
    closed: bool
    """Whether the log was closed in order; False while a hub uses it, and after a crash."""
    process: int | None
    """The hub that uses it: its process id, 0 if that is not known; None if none does."""


class Backup(Struct, frozen=True, kw_only=True):
    """A copy that was made."""

    path: Path
    position: str
    """Of the newest event in it."""
    events: int
    bytes: int
    """Size of the file."""


class Restored(Struct, frozen=True, kw_only=True):
    """A log that was made of a copy."""

    folder: Path
    epoch: str
    """The one it begins with."""
    position: str
    """Of the newest event in it: one of an older epoch, from which clients resume."""
    events: int


def info(folder: Path) -> LogInfo:
    """Return what there is to say of the log in `folder`.

    Raises:
        LogForeign: There is none.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: It is damaged.
    """
    path = folder / FILE
    with _reading(path) as connection:
        execute = connection.execute
        meta = dict(execute("SELECT name, value FROM meta"))
        counts = {0: (0, 0), 1: (0, 0)}
        for latest, name in ((0, "durable_floor"), (1, "latest_floor")):
            counts[latest] = execute(
                "SELECT count(*), ifnull(sum(length(data)), 0) FROM events WHERE latest = ? AND offset > ?",
                (latest, meta[name]),
            ).fetchone()
        events, last, oldest, newest = execute(
            "SELECT count(*), ifnull(max(offset), 0), min(received_ns), max(received_ns) FROM events"
        ).fetchone()
        epochs = read_epochs(connection)
        return LogInfo(
            path=path,
            schema=execute("PRAGMA user_version").fetchone()[0],
            epoch=epochs[-1].name if epochs else "",
            epochs=len(epochs),
            head=max(meta["head"], last),
            first=meta["durable_floor"] + 1,
            events=events,
            durable_events=counts[0][0],
            durable_bytes=counts[0][1],
            latest_events=counts[1][0],
            oldest_ns=oldest,
            newest_ns=newest,
            disk_bytes=size_of(folder),
            unused_bytes=execute("PRAGMA freelist_count").fetchone()[0] * execute("PRAGMA page_size").fetchone()[0],
            closed=bool(meta["clean"]),
            process=locking_pid(folder),
        )


def verify(path: Path) -> Verification:
    """Check a log, or a copy of one: that its file is whole, and that it holds what a log holds.

    Args:
        path: The data folder, or a file that `backup` made.

    Raises:
        LogForeign: There is no log.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: It is damaged so that it cannot be looked at.
    """
    file = path / FILE if path.is_dir() else path
    with _reading(file) as connection:
        return verify_database(connection, file)


def backup(folder: Path, target: Path) -> Backup:
    """Copy the log in `folder` to the file `target`, as it is at this moment.

    Raises:
        LogError: `target` exists, or its folder does not.
        LogForeign: There is no log in `folder`.
        LogFull: There is no room for the copy.
        LogReadOnly: It cannot be written there.
    """
    if target.exists():
        raise LogError(f"{target} exists", hint="Name a file that does not: a backup overwrites nothing.")
    if not target.parent.is_dir():
        raise LogError(f"there is no folder {target.parent}", hint="Make the folder, then try again.")
    # Beside the target, so that giving it its name is one step; a backup that was cut off has another name.
    making = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with _reading(folder / FILE, in_transaction=False) as connection:
            connection.execute("VACUUM INTO ?", (str(making),))
        making.chmod(0o600)
        with closing(sqlite3.connect(making, isolation_level=None)) as copy:
            copy.execute("BEGIN")
            copy.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
            copy.execute("UPDATE meta SET value = ? WHERE name = 'boot'", (_BACKED_UP,))
            copy.execute("COMMIT")
            events, position = _summary(copy)
        _name_once(making, target)
    except (sqlite3.Error, OSError) as cause:
        raise refusal(cause, target) from cause
    finally:
        for left in (making, making.with_name(making.name + "-journal")):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
    return Backup(path=target, position=position, events=events, bytes=target.stat().st_size)


def restore(
    backup_file: Path, folder: Path, *, new_epoch: Callable[[], str] = lambda: secrets.token_hex(4)
) -> Restored:
    """Make `folder` a data folder with the log in `backup_file`, which goes on in a new epoch.

    What clients saw after the copy was made is not in it, and its positions will not be given to other events: a
    position up to the copy's last resumes exactly, a later one is a gap.

    Args:
        backup_file: What `backup` made.
        folder: Made if it is not there; else it is empty.
        new_epoch: Makes names of epochs: 8 lower-case hex digits.

    Raises:
        LogError: `folder` is not empty.
        LogInUse: A hub uses it.
        LogCorrupt: The copy is damaged.
        LogForeign: It is no copy of a log.
        LogFull: There is no room.
        LogReadOnly: The folder cannot be written.
    """
    found = verify(backup_file)
    if found.faults:
        raise LogCorrupt(
            f"{backup_file} is damaged: {found.faults[0]}",
            hint="Restore from another copy.",
            details="\n".join(found.faults),
        )
    locked = DataDir(folder, ballast_bytes=0)
    making = folder / f"{FILE}.new"
    try:
        others = sorted(file.name for file in folder.iterdir() if not locked.owns(file))
        if others:
            raise LogError(
                f"{folder} is not empty: it holds {', '.join(others[:3])}", hint="Restore into an empty folder."
            )
        shutil.copyfile(backup_file, making)
        making.chmod(0o600)
        with closing(sqlite3.connect(making, isolation_level=None)) as copy:
            head = _head(copy)
            copy.execute("BEGIN")
            epoch = add_epoch(copy, new_epoch, head)
            copy.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
            copy.execute("COMMIT")
            events, position = _summary(copy)
        replace_file(making, folder / FILE)
    except (sqlite3.Error, OSError) as cause:
        raise refusal(cause, folder) from cause
    finally:
        making.unlink(missing_ok=True)
        locked.close()
    return Restored(folder=folder, epoch=epoch.name, position=position, events=events)


@contextmanager
def _reading(path: Path, *, in_transaction: bool = True) -> Iterator[sqlite3.Connection]:
    """Give a connection that changes nothing and, in a transaction, sees the log as it is at one moment."""
    connection = connect_to_read(path)
    try:
        if in_transaction:
            connection.execute("BEGIN")
        yield connection
    except (sqlite3.Error, KeyError, TypeError, ValueError) as cause:
        raise misfit(cause, path) from cause
    finally:
        connection.close()


def _head(connection: sqlite3.Connection) -> int:
    head: int = connection.execute(
        "SELECT max((SELECT value FROM meta WHERE name = 'head'), (SELECT ifnull(max(offset), 0) FROM events))"
    ).fetchone()[0]
    return head


def _summary(connection: sqlite3.Connection) -> tuple[int, str]:
    """Return how many events there are, and the position of the newest."""
    epochs = read_epochs(connection)
    events: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return events, str(Epochs(epochs).position(_head(connection))) if epochs else ""


def _name_once(source: Path, target: Path) -> None:
    """Give `source` the name `target`, unless that is taken meanwhile."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise LogError(f"{target} exists", hint="Name a file that does not: a backup overwrites nothing.") from None
    except OSError:  # a file system without links
        replace_file(source, target)
    else:
        replace_file(source, target)
