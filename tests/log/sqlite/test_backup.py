"""A copy made during writes, and a log restored from a copy."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.log.mounts import needs_mount, read_only, small_disk
from tests.log.sqlite.test_inspect import KEPT, make, write
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogFull, LogInUse, LogReadOnly
from tidings.log.sqlite.backup import backup, restore
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import verify
from tidings.protocol.positions import Position, parse_position


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


class TestBackup:
    def test_copy_equals_the_log_at_that_moment(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        log = sqlite.open_at(folder, KEPT)
        write(sqlite, log)
        history = sqlite.history(log)
        made = backup(folder, tmp_path / "copy.db")
        assert sqlite.append(log, make("data:update")) == 241
        assert made.path == tmp_path / "copy.db"
        assert made.events == len(history)
        assert made.position == f"{log.epoch}:240"
        assert made.bytes == made.path.stat().st_size
        assert made.path.stat().st_mode & 0o777 == 0o600
        assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "data"]
        restore(made.path, tmp_path / "restored")
        assert sqlite.history(sqlite.open_at(tmp_path / "restored", KEPT)) == history

    def test_appends_continue_during_a_backup(
        self, sqlite: SqliteHarness, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The copy holds the write-ahead log for as long as it takes; checkpoints give way to it, appends need not."""
        monkeypatch.setattr("tidings.log.sqlite.checkpointer.CHECK_INTERVAL_S", 0.01)
        monkeypatch.setattr("tidings.log.sqlite.checkpointer.MAX_WAL_BYTES", 1 << 20)
        log = sqlite.open_at(folder)
        for _ in range(20):
            sqlite.append(log, *(make("data:update", data=b"1" * 2_000) for _ in range(500)))
        made: list[int] = []
        copying = threading.Thread(target=lambda: made.append(backup(folder, tmp_path / "copy").events))
        copying.start()
        while copying.is_alive():
            sqlite.append(log, *(make("data:update", data=b"1" * 2_000) for _ in range(20)))
        copying.join()
        assert 10_000 <= made[0] <= log.head
        assert log.head > 10_000, "nothing was published during the backup"
        assert verify(tmp_path / "copy").faults == ()
        assert [record.offset for record in sqlite.history(log)] == list(range(1, log.head + 1))

    def test_copy_of_a_killed_log_has_all_acknowledged_events(
        self, sqlite: SqliteHarness, folder: Path, tmp_path: Path
    ) -> None:
        log = sqlite.open_at(folder, KEPT)
        write(sqlite, log)
        left = tmp_path / "left"
        left.mkdir()
        for name in (FILE, f"{FILE}-wal"):
            shutil.copyfile(folder / name, left / name)
        assert backup(left, tmp_path / "copy").events == len(sqlite.history(log))

    def test_backup_overwrites_no_file(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        sqlite.open_at(folder)
        target = tmp_path / "copy"
        target.write_bytes(b"mine")
        with pytest.raises(LogError, match="exists") as caught:
            backup(folder, target)
        assert caught.value.hint
        assert target.read_bytes() == b"mine"

    def test_backup_into_a_missing_folder_fails(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        sqlite.open_at(folder)
        with pytest.raises(LogError, match="no folder"):
            backup(folder, tmp_path / "no" / "copy")
        with pytest.raises(LogForeign):
            backup(tmp_path / "no", tmp_path / "copy")

    def test_backup_into_a_read_only_folder_fails(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        sqlite.open_at(folder)
        (tmp_path / "elsewhere").mkdir()
        with read_only(tmp_path / "elsewhere"), pytest.raises(LogReadOnly) as caught:
            backup(folder, tmp_path / "elsewhere" / "copy")
        assert str(tmp_path / "elsewhere" / "copy") in str(caught.value)
        assert "data folder" not in caught.value.hint

    def test_backup_to_a_name_that_is_too_long_fails(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        sqlite.open_at(folder)
        with pytest.raises(LogError, match="too long"):
            backup(folder, tmp_path / ("x" * 300))
        with pytest.raises(LogError, match="too long"):  # with the end that it has until it is complete
            backup(folder, tmp_path / ("x" * 250))

    @needs_mount
    def test_backup_on_a_full_disk_fails_and_leaves_no_file(
        self, sqlite: SqliteHarness, folder: Path, tmp_path: Path
    ) -> None:
        log = sqlite.open_at(folder)
        for _ in range(30):
            sqlite.append(log, *(make("data:update", data=b"1" * 3_000) for _ in range(50)))
        with small_disk(tmp_path / "disk", 1 << 20) as disk:
            with pytest.raises(LogFull) as caught:
                backup(folder, disk / "copy")
            assert "another disk" in caught.value.hint
            assert list(disk.iterdir()) == []

    def test_copy_used_directly_begins_a_new_epoch(self, sqlite: SqliteHarness, folder: Path, tmp_path: Path) -> None:
        log = sqlite.open_at(folder)
        sqlite.append(log, make("data:update"))
        (tmp_path / "by-hand").mkdir()
        backup(folder, tmp_path / "by-hand" / FILE)
        again = sqlite.open_at(tmp_path / "by-hand")
        assert again.epoch != log.epoch
        assert again.resolve(Position(log.epoch, 1)) == 1


class TestRestore:
    @pytest.fixture
    def copy(self, sqlite: SqliteHarness, tmp_path: Path) -> Path:
        log = sqlite.open_at(tmp_path / "original", KEPT)
        write(sqlite, log)
        backup(tmp_path / "original", tmp_path / "copy")
        return tmp_path / "copy"

    def test_restored_log_begins_an_epoch_and_resumes_old_positions(
        self, sqlite: SqliteHarness, folder: Path, copy: Path
    ) -> None:
        content = copy.read_bytes()
        restored = restore(copy, folder)
        log = sqlite.open_at(folder, KEPT)
        old = parse_position(restored.position).epoch
        assert restored.folder == folder
        assert log.epoch != old
        assert restored.position == f"{old}:240"
        assert log.head == 240
        assert log.resolve(Position(old, 240)) == 240
        assert log.resolve(Position(old, 241)) is None, "the original gave it to an event that is not in the copy"
        assert sqlite.append(log, make("data:update")) == 241
        assert log.position(241) == Position(log.epoch, 241)
        assert verify(folder).faults == ()
        assert copy.read_bytes() == content
        assert (folder / FILE).stat().st_mode & 0o777 == 0o600

    def test_two_restores_of_one_copy_share_no_epoch(self, sqlite: SqliteHarness, copy: Path, tmp_path: Path) -> None:
        epochs = {sqlite.open_at(restore(copy, tmp_path / name).folder).epoch for name in ("one", "two")}
        assert len(epochs) == 2

    def test_restore_into_a_folder_with_files_fails(self, copy: Path, folder: Path) -> None:
        restore(copy, folder)
        content = (folder / FILE).read_bytes()
        with pytest.raises(LogError, match="not empty") as caught:
            restore(copy, folder)
        assert caught.value.hint
        assert (folder / FILE).read_bytes() == content

    def test_restore_into_a_folder_in_use_fails(self, sqlite: SqliteHarness, copy: Path, folder: Path) -> None:
        sqlite.open_at(folder)
        with pytest.raises(LogInUse):
            restore(copy, folder)

    def test_restore_from_another_file_fails(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no copy at all")
        with pytest.raises(LogForeign):
            restore(tmp_path / "text", folder)
        assert not folder.exists()

    def test_restore_from_a_damaged_copy_fails(self, copy: Path, folder: Path) -> None:
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("UPDATE events SET data = x'7b'")
        with pytest.raises(LogCorrupt, match="not JSON") as caught:
            restore(copy, folder)
        assert caught.value.hint
        assert not folder.exists()

    @needs_mount
    def test_restore_on_a_full_disk_leaves_no_file(self, copy: Path, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", 1 << 16) as disk:
            with pytest.raises(LogFull):
                restore(copy, disk / "data")
            assert [file.name for file in (disk / "data").iterdir()] == ["lock"]
