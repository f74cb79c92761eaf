import asyncio
import os
import threading
from collections.abc import Iterator

import pytest
import structlog

import tidings
from tidings.client.sync import SyncClient
from tidings.client.sync import connect as connect_sync
from tidings.contract.event_types import BUILTIN
from tidings.hub.config import HubConfig
from tidings.testing import ManualHub, Stall
from tidings.testing.manual_hub import silenced

WINDOW = 20.0
"""Longer than any client waits before it tries again."""


@pytest.fixture
def hub() -> Iterator[ManualHub]:
    with ManualHub() as hub:
        yield hub


@pytest.fixture
def client(hub: ManualHub) -> Iterator[SyncClient]:
    with connect_sync(hub.url) as client:
        yield client


def datasets(hub: ManualHub) -> list[str | None]:
    return [event.key for event in hub.events("data")]


async def test_asynchronous_client_publishes_and_watches(hub: ManualHub) -> None:
    async with tidings.connect(hub.url) as client, client.watch("data") as watch:
        await watch.wait_until_live()
        accepted = await client.publish("data:update", {"dataset": "prices"}, trace_id="t-1")
        event = await anext(watch)
    assert (event.key, event.trace_id, event.position) == ("prices", "t-1", accepted.position)
    assert hub.events() == [event]


def test_blocking_client_publishes_and_watches(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        client.publish("data:update", {"dataset": "prices"})
        assert next(watch).key == "prices"


def test_timestamps_of_clients_use_the_hub_clock(hub: ManualHub, client: SyncClient) -> None:
    client.publish("data:update", {"dataset": "now"})
    hub.advance(90)
    client.publish("data:update", {"dataset": "later"})
    client.publish("data:update", {"dataset": "said"}, timestamp="2025-12-24T18:00:00.5Z")
    assert [event.timestamp for event in hub.events()] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:30Z",
        "2025-12-24T18:00:00.5Z",
    ]
    assert hub.now.isoformat() == "2026-01-01T00:01:30+00:00"


