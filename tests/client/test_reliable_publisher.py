import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.client.hub_server import HubServer
from tests.client.model_hub import established, message
from tests.client.tcp_proxy import TcpProxy
from tests.client.waiting import PROMPT, until
from tests.producer.held import told
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tidings.client.drafts import Draft, make_draft
from tidings.client.publish_queue import PublishQueue, QueueLimits, Rank, WindowLimits
from tidings.client.reliable_publisher import ReliablePublisher
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, HubUnreachable, LogFull
from tidings.log.memory import MemoryLog
from tidings.protocol.messages import Accepted
from tidings.testing.faulty_log import FaultyLog


class Sending:
    """A running publisher, and its callbacks' arguments."""

    def __init__(self, url: str, limits: QueueLimits, window: WindowLimits, *, wait: bool = True) -> None:
        self.results: list[tuple[str, Accepted | CommandRefused]] = []
        self.retried: list[str] = []
        self.publisher = ReliablePublisher(
            url,
            msgspec.structs.replace(PROMPT, wait_for_hub=wait),
            PublishQueue(limits, window),
            contract=Contract(),
            on_settled=lambda entry, result: self.results.append((entry.draft.event_id, result)),
            on_retry=lambda error: self.retried.append(error.refusal),
            retry_s=0.02,
        )
        self.queue = self.publisher.queue
        self.task = asyncio.create_task(self.publisher.run())

    def put(self, *datasets: str, rank: Rank = Rank.DURABLE) -> list[bool]:
        return [self.publisher.put(update(dataset), rank) is not None for dataset in datasets]


def update(dataset: str) -> Draft:
    return make_draft("data:update", {"dataset": dataset}, event_id=f"event-{dataset[-40:]:0>16}")


def stored(hub: HubServer) -> list[str]:
    """Return the datasets in the log, in its order."""
    return [data["dataset"] for type, data in told(hub) if type == "data:update"]


@asynccontextmanager
async def sending(
    url: str,
    limits: QueueLimits = QueueLimits(),  # noqa: B008 -- frozen
    *,
    window: WindowLimits = WindowLimits(),  # noqa: B008 -- frozen
    wait: bool = True,
) -> AsyncIterator[Sending]:
    running = Sending(url, limits, window, wait=wait)
    try:
        yield running
    finally:
        running.task.cancel()
        await asyncio.wait([running.task])
        await running.publisher.aclose()


async def test_events_are_stored_in_order_and_settled(hub: HubServer) -> None:
    names = [f"{n:05d}" for n in range(3_000)]
    async with sending(hub.url) as running:
        await running.publisher.wait_live()
        running.put(*names, names[0])
        running.publisher.put(make_draft("nothing:such", {}), Rank.DURABLE, None)
        await running.publisher.wait_below(1)
    assert stored(hub) == names
    accepted = [(id, result.duplicate) for id, result in running.results if isinstance(result, Accepted)]
    assert [id for id, duplicate in accepted if not duplicate] == [f"event-{name:0>16}" for name in names]
    assert [id for id, duplicate in accepted if duplicate] == ["event-0000000000000000"]
    refused = [result.refusal for _, result in running.results if isinstance(result, CommandRefused)]
    assert refused == ["unknown_type"]


async def test_latest_events_are_conflated_only_while_the_hub_is_away() -> None:
    with HubServer() as hub:
        port, url = hub.port, hub.url
        async with sending(url) as running:
            await running.publisher.wait_live()
            for n in range(100):
                running.publisher.put(update(f"a{n}"), Rank.LATEST, "same")
            await running.publisher.wait_below(1)
            assert running.queue.conflated == 0
            hub.stop()
            await until(lambda: running.publisher.link.status.error is not None)
            for n in range(100):
                running.publisher.put(update(f"b{n}"), Rank.LATEST, "same")
            assert running.queue.waiting == 1
            with HubServer(port) as again:
                await running.publisher.wait_below(1)
                assert stored(again) == ["b99"]
            assert running.queue.conflated == 99


async def test_events_refused_by_a_full_log_are_sent_again_in_order() -> None:
    faulty = FaultyLog(MemoryLog("epoch"))
    with HubServer(event_log=faulty) as hub:
        async with sending(hub.url) as running:
            await running.publisher.wait_live()

            def fill() -> None:
                for _ in range(1_000):
                    faulty.fail_append(LogFull("the disk is full"))

            hub.call(fill)
            names = [f"{n:03d}" for n in range(200)]
            running.put(*names[:100])
            await until(lambda: len(running.retried) > 100)  # all of them, and one that was tried again
            assert not running.publisher.backed_up, "events that the hub cannot store must not pause the reader"
            running.put(*names[100:])
            hub.call(faulty.clear_faults)
            await running.publisher.wait_below(1)
        assert stored(hub) == names
    assert set(running.retried) == {"log_full"}
    assert all(isinstance(result, Accepted) for _, result in running.results)


