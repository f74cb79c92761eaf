"""All events of a log, read from outside while a hub writes it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.contract.contract import Contract
from tidings.exceptions import LogCorrupt, LogForeign
from tidings.log.sqlite import inspect
from tidings.log.sqlite.backup import backup, restore
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import stored_envelopes
from tidings.testing.log_conformance.harness import EventFactory

make = EventFactory()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


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
