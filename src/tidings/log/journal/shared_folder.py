"""The data folder of a hub of several processes: one journal, and a log for each worker (`worker-1/log.db`, …).

One process, which has locked the folder, calls `prepare`, `make_embedded` and `remove_surplus` while no worker runs.
A folder is shared from the moment when its journal has its name, and embedded again when nothing of a worker is left,
so that a crash at any moment leaves one of the two: the next start continues.
"""

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogTooNew
from tidings.log.epochs import Epoch
from tidings.log.journal.base import JournalState, Mark
from tidings.log.journal.node import FoldState
from tidings.log.journal.replica_state import MAX_EPOCHS, ReplicaState
from tidings.log.journal.sqlite_file import FILE as JOURNAL_FILE
from tidings.log.journal.sqlite_file import open_journal, read_entries, read_range
from tidings.log.sqlite.database import (
    CREATE_STORED_STATE,
    FILE,
    STORED_ROWS,
    STORED_STATE,
    connect_read_only,
    content_error,
    open_database,
    replace_file,
    to_log_error,
)
from tidings.log.sqlite.state import read_epochs
from tidings.private_folder import make_private_folder

SET_ASIDE = "set-aside"
"""Folder with the logs and journals that could not be used, for a person; nothing reads them again."""
_WORKER = "worker-"
REBUILD = "rebuild"
"""File in the folder of a worker whose log differs from those of the others: the next process builds another one."""
_NEW_JOURNAL = "journal.new"
_FIRST_SEQ = 1
"""The sequence at which the journal of a folder begins that was embedded: entries come after it, so that no log can be
built from them without the one that was there before."""
_NO_LIMIT = 1 << 62
CLAIM = "claim"
"""Row in `meta` of an embedded log that was about to begin a journal of many machines; see `journal.seeding`."""

logger = logging.getLogger(__name__)


def replica_folder(folder: Path, worker: int) -> Path:
    """Return the folder of a worker's own log; workers are numbered from 1."""
    return folder / f"{_WORKER}{worker}"


