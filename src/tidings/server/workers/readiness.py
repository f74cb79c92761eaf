"""No deaf worker: one whose log fails sends its clients to the others, and starts again if it cannot recover."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from tidings.exceptions import LogCorrupt
from tidings.hub.recurring_jobs import RecurringJobs
from tidings.log.journal.replica_building import mark_for_rebuilding
from tidings.log.replicated import ReplicatedLog

CHECK_INTERVAL_S: Final = 1.0
MAX_FAILING_CHECKS: Final = 10
"""Number of checks, and so of seconds, for which clients may stay with a worker whose log fails."""
RETRY_AFTER_MS: Final = 1_000
"""Delay before the first of its clients connects again."""
_CLOSE_CODE: Final = 4100
_REASON: Final = "this process of the hub cannot use the log: another one can"

log = structlog.get_logger("tidings.server")


class ReadinessWatch:
    """Watches the log of one worker.

    Args:
        shared: The log.
        folder: The data folder.
        worker: Number of the worker.
        close_clients: Closes all connections, with a code, a reason, and the delay before the first comes back.
        restart: Ends this process in order; the parent starts another one.
    """

    def __init__(
        self,
        shared: ReplicatedLog,
        folder: Path,
        worker: int,
        *,
        close_clients: Callable[[int, str, int], object],
        restart: Callable[[], object],
    ) -> None:
        self._log = shared
        self._folder = folder
        self._worker = worker
        self._close_clients = close_clients
        self._restart = restart
        self._failing_checks = 0

    def start(self, jobs: RecurringJobs) -> None:
        """Begin to watch."""
        jobs.start("readiness", CHECK_INTERVAL_S, self.check)

    def check(self) -> None:
        """Check the log once."""
        error = self._log.failed
        if error is None:
            if self._failing_checks >= MAX_FAILING_CHECKS:
                log.info("this worker can use the log again")
            self._failing_checks = 0
            return
        self._failing_checks += 1
        if self._failing_checks < MAX_FAILING_CHECKS:
            return
        if self._failing_checks == MAX_FAILING_CHECKS:
            log.error("this worker cannot use the log: its clients are sent to the others", error=str(error))
        self._close_clients(_CLOSE_CODE, _REASON, RETRY_AFTER_MS)
        stopped = self._log.stopped
        if stopped is not None:
            if isinstance(stopped, LogCorrupt):
                try:
                    mark_for_rebuilding(self._folder, self._worker)
                except OSError as cause:
                    log.error("the log of this worker cannot be marked", error=str(cause))
            self._restart()
