"""A log that is opened again: which epoch begins, and how few rows are read."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.log.base import Retention
from tidings.log.sqlite.database import FILE, connect_read_only
from tidings.log.sqlite.inspect import verify
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.paths import Path as EventPath
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position
from tidings.testing.log_conformance.harness import EventFactory

KEPT = Retention()
Reboot = Callable[[], None]


@pytest.fixture
def reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reboot:
    """Replace the machine's boot id by one that changes with each call."""
    boot_id = tmp_path / "boot_id"
    monkeypatch.setattr("tidings.log.sqlite.state.BOOT_ID_FILE", boot_id)
    starts = 0

    def reboot() -> None:
        nonlocal starts
        starts += 1
        boot_id.write_text(f"start-{starts}\n")

    reboot()
    return reboot


def query(sqlite: SqliteHarness, log: SqliteLog, sql: str) -> list[tuple[object, ...]]:
    """Return what another connection reads from the log's file."""
    with closing(connect_read_only(sqlite.folder_of(log) / FILE)) as connection:
        return connection.execute(sql).fetchall()


def written(sqlite: SqliteHarness, events: int = 5) -> SqliteLog:
    log, make = sqlite.open(KEPT), EventFactory()
    sqlite.append(log, *(make("data:update", f"key-{number}") for number in range(events)))
    return log


def test_first_epoch_starts_at_zero(sqlite: SqliteHarness, reboot: Reboot) -> None:
    log = sqlite.open(KEPT)
    assert log.position(0) == Position(log.epoch, 0)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("rebooted", [False, True])
def test_opened_log_begins_a_new_epoch(sqlite: SqliteHarness, reboot: Reboot, killed: bool, rebooted: bool) -> None:
    log = written(sqlite)
    before = log.epoch
    if rebooted:
        reboot()
    again = sqlite.crash(log, KEPT) if killed else sqlite.reopen(log, KEPT)
    assert again.epoch != before
    assert again.head == 5
    assert again.resolve(Position(before, 3)) == 3
    assert again.resolve(Position(before, 5)) == 5
    assert again.resolve(Position(before, 6)) is None
    assert again.position(5) == Position(before, 5)
    assert sqlite.append(again, EventFactory()("data:update")) == 6
    assert again.position(6) == Position(again.epoch, 6)
    assert again.resolve(Position(again.epoch, 6)) == 6


def test_epoch_without_events_is_replaced(sqlite: SqliteHarness) -> None:
    log = sqlite.open(KEPT)
    first = log.position(0)
    for _ in range(3):
        log = sqlite.reopen(log, KEPT)
        assert log.resolve(first) == 0
    sqlite.append(log, EventFactory()("data:update"))
    one = log.position(1)
    for _ in range(3):
        log = sqlite.reopen(log, KEPT)
        assert log.resolve(one) == 1
    assert query(sqlite, log, "SELECT count(*) FROM epochs") == [(3,)]


def test_oldest_epochs_are_forgotten(sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.log.sqlite.state.MAX_EPOCHS", 4)
    log, make = sqlite.open(KEPT), EventFactory()
    positions = []
    for number in range(1, 9):
        assert sqlite.append(log, make("data:update")) == number
        positions.append(log.position(number))
        log = sqlite.reopen(log, KEPT)
    assert query(sqlite, log, "SELECT count(*) FROM epochs") == [(4,)]
    assert [log.resolve(position) for position in positions] == [None] * 5 + [6, 7, 8]
    assert log.resolve(log.position(1)) == 1
    assert verify(sqlite.folder_of(log)).faults == ()


def test_epoch_names_are_never_reused(sqlite: SqliteHarness) -> None:
    names = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    sqlite.new_epoch = lambda: next(names)
    log = written(sqlite)
    assert sqlite.crash(log, KEPT).epoch == "bbbbbbbb"


@pytest.mark.parametrize("killed", [False, True])
def test_saved_index_is_used_after_reopening(sqlite: SqliteHarness, killed: bool) -> None:
    sqlite.save_every = 1_000
    log, make = sqlite.open(KEPT), EventFactory()
    for _ in range(30):
        sqlite.append(log, *(make("data:update", f"key-{number}") for number in range(100)))
        sqlite.maintain(log, make.now_ns)
    again = sqlite.crash(log, KEPT) if killed else sqlite.reopen(log, KEPT)
    assert again.statistics().newest == 100
    assert again.statistics().durable_events == 3_000
    assert query(sqlite, again, "SELECT value FROM meta WHERE name = 'folded_to'") == [(3_000,)]
    assert verify(sqlite.folder_of(again)).faults == ()


def test_marks_of_thinned_keys_are_merged_in_the_file(sqlite: SqliteHarness) -> None:
    retention = Retention(events=5, keep_newest={"operation:log": 2})
    log, make = sqlite.open(retention), EventFactory()
    paths = PathSet((EventPath("operations", "a"),))
    sqlite.append(log, *(make("operation:log", "a") for _ in range(4)))
    sqlite.maintain(log, make.now_ns)
    assert query(sqlite, log, "SELECT channel, key, trimmed FROM floors") == [("operations", "a", 2)]
    sqlite.append(log, *(make("data:update", "b") for _ in range(5)))
    sqlite.maintain(log, make.now_ns)
    assert query(sqlite, log, "SELECT channel, key, trimmed FROM floors") == [("operations", "", 3)]
    assert sqlite.crash(log, retention).trimmed(0, paths) == 3


def test_changed_retention_recounts_all_rows(sqlite: SqliteHarness) -> None:
    """Rows that were not counted, because their type was not thinned, must be read."""
    log, make = sqlite.open(Retention(keep_newest={})), EventFactory()
    sqlite.append(log, *(make("data:update", "a") for _ in range(50)))
    again = sqlite.reopen(log, Retention(keep_newest={"data:update": 3}))
    sqlite.append(again, make("data:update", "a"))
    sqlite.maintain(again, make.now_ns)
    assert [record.offset for record in sqlite.history(again)] == [49, 50, 51]


def test_outdated_key_counts_delete_nothing(sqlite: SqliteHarness) -> None:
    retention = Retention(keep_newest={"data:update": 10})
    sqlite.save_every = 15
    log, make = sqlite.open(retention), EventFactory()
    sqlite.append(log, *(make("data:update", "a") for _ in range(15)))
    sqlite.maintain(log, make.now_ns)  # saves a count of fifteen
    sqlite.append(log, *(make("data:update", "a") for _ in range(5)))
    sqlite.maintain(log, make.now_ns)  # removes ten of twenty
    again = sqlite.crash(log, retention)
    assert again.maintain(make.now_ns) is False  # the count is twenty, but only ten rows are found
    assert [record.offset for record in sqlite.history(again)] == list(range(11, 21))
    sqlite.append(again, *(make("data:update", "a") for _ in range(10)))
    sqlite.maintain(again, make.now_ns)
    assert [record.offset for record in sqlite.history(again)] == list(range(21, 31))