def find_replicas(folder: Path) -> list[Path]:
    """Return the folders of workers that have a log."""
    found = [path for path in folder.glob(f"{_WORKER}*") if (path / FILE).is_file()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def is_shared(folder: Path) -> bool:
    """Return whether a folder belongs to a hub of several processes."""
    return (folder / JOURNAL_FILE).exists() or bool(find_replicas(folder))


class Replica(Struct, frozen=True):
    """A worker's log, as its file shows it."""

    folder: Path
    state: ReplicaState

    @property
    def mark(self) -> Mark:
        """The entry of the journal up to which it was stored."""
        return self.state.fold.mark

    @property
    def differs(self) -> bool:
        """Whether it differs from those of the other workers."""
        return (self.folder / REBUILD).exists()

    @property
    def preference(self) -> tuple[bool, int]:
        """The greater, the better the log: one that does not differ, and then the one that is furthest."""
        return not self.differs, self.mark.seq


def read_replica(folder: Path) -> Replica | None:
    """Return the log in a worker's folder, also while it is used; None if there is none that was ever stored.

    Raises:
        LogError: It cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with closing(connect_read_only(path)) as connection:
        try:
            stored = read_state(connection)
        except sqlite3.Error as cause:
            raise content_error(cause, path) from cause
    return None if stored is None else Replica(folder, stored)


def try_read_replica(folder: Path) -> Replica | None:
    """Return the log in a worker's folder; None too if it cannot be read."""
    try:
        return read_replica(folder)
    except LogError as error:
        logger.warning("%s cannot be used: %s", folder, error)
        return None


def read_state(connection: sqlite3.Connection) -> ReplicaState | None:
    """Return the state in a log; None if it has none: it is an embedded log, or nothing was stored yet.

    Raises:
        LogCorrupt: The state is damaged.
        sqlite3.Error: It cannot be read.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (STORED_STATE,)).fetchone():
        return None
    row = connection.execute(f"SELECT state FROM {STORED_STATE} WHERE number = 1").fetchone()
    if row is None:
        return None
    if not isinstance(row[0], bytes):
        raise LogCorrupt("the state of the journal in the log is damaged: it is not binary")
    return ReplicaState.decode(row[0])


def read_shared_epochs(connection: sqlite3.Connection) -> list[Epoch]:
    """Return the epochs of a log, oldest first; of a worker's log, those of the log that the workers share.

    Raises:
        LogCorrupt: The state in the log is damaged.
        sqlite3.Error: They cannot be read.
    """
    state = read_state(connection)
    return read_epochs(connection) if state is None else list(state.epochs)


def find_log_folder(folder: Path) -> Path:
    """Return the folder with the log of a data folder: itself, or that of the worker whose log is furthest."""
    replicas = [] if (folder / FILE).exists() else [try_read_replica(path) for path in find_replicas(folder)]
    found = [replica for replica in replicas if replica is not None]
    return max(found, key=lambda replica: replica.preference).folder if found else folder


# Fitting a log to a journal.


class JournalFile:
    """The journal of a folder, opened by a process that only looks at it.

    Raises:
        LogError: See `open_journal`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        self._connection = open_journal(self._path, max_file_bytes=_NO_LIMIT)

    def state(self) -> JournalState:
        """Return the range of entries.

        Raises:
            LogError: The file cannot be read.
        """
        try:
            return read_range(self._connection)
        except (sqlite3.Error, TypeError) as cause:
            raise content_error(cause, self._path) from cause

    def continues(self, mark: Mark) -> bool:
        """Return whether a log that was stored up to `mark` can fold the entries after it.

        Raises:
            LogError: The file cannot be read.
        """
        state = self.state()
        if not state.first - 1 <= mark.seq <= state.last:
            return False
        if mark.seq < state.first:
            return True  # the entry itself was trimmed
        try:
            entries, _ = read_entries(self._connection, mark.seq - 1, max_entries=1, max_bytes=1)
        except sqlite3.Error as cause:
            raise content_error(cause, self._path) from cause
        return bool(entries) and Mark.of(entries[0]) == mark

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def has_lost_journal(folder: Path) -> bool:
    """Return whether the journal of running workers is missing, damaged or another one, so that no log continues it.

    False, too, where the folder cannot be read.
    """
    if not (folder / JOURNAL_FILE).exists():
        return True
    try:
        replicas = [replica for path in find_replicas(folder) if (replica := try_read_replica(path)) is not None]
        with closing(JournalFile(folder)) as journal:
            return bool(replicas) and not any(journal.continues(replica.mark) for replica in replicas)
    except LogTooNew:
        return False
    except (LogCorrupt, LogForeign):
        return True
    except (LogError, OSError) as error:  # no free descriptor, too
        logger.warning("the journal of %s cannot be read: %s", folder, error)
        return False


def prepare(folder: Path, workers: int, *, stamp: str, journal_lost: bool = False) -> None:
    """Make a folder one that workers can open: new, embedded, or of an earlier run.

    Logs that do not continue the journal are set aside: their workers build new ones. Where a log is further than the
    journal, as after a crash of the machine or with an older copy of the journal, a new journal begins behind it.

    Args:
        folder: The folder, which exists and is locked by the caller.
        workers: Number of workers that will run.
        stamp: Name for what is set aside, not used before.
        journal_lost: Whether the workers lost their journal while they used it; see `has_lost_journal`. A file
            that is there instead is set aside, and a new journal begins behind the log that is furthest.

    Raises:
        LogForeign: A file in the folder belongs to another program.
        LogTooNew: A newer version of tidings wrote the folder.
        LogCorrupt: There is a journal without its beginning, and no log that continues it.
        LogError: The folder cannot be read or written.
    """
    try:
        if (folder / FILE).exists():
            _share(folder)
            if workers > 1:  # one only replays the journal of a folder that one process opens
                logger.info("the log of %s is shared by workers now", folder)
        _check_replicas(folder, stamp, journal_lost)
        _remove_surplus(folder, workers)
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, folder) from cause


