"""Publishers at nodes of this process, over the journal of real engines that fail."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from tests.log.replicated_harness import is_settled

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Outcome, Page, PublishResult, Query, Record
from tidings.log.journal.jetstream import JetStreamJournal
from tidings.log.journal.postgres import PostgresJournal
from tidings.log.memory import MemoryLog
from tidings.log.replicated import ReplicatedLog
from tidings.testing.log_conformance.harness import ALL, EventFactory

BATCHES = 40
"""Number of batches that each node stores before a fault, and after it."""
_DEADLINE_S = 90.0

logger = logging.getLogger(__name__)


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


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # logs have no event for it
            await asyncio.sleep(0.01)


class Publishers:
    """Two nodes, at each of which a publisher is at work.

    Args:
        journals: Their journals.
    """

    def __init__(self, journals: Sequence[JetStreamJournal | PostgresJournal]) -> None:
        self.each = [Publisher(_open_log(journal, number), f"node-{number}") for number, journal in enumerate(journals)]
        self._journals = journals
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin, and wait until both have stored events."""
        await wait_until(lambda: all(publisher.log.is_open for publisher in self.each))
        self._tasks = [asyncio.create_task(publisher.run()) for publisher in self.each]
        await self.wait_stored(BATCHES)

    async def wait_stored(self, more: int) -> None:
        """Wait until each has stored some batches more."""
        goals = [publisher.stored + more for publisher in self.each]
        try:
            await wait_until(lambda: all(each.stored >= goal for each, goal in zip(self.each, goals, strict=True)))
        except TimeoutError as error:
            states = zip(self.each, goals, self._journals, strict=True)
            text = [
                f"{each.name}: {each.stored} of {goal} stored, entry {each.log.seq} folded, {vars(journal)}, "
                f"failed: {each.log.failed}"
                for each, goal, journal in states
            ]
            raise AssertionError("; ".join(text)) from error

    async def measure_recovery(self, name: str) -> None:
        """Wait until both store events again after a fault that was healed just now, and log how long it took."""
        healed = time.monotonic()
        await self.wait_stored(1)
        recovered_s = time.monotonic() - healed
        await self.wait_stored(BATCHES)
        longest_s = max(publisher.longest_s for publisher in self.each)
        logger.info("%s: silent for %.1f s at most, and for %.1f s after it was healed", name, longest_s, recovered_s)
        for publisher in self.each:
            publisher.longest_s = 0.0

    async def finish(self) -> None:
        """End, and check that nothing that was acknowledged is lost or stored twice."""
        for publisher in self.each:
            publisher.stop()
        await asyncio.gather(*self._tasks)
        first, second = (publisher.log for publisher in self.each)
        await wait_until(lambda: is_settled(first) and is_settled(second) and first.seq == second.seq)
        self._check_stored()
        for publisher, journal in zip(self.each, self._journals, strict=True):
            assert publisher.log.failed is None
            publisher.log.close()
            await journal.wait_closed()

    def _check_stored(self) -> None:
        histories = [read_all(publisher.log) for publisher in self.each]
        assert histories[0] == histories[1]
        stored = [(record.event.event_id, record.offset) for record in histories[0]]
        assert len({id for id, _ in stored}) == len(stored), "nothing is stored twice"
        for publisher in self.each:
            assert publisher.offsets.items() <= dict(stored).items(), "nothing that was acknowledged is lost"
            own = [id for id, _ in stored if (id or "").startswith(f"{publisher.name}-")]
            assert own == list(publisher.offsets), "in the order in which it was published"


def _open_log(journal: JetStreamJournal | PostgresJournal, number: int) -> ReplicatedLog:
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
