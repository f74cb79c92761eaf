"""Builds the log of a worker that has none, or one that cannot be used: a copy of another worker's."""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tidings.exceptions import LogCorrupt, LogForeign, LogUnavailable
from tidings.file_lock import try_lock
from tidings.log.journal.shared_folder import (
    REBUILD,
    SET_ASIDE,
    JournalFile,
    Replica,
    find_replicas,
    read_replica,
    replica_folder,
    set_aside,
    try_read_replica,
)
from tidings.log.sqlite.database import FILE, connect_read_only, replace_file, to_log_error

_LOCK = "journal.build.lock"
_LOCK_DELAY_S = 0.02

logger = logging.getLogger(__name__)


def build_replica(folder: Path, worker: int, *, stamp: str) -> None:
    """Make sure that a worker has a log that continues the journal, or that it can begin with an empty one.

    A log that is missing, damaged or too old is replaced by a copy of another worker's, also while that one runs.

    Args:
        folder: The data folder.
        worker: Number of the worker.
        stamp: See `prepare`.

    Raises:
        LogCorrupt: No log can be built.
        LogUnavailable: No log continues the journal, because it was replaced since `prepare`.
        LogError: The folder cannot be read or written.
    """
    own = replica_folder(folder, worker)
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        with _one_at_a_time(folder), closing(JournalFile(folder)) as journal:
            present = _read_own(own)
            if present is not None and journal.continues(present.mark) and not present.differs:
                return
            found = [present, *(try_read_replica(path) for path in find_replicas(folder) if path != own)]
            fitting = [each for each in found if each is not None and journal.continues(each.mark)]
            source = max(fitting, key=lambda each: each.preference, default=None)
            if source is not None and source.differs:  # all of them do
                logger.warning("%s differs from the other logs, and stays in use", source.folder)
                (source.folder / REBUILD).unlink()
                if source is present:
                    return
            if source is None and any(found):
                raise LogUnavailable(f"no log in {folder} continues its journal: it was replaced")
            _move_away(own, stamp)
            if source is not None:
                copy_log(source.folder / FILE, own / FILE)
                logger.info("the log of %s was copied from %s", own.name, source.folder.name)
            elif (state := journal.state()).first > 1:
                raise LogCorrupt(
                    f"the journal of {folder} begins at {state.first}, and no log continues it",
                    hint="Restore a backup into an empty folder: `tidings data restore`.",
                )
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, own) from cause


def mark_for_rebuilding(folder: Path, worker: int) -> None:
    """Let the next process of a worker build its log again, because it differs from those of the others.

    Raises:
        OSError: The mark cannot be written.
    """
    (replica_folder(folder, worker) / REBUILD).touch(mode=0o600)


def _read_own(own: Path) -> Replica | None:
    try:
        return read_replica(own)
    except (LogCorrupt, LogForeign) as error:
        logger.error("%s is damaged: %s", own, error)
        return None


def _move_away(own: Path, stamp: str) -> None:
    """Set a log aside that cannot be used; of those that differ only the first, because a broken worker makes many."""
    is_next = (own / REBUILD).exists() and any(own.parent.glob(f"{SET_ASIDE}/*/{own.name}/{REBUILD}"))
    if is_next:
        logger.warning("%s differs from the other logs again: it is deleted, and built again", own)
        shutil.rmtree(own)
    elif (own / FILE).exists():
        logger.warning("%s is set aside, and built again", own)
        set_aside(own, stamp)
    own.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other workers wait, so that two of them never set aside the logs that they would copy from each other."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        while not try_lock(descriptor):
            time.sleep(_LOCK_DELAY_S)
        yield
    finally:
        os.close(descriptor)


def copy_log(source: Path, target: Path) -> None:
    """Copy the file of a log, as it is at this moment, also while a node uses it.

    Raises:
        LogError: It is not a log.
        OSError: The copy cannot be written.
        sqlite3.Error: The file cannot be read or copied.
    """
    partial = target.with_name(f"{target.name}.part")
    for left in partial.parent.glob(f"{partial.name}*"):
        left.unlink()
    with closing(connect_read_only(source)) as reading, closing(sqlite3.connect(partial)) as copy:
        reading.backup(copy)
    partial.chmod(0o600)
    replace_file(partial, target)
