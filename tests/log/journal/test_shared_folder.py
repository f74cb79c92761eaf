"""The folder of workers: made of an embedded one and back, and healed where a part of it is lost."""

import asyncio
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from msgspec import structs
from tests.log.journal.shared_hub import SharedHub, open_embedded, read_all, wait_until

from tidings.exceptions import LogCorrupt, LogForeign, LogFull, LogTooNew, LogUnavailable
from tidings.log.base import Retention
from tidings.log.journal.replaying import new_name, unshare
from tidings.log.journal.replica_building import build_replica, mark_for_rebuilding
from tidings.log.journal.replica_state import ReplicaState
from tidings.log.journal.shared_folder import (
    SET_ASIDE,
    JournalFile,
    find_log_folder,
    find_replicas,
    has_lost_journal,
    has_shared_log,
    is_shared,
    prepare,
    read_replica,
    replica_folder,
)
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.database import replace_file
from tidings.protocol.positions import parse_position
from tidings.testing.log_conformance.harness import EventFactory


def fill_embedded(folder: Path, *keys: str) -> list[str]:
    """Append events to an embedded log; return their positions."""
    make, positions = EventFactory(), []
    with closing(open_embedded(folder)) as log:
        for key in keys:
            log.append([make("data:update", key)], lambda outcomes: None)
            positions.append(str(log.position(log.head)))
    return positions


async def make_embedded_again(folder: Path) -> None:
    assert has_shared_log(folder)
    await asyncio.to_thread(unshare, folder, Retention(), OpeningProgress(), stamp=new_name())
    assert not has_shared_log(folder)


def set_aside(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / SET_ASIDE).glob("*/*"))


async def test_folder_goes_from_one_process_to_workers_and_back_with_all_positions(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    positions = fill_embedded(folder, "a", "b") + fill_embedded(folder, "c")
    async with SharedHub(folder, 2) as hub:
        first, second = hub.logs
        assert [first.resolve(parse_position(each)) for each in positions] == [1, 2, 3]
        positions += await hub.publish(first, "d") + await hub.publish(second, "e")
        await hub.settle()
        assert read_all(first) == read_all(second)
        assert [second.resolve(parse_position(each)) for each in positions] == [1, 2, 3, 4, 5]
        events = read_all(first)
    async with SharedHub(folder, 3) as hub:
        positions += await hub.publish(hub.logs[2], "f")
        await hub.settle()
        assert [log.resolve(parse_position(positions[-1])) for log in hub.logs] == [6, 6, 6]
    await make_embedded_again(folder)
    assert sorted({file.name.partition("-")[0] for file in folder.iterdir()}) == ["lock", "log.db"]
    with closing(open_embedded(folder)) as log:
        assert read_all(log)[:5] == events
        assert [log.resolve(parse_position(each)) for each in positions] == [1, 2, 3, 4, 5, 6]
        assert str(log.position(6)) == positions[-1]
    async with SharedHub(folder, 2) as hub:
        assert [hub.logs[1].resolve(parse_position(each)) for each in positions] == [1, 2, 3, 4, 5, 6]


async def test_each_start_begins_one_epoch_for_all_workers(tmp_path: Path) -> None:
    epochs = []
    for _ in range(2):
        async with SharedHub(tmp_path, 3) as hub:
            epochs.append({log.epoch for log in hub.logs})
            await hub.publish(hub.logs[0], "a")
            await hub.settle()
    assert [len(each) for each in epochs] == [1, 1]
    assert epochs[0].isdisjoint(epochs[1])


async def test_replica_that_is_deleted_is_copied_from_a_sibling_that_runs(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], "a", "b")
        await hub.settle()
        hub.logs.pop().close()
        shutil.rmtree(replica_folder(tmp_path, 2))
        again = await hub.open(2, hub.logs[0].epoch)
        assert read_all(again) == read_all(hub.logs[0])
        await hub.publish(again, "c")
        await hub.settle()
        assert read_all(again) == read_all(hub.logs[0])


@pytest.mark.parametrize("trimmed", [False, True])
async def test_replicas_that_all_differ_are_not_all_set_aside(tmp_path: Path, trimmed: bool) -> None:
    async with SharedHub(tmp_path, 3) as hub:
        await hub.publish(hub.logs[0], *"abc")
        await hub.settle()
        events = read_all(hub.logs[0])
    if trimmed:  # nothing can be built from the journal alone
        with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
            connection.execute("DELETE FROM entries")
    for number in (1, 2, 3):
        mark_for_rebuilding(tmp_path, number)
    with ThreadPoolExecutor(3) as pool:
        builds = [pool.submit(build_replica, tmp_path, number, stamp=new_name()) for number in (1, 2, 3)]
        for build in builds:
            build.result()
    async with SharedHub(tmp_path, 3) as hub:
        assert [read_all(log) for log in hub.logs] == [events] * 3
    assert len(set_aside(tmp_path)) == 2


