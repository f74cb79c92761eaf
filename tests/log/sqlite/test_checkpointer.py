"""Checkpoints restart the write-ahead log while appends go on, and the event loop never waits for the disk."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness, wait_until

from tidings.log.sqlite import checkpointer
from tidings.log.sqlite.checkpointer import Checkpointer, connect_to_checkpoint
from tidings.log.sqlite.data_dir import DataDir
from tidings.log.sqlite.database import FILE, connect_read_only
from tidings.log.sqlite.log import SqliteLog
from tidings.testing.clock import ManualClock
from tidings.testing.log_conformance.harness import EventFactory

make = EventFactory()


class ManualCheckpointer(Checkpointer):
    """A checkpointer that works when a test calls it, on a clock that the test moves."""

    def __init__(self, path: Path, data_dir: DataDir) -> None:
        self.clock = ManualClock()
        super().__init__(path, data_dir, lambda: self.clock.now)

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Bench:
    """A log with a `ManualCheckpointer`."""

    def __init__(self, sqlite: SqliteHarness, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[ManualCheckpointer] = []

        def create(path: Path, data_dir: DataDir) -> ManualCheckpointer:
            started.append(ManualCheckpointer(path, data_dir))
            return started[-1]

        monkeypatch.setattr("tidings.log.sqlite.log.Checkpointer", create)
        self.sqlite = sqlite
        self.path = folder / FILE
        self.wal = folder / f"{FILE}-wal"
        self.log: SqliteLog = sqlite.open_at(folder)
        [self.checkpointer] = started
        self.clock = self.checkpointer.clock
        self.connection = connect_to_checkpoint(self.path)

    def append(self, events: int = 100) -> None:
        self.sqlite.append(self.log, *(make("data:update", data=b"1" * 4_000) for _ in range(events)))

    def round(self) -> None:
        self.checkpointer.run_once(self.connection)


@pytest.fixture
def bench(sqlite: SqliteHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(checkpointer, "MAX_WAL_BYTES", 300_000)
    monkeypatch.setattr(checkpointer, "MIN_WAL_BYTES", 300_000)
    bench = Bench(sqlite, tmp_path / "data", monkeypatch)
    yield bench
    bench.connection.close()


def test_long_write_ahead_log_is_restarted(bench: Bench) -> None:
    bench.append(20)
    bench.round()
    assert bench.checkpointer.checkpoints == 0, "the write-ahead log is short"
    bench.append(100)
    assert bench.wal.stat().st_size > 300_000
    bench.round()
    assert bench.checkpointer.checkpoints == 1
    assert bench.wal.stat().st_size < 20_000, "truncated to the commit of the checkpoint itself"
    assert bench.path.stat().st_size > 400_000
    assert not bench.checkpointer.holds_appends
    bench.append(1)
    assert len(bench.sqlite.history(bench.log)) == 121


def test_checkpoint_makes_the_first_commit_of_a_restarted_wal(
    connections: list[sqlite3.Connection], bench: Bench
) -> None:
    """This commit waits for the disk, which the connection of the event loop never does."""
    bench.append(100)
    bench.round()
    with closing(sqlite3.connect(bench.path)) as reader:
        assert reader.execute("SELECT value FROM meta WHERE name = 'checkpoints'").fetchone() == (1,)
    assert bench.wal.stat().st_size > 0
    of_loop = connections[0]
    assert of_loop.execute("PRAGMA synchronous").fetchone() == (1,), "NORMAL: commits are not synced"
    assert of_loop.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    assert of_loop.execute("PRAGMA busy_timeout").fetchone() == (0,)


def test_short_write_ahead_log_is_copied_when_idle(bench: Bench) -> None:
    bench.append(1)
    bench.round()
    assert bench.checkpointer.checkpoints == 0
    bench.clock.advance(31)
    bench.round()
    assert bench.checkpointer.checkpoints == 1
    bench.clock.advance(31)
    bench.round()
    assert bench.checkpointer.checkpoints == 1, "no event came since"


def test_write_ahead_log_is_shorter_on_a_nearly_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "MIN_WAL_BYTES", 10_000)
    bench.append(20)
    bench.round()
    assert bench.checkpointer.checkpoints == 0
    monkeypatch.setattr(DataDir, "free_bytes", lambda self: 100_000)
    bench.round()
    assert bench.checkpointer.checkpoints == 1


def test_append_during_a_checkpoint_is_retried(bench: Bench) -> None:
    bench.append(100)
    done: list[object] = []
    with closing(connect_read_only(bench.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT max(offset) FROM events").fetchone()  # it keeps the log in use, as a backup does
        bench.append(1)
        restarting = threading.Thread(target=bench.round)
        restarting.start()
        wait_until(lambda: bench.checkpointer.holds_appends or not restarting.is_alive())
        bench.log.append([make("data:update")], done.append)
        retried = bench.sqlite.scheduler.retries
        restarting.join()
        bench.sqlite.settle()
        assert retried == 1
        assert (len(done), bench.log.head) == (1, 102)
        assert bench.checkpointer.checkpoints == 0, "it waited a moment for the reader, then gave up"
        bench.round()
        assert bench.checkpointer.checkpoints == 0, "it does not block appends again immediately"
    bench.clock.advance(5)
    bench.round()
    assert bench.checkpointer.checkpoints == 1
    assert len(bench.sqlite.history(bench.log)) == 102


def test_retention_waits_for_a_checkpoint_without_an_error(bench: Bench) -> None:
    bench.append(1)
    bench.checkpointer.holds_appends = True
    due = make.advance(30 * 86_400)
    assert bench.log.maintain(due) is True
    assert bench.log.statistics().durable_events == 1
    bench.checkpointer.holds_appends = False
    bench.sqlite.maintain(bench.log, due)
    assert bench.log.statistics().durable_events == 0


def test_failing_checkpoint_is_logged_once_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpointer, "CHECK_INTERVAL_S", 0.001)
    folder = DataDir(tmp_path / "data", ballast_bytes=0)
    rounds = threading.Semaphore(0)

    class Counting(Checkpointer):
        def run_once(self, connection: sqlite3.Connection) -> None:
            rounds.release()
            raise sqlite3.OperationalError("disk I/O error")

    (tmp_path / "data" / FILE).touch()
    thread = Counting(tmp_path / "data" / FILE, folder)
    thread.start()
    for _ in range(5):
        assert rounds.acquire(timeout=60)
    assert thread.failing
    thread.stop()
    folder.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"the checkpoint of {tmp_path / 'data' / FILE} failed: disk I/O error"
    ]


@pytest.mark.parametrize("missing", [Path("gone", FILE), Path("data", FILE)])
def test_thread_that_cannot_connect_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: Path) -> None:
    monkeypatch.setattr(checkpointer, "CHECK_INTERVAL_S", 0.001)
    folder = DataDir(tmp_path / "data", ballast_bytes=0)
    thread = Checkpointer(tmp_path / missing, folder)
    thread.start()
    wait_until(lambda: thread.failing)
    thread.stop()
    folder.close()
    assert not thread.is_alive()
    assert not (tmp_path / missing).exists()
