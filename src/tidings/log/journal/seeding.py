"""Begins a journal of many machines with the log of a hub of one machine, whose positions stay valid.

The first entry of the journal names the folder: of several folders that are opened at a time, the one whose entry comes
first wins. Nothing is folded from that entry, so no node can build the log without a snapshot of it. The folder keeps
the name that it proposed until its log has the state of that entry, in one transaction: a process that is killed at any
step leaves a folder that is still that of one machine and continues, or that of a node.
"""

import asyncio
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tidings.exceptions import LogCorrupt, LogForeign, LogUnavailable
from tidings.log.journal.base import Journal, JournalEntry, JournalState, Mark
from tidings.log.journal.controls import Seed
from tidings.log.journal.entries import RULES, NodeBatch, decode_batch, encode_batch, find_seed
from tidings.log.journal.shared_folder import CLAIM, attach, is_shared, read_state
from tidings.log.journal.snapshots import SnapshotJournal, fits, save_snapshot
from tidings.log.sqlite.database import (
    FILE,
    connect_read_only,
    content_error,
    has_revocations,
    open_database,
    to_log_error,
)

PATIENCE_S = 10.0
"""Time after which the first entry of the journal is given up."""
MAX_CLAIMS = 1_000
"""Entries of a journal that no node has used: the claims of folders, which are appended until one is there."""
_MIN_RETRY_S = 0.05
_MAX_RETRY_S = 1.0


def is_of_one_machine(folder: Path) -> bool:
    """Return whether a folder has a log, with something in it, that belongs to no journal of many machines.

    A damaged log counts as one of a journal, which `read_own_log` sets aside.

    Raises:
        LogError: It cannot be read.
    """
    if is_shared(folder):
        return True
    path = folder / FILE
    if not path.exists():
        return False
    try:
        with closing(connect_read_only(path)) as connection:
            return read_state(connection) is None and _has_contents(connection)
    except LogCorrupt:
        return False
    except sqlite3.Error as cause:
        error = content_error(cause, path)
        if isinstance(error, LogCorrupt):
            return False
        raise error from cause


def _has_contents(connection: sqlite3.Connection) -> bool:
    head = connection.execute("SELECT value FROM meta WHERE name = 'head'").fetchone()
    return (
        bool(head and head[0])
        or connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is not None
        or (has_revocations(connection) and bool(connection.execute("SELECT 1 FROM revocations LIMIT 1").fetchone()))
    )


async def check_seedable(journal: Journal, state: JournalState, folder: Path) -> None:
    """Check that a folder of one machine may begin a journal: it has no entry yet, or begins with one like `Seed`.

    Raises:
        LogForeign: It has another log.
        LogError: The engine cannot be asked.
    """
    if state.last and (state.first > 1 or await _read_seed(journal) is None):
        raise _refuse(folder, "has entries of another log")


async def seed_journal(journal: SnapshotJournal, folder: Path, *, node: str) -> None:
    """Make the folder of a hub of one process, which the caller has locked, that of a node whose log begins a journal.

    Args:
        journal: The journal; see `check_seedable`.
        folder: The folder.
        node: The name of the node.

    Raises:
        LogForeign: The journal begins with another log, also of a folder that was opened at the same time.
        LogUnavailable: The journal takes no entry now. Calling it again continues.
        LogError: The folder cannot be read or written.
    """
    claim = await asyncio.to_thread(_claim, folder)
    first = await _append_first(journal, claim, node)
    if _find_claim(first) != claim:
        raise _refuse(folder, "begins with the log of another folder")
    if await has_snapshot(journal):
        raise _refuse(folder, "begins with the log of another copy of this folder")
    await asyncio.to_thread(_attach, folder, Mark.of(first))


