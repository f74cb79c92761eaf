"""Logs in files, for the conformance suite and for what is the files' own."""

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

_PATIENCE_S = 10.0
_IN_MEMORY = Path("/dev/shm")
"""The suite opens logs by the hundred, and nothing in it cuts the power: no disk need be waited for."""


def new_epoch() -> str:
    return secrets.token_hex(4)


class RetryScheduler:
    """What a log asks of a loop: it keeps what is to be called, and counts the tries that came too early."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()
        self.retries = 0

    def call_soon(self, callback: Callable[[], object], /) -> None:
        self.waiting.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        self.retries += 1
        self.waiting.append(callback)

    def run(self) -> None:
        """Call until nothing waits; what the file's lock keeps waiting is tried every half millisecond."""
        give_up = time.monotonic() + _PATIENCE_S
        while self.waiting:
            assert time.monotonic() < give_up, "it never came to be"
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
        """Wait until the checkpoint thread has let go of the file, and what waited for that is done."""
        self.scheduler.run()

    def reopen(self, log: Log, retention: Retention) -> SqliteLog:
        assert isinstance(log, SqliteLog)
        folder = self._open.pop(log)
        log.close()
        return self.open_at(folder, retention)

    def crash(self, log: Log, retention: Retention) -> SqliteLog:
        """Open a copy of what the files hold now: what a killed process leaves, whose index of the log is void."""
        assert isinstance(log, SqliteLog)
        folder = self._open[log]
        self._opened += 1
        left = self._root / str(self._opened)
        left.mkdir()
        for name in ("log.db", "log.db-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(folder / name, left / name)
        self.close_one(log)
        return self.open_at(left, retention)

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
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it never came to be"
        time.sleep(0.002)
