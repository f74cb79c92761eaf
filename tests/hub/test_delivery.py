"""Live delivery and its cost, counted."""

import gc
import tracemalloc

import pytest
from tests.heap import private_heap
from tests.hub.events import live, progress, publish_updates, update

from tidings.hub.config import HubConfig
from tidings.hub.lanes import SubscriberState
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub


def numbers(client: InMemoryClient) -> list[int]:
    return [message["data"]["metadata"]["n"] for message in client.read_events()]


def publisher_of(hub: InMemoryHub) -> InMemoryClient:
    publisher = hub.connect("channels=none")
    hub.settle()
    return publisher


# The cost of an event.


def test_event_is_encoded_once_per_wire_form() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect("channels=*", versioned=versioned) for versioned in (True, False) for _ in range(50)]
    clients += [hub.connect("channel=data", versioned=versioned) for versioned in (True, False) for _ in range(50)]
    hub.settle()
    publish_updates(publisher, 20)
    hub.settle()
    late = hub.connect("channel=data&since=first")
    hub.settle()
    assert hub.hub.delivery.ring.encodes == 2 * 20
    assert all(numbers(client) == list(range(20)) for client in [*clients, late])


def test_unused_wire_form_is_not_encoded() -> None:
    hub = InMemoryHub()
    publish_updates(publisher_of(hub), 5)
    hub.settle()
    assert hub.hub.delivery.ring.encodes == 0


@pytest.mark.parametrize("past_transport", [True, False])
@pytest.mark.parametrize("events", [1, 200])
def test_live_subscriber_gets_one_write_per_tick(events: int, past_transport: bool) -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect("channel=data", past_transport=past_transport) for _ in range(10)]
    hub.settle()
    before = [client.outlet.writes for client in clients]
    publish_updates(publisher, events)
    hub.settle()
    assert [client.outlet.writes for client in clients] == [writes + 1 for writes in before]
    assert hub.hub.counters.ticks == 1
    assert hub.hub.delivery.counters.lane_writes == 10


def test_tick_is_one_append_and_one_write_of_replies_per_publisher() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    publishers = [publisher_of(hub) for _ in range(3)]
    before = [publisher.outlet.writes for publisher in publishers]
    for publisher in publishers:
        publish_updates(publisher, 100)
    hub.settle()
    assert (log.appends, hub.hub.counters.accepted) == (1, 300)
    assert [publisher.outlet.writes for publisher in publishers] == [writes + 1 for writes in before]
    assert all(publisher.read_types()[1:] == ["event:accepted"] * 100 for publisher in publishers)


def test_event_touches_only_matching_lanes() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect(f"channel=operations/op-{number}") for number in range(1_000)]
    prefix = hub.connect("channel=operations/op-77*")
    hub.settle()
    assert len(hub.hub.delivery.lanes) == 1_001
    before = [client.outlet.writes for client in clients]
    for number in (5, 777):
        publisher.send("operation:progress", progress(f"op-{number}"))
    hub.settle()
    written = [number for number, client in enumerate(clients) if client.outlet.writes != before[number]]
    assert written == [5, 777]
    assert [message["data"]["operation_id"] for message in prefix.read_events()] == ["op-777"]
    assert hub.hub.delivery.counters.lane_writes == 3


def test_overlapping_paths_deliver_an_event_once() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    client = hub.connect("channels=operations/a,operations/a*,operations/ab,data")
    client.subscribe("operations/ab*", since="now")
    hub.settle()
    for key in ("a", "ab", "abc", "b"):
        publisher.send("operation:progress", progress(key))
    publisher.send("operation:progress", progress("ab"), channel="global")
    hub.settle()
    assert [message["data"]["operation_id"] for message in client.read_events()] == ["a", "ab", "abc", "ab"]


def test_latest_events_of_one_tick_are_conflated() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    client = hub.connect("channel=operations")
    hub.settle()
    for percent in range(1, 101):
        publisher.send("operation:progress", progress("a", percent))
        publisher.send("operation:progress", progress("b", percent / 2))
    publisher.send("operation:log", {"operation_id": "a", "message": "kept"})
    hub.settle()
    assert [message["data"].get("progress") for message in client.read_events()] == [100, 50, None]


# Falling behind.


def test_burst_leaves_subscribers_live() -> None:
    hub = InMemoryHub(HubConfig(high_water=10_000))
    publisher = publisher_of(hub)
    client = hub.connect("channel=data")
    hub.settle()
    client.outlet.stall()
    publish_updates(publisher, 20)
    hub.settle()
    publish_updates(publisher, 5)
    hub.settle()
    assert client.connection.subscriber.state is SubscriberState.LIVE
    client.outlet.take()
    publish_updates(publisher, 1)
    hub.settle()
    assert numbers(client) == [*range(20), *range(5), 0]
    assert hub.hub.delivery.counters.fell_behind == 0


