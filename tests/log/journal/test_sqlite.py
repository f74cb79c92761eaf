import asyncio
import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.journal.harnesses import SqliteJournalHarness
from tests.log.mounts import needs_mount, read_only, small_disk

from tidings.exceptions import (
    LogBusy,
    LogCorrupt,
    LogError,
    LogForeign,
    LogFull,
    LogReadOnly,
    LogTooNew,
    LogUnavailable,
)
from tidings.log.journal import bells, sqlite
from tidings.log.journal.base import JournalState, LossReason
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.journal.sqlite_file import FILE, SCHEMA_VERSION
from tidings.log.sqlite import checkpointer
from tidings.testing.journal_conformance import RecordingFollower, append, fill

NEVER_S = 3_600.0


@pytest.fixture
def harness() -> Iterator[SqliteJournalHarness]:
    with SqliteJournalHarness() as harness:
        assert isinstance(harness, SqliteJournalHarness)
        yield harness


@pytest.fixture
def bells_only() -> Iterator[SqliteJournalHarness]:
    """Journals that do not look: only bells can wake them."""
    with SqliteJournalHarness(look_interval_s=NEVER_S) as harness:
        assert isinstance(harness, SqliteJournalHarness)
        yield harness


def run_until(harness: SqliteJournalHarness, follower: RecordingFollower, body: bytes) -> None:
    give_up = harness.loop.time() + 20
    while body not in follower.bodies:
        assert harness.loop.time() < give_up, "nothing wakes the follower"
        harness.run(asyncio.sleep(0.0005))


def sockets(folder: Path) -> list[Path]:
    return sorted((folder / bells.FOLDER).iterdir())


# Bells.


def test_bell_wakes_a_follower_without_a_look(bells_only: SqliteJournalHarness) -> None:
    first, second = (bells_only.open() for _ in range(2))
    followers = [RecordingFollower(journal) for journal in (first, second)]
    second.append(b"from the second")  # it was opened later, so it has found the socket of the first
    for follower in followers:
        run_until(bells_only, follower, b"from the second")
    assert len(sockets(bells_only.folder)) == 2


def test_look_finds_the_sockets_of_processes_that_came_later(harness: SqliteJournalHarness) -> None:
    first, second = harness.open(), harness.open()
    follower = RecordingFollower(second)
    harness.wait_until(lambda: False)  # the first looks for sockets
    sqlite.LOOK_INTERVAL_S = NEVER_S
    harness.run(asyncio.sleep(0.05))  # the last looks
    first.append(b"rung")
    run_until(harness, follower, b"rung")


def test_socket_of_a_dead_process_is_deleted(bells_only: SqliteJournalHarness) -> None:
    folder = bells_only.folder / bells.FOLDER
    folder.mkdir()
    dead, living = folder / "dead.sock", folder / "living.sock"
    for path in (dead, living):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        other.bind(str(path))
        if path is dead:
            other.close()
    with closing(other):
        (folder / "note.sock").write_text("not a socket")
        journal = bells_only.open()
        for number in range(1_000):  # more than the other one's socket holds unread
            journal.append(b"%d" % number)
        assert journal.failure is None
        assert not dead.exists()
        assert living.exists()
        assert (folder / "note.sock").read_text() == "not a socket"
        assert other.recv(100) == b"\n"


