from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tidings.exceptions import ConfigError
from tidings.server.reloading import Reloaders


class Key:
    """A part with one file, whose content must be a number."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.reads = 0
        self.value = int(file.read_text())

    def reload(self) -> None:
        self.reads += 1
        try:
            self.value = int(self.file.read_text())
        except ValueError as cause:
            raise ConfigError(f"invalid key in {self.file}", hint="Write a number.") from cause


@pytest.fixture
def key(tmp_path: Path) -> Key:
    file = tmp_path / "key"
    file.write_text("1")
    return Key(file)


def test_changed_file_is_read_once_it_rests(key: Key) -> None:
    reloaders = Reloaders()
    reloaders.on_reload("key", key.reload, files=[key.file])
    reloaders.reload_changed()
    assert key.reads == 0
    key.file.write_text("22")
    reloaders.reload_changed()
    key.file.write_text("333")
    reloaders.reload_changed()
    assert key.reads == 0, "it still changes"
    for _ in range(3):
        reloaders.reload_changed()
    assert (key.reads, key.value) == (1, 333)


def test_replaced_file_is_read(key: Key, tmp_path: Path) -> None:
    reloaders = Reloaders()
    reloaders.on_reload("key", key.reload, files=[key.file])
    key.file.unlink()
    reloaders.reload_changed()
    (tmp_path / "other").write_text("2")
    key.file.symlink_to(tmp_path / "other")
    for _ in range(3):
        reloaders.reload_changed()
    assert (key.reads, key.value) == (1, 2)


def test_file_that_cannot_be_used_is_logged_and_the_old_value_stays(key: Key) -> None:
    reloaders = Reloaders()
    reloaders.on_reload("key", key.reload, files=[key.file])
    key.file.write_text("two")
    with capture_logs() as logs:
        for _ in range(4):
            reloaders.reload_changed()
    assert (key.reads, key.value) == (1, 1), "refused once, not every second"
    assert logs == [
        {
            "event": "reload refused: the old one stays in use",
            "log_level": "warning",
            "part": "key",
            "files": [str(key.file)],
            "error": f"invalid key in {key.file}",
            "hint": "Write a number.",
        }
    ]
    key.file.write_text("3")
    reloaders.reload_all()
    assert key.value == 3
    reloaders.reload_changed()
    reloaders.reload_changed()
    assert key.reads == 2, "SIGHUP has read this change"


def test_part_that_fails_does_not_keep_others_from_being_reloaded(key: Key) -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    reloaders = Reloaders()
    reloaders.on_reload("broken", fail)
    reloaders.on_reload("key", key.reload)
    with capture_logs() as logs:
        reloaders.reload_all()
    assert key.reads == 1
    assert [line["event"] for line in logs] == ["reload failed: the old one stays in use", "reloaded"]