def test_slow_subscriber_leaves_and_catches_up_after_draining() -> None:
    hub = InMemoryHub(HubConfig(high_water=5_000))
    publisher = publisher_of(hub)
    client, other = hub.connect("channel=data"), hub.connect("channel=data")
    hub.settle()
    client.outlet.stall()
    for _ in range(10):
        publish_updates(publisher, 20)
        hub.settle()
    owed = client.outlet.write_buffer_size()
    assert client.connection.subscriber.state is SubscriberState.CATCHING_UP
    assert owed < 5_000 + 20 * 300
    assert live(hub.hub) == 1
    client.outlet.take(owed - 1)
    hub.settle()
    assert live(hub.hub) == 1, "it has not drained yet"
    client.outlet.take()
    hub.settle()
    assert live(hub.hub) == 2
    assert numbers(client) == numbers(other) == [*range(20)] * 10
    assert hub.hub.delivery.counters.fell_behind == 1


def test_missed_events_are_conflated() -> None:
    hub = InMemoryHub(HubConfig(high_water=2_000))
    publisher = publisher_of(hub)
    client = hub.connect("channel=operations")
    hub.settle()
    client.outlet.stall()
    for percent in range(101):
        for key in "abc":
            publisher.send("operation:progress", progress(key, percent))
        publisher.send("operation:log", {"operation_id": "a", "message": f"{percent}"})
        hub.settle()
    client.outlet.take()
    hub.settle()
    messages = client.read_events()
    assert [
        message["data"]["message"]
        for message in messages
        if "level" not in message["data"] and "message" in message["data"]
    ] == [f"{percent}" for percent in range(101)]
    percents = [message["data"]["progress"] for message in messages if message["type"] == "operation:progress"]
    assert len(percents) < 40
    assert percents[-3:] == [100, 100, 100]


def stalled_readers(query: str) -> tuple[InMemoryHub, InMemoryClient, list[InMemoryClient]]:
    """Return a hub with a full ring and 200 readers that have left the live set, and its publisher."""
    hub = InMemoryHub(HubConfig(high_water=4_000, ring_bytes=1 << 20))
    publisher = publisher_of(hub)
    clients = [hub.connect(query) for _ in range(200)]
    hub.settle()
    for client in clients:
        client.outlet.stall()
    pass_events(hub, publisher, 2_000)
    assert live(hub.hub) == 0
    return hub, publisher, clients


