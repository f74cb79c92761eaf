"""The figures, the check and the events of a log, read from outside while a hub may write it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.contract.contract import Contract
from tidings.exceptions import LogCorrupt, LogForeign
from tidings.log.base import Retention
from tidings.log.sqlite import inspect
from tidings.log.sqlite.backup import backup, restore
from tidings.log.sqlite.database import APPLICATION_ID, FILE, SCHEMA_VERSION
from tidings.log.sqlite.inspect import info, stored_envelopes, verify
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.message_types import SlotEffect
from tidings.testing.log_conformance.harness import EventFactory

KEPT = Retention(events=100, superseded_events=10, keep_newest={"operation:log": 5})
make = EventFactory()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def write(sqlite: SqliteHarness, log: SqliteLog, rounds: int = 60) -> None:
    """Write a bit of everything, with retention in between."""
    for number in range(rounds):
        sqlite.append(
            log,
            make("data:update", f"key-{number % 7}"),
            make("operation:progress", f"op-{number % 5}"),
            make("operation:log", f"op-{number % 5}"),
            make("system:alert", "disk", effect=SlotEffect.CLEAR if number % 3 else SlotEffect.REPLACE),
        )
        log.maintain(make.now_ns)
    sqlite.maintain(log, make.now_ns)


class TestInfo:
    def test_info_of_a_log_in_use(self, sqlite: SqliteHarness, folder: Path) -> None:
        log = sqlite.open_at(folder, KEPT)
        write(sqlite, log)
        found, own = info(folder), log.statistics()
        assert (found.path, found.schema, found.epoch, found.epochs) == (folder / FILE, SCHEMA_VERSION, log.epoch, 1)
        assert (found.head, found.first) == (240, own.first)
        assert found.events == len(sqlite.history(log))
        assert (found.durable_events, found.durable_bytes) == (own.durable_events, own.durable_bytes)
        assert found.latest_events == own.superseded_events
        assert found.oldest_ns == found.newest_ns == make.now_ns
        assert found.disk_bytes == own.disk_bytes
        assert found.process is not None
        assert not found.closed
        sqlite.close_one(log)
        assert info(folder).closed
        assert info(folder).process is None

    def test_info_of_an_empty_log(self, sqlite: SqliteHarness, folder: Path) -> None:
        sqlite.close_one(sqlite.open_at(folder))
        found = info(folder)
        assert (found.head, found.events, found.oldest_ns, found.newest_ns) == (0, 0, None, None)

    def test_info_and_verify_without_a_log_are_foreign(self, tmp_path: Path) -> None:
        for look in (info, verify):
            with pytest.raises(LogForeign):
                look(tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestVerify:
    def test_log_in_use_closed_or_copied_is_whole(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        log = sqlite.open_at(folder, KEPT)
        assert verify(folder).faults == ()
        write(sqlite, log)
        events = len(sqlite.history(log))
        assert (verify(folder).faults, verify(folder).events) == ((), events)
        backup(folder, tmp_path / "copy")
        assert (verify(tmp_path / "copy").faults, verify(tmp_path / "copy").events) == ((), events)
        sqlite.close_one(log)
        assert (verify(folder).faults, verify(folder).events) == ((), events)

    @pytest.mark.parametrize(
        ("damage", "word"),
        [
            ("UPDATE events SET data = x'7b' WHERE offset = (SELECT max(offset) FROM events)", "not JSON"),
            ("UPDATE events SET data = 'text' WHERE offset = (SELECT max(offset) FROM events)", "time or data"),
            ("UPDATE events SET effect = 7 WHERE offset = (SELECT max(offset) FROM events)", "effect"),
            ("UPDATE events SET channel = x'00' WHERE offset = (SELECT max(offset) FROM events)", "not text"),
            ("DELETE FROM events WHERE type = 'operation:log' AND offset > 230", "durable_events"),
            ("UPDATE meta SET value = 7 WHERE name = 'latest_events'", "latest_events"),
            ("UPDATE meta SET value = 100000 WHERE name = 'durable_floor'", "durable_floor"),
            ("UPDATE floors SET trimmed = 100000", "trimmed up to 100000"),
            ("DELETE FROM epochs", "no epoch"),
            ("INSERT INTO epochs (name, start) VALUES ('bbbbbbbb', 50), ('aaaaaaaa', 40)", "begins after 40"),
            ("UPDATE events SET channel = 'data', type = 'data:update', key = 'key-0' WHERE offset = 240", "was saved"),
        ],
    )
    def test_wrong_contents_are_a_fault(self, sqlite: SqliteHarness, folder: Path, damage: str, word: str) -> None:
        log = sqlite.open_at(folder, KEPT)
        write(sqlite, log)
        sqlite.close_one(log)
        with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
            connection.execute(damage)
        assert word in "\n".join(verify(folder).faults)

    def test_damaged_file_is_a_fault(self, sqlite: SqliteHarness, folder: Path) -> None:
        log = sqlite.open_at(folder)
        sqlite.append(log, *(make("data:update", data=b"1" * 3_000) for _ in range(300)))
        sqlite.close_one(log)
        with (folder / FILE).open("r+b") as file:
            file.seek(100 * 4096)
            file.write(b"\xa5" * 50 * 4096)
        faults = verify(folder).faults
        assert 0 < len(faults) <= 100
        assert all(fault.startswith("SQLite: ") for fault in faults)

    def test_log_without_its_tables_is_corrupt(self, folder: Path) -> None:
        folder.mkdir()
        with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("CREATE TABLE meta (name, value)")
        with pytest.raises(LogCorrupt):
            info(folder)
        with pytest.raises(LogCorrupt):
            verify(folder)


@pytest.mark.parametrize("look", [info, verify])
def test_inspection_changes_no_file(sqlite: SqliteHarness, folder: Path, look: Callable[[Path], object]) -> None:
    log = sqlite.open_at(folder, KEPT)
    write(sqlite, log)
    sqlite.close_one(log)
    content = (folder / FILE).read_bytes()
    look(folder)
    assert (folder / FILE).read_bytes() == content


def test_stored_envelopes_come_once_in_order_with_positions(
    sqlite: SqliteHarness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "READ_ROWS", 7)
    log = sqlite.open_at(folder)
    for number in range(20):
        sqlite.append(log, make("data:update", f"key-{number}"), make("operation:progress", "op"))
    found = list(stored_envelopes(folder))
    records = sqlite.history(log)
    assert [each.position for each in found] == [str(log.position(record.offset)) for record in records]
    for envelope, record in zip(found, records, strict=True):
        event = record.event
        assert (envelope.type, envelope.timestamp, envelope.trace_id) == (event.type, event.timestamp, event.trace_id)
        assert (envelope.channel, b"" + envelope.data, envelope.event_id) == (event.channel, event.data, event.event_id)
        assert Contract().events[envelope.type]


def test_stored_envelopes_include_events_appended_during_the_read(
    sqlite: SqliteHarness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "READ_ROWS", 1)
    log = sqlite.open_at(folder)
    sqlite.append(log, make("data:update", "a"), make("data:update", "b"))
    reading = stored_envelopes(folder)
    next(reading)
    sqlite.append(log, make("data:update", "c"))
    assert len(list(reading)) == 2


def test_stored_envelopes_of_a_restored_log_span_two_epochs(
    sqlite: SqliteHarness, folder: Path, tmp_path: Path
) -> None:
    log = sqlite.open_at(folder)
    sqlite.append(log, make("data:update", "a"))
    backup(folder, tmp_path / "copy.db")
    restored = restore(tmp_path / "copy.db", tmp_path / "other")
    again = sqlite.open_at(tmp_path / "other")
    sqlite.append(again, make("data:update", "b"))
    first, second = (str(each.position) for each in stored_envelopes(tmp_path / "other"))
    assert first == restored.position == next(stored_envelopes(tmp_path / "copy.db")).position
    assert second.startswith(again.epoch)


def test_stored_envelopes_of_a_missing_or_damaged_log_fail(sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LogForeign):
        list(stored_envelopes(tmp_path))
    sqlite.close_one(sqlite.open_at(folder))
    assert list(stored_envelopes(folder)) == []
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        connection.execute("DROP TABLE events")
    with pytest.raises(LogCorrupt):
        list(stored_envelopes(folder))
