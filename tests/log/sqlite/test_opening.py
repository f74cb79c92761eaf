"""What the opening of a log reports while it reads, and how it is stopped."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.log.sqlite_harness import SqliteHarness, new_epoch

from tidings.exceptions import LogUnavailable
from tidings.log.base import Retention
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.inspect import verify
from tidings.log.sqlite.log import SqliteLog
from tidings.testing.log_conformance.harness import EventFactory

T = TypeVar("T")
EVENTS = 3_000


@pytest.fixture
def folder(sqlite: SqliteHarness, tmp_path: Path) -> Path:
    """Return a data folder with events and ten operations, as a killed hub leaves it: without a saved index."""
    log, make = sqlite.open_at(tmp_path / "data"), EventFactory()
    sqlite.append(log, *(make("data:update", f"key-{number}") for number in range(EVENTS - 10)))
    sqlite.append(log, *(make("operation:start", f"op-{number}") for number in range(10)))
    return leave_as_killed(sqlite, log, tmp_path / "killed")


def leave_as_killed(sqlite: SqliteHarness, log: SqliteLog, folder: Path) -> Path:
    """Return a folder with the present files of a log, and close it."""
    folder.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copyfile(sqlite.folder_of(log) / name, folder / name)
    sqlite.close_one(log)
    return folder


def open_log(sqlite: SqliteHarness, folder: Path, progress: OpeningProgress) -> SqliteLog:
    return SqliteLog(folder, sqlite.scheduler, new_epoch, ballast_bytes=0, progress=progress)


class StoppedAfter(OpeningProgress):
    """Stops the opening after some rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._stop_at = rows
        self.seen: list[tuple[int, int]] = []

    def count(self, rows: Iterable[T], expected: int) -> Iterator[T]:
        for row in super().count(rows, expected):
            self.seen.append((self.rows_read, self.rows))
            if self.rows_read == self._stop_at:
                self.stop()
            yield row


def test_opening_counts_the_rows_that_it_reads(sqlite: SqliteHarness, folder: Path) -> None:
    progress = StoppedAfter(rows=-1)
    log = open_log(sqlite, folder, progress)
    assert progress.seen[0] == (0, EVENTS)
    assert (progress.rows_read, progress.rows) == (EVENTS, EVENTS)
    assert progress.seen == sorted(progress.seen)
    log.close()
    progress = StoppedAfter(rows=-1)
    open_log(sqlite, folder, progress).close()
    assert (progress.rows_read, progress.rows) == (EVENTS + 10, EVENTS + 10), "the newest of each key, and operations"


def test_rows_that_were_trimmed_are_not_expected(sqlite: SqliteHarness, tmp_path: Path) -> None:
    kept = Retention(events=100)
    log, make = sqlite.open_at(tmp_path / "data", kept), EventFactory()
    for _ in range(10):
        sqlite.append(log, *(make("data:update", "key") for _ in range(200)))
        while log.maintain(make.now_ns):
            sqlite.settle()
    sqlite.close_one(log)
    progress = StoppedAfter(rows=-1)
    # With another list of types that are thinned, the saved index is of no use.
    retention = Retention(events=100, keep_newest={"data:update": 5})
    SqliteLog(
        tmp_path / "data", sqlite.scheduler, new_epoch, retention=retention, ballast_bytes=0, progress=progress
    ).close()
    assert progress.seen[0][1] == progress.rows == progress.rows_read == 100


@pytest.mark.parametrize("rows", [0, 1, EVENTS // 2, EVENTS - 2])
def test_stopped_opening_raises_and_leaves_the_folder_as_it_was(sqlite: SqliteHarness, folder: Path, rows: int) -> None:
    progress = StoppedAfter(rows)
    with pytest.raises(LogUnavailable, match="was stopped"):
        open_log(sqlite, folder, progress)
    assert progress.rows_read in (rows, rows + 1)
    assert verify(folder).faults == ()
    log = open_log(sqlite, folder, OpeningProgress())
    assert (log.head, len(log.operations)) == (EVENTS, 10)
    log.close()


def test_statement_that_returns_no_row_is_stopped(sqlite: SqliteHarness, tmp_path: Path) -> None:
    class StoppedAtTheEnd(OpeningProgress):
        def count(self, rows: Iterable[T], expected: int) -> Iterator[T]:
            yield from super().count(rows, expected)
            self.stop()  # what is left is a search for events of operations, and there are none

    log, make = sqlite.open_at(tmp_path / "data"), EventFactory()
    for _ in range(10):
        sqlite.append(log, *(make("data:update", "key") for _ in range(3_000)))
    folder = leave_as_killed(sqlite, log, tmp_path / "killed")
    with pytest.raises(LogUnavailable, match="interrupted"):
        open_log(sqlite, folder, StoppedAtTheEnd())
