"""The newest log lines of one operation among other events, in both logs, also after trimming and reopening."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.server.hub_server import update
from tests.server.operation_events import Post, complete, line, progress, start

from tidings.hub.config import HubConfig
from tidings.log.base import Log, Query, ReadDone, Retention, Scheduler
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.log import SqliteLog
from tidings.server.app import HubApp
from tidings.server.http.operation_views import newest_lines
from tidings.testing.faulty_log import FaultyLog

MakeLog = Callable[[Scheduler], Log]
QUIET = HubConfig(status_s=0, metrics_s=0, estimate_s=0)


class WatchedLog(FaultyLog):
    """A log that counts the offsets that its readers scan."""

    def __init__(self, inner: Log) -> None:
        super().__init__(inner)
        self.looked_at = 0

    def read(self, query: Query, done: ReadDone) -> None:
        self.looked_at += query.until - query.after
        super().read(query, done)


class Hub:
    """A hub in the test's own loop, used without a socket."""

    def __init__(self, make_log: MakeLog) -> None:
        self.app = HubApp(self._open, config=QUIET)
        self._make_log = make_log
        self.app.start()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost")

    def _open(self, scheduler: Scheduler) -> Log:
        self.log = WatchedLog(self._make_log(scheduler))
        return self.log

    async def publish(self, *events: Post) -> None:
        for first in range(0, len(events), 1_000):
            answer = await self.client.post("/v1/events", json=events[first : first + 1_000])
            assert all("position" in result for result in answer.json()["results"])

    async def lines(self, operation_id: str) -> list[str]:
        status = self.app.hub.operations.get(operation_id)
        assert status is not None
        return [line.message for line in await newest_lines(self.app.hub, status)]

    def trim(self) -> None:
        while self.log.maintain(self.app.hub.now_ns()):
            pass

    def close(self) -> None:
        self.app.stop()


@pytest.fixture(params=["memory", "sqlite"])
def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Retention], MakeLog]:
    def of(retention: Retention) -> MakeLog:
        if request.param == "memory":
            return lambda scheduler: MemoryLog(secrets.token_hex(4), retention)
        return lambda scheduler: SqliteLog(
            tmp_path, scheduler, lambda: secrets.token_hex(4), retention=retention, ballast_bytes=0
        )

    return of


@pytest.fixture
def retention() -> Retention:
    return Retention()


async def test_newest_hundred_lines_are_read_in_order_and_no_more(
    make_log: Callable[[Retention], MakeLog], retention: Retention
) -> None:
    with closing(Hub(make_log(retention))) as hub:
        await hub.publish(*(update("d", number) for number in range(4_000)))
        await hub.publish(start("op"), *(line("op", f"line {number}") for number in range(250)))
        await hub.publish(*(update("d", number) for number in range(4_000)), line("other", "not mine"))
        assert await hub.lines("op") == [f"line {number}" for number in range(150, 250)]
        assert hub.log.looked_at <= 2_000


async def test_lines_far_apart_are_found(make_log: Callable[[Retention], MakeLog], retention: Retention) -> None:
    with closing(Hub(make_log(retention))) as hub:
        await hub.publish(start("op"))
        for number in range(5):
            others = [event for _ in range(800) for event in (update("d"), progress("op", number))]
            await hub.publish(line("op", f"line {number}"), *others)
        await hub.publish(complete("op"))
        assert await hub.lines("op") == [f"line {number}" for number in range(5)]


async def test_operation_without_lines_reads_nothing(
    make_log: Callable[[Retention], MakeLog], retention: Retention
) -> None:
    with closing(Hub(make_log(retention))) as hub:
        await hub.publish(start("op"), *(update("d") for _ in range(3_000)), complete("op"))
        assert await hub.lines("op") == []
        assert hub.log.looked_at == 0


async def test_lines_on_the_global_channel_are_included(
    make_log: Callable[[Retention], MakeLog], retention: Retention
) -> None:
    with closing(Hub(make_log(retention))) as hub:
        await hub.publish(start("op"), line("op", "a"), {**line("op", "b"), "channel": "global"}, line("op", "c"))
        assert await hub.lines("op") == ["a", "b", "c"]


async def test_last_line_survives_trimming(make_log: Callable[[Retention], MakeLog]) -> None:
    with closing(Hub(make_log(Retention(events=10)))) as hub:
        await hub.publish(start("op"), line("op", "first"), line("op", "last"), *(update("d") for _ in range(50)))
        hub.trim()
        assert await hub.lines("op") == ["last"]


async def test_lines_trimmed_during_the_read_are_left_out(make_log: Callable[[Retention], MakeLog]) -> None:
    with closing(Hub(make_log(Retention(events=1_000)))) as hub:
        await hub.publish(start("op"), *(line("op", f"line {n}") for n in range(90)))
        await hub.publish(*(update("d") for _ in range(5_000)))
        reading = asyncio.create_task(hub.lines("op"))
        hub.trim()
        assert await reading == ["line 89"]


async def test_lines_are_found_in_a_reopened_log(tmp_path: Path) -> None:
    def make(scheduler: Scheduler) -> Log:
        return SqliteLog(tmp_path, scheduler, lambda: secrets.token_hex(4), ballast_bytes=0)

    with closing(Hub(make)) as hub:
        await hub.publish(start("op"), line("op", "before"))
    with closing(Hub(make)) as hub:
        await hub.publish(line("op", "after"), complete("op"))
        assert await hub.lines("op") == ["before", "after"]
