import os
import threading
import time
from pathlib import Path

import pytest
from tests.producer.drafts import draft
from tests.test_private_folder import ROOT_ONLY

from tidings.producer.spool.directory import (
    SpoolOptions,
    choose_folder,
    delete_expired_files,
    list_closed,
    list_folders,
    list_spool_files,
)
from tidings.producer.spool.file import SpooledEvent, SpoolFile, SpoolHeader

URL = "ws://hub/ws"


def left(folder: Path, producer_id: str, *, url: str = URL, events: int = 1, age_s: float = 0.0) -> Path:
    """Make the file of a dead producer."""
    file = SpoolFile.create(folder, SpoolHeader(url=url, producer_id=producer_id, pid=1))
    for number in range(events):
        file.keep(SpooledEvent(draft=draft(number)))
    file.close()
    then = time.time() - age_s
    os.utime(file.path, (then, then))
    return file.path


class TestPlaces:
    def test_folders_are_the_variable_then_the_state_folder(self) -> None:
        variables = {"TIDINGS_SPOOL": "/a", "XDG_STATE_HOME": "/b"}
        assert list_folders(SpoolOptions(), variables)[0] == Path("/a")
        assert list_folders(SpoolOptions(), {"XDG_STATE_HOME": "/b"})[0] == Path("/b/tidings/spool")
        assert list_folders(SpoolOptions(), {})[0] == Path("~/.local/state/tidings/spool").expanduser()
        assert list_folders(SpoolOptions(folder=Path("/c")), variables) == [Path("/c")]

    def test_first_writable_folder_is_chosen(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("no folder")
        good = tmp_path / "deep" / "good"
        assert choose_folder([blocked / "spool", good]) == good
        assert good.stat().st_mode & 0o777 == 0o700

    def test_no_writable_folder_raises_the_first_error(self, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("no folder")
        with pytest.raises(NotADirectoryError):
            choose_folder([blocked / "a", blocked])

    @ROOT_ONLY
    def test_root_makes_no_folder_in_the_home_of_another_user(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, own = tmp_path / "home", tmp_path / "own"
        home.mkdir()
        os.chown(home, 12_345, 12_345)
        below = home / "state" / "tidings" / "spool"
        assert choose_folder([below, own]) == own
        assert list(home.iterdir()) == []
        monkeypatch.setenv("TIDINGS_SPOOL", str(below))
        assert choose_folder([below, own]) == below


class TestFinding:
    @ROOT_ONLY
    def test_events_of_another_user_are_listed_as_closed(self, tmp_path: Path) -> None:
        own, foreign, empty = (tmp_path / name for name in ("own", "foreign", "empty"))
        for folder in (own, foreign, empty):
            folder.mkdir()
        left(own, "p-1")
        left(foreign, "p-2")
        for path in (foreign, empty):
            os.chown(path, 12_345, 12_345)
        assert [(one.path, one.owner, one.has_events) for one in list_closed(URL, [own, foreign, empty])] == [
            (foreign, "#12345", True)
        ]
        assert [path.parent for path in list_spool_files(URL, [own, foreign, empty])] == [own]

    def test_files_are_listed_for_one_hub_the_oldest_first(self, tmp_path: Path) -> None:
        newer, older = left(tmp_path, "p-1"), left(tmp_path, "p-2", age_s=60)
        left(tmp_path, "p-3", url="ws://other/ws")
        (tmp_path / "notes.txt").write_text("mine")
        assert list_spool_files(URL, [tmp_path / "nowhere", tmp_path]) == [older, newer]

    def test_files_that_vanish_while_they_are_listed_hide_no_others(self, tmp_path: Path) -> None:
        kept = left(tmp_path, "kept")

        def churn() -> None:
            for number in range(2_000):
                path = kept.with_name(f"{number}{kept.suffix}")
                path.touch(0o600)
                path.unlink()

        thread = threading.Thread(target=churn)
        thread.start()
        listings = [list_spool_files(URL, [tmp_path])]
        while thread.is_alive():
            listings.append(list_spool_files(URL, [tmp_path]))
        assert all(kept in paths for paths in listings)


class TestSweeping:
    def test_expired_file_is_deleted(self, tmp_path: Path) -> None:
        old, new = left(tmp_path, "p-1", age_s=1000), left(tmp_path, "p-2")
        assert delete_expired_files(SpoolOptions(age_s=500), [tmp_path]) == 1
        assert (old.exists(), new.exists()) == (False, True)

    def test_files_beyond_the_limits_are_deleted_the_oldest_first(self, tmp_path: Path) -> None:
        paths = [left(tmp_path, f"p-{age}", age_s=age) for age in range(0, 50, 10)]
        size = sum(path.stat().st_size for path in paths)
        assert delete_expired_files(SpoolOptions(bytes_of_all=size * 3 // 5 + 10), [tmp_path]) == 2
        assert [path.exists() for path in paths] == [True, True, True, False, False]
        assert delete_expired_files(SpoolOptions(files_of_all=1), [tmp_path]) == 2
        assert [path.exists() for path in paths] == [True, False, False, False, False]

    def test_file_in_use_is_never_deleted(self, tmp_path: Path) -> None:
        file = SpoolFile.create(tmp_path, SpoolHeader(url=URL, producer_id="p-1", pid=1))
        file.keep(SpooledEvent(draft=draft(1)))
        os.utime(file.path, (0, 0))
        assert delete_expired_files(SpoolOptions(), [tmp_path]) == 0
        assert file.path.exists()
        file.close()

    def test_empty_expired_file_is_deleted_and_not_counted(self, tmp_path: Path) -> None:
        path = left(tmp_path, "p-1")
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
        os.utime(path, (0, 0))
        assert delete_expired_files(SpoolOptions(), [tmp_path]) == 0
        assert not path.exists()

    def test_unfinished_file_is_deleted_after_an_hour(self, tmp_path: Path) -> None:
        fresh, stale = tmp_path / "a.new", tmp_path / "b.new"
        fresh.write_bytes(b"")
        stale.write_bytes(b"")
        os.utime(stale, (0, 0))
        delete_expired_files(SpoolOptions(), [tmp_path])
        assert (fresh.exists(), stale.exists()) == (True, False)
        foreign = tmp_path / "notes.txt"
        foreign.write_text("mine")
        os.utime(foreign, (0, 0))
        delete_expired_files(SpoolOptions(), [tmp_path])
        assert foreign.exists()


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a path belong to another user, as far as this process can see."""
    if os.getuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12_345)


def test_folder_of_another_user_is_not_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path, "p-1")
    assert len(list_spool_files(URL, [tmp_path])) == 1
    give_away(tmp_path, monkeypatch)
    assert list_spool_files(URL, [tmp_path]) == []


def test_file_of_another_user_is_not_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(left(tmp_path, "p-1"), monkeypatch)
    assert list_spool_files(URL, [tmp_path]) == []