async def release_journal(journal: SnapshotJournal, *, node: str) -> None:
    """Delete a journal that begins with the log of a folder which is lost, if no node has used it.

    No node opens before there is a snapshot, so nothing was ever acknowledged in such a journal.

    Args:
        journal: The journal.
        node: The node that has the folder, as errors name it.

    Raises:
        LogForeign: The journal does not begin with the log of that node, or was used.
        LogError: The engine cannot be asked, or refuses.
    """
    state = await journal.look()
    entries = [await journal.entry(seq) for seq in range(1, min(state.last, MAX_CLAIMS) + 1)]
    first = _find_seed(entries[0]) if entries else None
    if first is None or first.node != node:
        found = "does not begin with the log of a folder" if first is None else f"is that of node {first.node!r}"
        raise LogForeign(f"the journal {found}; nothing was deleted", hint="Check --log, and the name of the node.")
    if state.last > MAX_CLAIMS or not all(map(_find_seed, entries)) or await journal.snapshots.list():
        raise LogForeign(
            "nodes have used the journal; nothing was deleted",
            hint="Start a node with an empty folder: it loads the log from the journal.",
        )
    await journal.delete(state.last)


def _refuse(folder: Path, why: str) -> LogForeign:
    return LogForeign(
        f"{folder} has the log of a hub of one machine, and the journal {why}",
        hint="Use an empty folder, whose node loads the log of the journal; or give the journal another name, so that"
        " it begins with this log.",
    )


def _claim(folder: Path) -> str:
    """Return the name that the folder proposes, which is the same each time; it is stored before it is proposed."""
    try:
        with closing(open_database(folder / FILE)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (CLAIM, secrets.randbits(63)))
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (CLAIM,)).fetchone()
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, folder) from cause
    return f"{row[0]:016x}"


async def _append_first(journal: Journal, claim: str, node: str) -> JournalEntry:
    """Return the first entry of the journal: the proposed one, or that of a node that was faster."""
    body = encode_batch(NodeBatch(rules=RULES, session=claim, number=1, events=(), controls=[Seed(node=node)]))
    loop = asyncio.get_running_loop()
    give_up, retry_s = loop.time() + PATIENCE_S, _MIN_RETRY_S
    while (entry := await journal.entry(1)) is None:
        if loop.time() > give_up:
            raise journal.failure or LogUnavailable("the journal does not bring its first entry")
        journal.append(body)  # copies are harmless: they count nowhere but at the beginning
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _MAX_RETRY_S)
    return entry


def _find_claim(entry: JournalEntry | None) -> str | None:
    batch = _decode(entry)
    return None if batch is None or find_seed(batch) is None else batch.session


def _find_seed(entry: JournalEntry | None) -> Seed | None:
    batch = _decode(entry)
    return None if batch is None else find_seed(batch)


def _decode(entry: JournalEntry | None) -> NodeBatch | None:
    if entry is not None:
        with suppress(LogCorrupt):  # no version of tidings wrote it
            return decode_batch(entry.body)
    return None


async def _read_seed(journal: Journal) -> str | None:
    return _find_claim(await journal.entry(1))


def _attach(folder: Path, mark: Mark) -> None:
    try:
        with closing(open_database(folder / FILE)) as connection:
            attach(connection, mark)
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, folder) from cause


async def has_snapshot(journal: SnapshotJournal) -> bool:
    """Return whether the engine has a snapshot that the journal continues.

    Raises:
        LogError: The engine cannot be asked.
    """
    state = await journal.look()
    for info in await journal.snapshots.list():
        if await fits(journal, info.mark, state):
            return True
    return False


async def save_first_snapshot(journal: SnapshotJournal, state: JournalState, folder: Path) -> None:
    """Save the log of a node in the engine, if the journal begins with a log of which it has no snapshot yet.

    Raises:
        LogError: The log cannot be read or copied, or the engine cannot store the snapshot.
    """
    if state.first == 1 and await _read_seed(journal) is not None and not await has_snapshot(journal):
        await save_snapshot(journal.snapshots, folder)
