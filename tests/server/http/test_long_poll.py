"""`?wait=` over real connections."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from tests.server.hub_server import HubServer
from tests.server.operation_events import complete, failed, progress, start
from tests.server.raw_client import RawClient

from tidings.server.http import long_poll
from tidings.server.http.long_poll import LongPolls


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


def waiting(server: HubServer) -> LongPolls:
    return server.app.running().long_polls


def number_waiting(server: HubServer, count: int) -> Callable[[], bool]:
    return lambda: len(waiting(server)) == count


@asynccontextmanager
async def asking(server: HubServer, *paths: str) -> AsyncIterator[list["asyncio.Task[httpx.Response]"]]:
    """Request several paths at the same time, and return when all of them wait."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.http, limits=limits, timeout=30) as client:
        before = server.call(lambda: len(waiting(server)))
        tasks = [asyncio.create_task(client.get(path)) for path in paths]
        await asyncio.to_thread(server.wait, number_waiting(server, before + len(paths)))
        yield tasks
        await asyncio.gather(*tasks)


async def test_many_requests_wait_for_one_end(server: HubServer) -> None:
    server.publish(start("op"), start("other"))
    async with asking(server, *["/v1/operations/op?wait=60"] * 50, "/v1/operations/other?wait=60") as tasks:
        await asyncio.to_thread(server.publish, progress("op", 50))
        await asyncio.to_thread(server.publish, complete("op"))
        answers = await asyncio.gather(*tasks[:50])
        assert [answer.json()["state"] for answer in answers] == ["complete"] * 50
        assert not tasks[50].done()
        await asyncio.to_thread(server.publish, failed("other"))
        assert (await tasks[50]).json()["error"]["code"] == "boom"
    assert server.call(number_waiting(server, 0))
    assert not server.call(lambda: waiting(server)._waiters)


async def test_waiting_requests_are_woken_in_turns(server: HubServer) -> None:
    server.publish(start("op"))
    polls = waiting(server)

    async def never() -> Any:
        await asyncio.Event().wait()

    async def wait_all() -> list[int]:
        tasks = [asyncio.create_task(polls.wait_ended("op", 60, never)) for _ in range(200)]
        finished = [0]
        while finished[-1] < len(tasks):
            await asyncio.sleep(0)
            finished.append(sum(task.done() for task in tasks))
        return finished

    counting = server.call(lambda: asyncio.create_task(wait_all()))
    await asyncio.to_thread(server.wait, number_waiting(server, 200))
    await asyncio.to_thread(server.publish, progress("op", 50))
    assert len(server.call(lambda: polls._waiters)["op"]) == 1, "one entry for an event, however many wait"
    await asyncio.to_thread(server.publish, complete("op"))
    await asyncio.to_thread(server.wait, counting.done)
    finished = counting.result()
    assert max(after - before for before, after in pairwise(finished)) <= 32
    assert server.call(number_waiting(server, 0))


async def test_number_of_waiting_requests_has_its_own_limit(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "MAX_LONG_POLLS", 2)
    server.publish(start("op"))
    async with asking(server, *["/v1/operations/op?wait=30"] * 2):
        async with httpx.AsyncClient(base_url=server.http) as client:
            answer = await client.get("/v1/operations/op?wait=30")
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_connections")
        assert "WebSocket" in answer.json()["hint"]
        await asyncio.to_thread(server.publish, complete("op"))


def test_ended_operation_is_answered_immediately(server: HubServer) -> None:
    server.publish(complete("op"))
    assert httpx.get(f"{server.http}/v1/operations/op?wait=60", timeout=30).json()["state"] == "complete"


async def test_unknown_operation_may_be_waited_for(server: HubServer) -> None:
    async with asking(server, "/v1/operations/later?wait=30") as (task,):
        await asyncio.to_thread(server.publish, start("later"))
        await asyncio.to_thread(server.publish, progress("later", 1))
        assert not task.done()
        await asyncio.to_thread(server.publish, complete("later"))
        assert (await task).json()["state"] == "complete"


async def test_end_of_attempt_wakes_even_if_the_next_begins_in_one_batch(server: HubServer) -> None:
    server.publish(start("op"))
    async with asking(server, "/v1/operations/op?wait=30") as (task,):
        await asyncio.to_thread(server.publish, failed("op"), start("op"))
        answer = (await task).json()
    assert (answer["state"], answer["attempt"]) == ("running", 2)
    assert [moment["state"] for moment in answer["timeline"]] == ["running", "failed", "running"]


def test_wait_ends_with_its_timeout(server: HubServer) -> None:
    server.publish(start("op"))
    assert httpx.get(f"{server.http}/v1/operations/op?wait=0.05").json()["state"] == "running"
    unknown = httpx.get(f"{server.http}/v1/operations/none?wait=0.05")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "operation_unknown")
    assert server.call(number_waiting(server, 0))


def test_lost_client_ends_the_wait(server: HubServer) -> None:
    server.publish(start("op"))
    with RawClient(server.port) as client:
        client.send(b"GET /v1/operations/op?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait(number_waiting(server, 1))
    server.wait(number_waiting(server, 0))
    assert not server.call(lambda: waiting(server)._waiters)


async def test_drain_answers_all_and_allows_no_new_wait(server: HubServer) -> None:
    server.publish(start("op"))
    async with asking(server, "/v1/operations/op?wait=60", "/v1/operations/none?wait=60") as (known, unknown):
        await asyncio.to_thread(server.call, server.app.drain)
        assert ((await known).status_code, (await known).json()["state"]) == (200, "running")
        assert (await unknown).status_code == 404
    async with httpx.AsyncClient(base_url=server.http, timeout=60) as client:
        assert (await client.get("/v1/operations/op?wait=60")).json()["state"] == "running"


async def test_drain_answers_a_pending_cancel_with_draining(server: HubServer) -> None:
    async with httpx.AsyncClient(base_url=server.http, timeout=60) as client:
        await client.post("/v1/events", json=start("op"), headers={"Tidings-Producer": "p"})
        cancelling = asyncio.create_task(client.post("/v1/operations/op/cancel", json={"timeout_s": 3600}))
        await asyncio.to_thread(server.wait, number_waiting(server, 1))
        await asyncio.to_thread(server.call, server.app.drain)
        answer = await cancelling
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert server.call(number_waiting(server, 0))


async def test_waiting_requests_are_limited_like_connections() -> None:
    with HubServer(config={"max_connections": 3}) as server:
        server.publish(start("op"))
        async with asking(server, *["/v1/operations/op?wait=30"] * 3):
            async with httpx.AsyncClient(base_url=server.http) as client:
                answer = await client.get("/v1/operations/op?wait=30")
                assert (answer.status_code, answer.json()["code"]) == (503, "too_many_connections")
            await asyncio.to_thread(server.publish, complete("op"))
