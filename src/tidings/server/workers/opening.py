"""Opens the log of a worker: its own copy in a thread, then what the journal has besides, on the event loop."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tidings.exceptions import Draining, LogCorrupt, LogOpening, LogUnavailable
from tidings.log.base import Log, Retention
from tidings.log.journal.replaying import new_name
from tidings.log.journal.replica_building import build_replica, mark_for_rebuilding
from tidings.log.journal.shared_folder import JournalFile, replica_folder
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.journal.sqlite_file import FILE as JOURNAL_FILE
from tidings.log.journal.trimming import JournalTrimmer
from tidings.log.opening import OpeningProgress
from tidings.log.replicated import ReplicatedLog
from tidings.log.sqlite.log import SqliteLog
from tidings.server.opening_thread import OpeningThread
from tidings.version import __version__

_LOOK_INTERVAL_S = 0.01
_RETRY_MS = 1_000

logger = logging.getLogger(__name__)


class WorkerOpening(OpeningThread):
    """One opening of the log of a worker.

    Args:
        folder: The data folder, which the parent process has prepared.
        worker: Number of the worker, from 1.
        workers: Number of workers.
        epoch: The epoch that all workers of the parent begin; see `ReplicatedLog`.
        retention: How much the log keeps.
        ballast_bytes: See `SqliteLog`.
    """

    def __init__(
        self, folder: Path, *, worker: int, workers: int, epoch: str, retention: Retention, ballast_bytes: int
    ) -> None:
        super().__init__(self._open_replica)
        self._folder = folder
        self._worker = worker
        self._workers = workers
        self._epoch = epoch
        self._retention = retention
        self._ballast_bytes = ballast_bytes
        self._last = 0
        """The newest entry of the journal when the worker's own log was opened."""
        self._replaying: ReplicatedLog | None = None
        self._is_marked = False
        self._begun_at = 0

    def start(self, done: Callable[[Log | Exception], None]) -> None:
        """See `LogOpener.start`."""
        loop = asyncio.get_running_loop()

        def opened(result: Log | Exception) -> None:
            if isinstance(result, Exception):
                done(result)
                return
            local = cast(SqliteLog, result)
            try:
                self._replay(local, loop, done)
            except Exception as error:
                local.close()
                done(error)

        super().start(opened)

    def _open_replica(self, progress: OpeningProgress) -> Log:
        if not (self._folder / JOURNAL_FILE).exists():  # a new one would not be that of the other workers
            raise LogUnavailable(f"the journal of {self._folder} was deleted", hint="Restart the hub.")
        build_replica(self._folder, self._worker, stamp=new_name())
        try:
            local = self._open_local(progress)
        except LogCorrupt as error:
            logger.error("the log of worker %d is damaged: %s", self._worker, error)
            mark_for_rebuilding(self._folder, self._worker)
            build_replica(self._folder, self._worker, stamp=new_name())
            local = self._open_local(progress)
        journal = JournalFile(self._folder)
        self._last = journal.state().last
        journal.close()
        return local

    def _open_local(self, progress: OpeningProgress) -> SqliteLog:
        return SqliteLog(
            replica_folder(self._folder, self._worker),
            self._loop,
            new_name,
            retention=self._retention,
            ballast_bytes=self._ballast_bytes,
            progress=progress,
        )

    def _replay(
        self, local: SqliteLog, loop: asyncio.AbstractEventLoop, done: Callable[[Log | Exception], None]
    ) -> None:
        journal = SqliteJournal(self._folder, loop)
        try:
            shared = ReplicatedLog(
                journal,
                local,
                loop,
                node=f"worker-{self._worker}",
                version=__version__,
                new_name=new_name,
                epoch=self._epoch,
                compares_past=not self._is_marked,
            )
            shared.start(self._last)
        except Exception:
            journal.close()
            raise
        trimmer = JournalTrimmer(journal, shared, self._folder, nodes=self._workers, loop=loop)
        shared.when_closed.append(trimmer.stop)
        self._replaying, self._begun_at = shared, shared.seq

        def look() -> None:
            if self._replaying is None:
                return  # closed
            error = Draining("the hub has stopped") if self._progress.stopped else shared.failed
            if error is None and not shared.is_open:
                loop.call_later(_LOOK_INTERVAL_S, look)
                return
            self._replaying = None
            if error is not None:
                shared.close()
                if shared.must_rebuild and self._mark():
                    self.start(done)
                    return
            done(shared if error is None else error)

        look()

    def _mark(self) -> bool:
        """Let the next opening build the log again, because it is damaged or differs; False the second time.

        The process that made it differ was killed before it noticed.
        """
        is_first, self._is_marked = not self._is_marked, True
        try:
            mark_for_rebuilding(self._folder, self._worker)
        except OSError as cause:
            logger.error("the log of worker %d cannot be marked: %s", self._worker, cause)
            return False
        return is_first

    def error(self) -> LogOpening:
        """See `LogOpener.error`."""
        if self._replaying is None:
            return super().error()
        read, entries = self._replaying.seq - self._begun_at, self._last - self._begun_at
        return LogOpening(
            f"the hub is reading what other workers stored: {read:,} of {entries:,} entries",
            rows_read=read,
            rows=entries,
            retry_after_ms=_RETRY_MS + secrets.randbelow(_RETRY_MS),
        )

    def close(self) -> None:
        """See `LogOpener.close`."""
        super().close()
        replaying, self._replaying = self._replaying, None
        if replaying is not None:
            replaying.close()
