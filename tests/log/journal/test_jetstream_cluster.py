"""Two nodes over a cluster of three real servers that fail: nothing acknowledged is lost, or stored twice."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from uuid import uuid4

import nats
import pytest
from tests.log.replicated_harness import is_settled
from tests.nats_server import NatsServer, start_cluster

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Outcome, Page, PublishResult, Query, Record
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.jetstream_stream import JetStreamAddress, parse_address
from tidings.log.memory import MemoryLog
from tidings.log.replicated import ReplicatedLog
from tidings.testing.log_conformance.harness import ALL, EventFactory

logger = logging.getLogger(__name__)
pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]
Fault = Callable[[NatsServer, list[NatsServer]], Coroutine[None, None, None]]
_BATCHES = 40
"""Number of batches that each node stores before the fault, and after it."""
_STALL_S = 6.0
_DEADLINE_S = 90.0


class Publisher:
    """Appends batches to one node, each again with the same ids until it is stored."""

    def __init__(self, log: ReplicatedLog, name: str) -> None:
        self.log = log
        self.name = name
        self.offsets: dict[str, int] = {}
        """The offset of each event that was acknowledged, by its id."""
        self.stored = 0
        """Number of batches that were acknowledged."""
        self.longest_s = 0.0
        """The longest time from one acknowledgement to the next."""
        self._make = EventFactory()
        self._stopped = False

    async def run(self) -> None:
        before = time.monotonic()
        while not self._stopped:
            ids = [f"{self.name}-{self.stored}-{number}" for number in range(5)]
            batch = [self._make("data:update", self.name, event_id=id) for id in ids]
            while not await self._append(batch):  # noqa: ASYNC110  # again, after a moment
                await asyncio.sleep(0.05)
            now = time.monotonic()
            self.longest_s, before = max(self.longest_s, now - before), now
            self.stored += 1

    async def _append(self, batch: list[EventToAppend]) -> bool:
        done: asyncio.Future[list[Outcome] | LogError] = asyncio.get_running_loop().create_future()
        self.log.append(batch, lambda result: done.set_result(result if isinstance(result, LogError) else [*result]))
        result = await done
        if isinstance(result, LogError):
            return False
        for event, outcome in zip(batch, result, strict=True):
            assert isinstance(outcome, PublishResult), outcome
            self.offsets[event.event.event_id or ""] = outcome.offset
        return True

    def stop(self) -> None:
        self._stopped = True


def read_all(log: ReplicatedLog) -> list[Record]:
    records: list[Record] = []
    scanned = 0

    def take(page: Page | LogError) -> None:
        nonlocal scanned
        assert isinstance(page, Page)
        records.extend(page.records)
        scanned = page.scanned

    while scanned < log.head:
        log.read(Query(after=scanned, until=log.head, paths=ALL, conflate=False), take)
    return records


@contextmanager
def cluster(folder: Path) -> Iterator[list[NatsServer]]:
    servers = start_cluster(folder, 3)
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


async def find_leader(address: JetStreamAddress, servers: list[NatsServer]) -> NatsServer:
    connection = await nats.connect(list(address.servers))
    info = await connection.jetstream().stream_info(address.stream)
    await connection.close()
    assert info.cluster is not None
    return next(server for server in servers if server.name == info.cluster.leader)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # logs have no event for it
            await asyncio.sleep(0.01)


async def kill(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.stop(Signals.SIGKILL)
    await asyncio.sleep(1)
    leader.start()


async def terminate(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.stop(Signals.SIGTERM)
    await asyncio.sleep(1)
    leader.start()


async def stall(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.send(Signals.SIGSTOP)
    await asyncio.sleep(_STALL_S)
    leader.send(Signals.SIGCONT)


async def lose_quorum(leader: NatsServer, followers: list[NatsServer]) -> None:
    for server in followers:
        server.send(Signals.SIGSTOP)
    await asyncio.sleep(_STALL_S)
    for server in followers:
        server.send(Signals.SIGCONT)


async def leave(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.send(Signals.SIGUSR2)  # lame duck: it passes its streams and clients to the others
    await asyncio.sleep(_STALL_S)
    leader.stop(Signals.SIGKILL)
    leader.start()


@pytest.mark.parametrize("fault", [kill, terminate, stall, lose_quorum, leave])
def test_cluster_that_fails_loses_and_doubles_nothing(fault: Fault, tmp_path: Path) -> None:
    with cluster(tmp_path) as servers:
        asyncio.run(_check_fault(fault, servers))


async def _check_fault(fault: Fault, servers: list[NatsServer]) -> None:
    hosts = ",".join(server.url.removeprefix("nats://") for server in servers)
    address = parse_address(f"nats://{hosts}/hubs?replicas=3&max_bytes=100000000")
    journals = [await open_jetstream(address) for _ in range(2)]
    publishers = [Publisher(_open_log(journal, number), f"node-{number}") for number, journal in enumerate(journals)]
    await wait_until(lambda: all(publisher.log.is_open for publisher in publishers))
    tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
    await wait_until(lambda: all(publisher.stored >= _BATCHES for publisher in publishers))
    leader = await find_leader(address, servers)
    await fault(leader, [server for server in servers if server is not leader])
    healed = time.monotonic()
    goals = [publisher.stored + _BATCHES for publisher in publishers]
    await wait_until(lambda: all(each.stored >= goal for each, goal in zip(publishers, goals, strict=True)))
    logger.info(
        "%s: silent for %.1f s at most; %d batches took %.1f s after it was healed",
        fault.__name__,
        max(publisher.longest_s for publisher in publishers),
        _BATCHES,
        time.monotonic() - healed,
    )
    for publisher in publishers:
        publisher.stop()
    await asyncio.gather(*tasks)
    first, second = (publisher.log for publisher in publishers)
    await wait_until(lambda: is_settled(first) and is_settled(second) and first.seq == second.seq)
    _check_stored(publishers)
    for publisher, journal in zip(publishers, journals, strict=True):
        assert publisher.log.failed is None
        publisher.log.close()
        await journal.wait_closed()


def _open_log(journal: JetStreamJournal, number: int) -> ReplicatedLog:
    log = ReplicatedLog(
        journal,
        MemoryLog("0badc0de"),
        asyncio.get_running_loop(),
        node=f"node-{number}",
        version="1",
        new_name=lambda: uuid4().hex[:8],
    )
    log.start(0)
    return log


def _check_stored(publishers: list[Publisher]) -> None:
    histories = [read_all(publisher.log) for publisher in publishers]
    assert histories[0] == histories[1]
    stored = [(record.event.event_id, record.offset) for record in histories[0]]
    assert len({id for id, _ in stored}) == len(stored), "nothing is stored twice"
    for publisher in publishers:
        assert publisher.offsets.items() <= dict(stored).items(), "nothing that was acknowledged is lost"
        own = [id for id, _ in stored if (id or "").startswith(f"{publisher.name}-")]
        assert own == list(publisher.offsets), "in the order in which it was published"
