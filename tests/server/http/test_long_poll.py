"""`?wait=` over real connections; nobody sleeps, everyone waits for what they wait for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.server.hub_server import HubServer
from tests.server.operation_events import complete, failed, progress, start
from tests.server.raw_client import RawClient

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
    """Ask for paths at the same time, and go on when all of them wait."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.http, limits=limits, timeout=10) as client:
        before = server.call(lambda: len(waiting(server)))
        tasks = [asyncio.create_task(client.get(path)) for path in paths]
        await asyncio.to_thread(server.wait, number_waiting(server, before + len(paths)))
        yield tasks
        await asyncio.gather(*tasks)


async def test_many_wait_for_one_end_and_are_told_at_once(server: HubServer) -> None:
    server.publish(start("op"), start("other"))
    began = time.monotonic()
    async with asking(server, *["/v1/operations/op?wait=30"] * 50, "/v1/operations/other?wait=30") as tasks:
        await asyncio.to_thread(server.publish, progress("op", 50))
        await asyncio.to_thread(server.publish, complete("op"))
        answers = await asyncio.gather(*tasks[:50])
        assert [answer.json()["state"] for answer in answers] == ["complete"] * 50
        assert not tasks[50].done()
        await asyncio.to_thread(server.publish, failed("other"))
        assert (await tasks[50]).json()["error"]["code"] == "boom"
    assert time.monotonic() - began < 10
    assert server.call(number_waiting(server, 0))
    assert not server.call(lambda: waiting(server)._waiters)


def test_what_has_ended_is_told_at_once(server: HubServer) -> None:
    server.publish(complete("op"))
    assert httpx.get(f"{server.http}/v1/operations/op?wait=60", timeout=5).json()["state"] == "complete"


async def test_one_that_is_not_there_yet_is_waited_for_too(server: HubServer) -> None:
    async with asking(server, "/v1/operations/later?wait=30") as (task,):
        await asyncio.to_thread(server.publish, start("later"))
        await asyncio.to_thread(server.publish, progress("later", 1))
        assert not task.done()
        await asyncio.to_thread(server.publish, complete("later"))
        assert (await task).json()["state"] == "complete"


async def test_the_end_of_an_attempt_is_told_even_if_the_next_begins_in_the_same_moment(server: HubServer) -> None:
    server.publish(start("op"))
    async with asking(server, "/v1/operations/op?wait=30") as (task,):
        await asyncio.to_thread(server.publish, failed("op"), start("op"))
        answer = (await task).json()
    assert (answer["state"], answer["attempt"]) == ("running", 2)
    assert [moment["state"] for moment in answer["timeline"]] == ["running", "failed", "running"]


def test_the_wait_ends_with_its_time(server: HubServer) -> None:
    server.publish(start("op"))
    assert httpx.get(f"{server.http}/v1/operations/op?wait=0.05").json()["state"] == "running"
    unknown = httpx.get(f"{server.http}/v1/operations/none?wait=0.05")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "operation_unknown")
    assert server.call(number_waiting(server, 0))


def test_nobody_is_kept_who_goes_away(server: HubServer) -> None:
    server.publish(start("op"))
    with RawClient(server.port) as client:
        client.send(b"GET /v1/operations/op?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait(number_waiting(server, 1))
    server.wait(number_waiting(server, 0))
    assert not server.call(lambda: waiting(server)._waiters)


async def test_all_are_answered_when_the_hub_drains_and_none_waits_then(server: HubServer) -> None:
    server.publish(start("op"))
    async with asking(server, "/v1/operations/op?wait=60", "/v1/operations/none?wait=60") as (known, unknown):
        await asyncio.to_thread(server.call, server.app.drain)
        assert ((await known).status_code, (await known).json()["state"]) == (200, "running")
        assert (await unknown).status_code == 404
    async with httpx.AsyncClient(base_url=server.http, timeout=5) as client:
        assert (await client.get("/v1/operations/op?wait=60")).json()["state"] == "running"


async def test_a_cancel_that_is_not_answered_yet_says_that_the_hub_drains(server: HubServer) -> None:
    async with httpx.AsyncClient(base_url=server.http, timeout=10) as client:
        await client.post("/v1/events", json=start("op"), headers={"Tidings-Producer": "p"})
        asked = asyncio.create_task(client.post("/v1/operations/op/cancel", json={"timeout_s": 3600}))
        await asyncio.to_thread(server.wait, number_waiting(server, 1))
        await asyncio.to_thread(server.call, server.app.drain)
        answer = await asked
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert server.call(number_waiting(server, 0))


async def test_no_more_wait_than_there_may_be_connections() -> None:
    with HubServer(config={"max_connections": 3}) as server:
        server.publish(start("op"))
        async with asking(server, *["/v1/operations/op?wait=30"] * 3):
            async with httpx.AsyncClient(base_url=server.http) as client:
                answer = await client.get("/v1/operations/op?wait=30")
                assert (answer.status_code, answer.json()["code"]) == (503, "too_many_connections")
            await asyncio.to_thread(server.publish, complete("op"))