def test_own_socket_is_private_deleted_on_closing_and_made_again(harness: SqliteJournalHarness) -> None:
    journal = harness.open()
    (path,) = sockets(harness.folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shutil.rmtree(harness.folder / bells.FOLDER)
    harness.wait_until(lambda: False)
    (again,) = sockets(harness.folder)
    assert again != path
    assert journal.has_bells
    journal.close()
    assert sockets(harness.folder) == []


def test_bells_work_in_a_folder_with_a_long_path(bells_only: SqliteJournalHarness) -> None:
    folder = bells_only.folder / ("long" * 40)
    folder.mkdir()
    first, second = (SqliteJournal(folder, bells_only.loop) for _ in range(2))
    with closing(first), closing(second):
        follower = RecordingFollower(first)
        assert first.has_bells
        second.append(b"rung")
        run_until(bells_only, follower, b"rung")


def test_journal_works_on_a_loop_that_watches_no_sockets(
    harness: SqliteJournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise NotImplementedError  # as the proactor loop of Windows

    monkeypatch.setattr(harness.loop, "add_reader", refuse)
    first, second = (harness.open() for _ in range(2))
    follower = RecordingFollower(first)
    assert not first.has_bells
    append(harness, follower, b"found by looking", by=second)
    assert sockets(harness.folder) == []


# Locks.


def test_append_waits_for_another_process_without_holding_the_loop(harness: SqliteJournalHarness) -> None:
    journal = harness.open()
    follower = RecordingFollower(journal)
    rounds = 0
    with harness.connect() as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(5):
            journal.append(b"%d" % number)

        async def run() -> None:
            nonlocal rounds
            while rounds < 20:
                await asyncio.sleep(0.001)
                rounds += 1

        harness.run(run())
        assert (journal.failure, follower.entries) == (None, [])
        other.execute("COMMIT")
    assert harness.wait_until(lambda: len(follower.entries) == 5)
    assert follower.bodies == [b"%d" % number for number in range(5)]
    assert len({entry.at_ns for entry in follower.entries}) == 1, "one transaction"


def test_append_is_lost_when_the_lock_is_never_given_back(
    harness: SqliteJournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_BUSY_S", 0.005)
    journal = harness.open()
    follower = RecordingFollower(journal)
    with harness.connect() as other:
        other.execute("BEGIN IMMEDIATE")
        journal.append(b"lost")
        assert harness.wait_until(lambda: isinstance(journal.failure, LogBusy))
        other.execute("ROLLBACK")
    append(harness, follower, b"stored")
    assert journal.failure is None
    assert follower.bodies == [b"stored"]


def test_queue_is_bounded(harness: SqliteJournalHarness) -> None:
    journal = harness.open()
    follower = RecordingFollower(journal)
    with harness.connect() as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(100):
            journal.append(b"x" * journal.max_bytes)
        assert isinstance(journal.failure, LogBusy)
        other.execute("COMMIT")
    fitting = sqlite.MAX_QUEUED_BYTES // journal.max_bytes
    assert harness.wait_until(lambda: len(follower.entries) == fitting)
    harness.wait_until(lambda: False)
    assert len(follower.entries) == fitting


def test_closing_stores_what_waits(harness: SqliteJournalHarness) -> None:
    journal, other = harness.open(), RecordingFollower(harness.open())
    with harness.connect() as lock:
        lock.execute("BEGIN IMMEDIATE")
        journal.append(b"waits")
        lock.execute("COMMIT")
    journal.close()
    assert harness.wait_until(lambda: other.bodies == [b"waits"])


def test_one_append_is_one_statement(harness: SqliteJournalHarness) -> None:
    journal = harness.open()
    statements: list[str] = []
    connection: sqlite3.Connection = vars(journal)["_connection"]
    connection.set_trace_callback(statements.append)
    journal.append(b"x")
    assert len(statements) == 1


# Files that are not, or no longer, a journal.


def check_refused(harness: SqliteJournalHarness, kind: type[LogError]) -> None:
    before = harness.path.read_bytes()
    with pytest.raises(kind):
        harness.open()
    assert harness.path.read_bytes() == before
    assert not list(harness.folder.glob("*-journal"))


@pytest.mark.parametrize("content", [b"notes" * 1_000, b"SQLite format 3\x00" + b"\xff" * 5_000], ids=["text", "noise"])
def test_file_that_is_not_a_database_is_refused(harness: SqliteJournalHarness, content: bytes) -> None:
    harness.path.write_bytes(content)
    check_refused(harness, LogForeign)


def test_database_of_another_program_is_refused(harness: SqliteJournalHarness) -> None:
    with harness.connect() as other:
        other.execute("CREATE TABLE entries (x)")
    check_refused(harness, LogForeign)


def test_journal_of_a_newer_version_is_refused(harness: SqliteJournalHarness) -> None:
    harness.open().close()
    with harness.connect() as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    check_refused(harness, LogTooNew)


def test_journal_without_its_table_is_refused(harness: SqliteJournalHarness) -> None:
    harness.open().close()
    with harness.connect() as other:
        other.execute("DROP TABLE entries")
    check_refused(harness, LogCorrupt)


def test_creation_that_was_interrupted_is_completed(harness: SqliteJournalHarness) -> None:
    with harness.connect() as other:
        other.execute("PRAGMA journal_mode = WAL")  # the first step
    append(harness, RecordingFollower(harness.open()), b"works")


def test_file_is_private(harness: SqliteJournalHarness) -> None:
    harness.open().append(b"x")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in harness.folder.glob(f"{FILE}*")}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


@pytest.mark.parametrize("values", ["3, 'late', x'00'", "3, 5, 'text'", "3, 5, 7"])
def test_damaged_row_ends_following_after_the_rows_before_it(harness: SqliteJournalHarness, values: str) -> None:
    fill(harness, 2).journal.close()
    with harness.connect() as other:
        other.execute(f"INSERT INTO entries VALUES ({values})")
    journal = harness.open()
    follower = RecordingFollower(journal)
    assert harness.wait_until(lambda: follower.losses)
    assert (follower.seqs, follower.losses) == ([1, 2], [LossReason.FAILED])
    with pytest.raises(LogCorrupt):
        harness.run(journal.entry(3))


def test_damaged_page_ends_following_with_its_reason(harness: SqliteJournalHarness) -> None:
    fill(harness, 200).journal.close()
    page = 4_096
    content = bytearray(harness.path.read_bytes())
    content[page * 2 :] = b"\xa5" * (len(content) - page * 2)
    harness.path.write_bytes(content)
    follower = RecordingFollower(harness.open())
    assert harness.wait_until(lambda: follower.losses)
    assert follower.losses == [LossReason.FAILED]


@pytest.mark.parametrize("replaced", [False, True])
def test_file_that_is_taken_away_is_noticed(harness: SqliteJournalHarness, replaced: bool) -> None:
    follower = fill(harness, 3)
    journal = follower.journal
    away = harness.path.with_name("away")
    harness.path.rename(away)
    if replaced:
        shutil.copyfile(away, harness.path)
    assert harness.wait_until(lambda: follower.losses)
    journal.append(b"into a file that no one reads")
    assert isinstance(journal.failure, LogUnavailable)
    assert "deleted, moved away, replaced" in str(journal.failure)
    away.rename(harness.path)
    again = RecordingFollower(journal)
    harness.wait_until(lambda: False)
    append(harness, again, b"back")
    assert again.bodies[:3] == follower.bodies


def test_file_that_is_emptied_is_noticed(harness: SqliteJournalHarness) -> None:
    follower = fill(harness, 3)
    os.truncate(harness.path, 0)
    assert harness.wait_until(lambda: follower.losses)
    assert follower.losses == [LossReason.FAILED]
    follower.journal.append(b"into a file that no other process can open")
    assert isinstance(follower.journal.failure, LogUnavailable)


# Space.


def test_full_journal_refuses_until_it_is_trimmed() -> None:
    with SqliteJournalHarness(max_file_bytes=1 << 20) as harness:
        assert isinstance(harness, SqliteJournalHarness)
        journal = harness.open()
        follower = RecordingFollower(journal)
        while journal.failure is None:
            journal.append(b"x" * 50_000)
        assert isinstance(journal.failure, LogFull)
        assert "limit of 1048576 bytes" in str(journal.failure)
        last = harness.run(journal.look()).last
        assert last > 10
        harness.run(journal.trim(last - 2))
        append(harness, follower, b"fits again")
        assert journal.failure is None
        assert harness.run(journal.look()) == JournalState(last - 1, last + 1)


@needs_mount
def test_full_disk_loses_the_entry_and_nothing_else(tmp_path: Path, harness: SqliteJournalHarness) -> None:
    with small_disk(tmp_path / "disk", 4 << 20) as folder:
        journal = SqliteJournal(folder, harness.loop)
        follower = RecordingFollower(journal)
        filler = folder / "filler"
        with closing(journal):
            journal.append(b"before")
            assert harness.wait_until(lambda: follower.entries)
            filler.write_bytes(b"\0" * (shutil.disk_usage(folder).free - 20_000))
            journal.append(b"x" * 200_000)
            assert isinstance(journal.failure, LogFull)
            filler.unlink()
            append(harness, follower, b"after")
            assert follower.bodies == [b"before", b"after"]


def test_read_only_folder_is_refused(tmp_path: Path, harness: SqliteJournalHarness) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with read_only(folder), pytest.raises(LogReadOnly):
        SqliteJournal(folder, harness.loop)


def test_one_process_makes_checkpoints_and_another_takes_over(
    harness: SqliteJournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "MAX_WAL_BYTES", 100_000)
    monkeypatch.setattr(checkpointer, "MIN_WAL_BYTES", 100_000)
    monkeypatch.setattr(checkpointer, "CHECK_INTERVAL_S", 0.002)

    def count() -> int:
        with harness.connect() as other:
            return int(other.execute("SELECT value FROM meta WHERE name = 'checkpoints'").fetchone()[0])

    first, second = harness.open(), harness.open()
    follower = RecordingFollower(second)

    def write_until(checkpoints: int) -> None:
        number = len(follower.entries)
        while count() < checkpoints:
            number += 1
            append(harness, follower, b"%d " % number + b"x" * 20_000)

    write_until(2)
    first.close()
    write_until(4)
    assert second.failure is None
    assert follower.seqs == list(range(1, len(follower.seqs) + 1))
