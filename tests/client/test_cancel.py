"""Cancelling over real connections: the requester always gets an outcome, or an error, in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy
from tests.client.waiting import PROMPT, until

from tidings.client import Client, connect, sync
from tidings.client.drafts import make_draft
from tidings.client.publisher import Publisher
from tidings.contract.contract import Contract
from tidings.exceptions import (
    ClientError,
    ConnectionLost,
    HubUnreachable,
    InvalidCommand,
    InvalidKey,
    OperationUnknown,
    TidingsError,
)
from tidings.protocol.messages import Attached, CancelAnswer, CancelPush, Claim


class Job:
    """A producer that holds one operation, over a `Publisher`."""

    lease_s = 10.0

    def __init__(self, producer_id: str, answer: CancelAnswer | None) -> None:
        self.producer_id = producer_id
        self.answer = answer
        self.pushes: list[CancelPush] = []
        self.verdicts: list[str] = []
        self.attaches = 0
        self.publisher: Publisher

    def claims(self) -> list[Claim]:
        return [Claim(operation_id="op-1")] if self.attaches else []

    def new_claims(self) -> list[Claim]:
        return []

    def attached(self, attached: Attached) -> None:
        self.attaches += 1
        self.verdicts.extend(verdict.verdict for verdict in attached.operations)

    def attach_refused(self, error: TidingsError) -> None:
        raise AssertionError(error)

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        self.pushes.append(push)
        return self.answer

    async def say(self, type: str, **more: object) -> None:
        await self.publisher.publish(make_draft(type, {"operation_id": "op-1", **more}), timeout_s=5)


@asynccontextmanager
async def running(url: str, answer: CancelAnswer | None) -> AsyncIterator[Job]:
    job = Job("job-1", answer)
    job.publisher = Publisher(url, PROMPT, contract=Contract(), holder=job)
    try:
        await job.publisher.wait_live()
        await job.say("operation:start", name="import")
        yield job
    finally:
        await job.publisher.aclose()


STOPPING = CancelAnswer(verdict="stopping")


async def test_cancel_asks_the_holder_and_returns_its_end(hub: HubServer) -> None:
    async with running(hub.url, STOPPING) as job, connect(hub.url) as client:
        asking = asyncio.ensure_future(client.cancel("op-1", reason="too slow", timeout_s=5))
        await until(lambda: bool(job.pushes))
        assert (job.pushes[0].operation_id, job.pushes[0].reason) == ("op-1", "too slow")
        await job.say("operation:cancelled")
        outcome = await asking
        assert (outcome.outcome, outcome.state) == ("cancelled", "cancelled")


async def test_cancel_refused_by_the_holder_returns_its_reason(hub: HubServer) -> None:
    answer = CancelAnswer(verdict="refused", reason="almost done")
    async with running(hub.url, answer), connect(hub.url) as client:
        outcome = await client.cancel("op-1", timeout_s=5)
        assert (outcome.outcome, outcome.reason) == ("refused", "almost done")


async def test_cancel_without_an_end_in_time_is_pending(hub: HubServer) -> None:
    async with running(hub.url, STOPPING), connect(hub.url) as client:
        assert (await client.cancel("op-1", timeout_s=0.1)).outcome == "pending"


async def test_cancel_of_an_unknown_operation_raises_operation_unknown(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        with pytest.raises(OperationUnknown) as caught:
            await client.cancel("nobody")
        assert caught.value.operation_id == "nobody"
        assert client._publisher._outcomes == {}


@pytest.mark.parametrize("timeout_s", [-1.0, 4000.0])
async def test_cancel_with_an_invalid_timeout_is_not_sent(hub: HubServer, timeout_s: float) -> None:
    async with connect(hub.url) as client:
        with pytest.raises(InvalidCommand):
            await client.cancel("op-1", timeout_s=timeout_s)


async def test_cancel_survives_a_lost_connection(hub: HubServer, proxy: TcpProxy) -> None:
    async with running(hub.url, STOPPING) as job, connect(proxy.url, options=PROMPT) as client:
        asking = asyncio.ensure_future(client.cancel("op-1", timeout_s=10))
        await until(lambda: bool(job.pushes))
        proxy.drop()
        await until(lambda: proxy.accepted == 2)
        await job.say("operation:cancelled")
        assert (await asking).outcome == "cancelled"


async def test_cancel_is_asked_once_of_a_holder_that_reconnects(hub: HubServer, proxy: TcpProxy) -> None:
    async with running(proxy.url, STOPPING) as job, connect(hub.url) as client:
        asking = asyncio.ensure_future(client.cancel("op-1", timeout_s=10))
        await until(lambda: bool(job.pushes))
        proxy.drop()
        await until(lambda: job.attaches == 2)
        await job.say("operation:log", message="still here")  # a round trip behind the push
        assert job.verdicts == ["held"]
        assert len(job.pushes) == 1
        await job.say("operation:cancelled")
        assert (await asking).outcome == "cancelled"


async def test_cancel_times_out_if_the_hub_does_not_answer(hub: HubServer, proxy: TcpProxy) -> None:
    async with connect(proxy.url, options=PROMPT) as client:
        proxy.stall()
        with pytest.raises(ConnectionLost):
            await client.cancel("op-1", timeout_s=0.1)
        proxy.resume()


async def test_cancel_without_a_hub_raises_hub_unreachable(hub: HubServer) -> None:
    async with connect(hub.url, options=PROMPT) as client:
        await asyncio.to_thread(hub.stop)
        with pytest.raises(HubUnreachable):
            await client.cancel("op-1", timeout_s=0.2)


async def test_cancel_ends_when_the_client_is_closed(hub: HubServer, proxy: TcpProxy) -> None:
    client: Client = await connect(proxy.url, options=PROMPT)
    proxy.stall()
    asking = asyncio.ensure_future(client.cancel("op-1", timeout_s=60))
    await until(lambda: len(client._publisher._outcomes) == 1)
    closing = asyncio.ensure_future(client.aclose())
    with pytest.raises(ConnectionLost):
        await asking
    proxy.drop()
    await closing
    with pytest.raises(ClientError):
        await client.cancel("op-1")


async def test_cancel_works_in_the_blocking_client(hub: HubServer) -> None:
    async with running(hub.url, CancelAnswer(verdict="refused")):

        def ask() -> str:
            with sync.connect(hub.url) as client:
                with pytest.raises(OperationUnknown):
                    client.cancel("nobody")
                return client.cancel("op-1", reason="r", timeout_s=5).outcome

        assert await asyncio.to_thread(ask) == "refused"


@pytest.mark.parametrize(
    ("operation_id", "reason", "kind"),
    [("\ud800", None, InvalidKey), ("x" * 300_000, None, InvalidKey), ("op", "\ud800", InvalidCommand)],
)
async def test_cancel_request_that_no_hub_reads_is_refused_before_it_is_sent(
    hub: HubServer, operation_id: str, reason: str | None, kind: type[TidingsError]
) -> None:
    async with connect(hub.url) as client:
        with pytest.raises(kind):
            await client.cancel(operation_id, reason=reason)
        assert (await client.publish("data:update")).position
