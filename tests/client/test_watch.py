import asyncio
import gc
import random
from collections.abc import AsyncIterator

import pytest
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy
from tests.client.waiting import PROMPT, until

from tidings.client import BufferLimits, Client, Gap, Live, ReceivedEvent, State, Watch, connect
from tidings.client.events import Notice
from tidings.exceptions import ClientError, CommandRefused, HubClosed, InvalidPosition
from tidings.hub.config import HubConfig
from tidings.log.base import Retention
from tidings.log.memory import MemoryLog
from tidings.protocol.payloads import DataUpdateData, OperationProgressData
from tidings.protocol.timestamps import from_nanoseconds


async def publish(client: Client, first: int, last: int, dataset: str = "prices", timestamp: str | None = None) -> None:
    await asyncio.gather(
        *[
            client.publish("data:update", {"dataset": dataset, "version": number}, timestamp=timestamp)
            for number in range(first, last)
        ]
    )


def version(event: ReceivedEvent | Notice) -> int:
    assert isinstance(event, ReceivedEvent)
    assert isinstance(event.payload, DataUpdateData)
    assert isinstance(event.payload.version, int)
    return event.payload.version


async def take(watch: AsyncIterator[ReceivedEvent], count: int) -> list[ReceivedEvent]:
    async with asyncio.timeout(60):
        return [await anext(watch) for _ in range(count)]


async def test_watch_yields_typed_events_with_their_raw_data(hub: HubServer) -> None:
    async with connect(hub.url) as client, client.watch("operations") as watch:
        accepted = await client.publish(
            "operation:progress", {"operation_id": "a", "progress": 40, "own": 1}, trace_id="trace-1"
        )
        (event,) = await take(watch, 1)
    assert event.type == "operation:progress"
    assert (event.channel, event.key, event.trace_id) == ("operations", "a", "trace-1")
    assert event.payload == OperationProgressData(operation_id="a", progress=40)
    assert b'"own":1' in event.data
    assert event.position == accepted.position


async def test_watch_yields_only_events_of_its_paths(hub: HubServer) -> None:
    async with connect(hub.url) as client, client.watch("data/b*", since="now") as watch:
        await watch.wait_until_live()
        for dataset in ("a", "b1", "c", "b2"):
            await client.publish("data:update", {"dataset": dataset})
        assert [event.key for event in await take(watch, 2)] == ["b1", "b2"]


