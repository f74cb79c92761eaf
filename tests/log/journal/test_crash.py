"""Writers of a journal that are killed at any moment lose nothing that was received, and disturb no one."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.killed_writers import MAX_WAIT_S, run_and_kill_writer, start_writer, writer_processes

from tidings.log.journal.base import JournalEntry
from tidings.log.journal.bells import FOLDER
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.journal.sqlite_file import FILE
from tidings.testing.journal_conformance import RecordingFollower

pytestmark = pytest.mark.alone

KILLS = int(os.environ.get("TIDINGS_KILLS", "40"))
"""Number of writers to kill; a long run takes a thousand."""
_MAX_LINES = 40
"""Entries that a writer receives before it is killed: counted, because the time for them depends on the load."""
_WRITER = "tests.log.journal.journal_writer"


class WriterReport:
    """The output of one writer until it was killed."""

    def __init__(self, pid: int, lines: list[str]) -> None:
        assert not [line for line in lines if line.startswith("failed")], lines
        self.pid = pid
        self.received = {int(number): int(seq) for _, number, seq in map(str.split, lines)}


def run_and_kill(process: "subprocess.Popen[str]") -> WriterReport:
    return WriterReport(*run_and_kill_writer(process, _MAX_LINES))


@pytest.mark.timeout(120 + KILLS)
def test_received_entries_survive_kills_and_others_go_on(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    reports: list[WriterReport] = []
    with (
        closing(loop),
        writer_processes(_WRITER, tmp_path) as process,
        writer_processes(_WRITER, tmp_path) as other,
        closing(SqliteJournal(tmp_path, loop)) as journal,
    ):
        follower = RecordingFollower(journal)
        survivor, survivor_lines = start_writer(other)
        for _ in range(KILLS):
            reports.append(run_and_kill(process))
            loop.run_until_complete(asyncio.sleep(0))
        os.kill(survivor, signal.SIGKILL)
        assert other.stdout is not None
        survivor_lines += iter(other.stdout.readline, "dead\n")
        reports.append(WriterReport(survivor, survivor_lines))
        stored = read_all(tmp_path / FILE)
        give_up = time.monotonic() + MAX_WAIT_S
        while len(follower.entries) < len(stored):
            assert time.monotonic() < give_up
            loop.run_until_complete(asyncio.sleep(0.001))
        assert follower.entries == stored
        assert follower.losses == []
        # The sockets of those that were killed go when the next commit finds that no process reads them.
        while len(list((tmp_path / FOLDER).glob("*.sock"))) > 1:
            assert time.monotonic() < give_up
            journal.append(b"0 0 ")
            loop.run_until_complete(asyncio.sleep(0.05))
    assert [entry.seq for entry in stored] == list(range(1, len(stored) + 1))
    by_seq = {entry.seq: entry.body.split(b" ", 2)[:2] for entry in stored}
    for report in reports:
        for number, seq in report.received.items():
            assert by_seq[seq] == [b"%d" % report.pid, b"%d" % number]
        numbers = [int(number) for pid, number in by_seq.values() if int(pid) == report.pid]
        assert numbers == list(range(1, len(numbers) + 1)), "each once, in order"
        assert len(numbers) - len(report.received) in (0, 1), "the last one was stored, but not received"
    assert sum(len(report.received) for report in reports) > 10 * KILLS
    assert len(reports[-1].received) > KILLS, "the survivor went on"
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT value FROM meta").fetchone()[0] > 0, "checkpoints were made"


def read_all(path: Path) -> list[JournalEntry]:
    with closing(sqlite3.connect(path)) as connection:
        return [JournalEntry(*row) for row in connection.execute("SELECT seq, at_ns, body FROM entries ORDER BY seq")]
