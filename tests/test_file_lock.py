import os
from pathlib import Path

from tidings.file_lock import try_lock


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def test_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first, second = opened(path), opened(path)
    assert try_lock(first)
    assert not try_lock(second)
    assert try_lock(first), "it may ask again"
    os.close(first)
    assert try_lock(second)
    os.close(second)


def test_lock_survives_closing_another_open_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first, second, third = opened(path), opened(path), opened(path)
    assert try_lock(first)
    os.close(second)
    assert not try_lock(third)
    os.close(first)
    os.close(third)
