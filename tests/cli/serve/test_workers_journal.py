"""Workers whose journal is locked, lost or replaced while they use it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S
from tests.cli.serve.test_workers_readiness import read_close
from tests.cli.serve.worker_processes import EVENT, WorkersHub, history, is_running, wait_until
from websockets.sync.client import connect
from websockets.typing import Subprotocol


def test_journal_that_is_locked_refuses_events_and_is_not_ready(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub, ExitStack() as stack:
        clients = list(hub.connect_to_each(stack).values())
        with closing(sqlite3.connect(folder / "journal.db", timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # no one can append
            answer = clients[0].post(f"{hub.http}v1/events", json=EVENT, timeout=TIMEOUT_S)
            assert answer.status_code == 503, answer.text
            wait_until(lambda: {client.get(f"{hub.http}readyz").status_code for client in clients} == {503})
            connection.execute("ROLLBACK")
        wait_until(lambda: {client.get(f"{hub.http}readyz").status_code for client in clients} == {200})
        assert clients[1].post(f"{hub.http}v1/events", json=EVENT, timeout=TIMEOUT_S).status_code == 200
        assert hub.stop()[0] == 0


def delete_journal(folder: Path) -> None:
    for file in folder.glob("journal.db*"):
        file.unlink()


def put_journal(folder: Path, file: Path) -> None:
    """Replace the journal by a copy of another file, as `mv` does."""
    delete_journal(folder)
    shutil.copyfile(file, folder / "new").rename(folder / "journal.db")


def empty_journal(folder: Path) -> None:
    """Empty the file that the workers have open."""
    with (folder / "journal.db").open("r+b") as file:
        file.truncate()


def damage_journal(folder: Path) -> None:
    """Overwrite the file that the workers have open, from its first page on."""
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    with (folder / "journal.db").open("r+b") as file:
        file.write(b"\xa5" * (folder / "journal.db").stat().st_size)


def answers_with_all(hub: WorkersHub, positions: list[str], before: set[int]) -> bool:
    """Return whether all workers are new ones, ready, and have all events."""
    workers = {worker.pid for worker in hub.workers()}
    if len(workers) != 2 or workers & before:
        return False
    with suppress(httpx.TransportError), ExitStack() as stack:
        clients = hub.connect_to_each(stack).values()
        return all(
            client.get(f"{hub.http}readyz").status_code == 200 and history(hub, client) == positions
            for client in clients
        )
    return False


def test_journal_that_is_lost_in_any_way_begins_again_with_all_events(tmp_path: Path) -> None:
    folder, older, longer, foreign = tmp_path / "data", tmp_path / "older", tmp_path / "longer", tmp_path / "foreign"
    foreign.write_bytes(b"not a database" * 1_000)
    with WorkersHub(tmp_path / "other", 2) as hub:
        for _ in range(20):
            assert httpx.post(f"{hub.http}v1/events", json=EVENT).status_code == 200
        assert hub.stop()[0] == 0
    shutil.copyfile(tmp_path / "other" / "journal.db", longer)
    harms: list[Callable[[Path], object]] = [
        delete_journal,
        partial(put_journal, file=older),
        partial(put_journal, file=longer),
        partial(put_journal, file=foreign),
        empty_journal,
        damage_journal,
    ]
    positions: list[str] = []
    codes: set[int] = set()
    with WorkersHub(folder, 2) as hub:
        for number, harm in enumerate(harms):
            before = {worker.pid for worker in hub.workers()}
            positions.append(httpx.post(f"{hub.http}v1/events", json=EVENT, timeout=TIMEOUT_S).json()["position"])
            if number == 0:
                with closing(sqlite3.connect(folder / "journal.db")) as source, closing(sqlite3.connect(older)) as copy:
                    source.backup(copy)
            with connect(hub.url, subprotocols=[Subprotocol("tidings.v1")]) as client:
                harm(folder)
                closed = read_close(client)
            assert closed["reconnect"] is True
            codes.add(closed["code"])
            wait_until(partial(answers_with_all, hub, positions, before))
        epochs = [position.partition(":")[0] for position in positions]
        assert len(set(epochs)) == len(harms), "each journal begins an epoch"
        for epoch, after in ((epochs[0], 1_000), (epochs[0], 10), (epochs[-1], 0)):
            page = httpx.get(f"{hub.http}v1/events?channel=data&since={epoch}:{after}", timeout=TIMEOUT_S).json()
            assert ("gap" in page) == bool(after), page
        page = httpx.get(f"{hub.http}v1/events?channel=data&since={positions[0]}", timeout=TIMEOUT_S).json()
        assert [event["position"] for event in page["events"]] == positions[1:]
        code, _, stderr = hub.stop()
    assert code == 0
    assert not any(map(is_running, before))
    assert stderr.count("the journal was lost") == len(harms), stderr
    assert "this process cannot use the log" in stderr
    assert 4100 in codes
    assert "Traceback" not in stderr


def test_folder_that_cannot_be_prepared_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        positions = [httpx.post(f"{hub.http}v1/events", json=EVENT, timeout=TIMEOUT_S).json()["position"]]
        before = {worker.pid for worker in hub.workers()}
        obstacle = folder / "journal.new"
        obstacle.mkdir()  # a new journal would begin under this name
        delete_journal(folder)
        assert hub.process.stderr is not None
        while b"the folder cannot be prepared now" not in (line := hub.process.stderr.readline()):
            assert line
        obstacle.rmdir()
        wait_until(partial(answers_with_all, hub, positions, before))
        code, _, stderr = hub.stop()
    assert code == 0
    assert "Traceback" not in stderr


def remove(folder: Path) -> None:
    """Delete a folder in which others still create files."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("harm", [remove, lambda folder: folder.rename(folder.with_name("moved"))])
def test_folder_that_is_gone_ends_the_hub(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        before = {worker.pid for worker in hub.workers()}
        harm(folder)
        code, _, stderr = hub.wait()
    assert code == 1
    assert not any(map(is_running, before))
    assert f"error: the data folder {folder} was deleted, moved away or replaced" in " ".join(stderr.split())
    assert not folder.exists()