def test_publish_acts_as_another_client(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data/prices") as watch:
        watch.wait_until_live()
        hub.publish("data:update", {"dataset": "other"})
        position = hub.publish("data:update", tidings.DataUpdateData(dataset="prices"), trace_id="t")
        assert next(watch).position == position
    assert [event.key for event in hub.events("data/prices")] == ["prices"]


def test_publish_raises_the_hub_s_error(hub: ManualHub) -> None:
    with pytest.raises(tidings.UnknownType):
        hub.publish("data:nonsense")
    with pytest.raises(tidings.InvalidPayload):
        hub.publish("operation:start", {"name": 3})
    assert hub.events() == []


class MatchFinished(tidings.Payload, frozen=True, kw_only=True):
    match_id: str
    home: int
    away: int


async def test_application_event_types_are_accepted_and_typed() -> None:
    row = tidings.EventType(
        type="match:finished",
        payload=MatchFinished,
        channel="sports",
        key="match_id",
        event_class=tidings.EventClass.DURABLE,
    )
    contract = tidings.Contract([*BUILTIN, row])
    with ManualHub(contract=contract) as hub:
        async with tidings.connect(hub.url, contract=contract) as client:
            await client.publish("match:finished", {"match_id": "final", "home": 2, "away": 1})
        [event] = hub.events("sports")
    assert event.payload == MatchFinished(match_id="final", home=2, away=1)


# Time.


def test_time_stands_still_until_advance(hub: ManualHub, client: SyncClient) -> None:
    before = hub.now
    with client.watch("data") as watch:
        watch.wait_until_live()
        assert watch.age_s == 0.0
        hub.advance(10)
        assert watch.age_s == 10.0
        assert (hub.now - before).total_seconds() == 10


def test_heartbeats_keep_a_blocking_watch_live_for_an_hour(hub: ManualHub, client: SyncClient) -> None:
    states: list[tidings.State] = []
    with client.watch("data", on_change=lambda status: states.append(status.state)) as watch:
        watch.wait_until_live()
        hub.advance(3_600)
        assert watch.state is tidings.State.LIVE
        assert watch.statistics().connections == 1
    assert tidings.State.STALE not in states


async def test_heartbeats_keep_an_asynchronous_watch_live_for_an_hour(hub: ManualHub) -> None:
    states: list[tidings.State] = []
    async with (
        tidings.connect(hub.url) as client,
        client.watch("data", on_change=lambda status: states.append(status.state)) as watch,
    ):
        await watch.wait_until_live()
        await hub.aadvance(3_600)
        assert watch.state is tidings.State.LIVE
    assert tidings.State.STALE not in states


def test_silent_hub_makes_a_watch_stale_and_reconnect(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        with hub.inject(Stall(link="watch")):
            hub.advance(49)
            states = [watch.state]
            hub.advance(1)
            assert [*states, watch.state] == [tidings.State.LIVE, tidings.State.STALE]
            hub.advance(25)
            assert hub.links == ["tidings publisher"]
        hub.advance(WINDOW)
        assert watch.state is tidings.State.LIVE
        assert hub.links == ["tidings publisher", "tidings watch data"]


async def test_blocking_wait_fails_for_a_client_in_this_loop(hub: ManualHub) -> None:
    async with tidings.connect(hub.url):
        with pytest.raises(RuntimeError, match=r"await hub\.aadvance"):
            hub.advance(1)
        with pytest.raises(RuntimeError, match=r"await hub\.asettle"):
            hub.settle()
        await hub.asettle()


async def test_clients_in_this_loop_and_on_threads_share_the_clock(hub: ManualHub) -> None:
    async with tidings.connect(hub.url) as client, client.watch("data") as here:
        await here.wait_until_live()
        there = await asyncio.to_thread(connect_sync, hub.url)
        try:
            with hub.inject(Stall(link="watch")):
                await hub.aadvance(50)
                assert (here.state, there.state) == (tidings.State.STALE, tidings.State.LIVE)
        finally:
            await asyncio.to_thread(there.close)


def test_time_cannot_go_back(hub: ManualHub) -> None:
    with pytest.raises(ValueError, match="back"):
        hub.advance(-1)


def test_retention_follows_the_clock_but_events_are_kept() -> None:
    rare = HubConfig(status_s=0, metrics_s=0, maintain_s=3_600, heartbeat_s=3_600)
    with ManualHub(rare) as hub, connect_sync(hub.url) as client:
        hub.publish("data:update", {"dataset": "prices"})
        hub.advance(8 * 86_400)
        with client.watch("data") as watch:
            watch.wait_until_live()
            hub.publish("data:update", {"dataset": "fresh"})
            assert next(watch).key == "fresh"
        assert datasets(hub) == ["prices", "fresh"]


def test_system_status_follows_the_clock() -> None:
    with ManualHub(HubConfig(status_s=10, metrics_s=0)) as hub:
        hub.advance(35)
        assert [event.timestamp[17:19] for event in hub.events("system")] == ["00", "10", "20", "30"]


# Settling.


def test_settle_waits_for_a_thread_that_follows_a_watch(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data", since="now") as watch:
        watch.wait_until_live()
        for number in range(500):
            hub.publish("data:update", {"dataset": f"d{number}"})
        hub.settle()
        assert watch.statistics().buffered == 500


async def test_settle_waits_for_tasks_that_answer_events_with_events(hub: ManualHub) -> None:
    async def answer() -> None:
        async for event in watch:
            if event.type == "data:update":
                await client.publish("data:processed", {"dataset": event.key})

    async with tidings.connect(hub.url) as client, client.watch("data") as watch:
        await watch.wait_until_live()
        answering = asyncio.create_task(answer())
        hub.publish("data:update", {"dataset": "a"})
        hub.publish("data:update", {"dataset": "b"})
        await hub.asettle()
        assert [(event.type, event.key) for event in hub.events()] == [
            ("data:update", "a"),
            ("data:update", "b"),
            ("data:processed", "a"),
            ("data:processed", "b"),
        ]
        answering.cancel()


def test_settle_times_out_on_a_blocked_thread(
    hub: ManualHub, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.testing.manual_time.MAX_SETTLE_S", 0.1)
    blocked, free = threading.Event(), threading.Event()

    def block(status: tidings.Status) -> None:
        blocked.set()
        free.wait(10)

    with client.watch("data", on_change=block):
        assert blocked.wait(10)
        try:
            with pytest.raises(TimeoutError, match="not at rest"):
                hub.settle()
        finally:
            free.set()


# Ends and beginnings.


def test_clients_reconnect_immediately_after_a_cut(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        for number in range(20):
            assert hub.cut("watch") == 1
            hub.publish("data:update", {"dataset": f"d{number}"})
            assert next(watch).key == f"d{number}"
            hub.settle()
        assert watch.statistics().connections == 21
        assert hub.cut("nobody") == 0


def test_restarted_hub_continues_over_its_log(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        client.publish("data:update", {"dataset": "before"})
        hub.stop()
        hub.settle()
        assert not hub.running
        assert (watch.state, hub.links) == (tidings.State.CONNECTING, [])
        with pytest.raises(tidings.HubUnreachable):
            hub.publish("data:update")
        hub.advance(3_600)
        hub.start()
        hub.settle()
        assert hub.links == ["tidings publisher", "tidings watch data"]
        client.publish("data:update", {"dataset": "after"})
        assert [next(watch).key, next(watch).key] == ["before", "after"]
    assert datasets(hub) == ["before", "after"]


def test_publisher_survives_restarts(hub: ManualHub, client: SyncClient) -> None:
    for number in range(20):
        hub.restart()
        assert not client.publish("data:update", {"dataset": f"d{number}"}).duplicate
    assert datasets(hub) == [f"d{number}" for number in range(20)]


async def test_closed_hub_is_unreachable(hub: ManualHub) -> None:
    hub.close()
    hub.close()
    with pytest.raises(tidings.HubUnreachable, match="closed"):
        await tidings.connect(hub.url)
    hub.start()
    assert not hub.running


async def test_hubs_are_independent(hub: ManualHub) -> None:
    with ManualHub() as other:
        async with tidings.connect(hub.url) as client, tidings.connect(other.url) as stranger:
            await client.publish("data:update", {"dataset": "mine"})
            await stranger.publish("data:update", {"dataset": "theirs"})
        assert (datasets(hub), datasets(other)) == (["mine"], ["theirs"])


async def test_excess_connection_is_asked_to_retry_later() -> None:
    with ManualHub(HubConfig(status_s=0, metrics_s=0, max_connections=1)) as hub:
        async with tidings.connect(hub.url) as first, tidings.connect(hub.url) as second:
            publishing = asyncio.ensure_future(second.publish("data:update", {"dataset": "late"}))
            await hub.aadvance(WINDOW)
            assert not publishing.done()
            await first.aclose()
            await hub.aadvance(WINDOW)
            await publishing
        assert datasets(hub) == ["late"]


# Flow control.


async def test_consumer_that_reads_nothing_blocks_no_other_client(hub: ManualHub) -> None:
    buffer = tidings.client.BufferLimits(events=10)
    async with tidings.connect(hub.url) as client, client.watch("operations", buffer=buffer) as watch:
        await watch.wait_until_live()
        for number in range(2_000):
            progress = {"operation_id": f"op-{number % 2}", "progress": number / 20, "message": "x" * 400}
            await client.publish("operation:progress", progress)
        await hub.asettle()
        assert watch.statistics().buffered < 100
        newest: dict[str | None, bytes] = {}
        taken = 0
        while newest.keys() != {"op-0", "op-1"} or not all(b"99.9" in data for data in newest.values()):
            event = await anext(watch)
            newest[event.key] = event.data
            taken += 1
        assert taken < 1_000


async def test_client_of_a_hub_that_does_not_read_waits_by_the_clock(hub: ManualHub) -> None:
    async with tidings.connect(hub.url) as client:
        with hub.inject(Stall(toward="hub", link="publisher")):
            publishing = asyncio.ensure_future(client.publish("data:update", {"dataset": "late"}, timeout_s=30))
            await hub.aadvance(29.9)
            assert not publishing.done()
            await hub.aadvance(0.1)
            with pytest.raises(tidings.PublishTimeout):
                await publishing
            assert hub.events() == []
        await hub.asettle()
        assert datasets(hub) == ["late"]


async def test_events_for_a_stalled_hub_are_limited_and_arrive_in_order(hub: ManualHub) -> None:
    async with tidings.connect(hub.url) as client:
        with hub.inject(Stall(toward="hub", link="publisher")):
            data = [{"dataset": f"d{number}", "metadata": {"pad": "x" * 1_000}} for number in range(300)]
            publishing = asyncio.gather(*(client.publish("data:update", each) for each in data))
            await hub.asettle()
            assert not publishing.done()
        assert len(await publishing) == 300
    assert datasets(hub) == [f"d{number}" for number in range(300)]


async def test_hub_that_reads_one_event_at_a_time_reads_all() -> None:
    with ManualHub(HubConfig(status_s=0, metrics_s=0, unacknowledged_events=1)) as hub:
        async with tidings.connect(hub.url) as client:
            await asyncio.gather(*(client.publish("data:update", {"dataset": f"d{number}"}) for number in range(50)))
        assert datasets(hub) == [f"d{number}" for number in range(50)]


# The environment.


def test_as_default_sets_and_restores_the_environment(hub: ManualHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_URL", "ws://production.example/ws")
    monkeypatch.setenv("TIDINGS_TOKEN", "secret")
    monkeypatch.delenv("TIDINGS_SPOOL", raising=False)
    with hub.as_default():
        spool = os.environ["TIDINGS_SPOOL"]
        assert os.path.isdir(spool)
        assert "TIDINGS_TOKEN" not in os.environ
        with connect_sync() as client:
            assert client.url == hub.url
            client.publish("data:update", {"dataset": "prices"})
    assert os.environ["TIDINGS_URL"] == "ws://production.example/ws"
    assert os.environ["TIDINGS_TOKEN"] == "secret"
    assert "TIDINGS_SPOOL" not in os.environ
    assert not os.path.exists(spool)
    assert datasets(hub) == ["prices"]


def test_as_default_delivers_the_last_events_even_if_the_block_fails(hub: ManualHub) -> None:
    def job() -> None:
        with hub.as_default():
            hub.stop()
            tidings.start("Import prices").complete()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job()
    assert [event.type for event in hub.events()] == ["operation:start", "operation:complete"]


def test_as_default_waits_for_the_first_answer_of_a_hub(hub: ManualHub, monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Timer(1.2, hub.start)  # a process that ends gives up after a second
    with monkeypatch.context() as patch:
        patch.setattr(hub, "start", late.start)
        with hub.as_default():
            hub.stop()
            tidings.start("Import prices").complete()
    late.join()
    assert [event.type for event in hub.events()] == ["operation:start", "operation:complete"]


class TestLogLines:
    @pytest.fixture(autouse=True)
    def structlog_configuration(self) -> Iterator[None]:
        before = structlog.get_config() if structlog.is_configured() else None
        structlog.reset_defaults()
        yield
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)

    def test_only_loggers_of_tidings_are_silenced(self, capsys: pytest.CaptureFixture[str]) -> None:
        with silenced(), silenced():
            structlog.get_logger("tidings.hub").error("silenced")
            structlog.get_logger("application").info("from the application")
            structlog.get_logger().info("and this")
        structlog.get_logger("tidings.hub").error("printed again")
        out = capsys.readouterr().out
        assert "silenced" not in out
        assert all(line in out for line in ("from the application", "and this", "printed again"))
        assert not structlog.is_configured()

    def test_configured_structlog_is_left_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
        with silenced():
            structlog.get_logger("tidings.hub").warning("shown")
        assert capsys.readouterr().out == '{"event": "shown"}\n'

    def test_hub_is_silent_until_it_is_closed(self, capsys: pytest.CaptureFixture[str]) -> None:
        with ManualHub() as hub:
            with pytest.raises(tidings.UnknownType), connect_sync(hub.url):
                hub.publish("data:nonsense")
            hub.restart()
        assert capsys.readouterr().out == ""

    def test_structlog_configured_during_the_block_stays(self) -> None:
        def factory(*names: object) -> structlog.PrintLogger:
            return structlog.PrintLogger()

        with silenced():
            structlog.configure(logger_factory=factory)
        assert structlog.get_config()["logger_factory"] is factory
