"""Folds the rest of a journal into the log of one worker, so that the folder can belong to one process again."""

import asyncio
import secrets
from contextlib import ExitStack
from pathlib import Path

from tidings.exceptions import LogUnavailable
from tidings.log.base import Retention
from tidings.log.journal.shared_folder import JournalFile, make_embedded, prepare, replica_folder
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.opening import OpeningProgress
from tidings.log.replicated import ReplicatedLog
from tidings.log.sqlite.log import SqliteLog
from tidings.version import __version__

_LOOK_INTERVAL_S = 0.01


def new_name() -> str:
    """Return a new name of an epoch or a session: 8 lower-case hex digits."""
    return secrets.token_hex(4)


def unshare(folder: Path, retention: Retention, progress: OpeningProgress, *, stamp: str) -> None:
    """Make the folder of workers, none of which runs, the folder of one process; every position stays valid.

    The caller has locked the folder, and its thread has no event loop.

    Args:
        folder: The folder.
        retention: How much the log keeps.
        progress: See `SqliteLog`.
        stamp: See `prepare`.

    Raises:
        LogError: See `prepare` and `SqliteLog`.
    """
    prepare(folder, 1, stamp=stamp)
    asyncio.run(_replay(folder, retention, progress))
    make_embedded(folder)


async def _replay(folder: Path, retention: Retention, progress: OpeningProgress) -> None:
    loop = asyncio.get_running_loop()
    file = JournalFile(folder)
    last = file.state().last
    file.close()
    local = SqliteLog(
        replica_folder(folder, 1), loop, new_name, retention=retention, ballast_bytes=0, progress=progress
    )
    with ExitStack() as opened:
        opened.callback(local.close)
        journal = SqliteJournal(folder, loop)
        opened.callback(journal.close)
        log = ReplicatedLog(
            journal, local, loop, node="worker-1", version=__version__, new_name=new_name, compares_past=False
        )
        opened.callback(log.close)
        log.start(last)
        while not log.is_open:
            if log.failed is not None:
                raise log.failed
            if progress.stopped:
                raise LogUnavailable("the opening of the log was stopped")
            await asyncio.sleep(_LOOK_INTERVAL_S)
