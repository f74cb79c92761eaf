import os
from pathlib import Path

import pytest

from tidings.private_folder import has_foreign_home, make_private_folder

ROOT_ONLY = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def modes(folder: Path, *names: str) -> list[int]:
    return [(folder / name).stat().st_mode & 0o777 for name in names]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_created_folders_are_writable_by_this_user_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private_folder(tmp_path / "a" / "b" / "own")
        make_private_folder(tmp_path / "a" / "second")
    finally:
        os.umask(before)
    parents = 0o755 & ~umask
    assert modes(tmp_path, "a", "a/b", "a/b/own", "a/second") == [parents, parents, 0o700, 0o700]


def test_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_private_folder(tmp_path)
    assert modes(tmp_path, ".") == [0o750]


def test_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file" / "below" / "own")


def test_deleted_working_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for folder in ("own", "a/own"):
        with pytest.raises(FileNotFoundError):
            make_private_folder(Path(folder))


@ROOT_ONLY
def test_home_of_another_user_is_foreign_to_root(tmp_path: Path) -> None:
    assert not has_foreign_home(tmp_path / "state" / "tidings")
    os.chown(tmp_path, 12_345, 12_345)
    assert has_foreign_home(tmp_path / "state" / "tidings")
    assert has_foreign_home(tmp_path)
