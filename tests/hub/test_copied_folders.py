"""Data folders that were copied, put back or cut, with real hubs: no position twice, and every gap is reported."""

import asyncio
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.processes import TIMEOUT_S
from tests.hub.hub_process import HubProcess

from tidings.client import Gap, Live, ReceivedEvent, connect


def events(name: str, number: int) -> list[bytes]:
    return [
        b'{"type":"data:update","data":{"dataset":"%b","version":%d}}' % (name.encode(), version)
        for version in range(number)
    ]


def resume(hub: HubProcess, since: str) -> tuple[str, list[str]]:
    """Resume through the client; return the outcome, and the positions of the events until the client is live."""

    async def read() -> tuple[str, list[str]]:
        positions: list[str] = []
        outcome = ""
        async with asyncio.timeout(TIMEOUT_S), connect(f"ws://127.0.0.1:{hub.port}/ws") as client:
            async for item in client.watch("data", since=since, notices=True):
                if isinstance(item, Gap):
                    outcome = f"gap {item.reason}"
                elif isinstance(item, Live):
                    return outcome or item.outcome, positions
                elif isinstance(item, ReceivedEvent):
                    positions.append(str(item.position))
        raise AssertionError("the client was never live")

    return asyncio.run(read())


def kill(hub: HubProcess) -> None:
    hub.process.send_signal(signal.SIGKILL)
    hub.process.wait(TIMEOUT_S)
    assert hub.process.stdout is not None
    hub.process.stdout.close()


def copy_files(source: Path, target: Path) -> None:
    """Copy a log's files as `cp` does, while a hub may be using them."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("log.db", "log.db-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(source / name, target / name)


def killed_hub(folder: Path, *batches: list[bytes]) -> list[str]:
    """Run a hub, publish, kill it, and return the positions."""
    hub = HubProcess(folder).__enter__()
    try:
        return [position for batch in batches for position in hub.publish(batch)]
    finally:
        kill(hub)


def test_copy_put_back_gives_no_position_twice(tmp_path: Path) -> None:
    with HubProcess(tmp_path) as hub:
        before = hub.publish(events("before", 3))
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    with HubProcess(tmp_path) as hub:
        assert resume(hub, before[-1])[0] == "complete"
        gone = hub.publish(events("gone", 3))
        assert resume(hub, before[0]) == ("complete", before[1:] + gone)
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "copy").rename(tmp_path / "log")
    with HubProcess(tmp_path) as hub:
        after = hub.publish(events("after", 5))
        assert not {*before, *gone} & {*after}
        for position in gone:
            assert resume(hub, position)[0] == "gap epoch"
        assert resume(hub, before[0]) == ("complete", before[1:] + after)


def test_folder_copied_while_a_hub_runs_gives_other_positions(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with HubProcess(tmp_path) as hub:
        before = hub.publish(events("before", 3))
        copy_files(tmp_path / "log", tmp_path / "other" / "log")
        here = hub.publish(events("here", 3))
        with HubProcess(tmp_path / "other") as copy:
            there = copy.publish(events("there", 5))
            assert not {*here} & {*there}
            assert resume(copy, before[-1]) == ("complete", there)
            assert resume(copy, here[0])[0] == "gap epoch"
            assert resume(hub, there[0])[0] == "gap epoch"
            assert resume(hub, before[-1]) == ("complete", here)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.0])
def test_cut_write_ahead_log_gives_no_position_twice(tmp_path: Path, kept: float) -> None:
    gone = killed_hub(tmp_path, *(events(name, 10) for name in "abcdefghij"))
    wal = tmp_path / "log" / "log.db-wal"
    with wal.open("r+b") as file:
        file.truncate(int(wal.stat().st_size * kept))
    again = killed_hub(tmp_path, events("again", 200))
    assert not {*gone} & {*again}
    with HubProcess(tmp_path) as hub:
        assert resume(hub, again[0]) == ("complete", again[1:])
        assert resume(hub, gone[-1])[0] == "gap epoch"


def test_restarts_and_kills_resume_without_a_gap(tmp_path: Path) -> None:
    positions = killed_hub(tmp_path, events("a", 50))
    for name in ("b", "c", "d"):
        with HubProcess(tmp_path) as hub:
            assert resume(hub, positions[-1]) == ("complete", [])
            positions += hub.publish(events(name, 10))
            assert resume(hub, positions[0]) == ("complete", positions[1:])
        positions += killed_hub(tmp_path, events(name, 10))
    with HubProcess(tmp_path) as hub:
        assert resume(hub, positions[0]) == ("complete", positions[1:])
        assert len({*positions}) == len(positions)