def _share(folder: Path) -> None:
    """Make the embedded log of a folder the first worker's one. Where workers have logs besides, those are older."""
    path = folder / FILE
    with closing(open_database(path)) as connection:
        state = read_state(connection)
        journal = folder / JOURNAL_FILE
        if not journal.exists():
            _new_journal(folder, _FIRST_SEQ)
            state = attach(connection, Mark(_FIRST_SEQ))
            replace_file(folder / _NEW_JOURNAL, journal)
        elif state is None:
            raise LogForeign(
                f"{folder} has both a journal and an embedded log",
                hint="One of them was copied there. Move away the one that you do not need: log.db, or journal.db and"
                " the folders worker-*.",
            )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for left in folder.glob(f"{_WORKER}*"):
        shutil.rmtree(left)
    target = replica_folder(folder, 1)
    target.mkdir(mode=0o700)
    replace_file(path, target / FILE)


def attach(connection: sqlite3.Connection, mark: Mark) -> ReplicaState:
    """Make an embedded log one that has folded a journal up to an entry; return its state.

    Raises:
        LogCorrupt: The state in the log is damaged.
        sqlite3.Error: It cannot be written.
    """
    epochs = read_shared_epochs(connection)
    state = ReplicaState(FoldState(mark), tuple(epochs[-MAX_EPOCHS:]))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(CREATE_STORED_STATE)
    connection.execute(f"INSERT OR REPLACE INTO {STORED_STATE} VALUES (1, ?)", (state.encode(),))
    connection.execute("DELETE FROM meta WHERE name = ?", (CLAIM,))
    connection.execute("COMMIT")
    return state


def _new_journal(folder: Path, seq: int) -> None:
    """Create a journal, under another name, whose next entry has the sequence `seq + 1`."""
    path = folder / _NEW_JOURNAL
    for left in folder.glob(f"{_NEW_JOURNAL}*"):
        left.unlink()
    with closing(open_journal(path, max_file_bytes=_NO_LIMIT)) as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO entries (seq, at_ns, body) VALUES (?, 0, x'')", (seq,))
        connection.execute("DELETE FROM entries")
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _check_replicas(folder: Path, stamp: str, journal_lost: bool) -> None:
    replicas = []
    for path in find_replicas(folder):
        try:
            replica = read_replica(path)
        except (LogCorrupt, LogForeign) as error:
            logger.error("%s is set aside: %s", path, error)
            set_aside(path, stamp)
            continue
        if replica is None:
            shutil.rmtree(path)  # nothing was stored in it
        else:
            replicas.append(replica)
    furthest = max(replicas, key=lambda replica: replica.preference, default=None)
    journal = _open_existing(folder, stamp, journal_lost) if furthest is not None else JournalFile(folder)
    if journal is None:
        assert furthest is not None
        _begin_behind(folder, furthest, "it is missing or damaged")
        journal = JournalFile(folder)
    try:
        state = journal.state()
        fitting = {replica.folder for replica in replicas if journal.continues(replica.mark)}
        is_further = furthest is not None and furthest.folder not in fitting and furthest.mark.seq > state.last
        if furthest is not None and (is_further or (journal_lost and not fitting)):
            journal.close()
            set_aside(folder / JOURNAL_FILE, stamp)
            reason = (
                f"it ends at {state.last}, and a log is further" if is_further else "it was replaced by another one"
            )
            _begin_behind(folder, furthest, reason)
            journal = JournalFile(folder)
            fitting = {replica.folder for replica in replicas if replica.mark == furthest.mark}
        elif not fitting and state.first > 1:
            raise LogCorrupt(
                f"the journal of {folder} begins at {state.first}, and no log continues it",
                hint="Restore a backup into an empty folder: `tidings data restore`.",
            )
    finally:
        journal.close()
    for replica in replicas:
        if replica.folder not in fitting:
            logger.warning("%s does not continue the journal: it is set aside, and built again", replica.folder)
            set_aside(replica.folder, stamp)