async def test_events_in_flight_when_the_connection_breaks_are_stored_once(hub: HubServer, proxy: TcpProxy) -> None:
    names = [f"{n:05d}" for n in range(2_000)]
    async with sending(proxy.url) as running:
        link = running.publisher.link
        await running.publisher.wait_live()
        for start in range(0, 2_000, 200):
            connections = link.connections
            running.put(*names[start : start + 200])
            await asyncio.sleep(0)
            proxy.drop()
            await until(lambda before=connections: link.connections > before)  # type: ignore[misc]
        await running.publisher.wait_below(1)
    assert stored(hub) == names


async def test_full_queue_refuses_an_event_that_outranks_none() -> None:
    async with sending("ws://127.0.0.1:1/ws", QueueLimits(events=3, bytes=1 << 20)) as running:
        assert running.put("log", rank=Rank.LOG) == [True]
        assert running.put("a", "b", "c", "d") == [True, True, True, False]
        assert (running.queue.waiting, running.queue.shed) == (3, 2)


async def test_run_raises_for_an_absent_hub_unless_it_waits() -> None:
    async with sending("ws://127.0.0.1:1/ws", wait=False) as running:
        with pytest.raises(HubUnreachable):
            await running.task


async def test_burst_backs_up_a_connected_hub_and_not_an_absent_one(hub: HubServer) -> None:
    async with sending(hub.url) as running:
        publisher = running.publisher
        for n in range(600):
            running.put(f"{n}")
        assert not publisher.backed_up, "it is not connected yet"
        await asyncio.wait_for(publisher.wait_drained(), 5)
        await publisher.wait_live()
        await publisher.wait_below(1)
        running.put(*(f"more-{n}" for n in range(2_000)))
        assert publisher.backed_up
        await publisher.wait_drained()
        assert publisher.queue.waiting < 250
        running.put(*(f"again-{n}" for n in range(2_000)))
        hub.stop()
        await asyncio.wait_for(publisher.wait_drained(), 5)


async def test_large_events_back_it_up_sooner(hub: HubServer) -> None:
    async with sending(hub.url, QueueLimits(events=10_000, bytes=4 << 20)) as running:
        await running.publisher.wait_live()
        for n in range(100):
            running.put(f"{n:0>60000}")
        assert running.publisher.backed_up
        assert running.queue.shed == 0


async def test_event_put_after_the_waiting_ones_were_dropped_is_sent() -> None:
    held = FaultyLog(MemoryLog("epoch"))
    with HubServer(event_log=held) as hub:
        async with sending(hub.url, window=WindowLimits(events=2)) as running:
            await running.publisher.wait_live()
            hub.call(held.hold_appends)
            running.put("a", "b")
            for _ in range(5):  # rounds of the loop that this client had scheduled
                await asyncio.sleep(0)
            running.put("c", "d")
            assert (running.queue.blocked, running.queue.unacknowledged) == (True, 2)
            running.queue.drop(lambda entry: True)
            hub.call(held.release_appends)
            await until(lambda: running.queue.unacknowledged == 0)
            running.queue.put(update("e"), Rank.DURABLE)
            running.publisher.wake()  # as the thread of a job does
            await running.publisher.wait_below(1)
        assert stored(hub) == ["a", "b", "e"]


async def test_refusal_that_names_no_event_is_the_answer_to_the_one_left_unanswered() -> None:
    """So answers a hub that cannot read the id of what it refuses; no event may wait for it forever."""

    async def refuse_poison(socket: ServerConnection) -> None:
        await socket.send(established().decode())
        async for text in socket:
            command = msgspec.json.decode(text)
            if command["data"]["dataset"] == "poison":
                error = {"code": "too_deep", "message": "too deep", "recoverable": False}
                await socket.send(message("connection:error", error).decode())
            else:
                accepted = message("event:accepted", {"position": "e:1"}, reply_to=command["id"])
                await socket.send(accepted.decode())

    async with serve(refuse_poison, "127.0.0.1", 0, subprotocols=[Subprotocol("tidings.v1")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with sending(f"ws://127.0.0.1:{port}/ws") as running:
            await running.publisher.wait_live()
            running.put("one", "poison", "two", "poison", *map(str, range(2_000)))
            await running.publisher.wait_below(1)
    refused = [id for id, result in running.results if isinstance(result, CommandRefused)]
    assert [id.strip("0") for id in refused] == ["event-" + "0" * 10 + "poison"] * 2
    assert len(running.results) == 2_004
