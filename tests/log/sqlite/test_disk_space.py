"""Small disks that fill up: batches are refused whole, trimming continues, and freed space is used again."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.log.mounts import needs_mount, small_disk
from tests.log.sqlite_harness import SqliteHarness, wait_until

from tidings.exceptions import LogError, LogFull, LogUnavailable
from tidings.log.base import Retention
from tidings.log.revocations import Revocation
from tidings.log.sqlite.inspect import verify
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.codes import error_data
from tidings.protocol.message_types import SlotEffect
from tidings.testing.log_conformance.harness import EventFactory

DISK = 48 << 20
BALLAST = 2 << 20
EVENTS = 2_000
KEPT = Retention(events=EVENTS)
BATCH = 50
make = EventFactory()


@pytest.fixture
def disk(sqlite: SqliteHarness, tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK) as disk:
        yield disk
        sqlite.close()


def append(sqlite: SqliteHarness, log: SqliteLog, events: int = BATCH) -> int:
    return sqlite.append(log, *(make("data:update", f"key-{number}", data=b"1" * 4_000) for number in range(events)))


def fill_with_events(sqlite: SqliteHarness, log: SqliteLog) -> LogFull:
    for _ in range(DISK // (BATCH * 4_000) + 1):
        head = log.head
        try:
            append(sqlite, log)
        except LogFull as error:
            assert log.head == head
            return error
    raise AssertionError("the disk holds more than it has room for")


def fill_with_others(disk: Path) -> Path:
    other = disk / "other"
    with other.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return other


@needs_mount
def test_full_disk_refuses_whole_batches_until_trimmed(sqlite: SqliteHarness, disk: Path) -> None:
    folder = disk / "data"
    log = sqlite.open_at(folder, KEPT, ballast_bytes=BALLAST)
    assert (folder / "ballast").stat().st_blocks * 512 >= BALLAST
    error = fill_with_events(sqlite, log)
    assert error_data(error).code == "log_full"
    assert error_data(error).recoverable
    assert not (folder / "ballast").exists()
    fill_with_events(sqlite, log)  # a checkpoint may have freed space, but not that which trimming needs
    head = log.head
    assert head % BATCH == 0
    assert [record.offset for record in sqlite.history(log)] == list(range(1, head + 1))
    wait_until(lambda: not log.maintain(make.now_ns) and log.statistics().durable_events == EVENTS)
    assert append(sqlite, log) == head + 1  # into the space that trimming freed
    assert log.statistics().durable_events == EVENTS + BATCH
    sqlite.close_one(log)
    assert verify(folder).faults == ()


@needs_mount
def test_appends_continue_when_other_files_free_space(sqlite: SqliteHarness, disk: Path) -> None:
    folder = disk / "data"
    log = sqlite.open_at(folder, ballast_bytes=BALLAST)
    append(sqlite, log)
    other = fill_with_others(disk)
    fill_with_events(sqlite, log)
    head = log.head
    assert not (folder / "ballast").exists()
    log.maintain(make.now_ns)
    assert isinstance(log.failed, LogFull)
    with pytest.raises(LogFull):
        append(sqlite, log)
    other.unlink()
    log.maintain(make.now_ns)
    assert log.failed is None
    assert append(sqlite, log) == head + 1
    wait_until((folder / "ballast").exists)
    assert [record.offset for record in sqlite.history(log)] == list(range(1, head + BATCH + 1))


@needs_mount
def test_events_are_refused_before_trimming_runs_out_of_space(sqlite: SqliteHarness, disk: Path) -> None:
    folder = disk / "data"
    other = fill_with_others(disk)
    os.truncate(other, other.stat().st_size - (1 << 20))  # too little for a ballast
    log = sqlite.open_at(folder, ballast_bytes=BALLAST)
    assert not (folder / "ballast").exists()
    append(sqlite, log)
    os.truncate(other, other.stat().st_size + 0)
    with other.open("ab", buffering=0) as file:
        file.write(bytes(disk_free(disk) - BALLAST // 8))
    log.maintain(make.now_ns)
    with pytest.raises(LogFull):
        append(sqlite, log, 1)
    assert disk_free(disk) >= BALLAST // 16
    other.unlink()
    log.maintain(make.now_ns)
    append(sqlite, log, 1)


def disk_free(disk: Path) -> int:
    facts = os.statvfs(disk)
    return facts.f_bavail * facts.f_frsize


@needs_mount
@pytest.mark.parametrize("killed", [False, True])
def test_log_opens_on_a_full_disk_and_trims(sqlite: SqliteHarness, disk: Path, killed: bool) -> None:
    folder = disk / "data"
    log = sqlite.open_at(folder, ballast_bytes=BALLAST)
    for _ in range(3):
        append(sqlite, log)
    if killed:  # its write-ahead log stays
        left = {name: (folder / name).read_bytes() for name in ("log.db", "log.db-wal")}
        sqlite.close_one(log)
        for name, content in left.items():
            (folder / name).write_bytes(content)
    else:
        sqlite.close_one(log)
    fill_with_others(disk)
    log = sqlite.open_at(folder, Retention(events=10, newest_age_s=10.0), ballast_bytes=BALLAST)
    assert log.head == 3 * BATCH
    sqlite.maintain(log, make.advance(60))
    assert log.statistics().durable_events == 10


@needs_mount
def test_new_log_on_a_full_disk_fails(sqlite: SqliteHarness, disk: Path) -> None:
    fill_with_others(disk)
    with pytest.raises(LogFull):
        sqlite.open_at(disk / "data", ballast_bytes=BALLAST)
    assert not (disk / "data" / "log.db").exists()


@needs_mount
def test_log_without_ballast_continues_when_space_is_free(sqlite: SqliteHarness, disk: Path) -> None:
    log = sqlite.open_at(disk / "data")
    other = fill_with_others(disk)
    fill_with_events(sqlite, log)
    other.unlink()
    log.maintain(make.now_ns)
    assert append(sqlite, log, 1) == log.head


def test_file_that_cannot_grow_refuses_whole_batches(
    sqlite: SqliteHarness, tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    """SQLite's limit replaces the disk's, for machines where mounting is not allowed."""
    log = sqlite.open_at(tmp_path / "data", Retention(events=100))
    append(sqlite, log, 100)
    connection = connections[-1]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(LogFull):
        append(sqlite, log, 100)
    assert log.head == 100
    assert len(sqlite.history(log)) == 100
    connection.execute(f"PRAGMA max_page_count = {10 * pages}")
    log.maintain(make.now_ns)
    assert append(sqlite, log, 100) == 101


def test_failed_commit_leaves_no_trace(tmp_path: Path) -> None:
    """A limit on file sizes makes the kernel refuse a part of SQLite's writes to the write-ahead log."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.log.sqlite.size_limited_writer", str(tmp_path / "data")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    outcome = json.loads(child.stdout)
    assert outcome["refused"] == LogUnavailable.__name__
    assert outcome["written"] > outcome["before"], "a part of the batch reached the file"
    assert outcome["head"] == 20
    assert outcome["after"] == 21
    assert outcome["history"] == [*range(1, 21), *range(21, 31)]
    assert verify(tmp_path / "data").faults == ()


