import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import settings
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogBusy, LogError, LogUnavailable
from tidings.log.base import Outcome, Page, Query, Record, Retention
from tidings.log.revocations import Revocation
from tidings.log.sqlite.database import FILE, connect
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.paths import NO_PATHS, Path, PathSet
from tidings.testing.log_conformance import DurableLogConformance, LogHarness
from tidings.testing.log_conformance.harness import ALL, EventFactory
from tidings.testing.log_conformance.judging import show
from tidings.testing.log_conformance.machine import check_against_model

make = EventFactory()


class TestSqliteLog(DurableLogConformance):
    model_settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with SqliteHarness() as harness:
            yield harness


def test_log_that_saves_its_index_often_agrees_with_its_model(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.log.sqlite.saved_index.PIECE_SIZE", 2)
    sqlite.save_every = 5
    check_against_model(sqlite, settings(max_examples=40, stateful_step_count=30, deadline=None))


@pytest.mark.parametrize("events", [1, 100])
def test_batch_is_one_transaction_with_one_statement_per_event(
    sqlite: SqliteHarness, connections: list[sqlite3.Connection], events: int
) -> None:
    log = sqlite.open(Retention())
    statements: list[str] = []
    connections[-1].set_trace_callback(statements.append)
    sqlite.append(log, *(make("data:update", event_id=f"0123456789abc{number:03}") for number in range(events)))
    assert statements[0] == "BEGIN IMMEDIATE"
    done = [statement.split(" VALUES")[0].split(" WHERE")[0] for statement in statements[1:-1]]
    each = ["SELECT offset, type, digests, attempt FROM ids", "INSERT INTO events", "INSERT OR REPLACE INTO ids"]
    assert done == [statement for statement in each for _ in range(events)]
    assert statements[-1] == "COMMIT"


def test_retention_without_work_executes_no_statement(
    sqlite: SqliteHarness, connections: list[sqlite3.Connection]
) -> None:
    log = sqlite.open(Retention())
    sqlite.append(log, make("data:update"), make("operation:progress", "op"))
    sqlite.maintain(log, make.now_ns)
    statements: list[str] = []
    connections[-1].set_trace_callback(statements.append)
    for _ in range(3):
        assert log.maintain(make.now_ns) is False
    assert statements == []


class TestLockedFile:
    @pytest.fixture
    def folder(self, tmp_path: FilePath) -> FilePath:
        return tmp_path / "data"

    def test_append_is_retried_until_the_file_is_free(self, sqlite: SqliteHarness, folder: FilePath) -> None:
        log = sqlite.open_at(folder)
        done: list[Sequence[Outcome] | LogError] = []
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.append([make("data:update")], done.append)
            for _ in range(3):
                sqlite.scheduler.waiting.popleft()()
            assert done == []
            assert log.head == 0
            assert log.maintain(make.now_ns) is True, "retention waits for the append"
            pages: list[Page | LogError] = []
            log.read(Query(after=0, until=9, paths=ALL), pages.append)
            assert pages == [Page([], 9)], "reads do not wait"
            other.execute("ROLLBACK")
        sqlite.settle()
        assert [show(outcomes) for outcomes in done if not isinstance(outcomes, LogError)] == [["1"]]
        assert sqlite.scheduler.retries == 4

    def test_append_fails_with_log_busy_after_its_deadline(
        self, sqlite: SqliteHarness, folder: FilePath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tidings.log.sqlite.log.MAX_BUSY_S", 0.05)
        log = sqlite.open_at(folder)
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogBusy) as caught:
                sqlite.append(log, make("data:update"))
            assert caught.value.retry_after_ms > 0
        assert sqlite.append(log, make("data:update")) == 1

    def test_append_before_the_last_batch_is_done_raises(self, sqlite: SqliteHarness, folder: FilePath) -> None:
        log = sqlite.open_at(folder)
        done: list[Sequence[Outcome] | LogError] = []
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.append([make("data:update")], done.append)
            with pytest.raises(RuntimeError):
                log.append([make("data:update")], done.append)
        sqlite.settle()
        assert [show(outcomes) for outcomes in done if not isinstance(outcomes, LogError)] == [["1"]]

    def test_close_retries_the_waiting_batch(self, sqlite: SqliteHarness, folder: FilePath) -> None:
        log = sqlite.open_at(folder)
        done: list[Sequence[Outcome] | LogError] = []
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.append([make("data:update")], done.append)
            other.execute("ROLLBACK")
        sqlite.close_one(log)
        assert [show(outcomes) for outcomes in done if not isinstance(outcomes, LogError)] == [["1"]]
        sqlite.settle()
        assert [show(outcomes) for outcomes in done if not isinstance(outcomes, LogError)] == [["1"]]
        assert sqlite.open_at(folder).head == 1

    def test_revocation_counts_before_the_file_is_free(self, sqlite: SqliteHarness, folder: FilePath) -> None:
        log = sqlite.open_at(folder)
        done: list[Revocation | LogError] = []
        row = Revocation(kind="subject", name="ada", issued_before_ns=1)
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.revoke(row, done.append)
            log.revoke(row, done.append)
            assert log.revocations.find("subject", "ada") == row
            assert done == []
            other.execute("ROLLBACK")
        sqlite.settle()
        assert done == [row, row]

    def test_revocation_that_is_not_stored_in_time_is_stored_later(
        self, sqlite: SqliteHarness, folder: FilePath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tidings.log.sqlite.log.MAX_BUSY_S", 0.05)
        log = sqlite.open_at(folder)
        done: list[Revocation | LogError] = []
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.revoke(Revocation(kind="subject", name="ada", issued_before_ns=1), done.append)
            sqlite.settle()
            assert [type(result) for result in done] == [LogBusy]
            assert log.revocations.find("subject", "ada") is not None
        sqlite.maintain(log, make.now_ns)
        assert len(sqlite.crash(log, Retention()).revocations) == 1

    def test_close_reports_a_batch_that_cannot_be_stored(self, sqlite: SqliteHarness, folder: FilePath) -> None:
        log = sqlite.open_at(folder)
        done: list[Sequence[Outcome] | LogError] = []
        with closing(connect(folder / FILE, busy_ms=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            log.append([make("data:update")], done.append)
            sqlite.close_one(log)
            assert [type(result) for result in done] == [LogBusy]
        sqlite.settle()
        assert len(done) == 1
        assert sqlite.open_at(folder).head == 0


def test_batch_from_within_the_tail_is_appended_after_it(sqlite: SqliteHarness) -> None:
    log = sqlite.open(Retention())
    calls: list[str] = []

    def tail(records: list[Record]) -> None:
        calls.append(f"tail {records[0].offset}")
        if len(records) == 2:
            log.append([make("data:update")], lambda _: calls.append(f"done {log.head}"))
        calls.append(f"end {records[0].offset}")

    log.follow(tail)  # type: ignore[arg-type]
    sqlite.append(log, make("data:update"), make("data:update"))
    assert calls == ["tail 1", "end 1", "done 3", "tail 3", "end 3"]


def test_closed_log_is_unavailable(sqlite: SqliteHarness) -> None:
    log = sqlite.open(Retention())
    sqlite.append(log, make("data:update"))
    sqlite.close_one(log)
    log.close()  # a second time, without effect
    for call in (
        lambda: sqlite.append(log, make("data:update")),
        lambda: sqlite.history(log),
    ):
        with pytest.raises(LogUnavailable):
            call()
    assert log.maintain(make.now_ns) is False


def test_reads_skip_the_holes_that_trimming_left(sqlite: SqliteHarness) -> None:
    """Reads count rows instead of offsets: a thousand newest events in a million offsets are a page or two."""
    log = sqlite.open(Retention(superseded_events=10))
    for number in range(200):
        sqlite.append(
            log, make("data:update", f"key-{number}"), *(make("operation:progress", "op") for _ in range(300))
        )
        log.maintain(make.now_ns)
    sqlite.maintain(log, make.now_ns)
    assert log.head == 60_200
    page = sqlite.read(log, Query(after=0, until=log.head, paths=ALL, conflate=False))
    assert len(page.records) == 200 + 10
    assert page.scanned == log.head


class TestPagesOfFewKeys:
    """Pages that are read through an index, which limits the time that one read takes."""

    def read_both_ways(self, sqlite: SqliteHarness, log: SqliteLog, paths: PathSet, **query: Any) -> list[int]:
        """Return the offsets that a read of `paths` brings, after a comparison with a read of everything."""
        wanted = Query(after=0, until=log.head, paths=paths, **query)
        found = sqlite.read_all(log, wanted)
        everything = sqlite.read_all(log, Query(after=0, until=log.head, paths=ALL, conflate=wanted.conflate))
        assert found == [
            record
            for record in everything
            if paths.matches(record.event.channel, record.event.key)
            and wanted.trace_id in (None, record.event.trace_id)
        ]
        return [record.offset for record in found]

    def test_key_with_more_events_than_one_read_takes(self, sqlite: SqliteHarness) -> None:
        log = sqlite.open(Retention())
        sqlite.append(log, *(make("data:update", "a") for _ in range(1_700)), make("report:ready", "b"))
        assert self.read_both_ways(sqlite, log, PathSet((Path("data", "a"),)), limit=2_000) == list(range(1, 1_701))

    def test_trace_across_many_segments(self, sqlite: SqliteHarness) -> None:
        log = sqlite.open(Retention())
        for _ in range(5):
            sqlite.append(
                log, make("data:update", trace_id="wanted"), *(make("operation:start", "op") for _ in range(3_000))
            )
        assert len(self.read_both_ways(sqlite, log, ALL, trace_id="wanted", conflate=False)) == 5

    def test_keys_whose_progress_is_kept_or_waits_for_deletion(self, sqlite: SqliteHarness) -> None:
        log = sqlite.open(Retention(superseded_events=0, newest_per_type=5_000))
        batches = [[make("operation:progress", f"op-{number}") for number in range(600)] for _ in range(2)]
        for batch in batches:
            sqlite.append(log, *batch)
        sqlite.maintain(log, make.now_ns)
        some = PathSet.of(Path("operations", f"op-{number}") for number in range(6))
        assert self.read_both_ways(sqlite, log, some, conflate=False) == [601, 602, 603, 604, 605, 606]
        sqlite.append(log, make("operation:progress", "op-3"))
        assert self.read_both_ways(sqlite, log, some, conflate=False) == [601, 602, 603, 604, 605, 606, 1201]
        assert self.read_both_ways(sqlite, log, some) == [601, 602, 603, 605, 606, 1201]

    def test_key_in_an_emptied_log(self, sqlite: SqliteHarness) -> None:
        log = sqlite.open(Retention(age_s=1.0, newest_age_s=1.0))
        sqlite.append(log, make("data:update", "a"))
        sqlite.maintain(log, make.now_ns + (1 << 40))
        assert self.read_both_ways(sqlite, log, PathSet((Path("data", "a"),))) == []

    def test_more_paths_than_sqlite_compares(self, sqlite: SqliteHarness) -> None:
        log = sqlite.open(Retention())
        sqlite.append(log, *(make("data:update", f"key-{number % 50}") for number in range(500)))
        many = PathSet.of(Path("data", f"key-{number}") for number in range(0, 50, 2))
        assert len(self.read_both_ways(sqlite, log, many)) == 250
        assert self.read_both_ways(sqlite, log, NO_PATHS) == []


def test_a_time_is_found_with_one_row_per_bit_of_the_head(
    sqlite: SqliteHarness, connections: list[sqlite3.Connection]
) -> None:
    log, make = sqlite.open(Retention()), EventFactory()
    for _ in range(20):
        sqlite.append(log, *(make("data:update", str(number)) for number in range(1_000)))
        make.advance(60)
    statements: list[str] = []
    connections[-1].set_trace_callback(statements.append)
    assert log.last_before(make.now_ns - 60_000_000_000) == 19_000
    connections[-1].set_trace_callback(None)
    assert 0 < len(statements) <= (20_000).bit_length()
    assert all("LIMIT 1" in each for each in statements)
    [(_, _, _, plan)] = connections[-1].execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()
    assert "INTEGER PRIMARY KEY" in plan


def test_a_time_is_found_among_damaged_rows(sqlite: SqliteHarness, connections: list[sqlite3.Connection]) -> None:
    log, make = sqlite.open(Retention()), EventFactory()
    for _ in range(100):
        make.advance(1)
        sqlite.append(log, make("data:update", "a"))
    connections[-1].execute("UPDATE events SET received_ns = x'ff' WHERE offset % 3 = 0")
    assert 0 <= log.last_before(make.now_ns - 10_000_000_000) <= 89
    connections[-1].execute("DROP TABLE events")
    assert log.last_before(make.now_ns) == 0
