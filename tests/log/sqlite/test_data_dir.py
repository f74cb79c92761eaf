import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import LogInUse
from tidings.log.sqlite.data_dir import DataDir, locking_pid

HOLD = """
import sys
from pathlib import Path
from tidings.log.sqlite.data_dir import DataDir
folder = DataDir(Path(sys.argv[1]), ballast_bytes=0)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_hub_on_the_same_folder_is_told_whose_it_is(sqlite: SqliteHarness, tmp_path: Path) -> None:
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


def test_the_folder_is_let_go_of_when_it_is_closed(tmp_path: Path) -> None:
    for _ in range(2):
        folder = DataDir(tmp_path / "data", ballast_bytes=0)
        with pytest.raises(LogInUse):
            DataDir(tmp_path / "data", ballast_bytes=0)
        folder.close()


def test_nobody_uses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert locking_pid(tmp_path / "data") is None


def test_ballast_takes_room_and_gives_it_back(tmp_path: Path) -> None:
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


def test_without_ballast_none_is_taken(tmp_path: Path) -> None:
    folder = DataDir(tmp_path, ballast_bytes=0)
    folder.create_ballast()
    assert not folder.has_ballast()
    folder.close()


def test_ballast_is_written_where_room_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    folder = DataDir(tmp_path, ballast_bytes=100_000)
    folder.create_ballast()
    assert (tmp_path / "ballast").stat().st_size >= 100_000
    folder.close()
