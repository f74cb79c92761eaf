"""Rows that cannot be read or written: set aside for a person, while opening, reading, saving and trimming go on."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.log.base import EventToAppend, Retention
from tidings.log.revocations import Revocation
from tidings.log.sqlite import set_aside
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import stored_envelopes, verify
from tidings.log.sqlite.log import SqliteLog
from tidings.operations.lifecycle import OperationState
from tidings.protocol.paths import Path as EventPath
from tidings.protocol.paths import PathSet
from tidings.testing.log_conformance.harness import EventFactory
from tidings.testing.log_conformance.judging import show

make = EventFactory()
ALL = Retention()
SMALL = Retention(events=3, superseded_events=0)
DAMAGES = {
    "effect": "effect = 9",
    "class": "latest = 'no'",
    "data that is text": "data = CAST(data AS TEXT)",
    "channel that is no UTF-8": "channel = CAST(x'ff' AS TEXT)",
    "type that is no UTF-8": "type = CAST(x'64617461ff' AS TEXT)",
    "key that is a blob": "key = x'00'",
    "key that is no UTF-8": "key = CAST(x'ff' AS TEXT)",
    "time that is text": "received_ns = 'yesterday'",
    "timestamp that is a blob": "timestamp = x'00'",
    "trace id that is no UTF-8": "trace_id = CAST(x'ff' AS TEXT)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def query(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def operation(action: str, operation_id: str, **more: object) -> EventToAppend:
    data = json.dumps({"operation_id": operation_id, **more}).encode()
    return make(f"operation:{action}", operation_id, data=data)


def test_damaged_revocation_is_set_aside_and_others_stay(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder)
    for name in ("ada", "bob"):
        log.revoke(Revocation(kind="subject", name=name, issued_before_ns=1), lambda row: None)
    sqlite.close_one(log)
    change(folder, "UPDATE revocations SET issued_before_ns = 'soon' WHERE target = 'subject:ada'")
    assert any("table revocations" in fault for fault in verify(folder).faults)
    log = sqlite.open_at(folder)
    assert [row.name for row in log.revocations] == ["bob"]
    sqlite.close_one(log)
    assert query(folder, "SELECT target FROM revocations") == [("subject:bob",)]
    assert query(folder, "SELECT source FROM set_aside") == [("revocations",)]


def fill(sqlite: SqliteHarness, folder: Path, events: int = 10) -> None:
    log = sqlite.open_at(folder)
    sqlite.append(log, *(make("data:update", f"key-{number}") for number in range(events)))
    sqlite.close_one(log)


def offsets(sqlite: SqliteHarness, log: SqliteLog) -> list[int]:
    return [record.offset for record in sqlite.history(log)]


# Events.


@pytest.mark.parametrize("offset", [1, 5, 10])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_event_is_set_aside_and_the_others_stay(
    sqlite: SqliteHarness, folder: Path, damage: str, offset: int
) -> None:
    fill(sqlite, folder)
    change(folder, f"UPDATE events SET {damage} WHERE offset = {offset}")
    assert len(verify(folder).faults) >= 1
    log = sqlite.open_at(folder)
    others = [number for number in range(1, 11) if number != offset]
    assert offsets(sqlite, log) == others
    assert [record.offset for record in sqlite.snapshot(log)] == others
    assert log.statistics().set_aside == 1
    sqlite.maintain(log, make.now_ns)
    assert (log.statistics().set_aside, log.statistics().durable_events, log.head) == (1, 9, 10)
    sqlite.append(log, make("data:update", "key-10"))
    log = sqlite.reopen(log, ALL)
    assert offsets(sqlite, log) == [*others, 11]
    found = verify(folder)
    assert found.faults == ()
    assert len(found.set_aside) == 1
    [(source, content)] = query(folder, "SELECT source, content FROM set_aside")
    assert (source, json.loads(str(content))["offset"]) == ("events", offset)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_event_does_not_stop_retention(sqlite: SqliteHarness, folder: Path, damage: str) -> None:
    log = sqlite.open_at(folder, SMALL)
    sqlite.append(log, *(make("data:update", "key") for _ in range(10)))
    change(folder, f"UPDATE events SET {damage} WHERE offset = 2")
    sqlite.maintain(log, make.now_ns)
    assert offsets(sqlite, log) == [8, 9, 10]
    sqlite.append(log, *(make("data:update", "key") for _ in range(10)))
    sqlite.maintain(log, make.now_ns)
    assert offsets(sqlite, log) == [18, 19, 20]
    sqlite.close_one(log)
    assert verify(folder).faults == ()


def test_event_that_is_damaged_while_the_log_is_open_is_skipped(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder)
    events = [make("data:update", f"key-{number}", event_id=f"{number:016}") for number in range(5)]
    sqlite.append(log, *events)
    change(folder, "UPDATE events SET data = CAST(data AS TEXT) WHERE offset = 3")
    assert offsets(sqlite, log) == [1, 2, 4, 5]
    assert show(sqlite.outcomes(log, *events[1:3])) == ["=2", "=3"]
    sqlite.maintain(log, make.now_ns)
    assert log.statistics().durable_events == 4
    assert verify(folder).faults == ()


def test_stored_envelopes_leave_out_a_damaged_event(sqlite: SqliteHarness, folder: Path) -> None:
    fill(sqlite, folder)
    change(
        folder,
        "UPDATE events SET type = CAST(x'ff' AS TEXT) WHERE offset = 4",
        "UPDATE events SET effect = 9 WHERE offset = 10",
    )
    assert len(list(stored_envelopes(folder))) == 8


def test_rows_that_were_set_aside_are_bounded(
    sqlite: SqliteHarness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_aside, "MAX_ROWS", 5)
    fill(sqlite, folder, 20)
    change(folder, "UPDATE events SET effect = 9 WHERE offset <= 12")
    log = sqlite.open_at(folder)
    assert log.statistics().set_aside == 5
    assert offsets(sqlite, log) == list(range(13, 21))


@pytest.mark.parametrize(
    "timestamp", ["1601-01-01T00:00:00Z", "0001-01-01T00:00:28Z", "9999-12-31T23:59:59.999999999Z", "not a time", ""]
)
def test_folder_with_a_moment_beyond_64_bits_opens_and_is_saved(
    sqlite: SqliteHarness, folder: Path, timestamp: str
) -> None:
    log = sqlite.open_at(folder)
    sqlite.append(log, operation("start", "op", name="import"), operation("progress", "op", progress=5))
    change(
        folder,
        f"UPDATE events SET timestamp = '{timestamp}'",
        "DELETE FROM operations",
        "UPDATE meta SET value = 0 WHERE name = 'operations_to'",
    )
    for killed in (True, False):
        log = sqlite.crash(log, ALL) if killed else sqlite.reopen(log, ALL)
        status = log.operations.get("op")
        assert status is not None
        assert (status.state, status.progress) == (OperationState.RUNNING, 5)
        sqlite.maintain(log, make.now_ns)
        sqlite.append(log, operation("log", "op", message="still here"))
    assert log.statistics().set_aside == 0


# Operations, names and the saved index.


def write_operations(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder)
    for number in range(5):
        sqlite.append(
            log,
            operation("start", f"op-{number}", name=f"name-{number}"),
            operation("progress", f"op-{number}", progress=50),
        )
    sqlite.append(log, operation("complete", "op-0"), operation("complete", "op-1"))
    sqlite.maintain(log, make.now_ns)
    sqlite.close_one(log)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE operations SET status = x'ff' WHERE number = 3",
        "UPDATE operations SET status = 'text' WHERE number IN (1, 3)",
        "UPDATE operations SET status = CAST(x'80ff' AS TEXT)",
    ],
)
def test_damaged_operation_is_rebuilt_from_its_events(sqlite: SqliteHarness, folder: Path, damage: str) -> None:
    write_operations(sqlite, folder)
    log = sqlite.open_at(folder)
    expected = {status.operation_id: (status.state, status.progress) for status in log.operations.before(None, 10)}
    assert len(expected) == 5
    sqlite.close_one(log)
    change(folder, damage)
    assert any("of table operations" in fault for fault in verify(folder).faults)
    log = sqlite.open_at(folder)
    found = {status.operation_id: (status.state, status.progress) for status in log.operations.before(None, 10)}
    assert found == expected
    assert log.statistics().set_aside >= 1
    sqlite.close_one(log)
    assert verify(folder).faults == ()


@pytest.mark.parametrize("damage", ["history = x'ff'", "history = x'ff', name = CAST(x'ff' AS TEXT)"])
def test_damaged_history_of_a_name_is_set_aside(sqlite: SqliteHarness, folder: Path, damage: str) -> None:
    write_operations(sqlite, folder)
    change(folder, f"UPDATE names SET {damage} WHERE name = 'name-0'")
    assert any("of table names" in fault for fault in verify(folder).faults)
    log = sqlite.open_at(folder)
    assert list(log.operations.names) == ["name-1"]
    assert log.statistics().set_aside == 1
    sqlite.close_one(log)
    assert verify(folder).faults == ()


@pytest.mark.parametrize("damage", ["offsets = x'01'", "of_key = x'ff'", "type = CAST(x'ff' AS TEXT)"])
def test_damaged_index_is_made_from_the_events(sqlite: SqliteHarness, folder: Path, damage: str) -> None:
    fill(sqlite, folder)
    change(folder, f"UPDATE folds SET {damage}")
    assert verify(folder).faults != ()
    log = sqlite.open_at(folder)
    assert (log.statistics().newest, log.statistics().durable_events) == (10, 10)
    sqlite.close_one(log)
    assert verify(folder).faults == ()


def test_damaged_trim_mark_hides_no_gap(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder, SMALL)
    sqlite.append(log, *(make("data:update", "key") for _ in range(10)))
    sqlite.maintain(log, make.now_ns)
    sqlite.close_one(log)
    change(folder, "UPDATE floors SET trimmed = 'all'")
    log = sqlite.open_at(folder, SMALL)
    assert log.trimmed(0, PathSet((EventPath("data"),))) == 7


def test_operation_that_cannot_be_saved_does_not_stop_the_others(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder)
    sqlite.append(log, operation("start", "bad"), operation("start", "good"))
    bad = log.operations.get("bad")
    assert bad is not None
    bad.started_ns = -(2**70)  # as a defect would leave it
    sqlite.maintain(log, make.now_ns)
    sqlite.append(log, operation("progress", "good", progress=50))
    log = sqlite.reopen(log, ALL)
    good = log.operations.get("good")
    assert good is not None
    assert good.progress == 50
    assert log.statistics().set_aside >= 1


# The schema.


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM epochs; END", "the trigger 't' is not part"),
        (
            "CREATE TRIGGER t BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
            "the trigger 't' is not part",
        ),
        ("CREATE VIEW v AS SELECT * FROM events", "the view 'v' is not part"),
        ("CREATE TABLE mine (a)", "the table 'mine' is not part"),
        ("CREATE INDEX i ON events (type)", "the index 'i' is not part"),
        ("DROP INDEX events_key", "the index 'events_key' is missing"),
        ("ALTER TABLE events ADD COLUMN note TEXT", "the table 'events' has another definition"),
    ],
)
def test_foreign_schema_is_a_fault(sqlite: SqliteHarness, folder: Path, statement: str, fault: str) -> None:
    fill(sqlite, folder)
    assert verify(folder).faults == ()
    change(folder, statement)
    assert any(each.startswith(fault) for each in verify(folder).faults)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("timestamp = 'yesterday'", "not a valid event"),
        ("timestamp = '2026-01-01T00:00:00.50Z'", "canonical form"),
        ("timestamp = 5", "it is not a valid event"),
        ("trace_id = ''", "not a valid event"),
        ("event_id = 'short'", "not a valid event"),
        ("key = char(10)", "not a valid event"),
        ("lease_s = 'long'", "its lease, time or data"),
        ("producer_id = x'00'", "is not text"),
    ],
)
def test_event_that_could_not_be_published_is_a_fault(
    sqlite: SqliteHarness, folder: Path, damage: str, fault: str
) -> None:
    fill(sqlite, folder)
    change(folder, f"UPDATE events SET {damage} WHERE offset = 10")
    assert any(each.startswith("event 10: ") and fault in each for each in verify(folder).faults)


def test_log_that_a_hub_cannot_open_is_a_fault(
    sqlite: SqliteHarness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OverflowError("int too big to convert")

    fill(sqlite, folder)
    monkeypatch.setattr("tidings.log.sqlite.saved_operations.SavedOperations.restore", fail)
    assert any(fault.startswith("a hub cannot open it: OverflowError") for fault in verify(folder).faults)