async def test_replica_that_differs_again_and_again_is_set_aside_once(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
        hub.logs.pop().close()
        for _ in range(3):
            mark_for_rebuilding(tmp_path, 2)
            build_replica(tmp_path, 2, stamp=new_name())
        again = await hub.open(2, hub.logs[0].epoch)
        assert read_all(again) == read_all(hub.logs[0])
    assert set_aside(tmp_path) == ["worker-2"]


async def test_replica_that_differs_is_not_the_one_that_is_kept(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
        events = read_all(hub.logs[0])
        behind = hub.logs.pop(0)
        behind.close()
        await hub.publish(hub.logs[0], "b")
    mark_for_rebuilding(tmp_path, 2)
    assert find_log_folder(tmp_path) == replica_folder(tmp_path, 1)
    prepare(tmp_path, 1, stamp=new_name())
    assert [path.name for path in find_replicas(tmp_path)] == ["worker-1"]
    await make_embedded_again(tmp_path)
    with closing(open_embedded(tmp_path)) as log:
        assert read_all(log)[:1] == events
        assert len(read_all(log)) == 2, "the journal had the rest"


async def test_folder_whose_only_log_differs_from_what_others_reported_opens(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], "a", "b")
        await hub.settle()
        events, seq = read_all(hub.logs[0]), hub.logs[0].seq
        await wait_until(lambda: hub.logs[0].seq >= seq + 6)  # heartbeats of both
    with closing(sqlite3.connect(replica_folder(tmp_path, 1) / "log.db")) as connection, connection:
        ((stored,),) = connection.execute("SELECT state FROM stored_state")
        state = ReplicaState.decode(stored)
        changed = structs.replace(state, fold=structs.replace(state.fold, crc=state.fold.crc ^ 1))
        connection.execute("UPDATE stored_state SET state = ?", (changed.encode(),))
    await make_embedded_again(tmp_path)
    with closing(open_embedded(tmp_path)) as log:
        assert read_all(log) == events


@pytest.mark.parametrize("harm", ["garbage", "state", "everything"])
async def test_replica_that_is_damaged_is_set_aside_and_copied(tmp_path: Path, harm: str) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], *"abc")
        await hub.settle()
        hub.logs.pop().close()
        path = replica_folder(tmp_path, 2) / "log.db"
        if harm == "garbage":
            with path.open("r+b") as file:
                file.seek(100)
                file.write(b"\xff" * 8_000)
        elif harm == "everything":
            path.write_bytes(b"\xff" * path.stat().st_size)
        else:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("UPDATE stored_state SET state = x'00'")
        again = await hub.open(2, hub.logs[0].epoch)
        assert read_all(again) == read_all(hub.logs[0])
    assert set_aside(tmp_path) == ["worker-2"]