def pass_events(hub: InMemoryHub, publisher: InMemoryClient, count: int) -> None:
    for _ in range(count // 100):
        publish_updates(publisher, 100)
        hub.loop.advance(0.05)
        publisher.read()
        publisher.outlet.received.clear()
        publisher._read_to = 0


@pytest.mark.parametrize(("query", "events"), [("channel=data", 20_000), ("channel=data&pace_ms=50", 5_000)])
def test_stalled_readers_use_no_memory_per_event(query: str, events: int) -> None:
    hub, publisher, clients = stalled_readers(query)
    owed = [client.outlet.write_buffer_size() for client in clients]
    with private_heap():
        pass_events(hub, publisher, events // 2)
        objects = len(gc.get_objects())
        pass_events(hub, publisher, events // 2)
        # The log keeps an event as a struct that the collector does not track.
        assert abs(len(gc.get_objects()) - objects) < 1_000, "not one object per event, let alone per reader"
    assert [client.outlet.write_buffer_size() for client in clients] == owed
    for client in clients:
        client.outlet.take()
    hub.loop.advance(1)
    assert live(hub.hub) == 200
    assert len(numbers(clients[0])) == len(numbers(clients[-1])) == 2_000 + events


def test_stalled_readers_share_the_ring() -> None:
    tracemalloc.start()
    try:
        hub, publisher, _ = stalled_readers("channel=data")
        pass_events(hub, publisher, 2_000)
        gc.collect()
        held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/tidings/hub/*")])
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in held.statistics("filename")) < 2 << 20


def test_subscriber_that_left_during_a_write_is_not_checked() -> None:
    hub = InMemoryHub(HubConfig(high_water=1_000))
    publisher = publisher_of(hub)
    pausing, gone = hub.connect("channel=data"), hub.connect("channel=data")
    hub.settle()
    gone.outlet.stall()
    publish_updates(publisher, 1)
    hub.settle()
    pausing.outlet.on_pause = gone.drop
    pausing.outlet.stall()
    publish_updates(publisher, 10)
    hub.settle()
    assert hub.hub.delivery.counters.fell_behind == 0
    assert hub.hub.delivery.subscribers == 2


# Paced lanes.


def test_paced_subscriber_gets_one_write_per_pace() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    client = hub.connect("channel=operations&pace_ms=80")
    hub.settle()
    before = client.outlet.writes
    for percent in range(100):
        publisher.send("operation:progress", progress("a", percent))
        hub.loop.advance(0.01)
    hub.loop.advance(0.1)
    percents = [message["data"]["progress"] for message in client.read_events()]
    assert client.outlet.writes - before == len(percents) == 11
    assert percents == sorted(percents)
    assert percents[-1] == 99
    assert percents[0] == 0, "the first after a silence is sent immediately"


def test_later_paced_subscriber_joins_the_shared_cursor_at_a_flush() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    first = hub.connect("channel=data&pace_ms=1000")
    hub.settle()
    publish_updates(publisher, 1)
    hub.loop.advance(0.2)
    publish_updates(publisher, 3)
    hub.loop.advance(0.2)
    second = hub.connect("channel=data&pace_ms=1000&since=first")
    hub.settle()
    assert second.connection.subscriber.state is not SubscriberState.LIVE or numbers(second) == [0]
    hub.loop.advance(2)
    publish_updates(publisher, 2)
    hub.loop.advance(2)
    assert sorted(numbers(second)) == [0, 0, 0, 1, 1, 2]
    assert numbers(first) == [0, 0, 1, 2, 0, 1]
    assert len(hub.hub.delivery.lanes) == 1
    assert live(hub.hub) == 2


def test_paced_lane_behind_the_ring_reads_the_log() -> None:
    hub = InMemoryHub(HubConfig(ring_bytes=0))
    publisher = publisher_of(hub)
    clients = [hub.connect("channel=data&pace_ms=1000") for _ in range(3)]
    hub.settle()
    for _ in range(5):
        publish_updates(publisher, 2)
        hub.loop.advance(0.3)
    hub.loop.advance(2)
    assert [numbers(client) for client in clients] == [[0, 1] * 5] * 3
    assert live(hub.hub) == 3


def test_paced_subscriber_after_a_stall_misses_nothing() -> None:
    hub = InMemoryHub(HubConfig(high_water=1_000))
    publisher = publisher_of(hub)
    client = hub.connect("channel=data&pace_ms=50")
    hub.settle()
    client.outlet.stall()
    for _ in range(10):
        publish_updates(publisher, 10)
        hub.loop.advance(0.05)
    client.outlet.take()
    hub.loop.advance(1)
    assert numbers(client) == [*range(10)] * 10
    assert client.connection.subscriber.state is SubscriberState.LIVE


# Opening and closing.


def test_closed_connection_leaves_no_state() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect(query) for query in ("channel=data", "channel=data&pace_ms=50", "channel=operations/a*")]
    hub.settle()
    delivery = hub.hub.delivery
    assert (delivery.subscribers, len(delivery.lanes), len(hub.connections)) == (4, 3, 4)
    for client in clients:
        client.drop()
        client.connection.closed()
    publisher.send("data:update", update())
    hub.settle()
    assert (delivery.subscribers, len(delivery.lanes), len(hub.connections)) == (1, 0, 1)
    assert clients[0].read_events() == []


def test_reached_is_never_beyond_what_was_written() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = {
        name: hub.connect(query)
        for name, query in {
            "live": "channel=data",
            "paced": "channel=data&pace_ms=5000",
            "idle": "channels=none",
            "stalled": "channel=data",
        }.items()
    }
    hub.settle()
    publish_updates(publisher, 1)
    hub.loop.advance(0.1)
    delivery = hub.hub.delivery
    subscriber = clients["stalled"].connection.subscriber
    clients["stalled"].outlet.stall()
    delivery.leave(subscriber)
    subscriber.blocked = True
    publish_updates(publisher, 3)
    hub.loop.advance(0.1)
    reached = {name: delivery.reached(client.connection.subscriber) for name, client in clients.items()}
    assert reached == {"live": 4, "paced": 1, "idle": 4, "stalled": 1}


# Bytes that wait.


@pytest.mark.parametrize("past_transport", [True, False])
def test_large_tick_is_not_copied_for_readers_that_do_not_read(past_transport: bool) -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect("channel=data", past_transport=past_transport) for _ in range(20)]
    other = hub.connect("channel=data")
    hub.settle()
    for number, client in enumerate(clients):
        client.outlet.stall(number * 17_000)
    publish_updates(publisher, 16, size=60_000)
    hub.settle()
    assert len(numbers(other)) == 16
    assert max(client.outlet.write_buffer_size() for client in clients) < 62_000, "the rest of one event"
    assert hub.hub.delivery.outbound.waiting_bytes < 20 * 62_000
    assert live(hub.hub) == 1
    for client in clients:
        client.outlet.take()
    hub.settle()
    assert live(hub.hub) == 21
    assert all(numbers(client) == list(range(16)) for client in clients)
    assert hub.hub.delivery.outbound.waiting_bytes == 0


def test_readers_that_do_not_read_have_one_frame_each_unsent() -> None:
    hub = InMemoryHub()
    publisher = publisher_of(hub)
    clients = [hub.connect("channel=data") for _ in range(300)]
    hub.settle()
    for client in clients:
        client.outlet.stall()
    for _ in range(100):
        publish_updates(publisher, 1)
        hub.settle()
    assert live(hub.hub) == 300, "below the high-water mark"
    writes = [client.outlet.writes for client in clients]
    for _ in range(1_500):
        publish_updates(publisher, 1)
        hub.settle()
    assert [client.outlet.writes for client in clients] == writes, "nothing is written to a blocked client"
    assert max(client.outlet.write_buffer_size() for client in clients) < 400
    assert hub.hub.delivery.counters.fell_behind == 300
    for client in clients:
        client.outlet.take()
    hub.settle()
    expected = [0] * 1_600
    assert all(numbers(client) == expected for client in clients)


@pytest.mark.parametrize("versioned", [True, False])
def test_reader_of_history_that_does_not_read_has_one_frame_unsent(versioned: bool) -> None:
    hub = InMemoryHub(HubConfig(ring_bytes=0))
    publisher = publisher_of(hub)
    publish_updates(publisher, 600, size=1_000)
    hub.settle()
    clients = [hub.connect("channel=data&since=first", versioned=versioned) for _ in range(50)]
    for number, client in enumerate(clients):
        client.outlet.stall(number * 777)
    hub.settle()
    assert max(client.outlet.write_buffer_size() for client in clients) < 1_500
    for client in clients:
        client.outlet.take()
    hub.settle()
    assert all(numbers(client) == list(range(600)) for client in clients)


def test_lanes_that_hold_too_much_give_it_up_and_lose_nothing() -> None:
    hub = InMemoryHub(HubConfig(outbound_bytes=200_000))
    publisher = publisher_of(hub)
    clients = [hub.connect(f"channel=data&channel=operations/{number}") for number in range(20)]
    hub.settle()
    outbound = hub.hub.delivery.outbound
    for client in clients:
        client.outlet.stall()
    for _ in range(20):
        publish_updates(publisher, 4, size=300)
        hub.settle()
        assert outbound.waiting_bytes <= 200_000
    assert 0 < live(hub.hub) < 20
    for client in clients:
        client.outlet.take()
    hub.settle()
    assert all(numbers(client) == [*range(4)] * 20 for client in clients)
    assert (outbound.waiting_bytes, outbound.disconnected) == (0, 0)


def test_clients_that_read_nothing_are_disconnected_beyond_the_budget() -> None:
    hub = InMemoryHub(HubConfig(outbound_bytes=300_000, heartbeat_s=3_600.0))
    publisher = publisher_of(hub)
    clients = [hub.connect("channel=data") for _ in range(10)]
    hub.settle()
    for client in clients:
        client.outlet.stall()
    publish_updates(publisher, 1, size=60_000)
    hub.settle()
    outbound = hub.hub.delivery.outbound
    assert outbound.disconnected == 0, "they may be slow"
    clients[0].outlet.take()
    hub.loop.advance(5)
    closed = [client.outlet.closed for client in clients]
    assert closed == [None, *[(1006, "")] * 5, *[None] * 4], "those that waited first, and no more than needed"
    assert outbound.disconnected == 5
    assert outbound.waiting_bytes <= 300_000
    assert numbers(clients[0]) == [0]


def test_replies_that_are_not_read_count_with_their_objects() -> None:
    hub = InMemoryHub()
    client = hub.connect("channels=none")
    hub.settle()
    client.outlet.stall()
    for _ in range(100):
        client.send("connection:ping")
    assert hub.hub.delivery.outbound.waiting_bytes > 100 * 1_024
    client.drop()
    assert hub.hub.delivery.outbound.waiting_bytes == 0
