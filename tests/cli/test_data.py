import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Hub, Process, tidings


def publish(hub: Hub, dataset: str) -> str:
    done = tidings("publish", "data:update", json.dumps({"dataset": dataset}), "--url", hub.url)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    with Hub("--data", str(folder), memory=False) as running:
        yield running


def test_a_log_in_use_is_shown_verified_and_copied(hub: Hub, folder: Path, tmp_path: Path) -> None:
    position = publish(hub, "a")
    shown = tidings("data", "info", "--data", str(folder))
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert str(folder / "log.db") in lines["file"]
    assert position.partition(":")[0] in lines["epoch"]
    assert f"in use by process {hub.process.pid}" in lines["state"]
    info = json.loads(tidings("data", "info", "--json", TIDINGS_DATA=str(folder)).stdout)
    assert info["durable_events"] == 1
    assert info["head"] >= int(position.partition(":")[2])  # behind it, the status that the hub publishes of itself
    checked = tidings("data", "verify", "--data", str(folder))
    assert checked.returncode == 0
    assert "all intact" in checked.stdout
    copy = tmp_path / "copy.db"
    copied = tidings("data", "backup", str(copy), "--data", str(folder))
    assert copied.returncode == 0, copied.stderr
    assert str(copy) in copied.stdout
    assert json.loads(tidings("data", "verify", str(copy), "--json").stdout)["faults"] == []


def test_a_restored_hub_continues_in_a_new_epoch(hub: Hub, folder: Path, tmp_path: Path) -> None:
    position = publish(hub, "kept")
    copy = tmp_path / "copy.db"
    assert tidings("data", "backup", str(copy), "--data", str(folder)).returncode == 0
    publish(hub, "lost")
    hub.stop()
    other = tmp_path / "other"
    restored = tidings("data", "restore", str(copy), "--data", str(other), "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["position"] == position
    with (
        Hub("--data", str(other), memory=False) as again,
        Process("watch", "data", "--json", "--since", "first", "--url", again.url) as watch,
    ):
        told = [json.loads(line) for line in watch.read_until("channel:live")[:-1]]
        assert [event["data"]["dataset"] for event in told] == ["kept"]
        assert told[0]["position"] == position
        assert publish(again, "new").partition(":")[0] != position.partition(":")[0]


def test_log_info_shows_whether_the_hub_was_killed(hub: Hub, folder: Path) -> None:
    hub.signal(signal.SIGKILL)
    hub.wait()
    assert "not closed: the hub" in tidings("data", "info", "--data", str(folder)).stdout
    with Hub("--data", str(folder), memory=False) as again:
        again.stop()
    assert tidings("data", "info", "--data", str(folder)).stdout.splitlines()[-1].split() == ["state", "closed"]


def test_faults_of_a_damaged_log_are_listed(hub: Hub, folder: Path) -> None:
    publish(hub, "a")
    hub.stop()
    with sqlite3.connect(folder / "log.db") as connection:
        connection.execute("UPDATE events SET data = 'no json' WHERE key = 'a'")
    connection.close()
    done = tidings("data", "verify", "--data", str(folder))
    assert (done.returncode, done.stdout) == (1, "")
    error, fault, *_, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "is damaged" in error
    assert fault.startswith("  ")
    assert hint == "hint: Use another copy: `tidings data restore FILE` restores it into an empty data folder."
    as_json = tidings("data", "verify", "--json", "--data", str(folder))
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["faults"]


@pytest.mark.parametrize("command", ["verify", "restore"])
def test_a_copy_that_is_not_a_log_has_a_hint_about_copies(command: str, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"no database" * 1000)
    done = tidings("data", command, str(tmp_path / "broken"), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[1] == "hint: Name a copy that `tidings data backup` made, or a data folder."


@pytest.mark.parametrize("command", [("info",), ("verify",), ("backup", "copy.db")])
def test_a_folder_without_a_log_is_an_error_with_a_hint(command: tuple[str, ...], tmp_path: Path) -> None:
    name, *arguments = command
    done = tidings("data", name, *(str(tmp_path / each) for each in arguments), "--data", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert not (tmp_path / "none").exists()


def test_nothing_is_overwritten(hub: Hub, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert tidings("data", "backup", str(copy), "--data", str(folder)).returncode == 0
    before = copy.read_bytes()
    again = tidings("data", "backup", str(copy), "--data", str(folder))
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert copy.read_bytes() == before
    in_use = tidings("data", "restore", str(copy), "--data", str(folder))
    assert in_use.returncode == 1
    assert "hint: " in in_use.stderr
    hub.stop()
    not_empty = tidings("data", "restore", str(copy), "--data", str(folder))
    assert not_empty.returncode == 1
    assert "not empty" in not_empty.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("data", "backup"), 2, "FILE"),
        (("data", "restore", "no-such-file"), 1, "no-such-file"),
        (("data", "nonsense"), 2, "nonsense"),
        (("data", "info", "--config", "no-such.toml"), 2, "no-such.toml"),
        (("data", "release", "node"), 2, "Pass --log"),
        (("data", "release", "node", "--log", "nowhere"), 2, "nats://host:4222/NAME"),
        (("data", "release", "node", "--log", "postgresql://127.0.0.1:1/x"), 1, "Check that the engine runs"),
    ],
)
def test_errors_have_their_exit_code_and_message(
    arguments: tuple[str, ...], code: int, error: str, tmp_path: Path
) -> None:
    done = tidings(*arguments, TIDINGS_DATA=str(tmp_path / "data"))
    assert done.returncode == code
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_log_commands_use_the_data_folder_of_serve(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(f'data = "{tmp_path / "from-file"}"')
    done = tidings("data", "info", TIDINGS_CONFIG=str(file))
    assert str(tmp_path / "from-file") in done.stderr
    memory = tidings("data", "info", TIDINGS_MEMORY="1")
    assert memory.returncode == 2
    assert "in memory" in memory.stderr
