"""Opens the log of one node: connects to the journal, fits the node's own log to it, and folds the rest.

Until then the hub answers that its log is being opened, also while the engine of the journal is away.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, cast

import structlog

from tidings.exceptions import Draining, LogCorrupt, LogOpening, LogTooNew, LogUnavailable
from tidings.log.base import Log, Retention
from tidings.log.journal.base import JournalState
from tidings.log.journal.engines import JournalEngine
from tidings.log.journal.node_folder import (
    mark_node_for_rebuilding,
    read_node_name,
    read_own_log,
    remove_set_aside,
)
from tidings.log.journal.replaying import new_name, unshare
from tidings.log.journal.replica_state import ReplicaState
from tidings.log.journal.seeding import check_seedable, is_of_one_machine, save_first_snapshot, seed_journal
from tidings.log.journal.shared_folder import is_shared, read_replica, set_aside
from tidings.log.journal.snapshot_keeper import SnapshotKeeper
from tidings.log.journal.snapshots import SnapshotInfo, SnapshotJournal, fits, load_snapshot
from tidings.log.opening import OpeningProgress
from tidings.log.replicated import ReplicatedLog
from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.log import SqliteLog
from tidings.server.opening_thread import LogOpener, OpeningThread
from tidings.version import __version__

_LOOK_INTERVAL_S: Final = 0.01
_MIN_RETRY_S: Final = 0.5
_MAX_RETRY_S: Final = 5.0
_RETRY_MS: Final = 1_000
_HINT: Final = "Check that the engine runs, and that this machine reaches the address of --log."
_CLOSING_S: Final = 3.0
"""Time for the engine to take what was appended last, and for the connections to be closed."""

log = structlog.get_logger("tidings.server")


class NodeOpening(LogOpener):
    """One opening of the log of a node.

    Args:
        folder: The data folder of the node.
        engine: The journal.
        retention: How much the log keeps: the same on all nodes.
        ballast_bytes: See `SqliteLog`.
    """

    def __init__(self, folder: Path, engine: JournalEngine, *, retention: Retention, ballast_bytes: int) -> None:
        self._folder = folder
        self._engine = engine
        self._retention = retention
        self._ballast_bytes = ballast_bytes
        self._task: asyncio.Task[None] | None = None
        self._thread: OpeningThread | None = None
        self._progress = OpeningProgress()
        """That of joining the logs of workers."""
        self._journal: SnapshotJournal | None = None
        """The journal that the log uses, once it is open."""
        self._is_closed = False
        self._is_marked = False
        """Whether the log of this node was found to differ: it is built again once."""
        self._step = "is connecting to its journal"
        self._done_of_step = 0
        self._size_of_step = 0

    def start(self, done: Callable[[Log | Exception], None]) -> None:
        """See `LogOpener.start`."""
        self._task = asyncio.get_running_loop().create_task(self._run(done))

    async def _run(self, done: Callable[[Log | Exception], None]) -> None:
        result: Log | Exception
        try:
            result = await self._open()
        except asyncio.CancelledError:
            if self._is_closed:
                raise
            result = Draining("the hub has stopped")
        except Exception as error:
            result = error
        done(result)

    def error(self) -> LogOpening:
        """See `LogOpener.error`. It does not name the journal: no one is identified yet."""
        if self._thread is not None:
            return self._thread.error()
        done, size = self._done_of_step, self._size_of_step
        return LogOpening(
            f"the hub {self._step}" + (f": {done:,} of {size:,}" if size else ""),
            rows_read=done,
            rows=size,
            retry_after_ms=_RETRY_MS + secrets.randbelow(_RETRY_MS),
        )

    def _begin(self, step: str, size: int = 0) -> None:
        self._step, self._done_of_step, self._size_of_step = step, 0, size

    def _advance(self, count: int) -> None:
        self._done_of_step += count

    def stop(self) -> None:
        """See `LogOpener.stop`."""
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """See `LogOpener.close`."""
        self._is_closed = True
        self.stop()
        if self._thread is not None:
            self._thread.close()

    async def wait_closed(self) -> None:
        """Return when the connections of the log are closed, after it was closed, or after a time."""
        tasks = [] if self._task is None else [self._task]
        if self._journal is not None:
            tasks.append(asyncio.create_task(self._journal.wait_closed()))
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_S)

    async def _open(self) -> Log:
        """Open the log; try again while the engine is away, or if the journal changes under it.

        Raises:
            LogError: The log cannot be opened.
        """
        retry_s = _MIN_RETRY_S
        while True:
            self._begin("is connecting to its journal")
            journal: SnapshotJournal | None = None
            shared: ReplicatedLog | None = None
            try:
                journal = await self._engine.open()
                retry_s = _MIN_RETRY_S
                shared = await self._open_over(journal)
                self._journal = journal
                return shared
            except LogUnavailable as error:
                log.warning(
                    "the log cannot be opened now: the hub tries again", error=str(error), hint=error.hint or _HINT
                )
                self._begin("cannot reach its journal now, and tries again")
            finally:
                if journal is not None and shared is None:
                    journal.close()
                    await journal.wait_closed()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _MAX_RETRY_S)

    async def _open_over(self, journal: SnapshotJournal) -> ReplicatedLog:
        name = await asyncio.to_thread(read_node_name, self._folder)
        data_dir = await asyncio.to_thread(DataDir, self._folder, ballast_bytes=0)
        with closing(data_dir):
            await self._prepare(journal, name)
        local = await self._open_local()
        try:
            shared = ReplicatedLog(
                journal,
                local,
                asyncio.get_running_loop(),
                node=name,
                version=__version__,
                new_name=new_name,
                # Also where this node lost its files and the engine its newest entries: no position is given twice.
                epoch=new_name(),
                compares_past=not self._is_marked,
            )
        except BaseException:
            local.close()
            raise
        try:
            await self._follow(journal, shared)
        except BaseException:
            shared.close()
            raise
        keeper = SnapshotKeeper(journal, shared, self._folder, loop=asyncio.get_running_loop())
        shared.when_closed.append(keeper.stop)
        return shared

    # The node's own log.

    async def _prepare(self, journal: SnapshotJournal, name: str) -> None:
        """Leave a log in the folder that the journal continues, or none if the journal has its first entry.

        Raises:
            LogForeign: The folder has a log of another kind.
            LogCorrupt: The journal begins later, and no snapshot can be used.
            LogError: The engine cannot be asked, or the folder cannot be used.
        """
        stamp = new_name()
        if await asyncio.to_thread(is_of_one_machine, self._folder):
            await self._seed(journal, name, stamp)
        own = await asyncio.to_thread(read_own_log, self._folder, stamp=stamp)
        state = await journal.look()
        if own is not None and await fits(journal, own.fold.mark, state):
            self._begin("is saving its log for the other nodes")
            await save_first_snapshot(journal, state, self._folder)
            return
        if own is not None:
            await asyncio.to_thread(set_aside, self._folder / FILE, stamp)
        loaded = await self._load_newest(journal, state)
        if own is None:
            return
        mark = own.fold.mark
        if mark.seq < state.first and loaded is not None and _has_same_epochs(own, loaded):
            await asyncio.to_thread(remove_set_aside, self._folder, stamp)  # the snapshot has all of it
            log.info("this node was away for long: its log was replaced by a snapshot", entry=mark.seq)
        else:
            log.warning(
                "the journal does not continue the log of this node, which is set aside",
                entry=mark.seq,
                journal=f"{state.first} to {state.last}",
                set_aside=stamp,
                hint="The journal was replaced, or an older copy of it was put back.",
            )

    async def _seed(self, journal: SnapshotJournal, name: str, stamp: str) -> None:
        """Let the journal, which has no entry, begin with the log of the folder, which is that of one machine.

        Raises:
            LogError: See `seed_journal`.
        """
        await check_seedable(journal, await journal.look(), self._folder)
        if is_shared(self._folder):
            self._begin("is joining the logs of its workers")
            joining = asyncio.ensure_future(
                asyncio.to_thread(unshare, self._folder, self._retention, self._progress, stamp=stamp)
            )
            try:
                await asyncio.shield(joining)
            except asyncio.CancelledError:  # the folder stays locked until the thread has ended
                self._progress.stop()
                await asyncio.wait([joining])
                raise
        await seed_journal(journal, self._folder, node=name)
        log.info("the journal begins with the log of this folder", journal=self._engine.label)

    async def _load_newest(self, journal: SnapshotJournal, state: JournalState) -> ReplicaState | None:
        """Make the newest snapshot that can be used the log of the folder; return its state, None if there is none."""
        for info in await self._find_fitting(journal, state):
            self._begin("is loading a snapshot of its log", info.bytes)
            try:
                await load_snapshot(journal.snapshots, info, self._folder, on_bytes=self._advance)
            except (LogCorrupt, LogTooNew) as error:
                log.error("a snapshot cannot be used", error=str(error))
                continue
            log.info("a snapshot was loaded", entry=info.mark.seq, bytes=info.bytes)
            replica = await asyncio.to_thread(read_replica, self._folder)
            return None if replica is None else replica.state
        if state.first > 1:
            raise LogCorrupt(
                f"the journal begins at {state.first}, and there is no snapshot that it continues",
                hint="Start a node that still has its folder: it saves a snapshot. Without one, use a new journal.",
            )
        return None

    async def _find_fitting(self, journal: SnapshotJournal, state: JournalState) -> Sequence[SnapshotInfo]:
        return [info for info in await journal.snapshots.list() if await fits(journal, info.mark, state)]

    async def _open_local(self) -> SqliteLog:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Log | Exception] = loop.create_future()

        def open_log(progress: OpeningProgress) -> Log:
            return SqliteLog(
                self._folder,
                loop,
                new_name,
                retention=self._retention,
                ballast_bytes=self._ballast_bytes,
                progress=progress,
            )

        self._thread = OpeningThread(open_log)
        self._thread.start(lambda result: None if opened.done() else opened.set_result(result))
        try:
            result = await opened
        except asyncio.CancelledError:
            self._thread.close()
            raise
        finally:
            self._thread = None
        if isinstance(result, Exception):
            raise result
        return cast(SqliteLog, result)

    # Following the journal.

    async def _follow(self, journal: SnapshotJournal, shared: ReplicatedLog) -> None:
        """Fold what the journal has, and take part in it.

        Raises:
            LogUnavailable: The journal was trimmed or replaced in this moment, or the node's log differs from those of
                the others: another try finds out, or builds a log.
            LogError: The node cannot fold it.
        """
        last = (await journal.look()).last
        shared.start(last)
        begun_at = shared.seq
        self._begin("is reading its journal", last - begun_at)
        while not shared.is_open:
            stopped = shared.stopped
            if shared.must_rebuild and not self._is_marked:
                # The process whose log differs from those of the others was killed before it noticed.
                self._is_marked = True
                await asyncio.to_thread(mark_node_for_rebuilding, self._folder)
                raise LogUnavailable(f"{stopped}; it is built again") from stopped
            if stopped is not None:
                raise stopped
            self._done_of_step = min(shared.seq - begun_at, self._size_of_step)
            await asyncio.sleep(_LOOK_INTERVAL_S)


def _has_same_epochs(own: ReplicaState, loaded: ReplicaState) -> bool:
    """Return whether a log is an earlier state of another one, as far as their epochs show."""
    return bool(own.epochs) and own.epochs[-1].name in {epoch.name for epoch in loaded.epochs}