async def test_watch_from_snapshot_yields_the_newest_of_each_key_first(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        await publish(client, 0, 3)
        await publish(client, 3, 6, dataset="other")
        async with client.watch("data", notices=True) as watch:
            items = [await anext(watch) for _ in range(3)]
            assert [version(item) for item in items[:2]] == [2, 5]
            assert items[2] == Live(position=watch.position or "", outcome="snapshot")
            assert watch.state is State.LIVE
            assert watch.outcome == "snapshot"


async def test_watch_from_first_or_a_position_yields_what_follows(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        await publish(client, 0, 5)
        async with client.watch("data", since="first") as watch:
            events = await take(watch, 5)
            assert [version(event) for event in events] == [0, 1, 2, 3, 4]
        async with client.watch("data", since=events[2].position) as watch:
            assert [version(event) for event in await take(watch, 2)] == [3, 4]
            assert watch.outcome == "complete"


async def test_watch_from_a_time_yields_what_the_hub_received_since(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        await publish(client, 0, 3, timestamp="2020-01-01T00:00:00Z")
        between = from_nanoseconds(hub.call(hub.app.hub.now_ns))
        await publish(client, 3, 5, timestamp="2020-01-01T00:00:00Z")
        assert client.hub_time_s() is not None
        async with client.watch("data", since=between) as watch:
            assert [version(event) for event in await take(watch, 2)] == [3, 4]
            assert watch.outcome == "complete"


async def test_malformed_position_is_refused_before_connecting(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        with pytest.raises(InvalidPosition):
            client.watch("data", since="yesterday")


async def test_watch_of_an_unknown_channel_raises_the_hubs_refusal(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        watch = client.watch("nowhere")
        with pytest.raises(CommandRefused) as caught:
            await anext(watch)
        assert caught.value.refusal == "unknown_channel"
        assert watch.state is State.CLOSED
        with pytest.raises(CommandRefused):
            await watch.wait_until_live()


@pytest.mark.parametrize("seed", [1, 2])
async def test_watch_yields_each_event_once_over_fifty_disconnects(hub: HubServer, proxy: TcpProxy, seed: int) -> None:
    """Publisher and watcher are cut anywhere: each event is stored once and received once."""
    chance = random.Random(seed)
    cutting = True
    published = 0
    seen: list[ReceivedEvent] = []

    async def keep_publishing(client: Client) -> None:
        nonlocal published
        while cutting:
            published += 10
            await publish(client, published - 10, published)

    async def keep_reading(watch: Watch[ReceivedEvent]) -> None:
        async for event in watch:
            seen.append(event)  # noqa: PERF401 -- watched while it grows

    async with connect(proxy.url, options=PROMPT) as client, client.watch("data", since="now") as watch:
        await watch.wait_until_live()
        publishing = asyncio.create_task(keep_publishing(client))
        reading = asyncio.create_task(keep_reading(watch))
        for _ in range(50):
            before = watch.statistics().connections
            if chance.random() < 0.7:
                proxy.cut_after(chance.randrange(1, 10_000))
                await asyncio.sleep(chance.random() * 0.03)
            proxy.drop()
            await until(lambda before=before: watch.statistics().connections > before)  # type: ignore[misc]
        cutting = False
        await publishing
        await until(lambda: len(seen) >= published)
        assert watch.statistics().connections > 50
        # Concurrent calls are sent in their order, and what is sent again after a reconnect as well.
        assert [version(event) for event in seen] == list(range(published))
        assert len({event.position for event in seen}) == published
    await reading
    assert hub.call(lambda: hub.app.hub.log.head) == published


async def test_interrupted_snapshot_yields_each_key_once(hub: HubServer, proxy: TcpProxy) -> None:
    keys = 600
    async with connect(hub.url) as direct:
        for key in range(keys):
            await direct.publish("data:update", {"dataset": f"d{key:04}", "url": "x" * 200})
    async with connect(proxy.url, options=PROMPT) as client:
        watch = client.watch("data")
        seen: list[str | None] = []
        for cut in range(1, 6):
            proxy.cut_after(20_000 * cut)
            async with asyncio.timeout(60):
                while len(seen) < 40 * cut:
                    seen.append((await anext(watch)).key)
            proxy.drop()
        seen += [event.key for event in await take(watch, keys - len(seen))]
        assert seen == [f"d{key:04}" for key in range(keys)]
        await watch.wait_until_live()
        assert watch.outcome == "snapshot"
        assert watch.statistics().duplicates > 0


async def test_restarted_memory_hub_is_a_gap_with_a_snapshot() -> None:
    with HubServer() as first:
        client = await connect(first.url, options=PROMPT)
        watch = client.watch("data", notices=True)
        await watch.wait_until_live()
        await publish(client, 0, 3)
        before = [await anext(watch) for _ in range(4)]
        assert [type(item) for item in before] == [Live, ReceivedEvent, ReceivedEvent, ReceivedEvent]
        await asyncio.to_thread(first.stop)
    with HubServer(first.port):
        items: list[ReceivedEvent | Notice] = []
        await client.publish("data:update", {"dataset": "prices", "version": 9}, timeout_s=10)
        async with asyncio.timeout(60):
            while not (items and isinstance(items[-1], ReceivedEvent)):
                items.append(await anext(watch))
        assert any(isinstance(item, Gap) for item in items)
        assert version(items[-1]) == 9
        assert watch.outcome == "gap"
        assert watch.gap is not None
        assert watch.statistics().gaps == 1
        await watch.wait_until_live()
        await client.aclose()


async def test_events_trimmed_during_an_absence_are_a_gap_with_its_range() -> None:
    log = MemoryLog("00000001", Retention(events=5))
    # Without its ring of recent frames, the hub has only what the log has.
    config = HubConfig(status_s=0, metrics_s=0, ring_bytes=1)
    with HubServer(config=config, event_log=log) as hub:
        async with (
            TcpProxy(hub.port) as proxy,
            connect(hub.url) as direct,
            connect(proxy.url, options=PROMPT) as client,
        ):
            watch = client.watch("data", since="now", notices=True)
            await watch.wait_until_live()
            assert isinstance(await anext(watch), Live)
            await publish(direct, 0, 1)
            first = await anext(watch)
            assert version(first) == 0
            proxy.refusing = True
            proxy.drop()
            await publish(direct, 1, 40)
            await until(lambda: hub.call(lambda: log.statistics().durable_events) <= 5)
            proxy.refusing = False
            gap = await asyncio.wait_for(anext(watch), 10)
            assert isinstance(gap, Gap)
            assert isinstance(first, ReceivedEvent)
            assert gap.after == first.position
            assert gap == watch.gap
            assert [version(await anext(watch)) for _ in range(5)] == [35, 36, 37, 38, 39]
            live = await anext(watch)
            assert isinstance(live, Live)
            assert live.outcome == "gap"


async def test_slow_consumer_makes_the_hub_wait_within_bounded_memory(hub: HubServer) -> None:
    buffer = BufferLimits(events=50, bytes=100_000)
    count, size = 2_000, 8_000
    async with connect(hub.url) as client, client.watch("operations", since="now", buffer=buffer) as watch:
        await watch.wait_until_live()
        for number in range(count):  # one by one: of those of one tick only the last would be sent
            data = {"operation_id": "a", "progress": 1, "message": "x" * size, "n": number}
            await client.publish("operation:progress", data)
        figures = watch.statistics()
        assert figures.buffered <= buffer.events + 1
        assert figures.buffered_bytes <= buffer.bytes + 2 * size
        # The hub has gone on without waiting for this reader, and keeps nothing for it but its position.
        assert hub.call(lambda: hub.app.hub.delivery.counters.fell_behind) == 1
        seen = 0
        async with asyncio.timeout(60):
            async for event in watch:
                seen += 1
                if b'"n":%d}' % (count - 1) in event.data.replace(b',"current_step":"","total_steps":0', b""):
                    break
        assert seen < count / 2, "superseded events are skipped for a reader that is behind"
        assert watch.state is State.LIVE


async def test_wait_until_live_with_a_full_buffer_raises(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        await publish(client, 0, 30)
        async with client.watch("data", since="first", buffer=BufferLimits(events=10)) as watch:
            with pytest.raises(ClientError, match="must be taken before this watch can become live"):
                await watch.wait_until_live()
            assert len(await take(watch, 30)) == 30
            await watch.wait_until_live()


async def test_silent_hub_makes_the_watch_stale_until_it_returns() -> None:
    config = HubConfig(status_s=0, metrics_s=0, heartbeat_s=0.1)
    with HubServer(config=config) as hub:
        async with TcpProxy(hub.port) as proxy, connect(proxy.url, options=PROMPT) as client:
            states: list[State] = []
            watch = client.watch("data", since="now", on_change=lambda status: states.append(status.state))
            await watch.wait_until_live()
            # Heartbeats alone keep it alive.
            await until(lambda: (watch.age_s or 0) < 0.05)
            proxy.stall()
            await until(lambda: watch.state is State.STALE)
            assert (watch.age_s or 0) >= 0.2
            # Given up by itself: a new connection is tried, which the stalled proxy accepts and does not serve.
            accepted = proxy.accepted
            await until(lambda: proxy.accepted > accepted)
            assert watch.state is State.STALE
            proxy.drop()
            proxy.resume()
            await until(lambda: watch.state is State.LIVE)
            await client.publish("data:update", {"dataset": "prices", "version": 1})
            assert version((await take(watch, 1))[0]) == 1
            assert State.STALE in states
            await watch.aclose()


async def test_position_of_a_quiet_path_moves_with_the_heartbeats() -> None:
    with HubServer(config=HubConfig(status_s=0, metrics_s=0, heartbeat_s=0.05)) as hub:
        async with connect(hub.url, options=PROMPT) as client, client.watch("system", since="now") as watch:
            await watch.wait_until_live()
            await publish(client, 0, 10)
            head = hub.call(lambda: str(hub.app.hub.log.position(10)))
            await until(lambda: watch.position == head)


async def test_final_close_code_ends_the_watch_with_its_reason(hub: HubServer) -> None:
    async with connect(hub.url, options=PROMPT) as client:
        watch = client.watch("data", since="now")
        await watch.wait_until_live()
        await publish(client, 0, 1)
        hub.close_all(4003, "the grant was taken back")
        assert version((await take(watch, 1))[0]) == 0, "events before the end are not lost"
        with pytest.raises(HubClosed, match="the grant was taken back") as caught:
            await anext(watch)
        assert caught.value.close_code == 4003
        with pytest.raises(HubClosed):
            await client.publish("data:update")


async def test_temporary_close_code_reconnects_after_the_hubs_delay(hub: HubServer) -> None:
    async with connect(hub.url, options=PROMPT) as client, client.watch("data", since="now") as watch:
        await watch.wait_until_live()
        loop = asyncio.get_running_loop()
        closed_at = loop.time()
        hub.close_all(4100, "draining", retry_after_ms=300)
        await until(lambda: watch.state is not State.LIVE)
        retry_at = watch.status.retry_at
        assert retry_at is not None
        assert closed_at + 0.3 <= retry_at
        assert "draining" in str(watch.status.error)
        await watch.wait_until_live()
        assert loop.time() >= closed_at + 0.3
        assert watch.outcome == "complete"
        assert watch.status.error is None


async def test_two_watches_yield_the_same_events_in_the_same_order(hub: HubServer) -> None:
    async with connect(hub.url) as one, connect(hub.url) as two:
        watches = [client.watch("data", since="now") for client in (one, two)]
        for watch in watches:
            await watch.wait_until_live()
        await asyncio.gather(publish(one, 0, 100), publish(two, 100, 200))
        first, second = [[event.position for event in await take(watch, 200)] for watch in watches]
        assert first == second


async def test_pace_bundles_deliveries(hub: HubServer) -> None:
    async with connect(hub.url) as client, client.watch("operations", since="now", pace_ms=100) as watch:
        await watch.wait_until_live()
        for number in range(101):
            await client.publish("operation:progress", {"operation_id": "a", "progress": number})
        seen = []
        async for event in watch:
            assert isinstance(event.payload, OperationProgressData)
            seen.append(event.payload.progress)
            if seen[-1] == 100:
                break
        assert len(seen) < 50
        assert seen == sorted(seen)


async def test_leaving_the_loop_closes_the_connection(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        await publish(client, 0, 1)
        async for _ in client.watch("data"):
            break
        gc.collect()
        await until(lambda: hub.connections() == 1)


async def test_closing_a_watch_ends_its_iteration(hub: HubServer) -> None:
    async with connect(hub.url) as client:
        watch = client.watch("data", since="now")
        await watch.wait_until_live()
        reading = asyncio.create_task(anext(watch, None))
        await asyncio.sleep(0)
        await watch.aclose()
        assert await reading is None
        await until(lambda: hub.connections() == 1)


async def test_second_consumer_of_a_watch_raises(hub: HubServer) -> None:
    async with connect(hub.url) as client, client.watch("data", since="now") as watch:
        first = asyncio.create_task(anext(watch, None))
        await until(lambda: watch.state is State.LIVE)
        with pytest.raises(RuntimeError, match="one consumer"):
            await anext(watch)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_cancelled_anext_loses_no_event(hub: HubServer) -> None:
    """After a cancellation at any moment of the delivery, the next call returns the event."""
    chance = random.Random(5)
    count = 150
    async with connect(hub.url) as client, client.watch("data", since="now") as watch:
        await watch.wait_until_live()
        publishing = asyncio.create_task(publish(client, 0, count))
        numbers: list[int] = []
        async with asyncio.timeout(60):
            while len(numbers) < count:
                taking = asyncio.create_task(_next(watch))
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                taking.cancel()
                event = (await asyncio.gather(taking, return_exceptions=True))[0]
                if isinstance(event, ReceivedEvent):
                    numbers.append(version(event))
        assert numbers == list(range(count))
        await publishing


async def _next(watch: Watch[ReceivedEvent]) -> ReceivedEvent:
    return await anext(watch)
