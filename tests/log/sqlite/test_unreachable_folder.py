"""A data folder that is gone for a moment, and failures that are not of SQLite: appends are refused, then go on."""

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogError, LogUnavailable
from tidings.log.base import Outcome, PublishResult, Retention
from tidings.log.sqlite.disk_space import CHECK_INTERVAL_BYTES
from tidings.log.sqlite.log import SqliteLog
from tidings.testing.log_conformance.harness import EventFactory

make = EventFactory()


def append(log: SqliteLog, data: bytes = b"{}") -> int | LogError:
    results: list[Sequence[Outcome] | LogError] = []
    log.append([make("data:update", data=data)], results.append)
    [result] = results
    if isinstance(result, LogError):
        return result
    [outcome] = result
    assert isinstance(outcome, PublishResult)
    return outcome.offset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def log(sqlite: SqliteHarness, folder: Path) -> SqliteLog:
    log = sqlite.open_at(folder)
    sqlite.append(log, make("data:update", data=b'"' + b"x" * CHECK_INTERVAL_BYTES + b'"'))
    return log


def test_append_goes_on_after_the_disk_could_not_be_measured(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", _raise_not_found)
        for _ in range(2):
            assert isinstance(append(log), LogUnavailable)
            with pytest.raises(LogUnavailable):
                log.maintain(make.now_ns)
    assert append(log) == 2
    log.maintain(make.now_ns)


def test_append_to_a_folder_that_was_moved_away_is_refused(log: SqliteLog, folder: Path) -> None:
    aside = folder.with_name("aside")
    folder.rename(aside)
    with pytest.raises(LogUnavailable, match="deleted or moved away"):
        log.maintain(make.now_ns)
    assert isinstance(log.failed, LogUnavailable)  # although no one has published
    refused = append(log)
    assert isinstance(refused, LogUnavailable)
    assert refused.hint.startswith("Put the data folder back")
    assert log.statistics().disk_bytes == 0
    aside.rename(folder)
    log.maintain(make.now_ns)
    assert log.failed is None
    assert append(log) == 2


def test_append_to_a_file_that_was_replaced_is_refused(log: SqliteLog, folder: Path) -> None:
    aside = folder.with_name("aside")
    folder.rename(aside)
    shutil.copytree(aside, folder)  # a copy put back under a running hub
    with pytest.raises(LogUnavailable, match="replaced by another file"):
        log.maintain(make.now_ns)
    refused = append(log)
    assert isinstance(refused, LogUnavailable)
    assert refused.hint.startswith("Restart the hub")
    assert log.failed is refused
    shutil.rmtree(folder)
    aside.rename(folder)
    assert append(log) == 2
    assert log.failed is None


def test_log_whose_file_cannot_be_looked_for_has_failed(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", _raise_not_reachable)
        with pytest.raises(LogUnavailable):
            log.maintain(make.now_ns)
        assert isinstance(log.failed, LogUnavailable)
        assert isinstance(append(log), LogUnavailable)
    assert append(log) == 2
    assert log.failed is None


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("too large"), RuntimeError("a defect")], ids=repr)
def test_append_that_raises_is_refused_and_the_next_one_stored(
    sqlite: SqliteHarness, log: SqliteLog, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("tidings.log.sqlite.state.encode_row", fail)
        assert isinstance(append(log), LogUnavailable)
    assert append(log) == 2
    log = sqlite.reopen(log, Retention())
    assert log.head == 2
    assert append(log) == 3


def test_failing_table_keeps_no_event_out_of_the_log(
    sqlite: SqliteHarness, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(log.newest, "apply", _raise_not_found)
        assert append(log) == 2
    assert append(log) == 3
    assert [record.offset for record in sqlite.history(log)] == [1, 2, 3]


def _raise_not_found(*arguments: object) -> None:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory")


def _raise_not_reachable(path: Path) -> NoReturn:
    raise OSError(errno.ESTALE, "Stale file handle", str(path))
