import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogInUse, LogReadOnly
from tidings.log.sqlite.data_dir import DataDir, locking_pid

HOLD = """
import sys
from pathlib import Path
from tidings.log.sqlite.data_dir import DataDir
folder = DataDir(Path(sys.argv[1]), ballast_bytes=0)
print("held", flush=True)
sys.stdin.read()
"""


def test_second_hub_on_a_folder_reports_the_first(sqlite: SqliteHarness, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LogInUse) as caught:
            sqlite.open_at(folder)
        assert str(other.pid) in str(caught.value)
        assert str(folder) in str(caught.value)
        assert "tidings serve" in caught.value.hint
        assert not (folder / "log.db").exists()
        assert locking_pid(folder) == other.pid
        other.stdin.close()
    assert locking_pid(folder) is None
    assert sqlite.open_at(folder).head == 0
    assert locking_pid(folder) == os.getpid()


def test_closed_folder_is_unlocked(tmp_path: Path) -> None:
    for _ in range(2):
        folder = DataDir(tmp_path / "data", ballast_bytes=0)
        with pytest.raises(LogInUse):
            DataDir(tmp_path / "data", ballast_bytes=0)
        folder.close()


def test_missing_folder_has_no_locking_process(tmp_path: Path) -> None:
    assert locking_pid(tmp_path / "data") is None


def test_ballast_reserves_and_frees_space(tmp_path: Path) -> None:
    folder = DataDir(tmp_path, ballast_bytes=1 << 20)
    assert not folder.has_ballast()
    assert not folder.drop_ballast()
    folder.create_ballast()
    assert folder.has_ballast()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20
    folder.create_ballast()
    assert folder.disk_bytes() == 0
    assert folder.drop_ballast()
    assert not folder.has_ballast()
    folder.close()


def test_ballast_of_zero_bytes_is_not_created(tmp_path: Path) -> None:
    folder = DataDir(tmp_path, ballast_bytes=0)
    folder.create_ballast()
    assert not folder.has_ballast()
    folder.close()


def test_ballast_is_written_without_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    folder = DataDir(tmp_path, ballast_bytes=100_000)
    folder.create_ballast()
    assert (tmp_path / "ballast").stat().st_size >= 100_000
    folder.close()


def test_linked_lock_file_is_rejected_and_its_target_kept(tmp_path: Path) -> None:
    target, folder = tmp_path / "precious", tmp_path / "data"
    target.write_text("kept")
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    with pytest.raises(LogReadOnly, match="not a symbolic link") as caught:
        DataDir(folder, ballast_bytes=0)
    assert caught.value.hint
    assert target.read_text() == "kept"
