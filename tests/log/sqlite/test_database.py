"""Files that are not a usable log: opening them fails with an explanation and leaves them unchanged."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from tests.log.mounts import read_only
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogReadOnly, LogTooNew
from tidings.log.base import OperationSearch, Retention
from tidings.log.revocations import Revocation
from tidings.log.sqlite.database import APPLICATION_ID, FILE, OLD_IDS_INDEX, SCHEMA_VERSION
from tidings.log.sqlite.inspect import info, verify
from tidings.protocol.codes import error_data
from tidings.testing.log_conformance.harness import EventFactory
from tidings.testing.log_conformance.judging import show


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def fill(sqlite: SqliteHarness, folder: Path, events: int = 300) -> None:
    """Create a log of several pages in `folder`."""
    make = EventFactory()
    log = sqlite.open_at(folder)
    sqlite.append(log, *(make("data:update", f"key-{number}", data=b"1" * 400) for number in range(events)))
    sqlite.close_one(log)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of `folder` except the lock, which holds no data."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "lock"}


def check_refused(sqlite: SqliteHarness, folder: Path, error: type[LogError]) -> LogError:
    """Check that opening fails with `error` and a hint, changes nothing, and unlocks the folder."""
    before = contents(folder)
    for _ in range(2):  # the lock is released: the second attempt fails in the same way
        with pytest.raises(error) as caught:
            sqlite.open_at(folder)
        assert type(caught.value) is error
        assert str(folder) in str(caught.value)
        assert error_data(caught.value).hint
        after = contents(folder)
        assert {name: after[name] for name in before} == before
        assert set(after) - set(before) <= {f"{FILE}-wal", f"{FILE}-shm"}
    return caught.value


def foreign_database(path: Path, *pragmas: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO events VALUES (1)")


@pytest.mark.parametrize("content", [b"not a database at all, and longer than a header\n" * 100, b"x"])
def test_file_that_is_not_a_database_is_foreign(sqlite: SqliteHarness, folder: Path, content: bytes) -> None:
    (folder / FILE).write_bytes(content)
    check_refused(sqlite, folder, LogForeign)
    for look in (info, verify):
        with pytest.raises(LogForeign):
            look(folder)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_database_of_another_program_is_foreign(sqlite: SqliteHarness, folder: Path, mode: str) -> None:
    foreign_database(folder / FILE, f"journal_mode = {mode}")
    check_refused(sqlite, folder, LogForeign)
    with pytest.raises(LogForeign):
        info(folder)


def test_write_ahead_log_of_another_program_is_untouched(sqlite: SqliteHarness, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "its.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE it (id INTEGER PRIMARY KEY)")
        for name in ("", "-wal"):  # like after a crash of that program
            (folder / f"{FILE}{name}").write_bytes((folder / f"its.db{name}").read_bytes())
    (folder / "its.db").unlink()
    assert (folder / f"{FILE}-wal").stat().st_size
    check_refused(sqlite, folder, LogForeign)


def test_newer_schema_is_refused(sqlite: SqliteHarness, folder: Path) -> None:
    foreign_database(folder / FILE, f"application_id = {APPLICATION_ID}", f"user_version = {SCHEMA_VERSION + 1}")
    error = check_refused(sqlite, folder, LogTooNew)
    assert str(SCHEMA_VERSION + 1) in str(error)
    with pytest.raises(LogTooNew):
        verify(folder)


def test_log_of_version_2_is_checked_as_it_is_and_migrated_on_opening(sqlite: SqliteHarness, folder: Path) -> None:
    log = sqlite.open_at(folder)
    sqlite.append(log, EventFactory()("data:update", "a"))
    sqlite.close_one(log)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute("DROP TABLE revocations")
        drop_ids(connection)
        connection.execute("PRAGMA user_version = 2")
    assert verify(folder).faults == ()
    log = sqlite.open_at(folder)
    log.revoke(Revocation(kind="subject", name="ada", issued_before_ns=1), lambda row: None)
    assert (log.head, len(log.revocations)) == (1, 1)
    sqlite.close_one(log)
    assert verify(folder).faults == ()
    assert info(folder).schema == SCHEMA_VERSION


def drop_ids(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE ids")
    connection.execute(OLD_IDS_INDEX)


def test_event_ids_of_a_log_of_version_3_are_known_after_its_migration(sqlite: SqliteHarness, folder: Path) -> None:
    log, make = sqlite.open_at(folder), EventFactory()
    update = make("data:update", "a", event_id="0123456789abcdef", scope="me")
    first = make("operation:start", "op", event_id="0123456789abcde1", data=b'{"operation_id":"op"}')
    second = make("operation:start", "op", event_id="0123456789abcde2", data=b'{"operation_id":"op"}')
    failed = structs.replace(
        make("operation:failed", trace_id="t", event_id="0123456789abcde3", data=b'{"code":"boom"}'),
        search=OperationSearch(),
    )
    third = make("operation:start", "op", trace_id="t", event_id="0123456789abcde4", data=b'{"operation_id":"op"}')
    batch = [update, first, make("operation:complete", "op"), second, make("operation:complete", "op"), third, failed]
    sqlite.append(log, *batch, make("data:update", "a"))
    sqlite.close_one(log)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        drop_ids(connection)
        connection.execute("PRAGMA user_version = 3")
        assert verify(folder).faults == ()
        connection.execute("UPDATE events SET data = CAST(data AS TEXT) WHERE offset = 2")
    log = sqlite.open_at(folder)
    outcomes = sqlite.outcomes(log, update, second, failed, first, structs.replace(update, scope="you"))
    assert show(outcomes) == ["=1", "=4", "=7", "event_id_reused", "9"]
    stored = structs.replace(second, event=sqlite.history(log)[2].event)
    assert stored.event.data == b'{"operation_id":"op","attempt":2}'
    assert show(sqlite.outcomes(log, stored)) == ["=4"]
    sqlite.close_one(log)
    assert info(folder).schema == SCHEMA_VERSION


def test_event_id_that_is_not_remembered_is_a_fault(sqlite: SqliteHarness, folder: Path) -> None:
    log, make = sqlite.open_at(folder), EventFactory()
    sqlite.append(log, *(make("data:update", event_id=f"0123456789abcde{number}") for number in range(4)))
    log.forget(make.now_ns, 1)
    sqlite.close_one(log)
    assert verify(folder).faults == ()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute("DELETE FROM ids WHERE offset = 2")
        connection.execute("UPDATE ids SET digests = x'00' WHERE offset = 3")
    faults = verify(folder).faults
    assert len(faults) == 2
    assert "event 2" in faults[1]
    assert "event 3" in faults[0]


def overwrite_pages(content: bytes) -> bytes:
    return content[:4096] + b"\xa5" * (len(content) - 8192) + content[-4096:]


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def keep_the_header_alone(content: bytes) -> bytes:
    return content[:100]


@pytest.mark.parametrize("damage", [overwrite_pages, cut_off, keep_the_header_alone])
def test_damaged_log_is_corrupt(sqlite: SqliteHarness, folder: Path, damage: Callable[[bytes], bytes]) -> None:
    fill(sqlite, folder)
    (folder / FILE).write_bytes(damage((folder / FILE).read_bytes()))
    check_refused(sqlite, folder, LogCorrupt)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE floors",
        "DELETE FROM meta WHERE name = 'head'",
        "UPDATE meta SET value = 'many' WHERE name = 'durable_floor'",
        "UPDATE meta SET value = 10000 WHERE name = 'folded_to'",
    ],
)
def test_log_with_wrong_contents_is_corrupt(sqlite: SqliteHarness, folder: Path, statement: str) -> None:
    fill(sqlite, folder)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute(statement)
    check_refused(sqlite, folder, LogCorrupt)


def test_write_ahead_log_without_its_database_is_corrupt(sqlite: SqliteHarness, folder: Path) -> None:
    (folder / f"{FILE}-wal").write_bytes(b"the rest of a log")
    check_refused(sqlite, folder, LogCorrupt)


def test_empty_file_becomes_a_log(sqlite: SqliteHarness, folder: Path) -> None:
    (folder / FILE).touch()
    (folder / f"{FILE}.new").write_bytes(b"an interrupted creation")
    assert sqlite.open_at(folder).head == 0
    assert not (folder / f"{FILE}.new").exists()


def test_read_only_folder_fails(sqlite: SqliteHarness, folder: Path) -> None:
    fill(sqlite, folder)
    with read_only(folder):
        check_refused(sqlite, folder, LogReadOnly)
        with pytest.raises(LogReadOnly):
            sqlite.open_at(folder / "below")
        assert info(folder).events == 300
        assert verify(folder).faults == ()


def test_read_only_file_fails(sqlite: SqliteHarness, folder: Path) -> None:
    fill(sqlite, folder)
    with read_only(folder / FILE):
        check_refused(sqlite, folder, LogReadOnly)
    assert sqlite.open_at(folder).head == 300


def test_file_in_place_of_the_folder_fails(sqlite: SqliteHarness, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(LogReadOnly):
        sqlite.open_at(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_created_files_are_private_to_the_owner(sqlite: SqliteHarness, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    log = sqlite.open_at(folder, ballast_bytes=1 << 20)
    sqlite.append(log, EventFactory()("data:update"))
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == dict.fromkeys(("lock", "ballast", FILE, f"{FILE}-wal", f"{FILE}-shm"), 0o600)


def test_damage_at_run_time_is_reported_as_corrupt(
    sqlite: SqliteHarness, folder: Path, connections: list[sqlite3.Connection]
) -> None:
    """A damaged page is detected when it is read."""
    fill(sqlite, folder, 5_000)
    log = sqlite.open_at(folder, Retention(events=10))
    with (folder / FILE).open("r+b") as file:
        file.seek(200 * 4096)
        file.write(b"\xa5" * 300 * 4096)
    connections[-1].execute("PRAGMA shrink_memory")
    with pytest.raises(LogCorrupt):
        sqlite.history(log)
    with pytest.raises(LogCorrupt):
        sqlite.maintain(log, EventFactory().now_ns)
    assert verify(folder).faults