@needs_mount
def test_snapshot_and_operations_never_fill_the_disk(sqlite: SqliteHarness, disk: Path) -> None:
    """Every operation and key is new, so that nothing is superseded; written is twice what the disk holds."""
    log = sqlite.open_at(disk / "data", Retention.within(8 << 20), ballast_bytes=BALLAST)
    text = "x" * 3_000
    for number in range(0, 2 * DISK // 12_000, 10):
        batch = []
        for key in (f"op-{number + index}" for index in range(10)):
            start = {"operation_id": key, "name": key, "command": text}
            failed = {"operation_id": key, "code": "c", "message": text, "recoverable": False}
            batch += [
                make("operation:start", key, data=json.dumps(start).encode()),
                make("operation:progress", key, data=json.dumps({"operation_id": key, "progress": 1}).encode()),
                make("operation:failed", key, data=json.dumps(failed).encode(), effect=SlotEffect.END),
                make("data:update", key, data=json.dumps({"dataset": key, "url": text}).encode()),
            ]
        sqlite.append(log, *batch)
        sqlite.maintain(log, make.now_ns)
    statistics = log.statistics()
    assert statistics.durable_bytes + statistics.newest_bytes + log.operations.ended_bytes <= 8 << 20
    assert statistics.disk_bytes < DISK // 2
    sqlite.close_one(log)
    assert verify(disk / "data").faults == ()


@needs_mount
@pytest.mark.parametrize("ballast", [0, BALLAST])
def test_revocation_on_a_full_disk_counts_and_is_stored_when_space_is_free(
    sqlite: SqliteHarness, disk: Path, ballast: int
) -> None:
    folder = disk / "data"
    log = sqlite.open_at(folder, KEPT, ballast_bytes=ballast)
    append(sqlite, log)
    other = fill_with_others(disk)
    fill_with_events(sqlite, log)
    results: list[Revocation | LogError] = []
    names = [f"ada-{number}-{'x' * 200}" for number in range(500)]
    for name in names:
        log.revoke(Revocation(kind="subject", name=name, issued_before_ns=1), results.append)
        log.maintain(make.now_ns)
    wait_until(lambda: len(results) == len(names))  # the administrator gets an answer, at the latest after a checkpoint
    assert all(log.revocations.find("subject", name) for name in names)
    if not ballast:
        assert any(isinstance(result, LogFull) for result in results)
    other.unlink()
    wait_until(lambda: not log.maintain(make.now_ns))
    assert {row.name for row in sqlite.crash(log, KEPT).revocations} == set(names)
