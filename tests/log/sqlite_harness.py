"""SQLite logs for the conformance suite and for the tests of files."""

import secrets
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tidings.log.base import Log, Retention
from tidings.log.sqlite.log import SqliteLog
from tidings.log.sqlite.saved_index import SAVE_INTERVAL_EVENTS
from tidings.testing.log_conformance import LogHarness

_MAX_WAIT_S = 10.0
_IN_MEMORY = Path("/dev/shm")
"""The suite opens hundreds of logs and never cuts the power, so no disk is needed."""


def new_epoch() -> str:
    return secrets.token_hex(4)


class RetryScheduler:
    """A `Scheduler` that collects callbacks, and counts those that are retries."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()
        self.retries = 0

    def call_soon(self, callback: Callable[[], object], /) -> None:
        self.waiting.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        self.retries += 1
        self.waiting.append(callback)

    def run(self) -> None:
        """Call until no callback waits; while the file is locked, retry every half millisecond."""
        give_up = time.monotonic() + _MAX_WAIT_S
        while self.waiting:
            assert time.monotonic() < give_up, "the file stayed locked"
            retries = self.retries
            self.waiting.popleft()()
            if self.retries > retries:
                time.sleep(0.0005)


class SqliteHarness(LogHarness):
    save_every = SAVE_INTERVAL_EVENTS

    def __init__(self) -> None:
        self.new_epoch = new_epoch
        self.scheduler = RetryScheduler()
        self._root = Path(tempfile.mkdtemp(prefix="tidings-log-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self._opened = 0
        self._open: dict[SqliteLog, Path] = {}

    def open(self, retention: Retention) -> SqliteLog:
        self._opened += 1
        return self.open_at(self._root / str(self._opened), retention)

    def open_at(self, folder: Path, retention: Retention | None = None, *, ballast_bytes: int = 0) -> SqliteLog:
        log = SqliteLog(
            folder,
            self.scheduler,
            lambda: self.new_epoch(),
            retention=retention,
            ballast_bytes=ballast_bytes,
            save_every=self.save_every,
        )
        self._open[log] = folder
        return log

    def settle(self) -> None:
        """Wait until the checkpoint thread has unlocked the file and waiting calls are done."""
        self.scheduler.run()

    def reopen(self, log: Log, retention: Retention) -> SqliteLog:
        assert isinstance(log, SqliteLog)
        folder = self._open.pop(log)
        log.close()
        return self.open_at(folder, retention)

    def crash(self, log: Log, retention: Retention) -> SqliteLog:
        """Open a copy of the present files: what a killed process leaves, without the index of the write-ahead log."""
        assert isinstance(log, SqliteLog)
        folder = self._open[log]
        self._opened += 1
        copy = self._root / str(self._opened)
        copy.mkdir()
        for name in ("log.db", "log.db-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(folder / name, copy / name)
        self.close_one(log)
        return self.open_at(copy, retention)

    def folder_of(self, log: SqliteLog) -> Path:
        return self._open[log]

    def close_one(self, log: SqliteLog) -> None:
        del self._open[log]
        log.close()

    def close(self) -> None:
        for log in list(self._open):
            self.close_one(log)
        shutil.rmtree(self._root, ignore_errors=True)


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + _MAX_WAIT_S
    while not condition():
        assert time.monotonic() < give_up, "the condition never became true"
        time.sleep(0.002)
