"""A log whose opening goes on when a test says so."""

import secrets
import threading
from typing import Final

from tidings.exceptions import LogUnavailable
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.log.opening import OpeningProgress
from tidings.server.opening_thread import OpeningThread

ROWS_READ: Final = 312_000
ROWS: Final = 500_000


class SlowLog:
    """A log in memory; its opening has read `ROWS_READ` of `ROWS` rows, and waits for `release`."""

    def __init__(self) -> None:
        self._may_go_on = threading.Event()
        self._waits = threading.Event()
        self._error: Exception | None = None
        self.openings = 0
        """Number of openings so far."""
        self.ignores_stop = False
        """Whether an opening that is stopped goes on, as one that waits for the disk."""
        self.opened: list[ClosableLog] = []

    def open(self, scheduler: Scheduler) -> Log | OpeningThread:
        """Open the log: see `tidings.server.app.OpenLog`."""
        self.openings += 1
        return OpeningThread(self._open)

    def wait_until_it_waits(self) -> None:
        """Wait until an opening has read what it reads."""
        assert self._waits.wait(60)

    def release(self, error: Exception | None = None) -> None:
        """Let the opening succeed, or fail."""
        self._error = error
        self._may_go_on.set()

    def _open(self, progress: OpeningProgress) -> Log:
        progress.rows_read, progress.rows = ROWS_READ, ROWS
        self._waits.set()
        while not self._may_go_on.wait(0.01):
            if progress.stopped and not self.ignores_stop:
                raise LogUnavailable("the opening of the log was stopped")
        if self._error is not None:
            raise self._error
        log = ClosableLog(secrets.token_hex(4))
        self.opened.append(log)
        return log


class ClosableLog(MemoryLog):
    """A log that shows whether it was closed."""

    closed = False

    def close(self) -> None:
        """See `Log.close`."""
        self.closed = True
        super().close()
