"""No deaf worker: one whose log fails sends its clients to the others, and starts again if it cannot recover."""

from collections.abc import Callable
from typing import Final

import structlog

from tidings.exceptions import LogError
from tidings.hub.recurring_jobs import RecurringJobs
from tidings.log.replicated import ReplicatedLog

CHECK_INTERVAL_S: Final = 1.0
MAX_FAILING_CHECKS: Final = 10
"""Number of checks, and so of seconds, for which clients may stay with a worker whose log fails and may recover."""
RETRY_AFTER_MS: Final = 1_000
"""Delay before the first of its clients connects again."""
_CLOSE_CODE: Final = 4100
_REASON: Final = "this process of the hub cannot use the log: another one can"

log = structlog.get_logger("tidings.server")


class ReadinessWatch:
    """Watches the log of one worker, or of one node of a hub of several machines.

    Args:
        shared: The log.
        mark: Marks the log of this process, so that the next one builds another.
        close_clients: Closes all connections, with a code, a reason, and the delay before the first comes back.
        restart: Ends this process in order, because of an error; another one is started.
        close_interval: Number of checks between two times that clients are closed which have come back. Those of a
            worker reach another one immediately; those of a node find the others only if these can use the log.
    """

    def __init__(
        self,
        shared: ReplicatedLog,
        *,
        mark: Callable[[], object],
        close_clients: Callable[[int, str, int], object],
        restart: Callable[[LogError], object],
        close_interval: int = 1,
    ) -> None:
        self._log = shared
        self._mark = mark
        self._close_clients = close_clients
        self._restart = restart
        self._close_interval = close_interval
        self._failing_checks = 0
        self._is_marked = False

    def start(self, jobs: RecurringJobs) -> None:
        """Begin to watch."""
        jobs.start("readiness", CHECK_INTERVAL_S, self.check)

    def check(self) -> None:
        """Check the log once."""
        error = self._log.failed
        if error is None:
            if self._failing_checks >= MAX_FAILING_CHECKS:
                log.info("this process can use the log again")
            self._failing_checks = 0
            return
        self._failing_checks += 1
        stopped = self._log.stopped
        if self._log.must_rebuild:
            if not self._is_marked:
                self._try_mark()  # immediately: the process may be killed before it ends
        elif (
            stopped is not None
        ):  # it cannot recover; a log to be built again waits, because copying it again may not help
            self._failing_checks = max(self._failing_checks, MAX_FAILING_CHECKS)
        if self._failing_checks < MAX_FAILING_CHECKS:
            return
        if self._failing_checks == MAX_FAILING_CHECKS:
            log.error("this process cannot use the log: its clients are sent to others", error=str(error))
        if (self._failing_checks - MAX_FAILING_CHECKS) % self._close_interval == 0:
            self._close_clients(_CLOSE_CODE, _REASON, RETRY_AFTER_MS)
        if stopped is not None:
            self._restart(stopped)

    def _try_mark(self) -> None:
        try:
            self._mark()
        except OSError as cause:
            log.error("the log of this process cannot be marked", error=str(cause))
        else:
            self._is_marked = True
