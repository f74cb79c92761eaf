"""The workers of one folder, in one process: each with its own log, over the journal that they share."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Outcome, Page, PublishResult, Query, Record
from tidings.log.journal.replaying import new_name
from tidings.log.journal.replica_building import build_replica
from tidings.log.journal.shared_folder import JournalFile, prepare, replica_folder
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.journal.trimming import JournalTrimmer
from tidings.log.replicated import ReplicatedLog
from tidings.log.sqlite.log import SqliteLog
from tidings.testing.log_conformance.harness import ALL, EventFactory

_MAX_WAIT_S = 60.0


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_MAX_WAIT_S):
        while not condition():  # noqa: ASYNC110 - a process of its own, or a thread, brings it
            await asyncio.sleep(0.005)


class SharedHub:
    """Opens and closes workers, as a parent and their processes do."""

    def __init__(self, folder: Path, workers: int = 2, *, max_journal_bytes: int = 1 << 30) -> None:
        self.folder = folder
        self.workers = workers
        self._max_journal_bytes = max_journal_bytes
        self.logs: list[ReplicatedLog] = []
        self.trimmers: list[JournalTrimmer] = []
        self._make = EventFactory()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        prepare(self.folder, self.workers, stamp=new_name())
        epoch = new_name()
        for number in range(1, self.workers + 1):
            await self.open(number, epoch)
        return self

    async def open(self, number: int, epoch: str) -> ReplicatedLog:
        loop = asyncio.get_running_loop()
        build_replica(self.folder, number, stamp=new_name())
        local = SqliteLog(replica_folder(self.folder, number), loop, new_name, ballast_bytes=0)
        file = JournalFile(self.folder)
        last = file.state().last
        file.close()
        journal = SqliteJournal(self.folder, loop, max_file_bytes=self._max_journal_bytes)
        log = ReplicatedLog(journal, local, loop, node=f"worker-{number}", version="1", new_name=new_name, epoch=epoch)
        log.start(last)
        await wait_until(lambda: log.is_open or log.failed is not None)
        self.logs.append(log)
        self.trimmers.append(JournalTrimmer(journal, log, self.folder, nodes=self.workers, loop=loop))
        return log

    async def publish(self, log: ReplicatedLog, *keys: str) -> list[str]:
        """Publish one event for each key; return their positions."""
        outcomes = await self.append(log, [self._make("data:update", key) for key in keys])
        assert all(isinstance(each, PublishResult) for each in outcomes), outcomes
        return [str(log.position(each.offset)) for each in outcomes if isinstance(each, PublishResult)]

    async def append(self, log: ReplicatedLog, batch: list[EventToAppend]) -> list[Outcome]:
        results: list[list[Outcome] | LogError] = []
        log.append(batch, lambda result: results.append(result if isinstance(result, LogError) else list(result)))
        await wait_until(lambda: bool(results))
        assert not isinstance(results[0], LogError), results[0]
        return results[0]

    async def settle(self) -> None:
        """Wait until all workers have what the first one has."""
        await wait_until(lambda: len({log.head for log in self.logs}) == 1)

    def close(self) -> None:
        for trimmer in self.trimmers:
            trimmer.stop()
        for log in self.logs:
            log.close()
        self.logs.clear()

    async def __aexit__(self, *_: object) -> None:
        self.close()


def read_all(log: ReplicatedLog | SqliteLog) -> list[tuple[int, bytes]]:
    """Return the offsets and data of all events."""
    records: list[Record] = []

    def read(result: Page | LogError) -> None:
        assert not isinstance(result, LogError)
        records.extend(result.records)

    log.read(Query(paths=ALL, after=0, until=log.head, conflate=False, limit=10_000, max_bytes=1 << 30), read)
    return [(record.offset, record.event.data) for record in records]


class _NeverBusy:
    def call_soon(self, callback: Callable[[], object], /) -> object:
        raise AssertionError("something is busy")

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        raise AssertionError("something is busy")


def open_embedded(folder: Path) -> SqliteLog:
    return SqliteLog(folder, _NeverBusy(), new_name, ballast_bytes=0)