def _open_existing(folder: Path, stamp: str, journal_lost: bool) -> JournalFile | None:
    """Return the journal; None if there is none, or a damaged one, which is set aside."""
    if not (folder / JOURNAL_FILE).exists():
        return None
    try:
        journal = JournalFile(folder)
    except (LogCorrupt, LogForeign) as error:
        if isinstance(error, LogForeign) and not journal_lost:
            raise
        logger.error("the journal of %s is set aside: %s", folder, error)
        set_aside(folder / JOURNAL_FILE, stamp)
        return None
    return journal


def _begin_behind(folder: Path, replica: Replica, reason: str) -> None:
    """Begin a new journal at the entry up to which a log was stored."""
    logger.warning("the journal of %s begins again behind %s: %s", folder, replica.folder.name, reason)
    _new_journal(folder, max(_FIRST_SEQ, replica.mark.seq))
    replace_file(folder / _NEW_JOURNAL, folder / JOURNAL_FILE)


def set_aside(path: Path, stamp: str) -> None:
    """Move a worker's folder, or a journal with the files of SQLite beside it, to `SET_ASIDE`."""
    target = path.parent / SET_ASIDE / stamp
    make_private_folder(target)
    for file in [path] if path.is_dir() else sorted(path.parent.glob(f"{path.name}*"), reverse=True):
        file.replace(target / file.name)


def _remove_surplus(folder: Path, workers: int) -> None:
    """Remove the logs of workers that will not run; one that is further than the others takes the place of one."""
    wanted = [replica_folder(folder, worker) for worker in range(1, workers + 1)]
    replicas = [replica for path in find_replicas(folder) if (replica := read_replica(path)) is not None]
    if not replicas:
        return
    furthest = max(replicas, key=lambda replica: (*replica.preference, replica.folder in wanted))
    if furthest.folder not in wanted:
        if wanted[0].exists():
            shutil.rmtree(wanted[0])
        furthest.folder.replace(wanted[0])
    for path in find_replicas(folder):
        if path not in wanted:
            shutil.rmtree(path)


# Back to one process.


def has_shared_log(folder: Path) -> bool:
    """Return whether the log of a folder must be made an embedded one before one process opens it.

    Raises:
        LogError: The folder cannot be read.
    """
    if is_shared(folder):
        return True
    if not (folder / FILE).exists():
        return False
    with closing(connect_read_only(folder / FILE)) as connection:
        try:
            return read_state(connection) is not None
        except sqlite3.Error as cause:
            raise content_error(cause, folder / FILE) from cause


def make_embedded(folder: Path) -> None:
    """Make the first worker's log, which has folded the whole journal, the embedded log of a folder; remove all others.

    Raises:
        LogError: The folder cannot be read or written.
    """
    try:
        path = replica_folder(folder, 1) / FILE
        if path.exists():
            with closing(open_database(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            replace_file(path, folder / FILE)
        for left in sorted(folder.glob("journal.*"), reverse=True):  # its lock files, too
            left.unlink()
        for path in folder.glob(f"{_WORKER}*"):
            shutil.rmtree(path)
        shutil.rmtree(folder / "bells", ignore_errors=True)
        with closing(open_database(folder / FILE)) as connection:
            detach(connection)
        logger.info("the log of %s belongs to one process now", folder)
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, folder) from cause


def detach(connection: sqlite3.Connection) -> None:
    """Make a worker's log, or a copy of one, an embedded one: with the epochs of the log that the workers shared."""
    state = read_state(connection)
    if state is None:
        return
    connection.execute("BEGIN IMMEDIATE")
    if state.epochs:
        connection.execute("DELETE FROM epochs")
        connection.executemany(
            "INSERT INTO epochs (name, start) VALUES (?, ?)", [(epoch.name, epoch.start) for epoch in state.epochs]
        )
    for table in (STORED_STATE, STORED_ROWS):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute("COMMIT")