async def test_replica_that_trimming_has_overtaken_is_copied(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
        hub.logs.pop().close()
        for number in range(20):
            await hub.publish(hub.logs[0], f"b{number}")
        with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
            connection.execute("DELETE FROM entries WHERE seq < (SELECT max(seq) - 3 FROM entries)")
        again = await hub.open(2, hub.logs[0].epoch)
        assert read_all(again) == read_all(hub.logs[0])


async def test_lead_trims_what_all_nodes_have_stored_and_waits_for_a_missing_one(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        for trimmer in hub.trimmers:
            trimmer.stop()  # its timer: the test decides when it trims
        for number in range(900):
            await hub.publish(hub.logs[0], f"k{number}")
        await hub.settle()
        leads, other = (0, 1) if hub.logs[0].trimmable else (1, 0)
        await wait_until(lambda: hub.logs[leads].trimmable > 300)
        await hub.trimmers[other].trim()
        assert first_entry(tmp_path) == 1
        gone = hub.logs[other]
        hub.trimmers[leads].nodes = 3
        await hub.trimmers[leads].trim()
        assert first_entry(tmp_path) == 1, "a worker is missing"
        hub.trimmers[leads].nodes = 2
        await hub.trimmers[leads].trim()
        assert 300 < first_entry(tmp_path) <= hub.logs[leads].seq - 400
        await hub.publish(gone, "after")
        await hub.settle()


async def test_full_journal_refuses_events_with_log_full_until_it_is_trimmed(tmp_path: Path) -> None:
    make = EventFactory()
    async with SharedHub(tmp_path, 2, max_journal_bytes=300_000) as hub:
        first, second = hub.logs
        results: list[object] = []

        async def publish_large() -> object:
            count = len(results)
            first.append([make("data:update", "large", data=b'"%s"' % (b"x" * 50_000))], results.append)
            await wait_until(lambda: len(results) > count)
            return results[-1]

        while not isinstance(await publish_large(), LogFull):
            assert len(results) < 20
        assert isinstance(await publish_large(), LogFull), "now at once"
        assert isinstance(first.failed, LogFull)
        with closing(sqlite3.connect(tmp_path / "journal.db", timeout=30)) as connection, connection:
            connection.execute("DELETE FROM entries WHERE seq < (SELECT max(seq) - 1 FROM entries)")
        await wait_until(lambda: first.failed is None)
        assert not isinstance(await publish_large(), LogFull)
        await hub.settle()
        assert read_all(first) == read_all(second)


def first_entry(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        return int(connection.execute("SELECT min(seq) FROM entries").fetchone()[0])


def delete_journal(folder: Path) -> None:
    for file in folder.glob("journal.db*"):
        file.unlink()


async def test_journal_that_is_lost_begins_again_behind_the_furthest_log(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        positions = await hub.publish(hub.logs[0], "a", "b")
        await hub.settle()
        events = read_all(hub.logs[0])
    delete_journal(tmp_path)
    async with SharedHub(tmp_path, 2) as hub:
        assert [read_all(log) for log in hub.logs] == [events, events]
        positions += await hub.publish(hub.logs[1], "c")
        await hub.settle()
        assert [hub.logs[0].resolve(parse_position(each)) for each in positions] == [1, 2, 3]


async def test_older_copy_of_a_journal_loses_no_event_and_no_position_repeats(tmp_path: Path) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy.db"
    async with SharedHub(folder, 2) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
    shutil.copyfile(folder / "journal.db", copy)
    async with SharedHub(folder, 2) as hub:
        positions = await hub.publish(hub.logs[0], "b", "c")
        await hub.settle()
        events = read_all(hub.logs[0])
    shutil.copyfile(copy, folder / "journal.db")
    async with SharedHub(folder, 2) as hub:
        assert [read_all(log) for log in hub.logs] == [events, events]
        (new,) = await hub.publish(hub.logs[0], "d")
        assert new not in positions
        assert [hub.logs[0].resolve(parse_position(each)) for each in [*positions, new]] == [2, 3, 4]
    assert "journal.db" in set_aside(folder)


async def test_older_copy_of_a_whole_folder_gives_no_position_twice(tmp_path: Path) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    async with SharedHub(folder, 2) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
    shutil.copytree(folder, copy)
    async with SharedHub(folder, 2) as hub:
        (lost,) = await hub.publish(hub.logs[0], "b")
    shutil.rmtree(folder)
    copy.rename(folder)
    async with SharedHub(folder, 2) as hub:
        (new,) = await hub.publish(hub.logs[0], "c")
        assert parse_position(new).offset == parse_position(lost).offset
        assert hub.logs[0].resolve(parse_position(lost)) is None, "a gap"
        assert hub.logs[0].resolve(parse_position(new)) == parse_position(new).offset


async def test_log_of_another_history_is_set_aside(tmp_path: Path) -> None:
    folder, other = tmp_path / "data", tmp_path / "other"
    async with SharedHub(folder, 2) as hub:
        for key in "abcd":
            await hub.publish(hub.logs[0], key)
        await hub.settle()
        events = read_all(hub.logs[0])
    async with SharedHub(other, 2) as hub:
        await hub.publish(hub.logs[0], "x")
        await hub.settle()
    shutil.rmtree(replica_folder(folder, 2))
    shutil.copytree(replica_folder(other, 2), replica_folder(folder, 2))
    async with SharedHub(folder, 2) as hub:
        assert [read_all(log) for log in hub.logs] == [events, events]
    assert set_aside(folder) == ["worker-2"]


async def test_fewer_workers_keep_the_furthest_log(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 3) as hub:
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
        events = read_all(hub.logs[0])
    for number in (1, 2):
        shutil.rmtree(replica_folder(tmp_path, number))
    async with SharedHub(tmp_path, 2) as hub:
        assert [read_all(log) for log in hub.logs] == [events, events]
    assert [path.name for path in find_replicas(tmp_path)] == ["worker-1", "worker-2"]


async def test_worker_whose_journal_was_replaced_keeps_its_log(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 2) as hub:
        assert not has_lost_journal(tmp_path)
        await hub.publish(hub.logs[0], "a")
        await hub.settle()
        events = read_all(hub.logs[0])
    delete_journal(tmp_path)
    assert has_lost_journal(tmp_path)
    JournalFile(tmp_path).close()  # an empty one
    assert has_lost_journal(tmp_path)
    with pytest.raises(LogUnavailable, match="it was replaced"):
        build_replica(tmp_path, 1, stamp="x")
    async with SharedHub(tmp_path, 2) as hub:
        assert [read_all(log) for log in hub.logs] == [events, events]


async def test_trimmed_journal_without_any_log_is_an_error(tmp_path: Path) -> None:
    fill_embedded(tmp_path, "a")
    async with SharedHub(tmp_path, 1):
        pass
    shutil.rmtree(replica_folder(tmp_path, 1))
    with pytest.raises(LogCorrupt, match="no log continues it"):
        prepare(tmp_path, 2, stamp="x")


async def test_folder_of_workers_is_refused_as_the_log_of_one_process(tmp_path: Path) -> None:
    async with SharedHub(tmp_path, 1):
        pass
    with pytest.raises(LogForeign, match="several workers") as refused:
        open_embedded(tmp_path)
    assert "--workers" in refused.value.hint


def test_embedded_log_beside_a_journal_is_refused(tmp_path: Path) -> None:
    fill_embedded(tmp_path, "a")
    prepare(tmp_path, 1, stamp="x")
    shutil.copyfile(replica_folder(tmp_path, 1) / "log.db", tmp_path / "log.db")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
        connection.execute("DROP TABLE stored_state")
    with pytest.raises(LogForeign, match="both a journal and an embedded log"):
        prepare(tmp_path, 1, stamp="x")


def test_foreign_and_newer_journals_are_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(LogForeign):
        prepare(tmp_path, 2, stamp="x")
    assert path.read_bytes() == before
    path.unlink()
    prepare(tmp_path, 2, stamp="x")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LogTooNew):
        prepare(tmp_path, 2, stamp="x")


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 7))
async def test_conversion_that_is_interrupted_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The process ends before the n-th change of a file's name or existence, on the way there and back."""
    positions = fill_embedded(tmp_path, "a", "b")
    with pytest.MonkeyPatch.context() as patched:
        count_down(patched, tmp_path, step)
        with suppress(Crash):
            prepare(tmp_path, 2, stamp="x")
    async with SharedHub(tmp_path, 2) as hub:
        assert [[log.resolve(parse_position(each)) for each in positions] for log in hub.logs] == [[1, 2]] * 2
        positions += await hub.publish(hub.logs[0], "c")
    with pytest.MonkeyPatch.context() as patched:
        count_down(patched, tmp_path, step)
        with suppress(Crash):
            await asyncio.to_thread(unshare, tmp_path, Retention(), OpeningProgress(), stamp=new_name())
    if has_shared_log(tmp_path):
        await make_embedded_again(tmp_path)
    with closing(open_embedded(tmp_path)) as log:
        assert [log.resolve(parse_position(each)) for each in positions] == [1, 2, 3]
        assert len(read_all(log)) == 3


def count_down(patched: pytest.MonkeyPatch, folder: Path, step: int) -> None:
    """Let the process end before the n-th change of the folder."""
    left = [step]

    def crash() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Crash

    module = "tidings.log.journal.shared_folder"

    def renaming(source: Path, target: Path) -> None:
        crash()
        replace_file(source, target)

    def removing(path: Path, ignore_errors: bool = False) -> None:
        crash()
        rmtree(path, ignore_errors=ignore_errors)

    rmtree = shutil.rmtree
    patched.setattr(f"{module}.replace_file", renaming)
    patched.setattr(f"{module}.shutil.rmtree", removing)
    unlink = Path.unlink

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.parent == folder:
            crash()
        unlink(path, missing_ok=missing_ok)

    patched.setattr(Path, "unlink", unlinking)


def test_state_of_a_replica_names_its_place(tmp_path: Path) -> None:
    fill_embedded(tmp_path, "a")
    assert not is_shared(tmp_path)
    prepare(tmp_path, 1, stamp="x")
    assert is_shared(tmp_path)
    replica = read_replica(replica_folder(tmp_path, 1))
    assert replica is not None
    assert replica.mark.seq == 1
    assert read_replica(replica_folder(tmp_path, 2)) is None
