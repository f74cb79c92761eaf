"""The opening of a log, while the event loop answers that it is being opened; and one in a thread."""

import asyncio
import contextlib
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import structlog

from tidings.exceptions import Draining, LogOpening
from tidings.log.base import Log
from tidings.log.opening import OpeningProgress

_MAX_WAIT_S: Final = 2.0
"""Time for a stopped opening to end. One that hangs in the disk is left behind with the process."""
_RETRY_MS: Final = 1_000
_RETRY_SPREAD_MS: Final = 1_000
"""The delay before a client tries again is random, because a hub that restarts loses all clients together."""

log = structlog.get_logger("tidings.server")


class LogOpener(ABC):
    """One opening of a log, which takes longer than a call."""

    @abstractmethod
    def start(self, done: Callable[[Log | Exception], None]) -> None:
        """Start to open, on the running event loop.

        Args:
            done: Called on the loop with the log or with the error; with Draining after `stop`.
        """

    @abstractmethod
    def error(self) -> LogOpening:
        """Return the answer to those who ask for the hub now."""

    @abstractmethod
    def stop(self) -> None:
        """Let the opening end soon; `done` is called then."""

    @abstractmethod
    def close(self) -> None:
        """Stop, wait for the end, and close the log if it was opened; `done` is no longer called."""


class OpeningThread(LogOpener):
    """One opening of a log in a thread.

    A thread, and not slices in the loop: opening also waits for the disk, for locks of other processes, and for
    statements of SQLite that cannot be divided. Between two rows Python switches threads, so that the loop waits
    5 ms at most.

    Args:
        open: Opens the log, outside the event loop. The log may use the loop only when it is open.
    """

    def __init__(self, open: Callable[[OpeningProgress], Log]) -> None:
        self._open = open
        self._progress = OpeningProgress()
        self._lock = threading.Lock()
        self._log: Log | None = None
        self._is_abandoned = False
        self._done: Callable[[Log | Exception], None]
        self._loop: asyncio.AbstractEventLoop
        self._thread = self._new_thread()

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="tidings-open-log", daemon=True)

    def start(self, done: Callable[[Log | Exception], None]) -> None:
        """See `LogOpener.start`. It may be called again after `done` was."""
        self._loop = asyncio.get_running_loop()
        self._done = done
        if self._thread.ident is not None:
            self._thread = self._new_thread()
        self._thread.start()

    def error(self) -> LogOpening:
        """See `LogOpener.error`."""
        read, rows = self._progress.rows_read, self._progress.rows
        figures = f": {read:,} of {rows:,} rows read" if rows else ""
        retry_ms = _RETRY_MS + secrets.randbelow(_RETRY_SPREAD_MS)
        return LogOpening(f"the hub is opening its log{figures}", rows_read=read, rows=rows, retry_after_ms=retry_ms)

    def stop(self) -> None:
        """See `LogOpener.stop`."""
        self._progress.stop()

    def close(self) -> None:
        """See `LogOpener.close`."""
        self.stop()
        self._thread.join(_MAX_WAIT_S)
        with self._lock:
            self._is_abandoned = True
            opened, self._log = self._log, None
        if opened is not None:
            opened.close()
        if self._thread.is_alive():
            log.warning("the opening of the log does not end; the process ends without it")

    def _run(self) -> None:
        try:
            opened = self._open(self._progress)
        except Exception as error:
            if not self._progress.stopped:
                self._report(error)
                return
        else:
            with self._lock:
                is_wanted = not (self._progress.stopped or self._is_abandoned)
                self._log = opened if is_wanted else None
            if is_wanted:
                self._report(None)
                return
            opened.close()
        self._report(Draining("the hub has stopped"))

    def _report(self, error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: `close` closes the log
            self._loop.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: Exception | None) -> None:
        if self._is_abandoned:
            return
        with self._lock:
            opened, self._log = self._log, None
        if opened is not None and self._progress.stopped:
            opened.close()
            self._done(Draining("the hub has stopped"))
        elif opened is not None:
            self._done(opened)
        elif error is not None:
            self._done(error)
