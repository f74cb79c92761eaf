"""Snapshots in the engines of journals, and the trimming behind them: with a real nats-server and PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.log.journal.harnesses import JetStreamHarness, PostgresHarness
from tests.log.journal.shared_hub import read_all
from tests.postgres_server import PostgresServer, new_postgres_server

from tidings.exceptions import LogCorrupt, LogError, LogFull, LogTooNew, LogUnavailable
from tidings.log.base import Log
from tidings.log.journal.base import Mark
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.jetstream_stream import parse_address
from tidings.log.journal.postgres import PostgresJournal
from tidings.log.journal.shared_folder import read_replica
from tidings.log.journal.snapshot_keeper import SnapshotKeeper
from tidings.log.journal.snapshots import SnapshotInfo, SnapshotStore, fits, load_snapshot, save_snapshot
from tidings.log.replicated import ReplicatedLog
from tidings.log.sqlite.log import SqliteLog
from tidings.testing.log_conformance.harness import EventFactory

ServerHarness = JetStreamHarness | PostgresHarness
ServerJournal = JetStreamJournal | PostgresJournal
_POLL_S = 0.001
_MAX_WAIT_S = 60.0


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    with new_postgres_server() as server:
        yield server


@pytest.fixture(params=["jetstream", "postgres"])
def harness(request: pytest.FixtureRequest) -> Iterator[ServerHarness]:
    if request.param == "jetstream":
        with JetStreamHarness() as jetstream:
            assert isinstance(jetstream, JetStreamHarness)
            yield jetstream
    else:
        with PostgresHarness(request.getfixturevalue("postgres_server")) as postgres:
            assert isinstance(postgres, PostgresHarness)
            yield postgres


class Nodes:
    """Nodes of one journal, each with a folder.

    Args:
        harness: Opens the journal.
        root: Where the folders are.
    """

    def __init__(self, harness: ServerHarness, root: Path) -> None:
        self.harness = harness
        self._root = root
        self._names = count(1)
        self._make = EventFactory()
        self.logs: list[ReplicatedLog] = []

    def _new_name(self) -> str:
        return f"{next(self._names):08x}"

    def folder(self, name: str) -> Path:
        return self._root / name

    async def wait_until(self, condition: Callable[[], object]) -> None:
        end = self.harness.loop.time() + _MAX_WAIT_S
        while not condition():  # a log has no event for it
            assert self.harness.loop.time() < end, "it did not happen"
            await asyncio.sleep(_POLL_S)

    def open(self, name: str) -> tuple[ServerJournal, ReplicatedLog]:
        journal = self.harness.open()
        local = SqliteLog(self.folder(name), self.harness.loop, self._new_name, ballast_bytes=0)
        log = ReplicatedLog(journal, local, self.harness.loop, node=name, version="1", new_name=self._new_name)
        log.start(self.harness.run(journal.look()).last)
        self.harness.run(self.wait_until(lambda: log.is_open))
        self.logs.append(log)
        return journal, log

    def publish(self, log: Log, number: int, data: bytes = b'{"n":1}') -> None:
        """Append events, each in an entry of its own."""
        self.harness.run(self._publish(log, number, data))

    async def _publish(self, log: Log, number: int, data: bytes) -> None:
        for _ in range(number):
            results: list[object] = []
            log.append([self._make("data:update", f"key-{next(self._names)}", data=data)], results.append)
            await self.wait_until(results.__len__)
            assert not isinstance(results[0], LogError), results[0]

    def close(self) -> None:
        for log in self.logs:
            log.close()


@pytest.fixture
def nodes(harness: ServerHarness, tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(harness, tmp_path)
    yield nodes
    nodes.close()


def test_snapshot_becomes_the_log_of_another_node_which_follows(nodes: Nodes, harness: ServerHarness) -> None:
    journal, first = nodes.open("first")
    nodes.publish(first, 20, b'"%s"' % (b"x" * 20_000))
    sizes: list[int] = []
    info = harness.run(save_snapshot(journal.snapshots, nodes.folder("first")))
    nodes.publish(first, 3)
    nodes.folder("second").mkdir()
    assert harness.run(journal.snapshots.list()) == [info]
    harness.run(load_snapshot(journal.snapshots, info, nodes.folder("second"), on_bytes=sizes.append))
    assert sum(sizes) == info.bytes
    assert len(sizes) == info.chunks
    assert max(sizes) <= journal.snapshots.chunk_bytes
    replica = read_replica(nodes.folder("second"))
    assert replica is not None
    assert replica.mark == info.mark
    _, second = nodes.open("second")
    assert read_all(second) == read_all(first)
    assert second.position(second.head) == first.position(first.head)
    assert sorted(path.name for path in nodes.folder("first").iterdir() if "snapshot" in path.name) == []


def test_snapshot_that_was_never_finished_is_not_listed_and_swept_when_old(
    nodes: Nodes, harness: ServerHarness
) -> None:
    store = harness.open().snapshots
    harness.run(store.put("dead", 0, b"the first chunk"))
    complete = SnapshotInfo(id="whole", mark=Mark(7, 8, 9), chunks=1, bytes=5, digest="d")
    harness.run(store.put("whole", 0, b"chunk"))
    harness.run(store.finish(complete))
    assert harness.run(store.list()) == [complete]
    unfinished = SnapshotInfo(id="dead", mark=Mark(1), chunks=1, bytes=15, digest="")
    harness.run(store.sweep(60.0))
    assert harness.run(read_chunks(store, unfinished)) == [b"the first chunk"], "its node may be alive"
    harness.run(store.sweep(0.0))
    assert harness.run(read_chunks(store, unfinished)) == []
    assert harness.run(read_chunks(store, complete)) == [b"chunk"]
    harness.run(store.delete("whole"))
    assert harness.run(store.list()) == []
    assert harness.run(read_chunks(store, complete)) == []


async def read_chunks(store: SnapshotStore, info: SnapshotInfo) -> list[bytes]:
    return [chunk async for chunk in store.read(info)]


class TamperedStore:
    """A store of which the chunks are not what they were."""

    chunk_bytes = 1

    def __init__(self, store: SnapshotStore, change: Callable[[list[bytes]], list[bytes]]) -> None:
        self._store = store
        self._change = change

    async def read(self, info: SnapshotInfo) -> AsyncIterator[bytes]:
        for chunk in self._change(await read_chunks(self._store, info)):
            yield chunk


@pytest.mark.parametrize("harm", ["missing", "cut", "changed", "newer", "other-mark"])
def test_damaged_snapshot_is_refused_and_leaves_nothing(nodes: Nodes, harness: ServerHarness, harm: str) -> None:
    journal, first = nodes.open("first")
    nodes.publish(first, 2)
    info = harness.run(save_snapshot(journal.snapshots, nodes.folder("first")))
    changes: dict[str, Callable[[list[bytes]], list[bytes]]] = {
        "missing": lambda chunks: [],
        "cut": lambda chunks: [chunks[0][:-5], *chunks[1:]],
        "changed": lambda chunks: [chunks[0][:100] + b"\x00\x01" + chunks[0][102:], *chunks[1:]],
    }
    store: SnapshotStore = TamperedStore(journal.snapshots, changes.get(harm, list))  # type: ignore[assignment]
    if harm == "newer":
        info = SnapshotInfo(id=info.id, mark=info.mark, format=2, chunks=info.chunks, bytes=1, digest=info.digest)
    elif harm == "other-mark":
        info = SnapshotInfo(id=info.id, mark=Mark(1), chunks=info.chunks, bytes=1, digest=info.digest)
    target = nodes.folder("second")
    target.mkdir()
    with pytest.raises(LogTooNew if harm == "newer" else LogCorrupt):
        harness.run(load_snapshot(store, info, target, on_bytes=lambda size: None))
    assert list(target.iterdir()) == []


def test_log_in_which_nothing_was_stored_is_not_saved(nodes: Nodes, harness: ServerHarness, tmp_path: Path) -> None:
    store = harness.open().snapshots
    SqliteLog(tmp_path / "new", harness.loop, lambda: "0badc0de", ballast_bytes=0).close()
    with pytest.raises(LogUnavailable, match="nothing was stored"):
        harness.run(save_snapshot(store, tmp_path / "new"))
    assert harness.run(store.list()) == []


def test_keeper_keeps_two_snapshots_and_trims_the_journal_before_the_older(
    nodes: Nodes, harness: ServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, log = nodes.open("first")
    keeper = SnapshotKeeper(journal, log, nodes.folder("first"), loop=harness.loop)
    keeper.stop()  # only the checks below
    assert log.leads
    harness.run(keeper.check())
    (first,) = harness.run(journal.snapshots.list())
    harness.run(keeper.check())
    assert harness.run(journal.snapshots.list()) == [first], "the next one is not due"
    monkeypatch.setattr("tidings.log.journal.snapshot_keeper.SNAPSHOT_BYTES", 10_000)
    for _ in range(3):
        nodes.publish(log, 500)
        harness.run(keeper.check())
    newest, older = harness.run(journal.snapshots.list())
    assert newest.mark.seq > older.mark.seq > first.mark.seq
    state = harness.run(journal.look())
    assert 256 < state.first <= older.mark.seq
    assert harness.run(fits(journal, older.mark, state))
    assert not harness.run(fits(journal, first.mark, state))
    assert not harness.run(fits(journal, Mark(older.mark.seq, 1, 2), state)), "another entry is there"
    assert not harness.run(fits(journal, Mark(0), state)), "the beginning is gone"
    nodes.folder("second").mkdir()
    harness.run(load_snapshot(journal.snapshots, older, nodes.folder("second"), on_bytes=lambda size: None))
    _, second = nodes.open("second")
    assert read_all(second) == read_all(log)


def test_full_journal_is_trimmed_before_the_newest_snapshot(tmp_path: Path) -> None:
    with JetStreamHarness() as harness:
        assert isinstance(harness, JetStreamHarness)
        address = parse_address(f"{harness.server.url}/hubs?max_bytes=400000")
        harness.run(open_jetstream(address)).close()  # the first one creates the stream, with its size
        nodes = Nodes(harness, tmp_path)
        journal, log = nodes.open("first")
        keeper = SnapshotKeeper(journal, log, nodes.folder("first"), loop=harness.loop)
        keeper.stop()  # only the checks below
        nodes.publish(log, 1)
        harness.run(keeper.check())
        results: list[object] = []
        while not isinstance(journal.failure, LogFull):
            event = EventFactory()("data:update", "large", data=b'"%s"' % (b"x" * 50_000))
            log.append([event], results.append)
            harness.run(nodes.wait_until(lambda: results or isinstance(journal.failure, LogFull)))
            results.clear()
        harness.run(keeper.check())
        harness.run(nodes.wait_until(lambda: journal.failure is None))
        harness.run(nodes.wait_until(lambda: log.failed is None))
        assert harness.run(journal.look()).first > 1
        nodes.folder("second").mkdir()
        newest = harness.run(journal.snapshots.list())[0]
        harness.run(load_snapshot(journal.snapshots, newest, nodes.folder("second"), on_bytes=lambda size: None))
        _, second = nodes.open("second")
        harness.run(nodes.wait_until(lambda: read_all(second) == read_all(log)))
        nodes.close()


def test_only_the_node_that_leads_saves(nodes: Nodes, harness: ServerHarness) -> None:
    nodes.open("first")
    journal, second = nodes.open("second")
    assert not second.leads
    keeper = SnapshotKeeper(journal, second, nodes.folder("second"), loop=harness.loop)
    harness.run(keeper.check())
    keeper.stop()
    assert harness.run(journal.snapshots.list()) == []


def test_two_nodes_that_save_at_a_time_do_not_disturb_each_other(nodes: Nodes, harness: ServerHarness) -> None:
    first_journal, first = nodes.open("first")
    second_journal, _ = nodes.open("second")
    nodes.publish(first, 5)
    harness.run(nodes.wait_until(lambda: nodes.logs[1].seq >= first.seq))

    async def save() -> tuple[SnapshotInfo, SnapshotInfo]:
        return await asyncio.gather(
            save_snapshot(first_journal.snapshots, nodes.folder("first")),
            save_snapshot(second_journal.snapshots, nodes.folder("second")),
        )

    for number, info in enumerate(harness.run(save())):
        target = nodes.folder(f"copy-{number}")
        target.mkdir()
        harness.run(load_snapshot(first_journal.snapshots, info, target, on_bytes=lambda size: None))
        _, copy = nodes.open(target.name)
        assert read_all(copy) == read_all(first)
        shutil.rmtree(target, ignore_errors=True)
