"""Snapshots and resuming, as a connection sees them; and the cost of reading forward."""

from collections.abc import Callable, Sequence

import pytest
from tests.hub.events import live, make_record, publish_updates, update
from tests.hub.exchange import faulty, position, publish_progress, start, summarize

from tidings.exceptions import LogUnavailable
from tidings.hub.catchup import UNBOUNDED, CachedRead, ReadCache, ReadKey, alignment_cut, next_alignment
from tidings.hub.config import HubConfig
from tidings.hub.frame_run import FrameRun
from tidings.hub.lanes import SubscriberState
from tidings.log.base import Page
from tidings.protocol.paths import NO_PATHS
from tidings.server.wire_formats import PLAIN_LINES
from tidings.testing.clock import ManualClock
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub
from tidings.testing.outlet import MemoryOutlet

NO_RING = HubConfig(ring_bytes=0, catchup_bytes=500)


# The start of a subscription.


def test_snapshot_has_the_newest_event_per_key_in_log_order() -> None:
    hub, publisher = start()
    publish_progress(hub, publisher, ("a", 1), ("b", 1), ("a", 2))
    publisher.send("operation:start", {"operation_id": "b", "name": "run"})
    publish_updates(publisher, 1)
    hub.settle()
    client = hub.connect()
    client.subscribe("operations")
    hub.settle()
    assert summarize(client.read()) == [("snapshot", 5), ("event", 2), ("event", 3), ("event", 4), ("live at", 5)]


def test_resume_reads_everything_after_the_position() -> None:
    hub, publisher = start()
    publish_updates(publisher, 5)
    hub.settle()
    client = hub.connect()
    client.subscribe("data", since=position(3))
    hub.settle()
    assert summarize(client.read()) == [("complete", 3), ("event", 4), ("event", 5), ("live at", 5)]


@pytest.mark.parametrize("since", ["first", ""])
def test_since_first_reads_from_the_beginning(since: str) -> None:
    hub, publisher = start()
    publish_updates(publisher, 2)
    hub.settle()
    client = hub.connect()
    client.subscribe("data", since=since)
    hub.settle()
    assert summarize(client.read()) == [("complete", 0), ("event", 1), ("event", 2), ("live at", 2)]


def test_since_now_reads_only_new_events() -> None:
    hub, publisher = start()
    publish_updates(publisher, 2)
    hub.settle()
    client = hub.connect()
    client.subscribe("data", since="now")
    publish_updates(publisher, 1)
    hub.settle()
    assert summarize(client.read()) == [("live", 2), ("live at", 2), ("event", 3)]


def test_added_paths_read_only_their_own_events() -> None:
    hub, publisher = start()
    publish_progress(hub, publisher, ("a", 1), ("ab", 1), ("b", 1))
    client = hub.connect()
    client.subscribe("operations/a")
    hub.settle()
    assert summarize(client.read())[1:] == [("event", 1), ("live at", 3)]
    client.subscribe("operations/a*", since="first")
    hub.settle()
    assert summarize(client.read()) == [("complete", 0), ("event", 2), ("live at", 3)]
    client.subscribe("operations/ab", "operations/a")
    hub.settle()
    assert summarize(client.read()) == [("live", 3), ("live at", 3)]


def test_paths_added_during_catch_up_start_at_its_offset() -> None:
    hub, publisher = start(HubConfig(high_water=100))
    client = hub.connect()
    client.subscribe("data")
    hub.settle()
    client.outlet.stall()
    for _ in range(3):
        publish_updates(publisher, 2)
        publisher.send("system:alert", {"severity": "info", "code": "c", "message": "m", "recoverable": True})
        hub.settle()
    assert client.connection.subscriber.offset == 1, "one frame is in the outlet"
    client.subscribe("system", since=position(7))
    client.subscribe("operations", since="now")
    client.outlet.take()
    hub.settle()
    assert summarize(client.read()) == [
        ("snapshot", 0),
        ("live at", 0),
        ("event", 1),
        ("complete", 7),
        ("live", 7),
        ("event", 2),
        ("event", 4),
        ("event", 5),
        ("event", 7),
        ("live at", 7),
        ("live at", 7),
        ("event", 8),
        ("event", 9),
    ]


def test_live_push_has_the_offset_where_its_subscription_ended() -> None:
    hub, publisher = start(HubConfig(catchup_bytes=1, high_water=1))
    publish_updates(publisher, 4)
    hub.settle()
    client = hub.connect()
    client.subscribe("data", since="first")
    client.outlet.stall(400)
    hub.settle()
    publish_updates(publisher, 4, dataset="later")
    hub.settle()
    client.subscribe("operations", since=position(6))
    client.outlet.take()
    hub.settle()
    messages = summarize(client.read())
    lives = [message for message in messages if message[0] == "live at"]
    assert lives == [("live at", 4), ("live at", 6)]
    assert messages.index(("event", 6)) < messages.index(("live at", 6)) < messages.index(("event", 7))


def test_unsubscribing_during_a_snapshot_ends_it() -> None:
    hub, publisher = start(HubConfig(catchup_bytes=1))
    publish_progress(hub, publisher, *((f"a{number}", 1) for number in range(10)), ("b", 1))
    client = hub.connect()
    client.outlet.stall(600)
    client.subscribe("operations/a1", "operations/a2", "operations/b")
    client.subscribe("operations/a*", since="first")
    hub.settle()
    client.unsubscribe("operations/a*")
    client.outlet.take()
    hub.settle()
    messages = summarize(client.read())
    end = messages.index(("unsubscribed", ["global", "operations/b"]))
    assert [message for message in messages[end:] if message[0] == "event"] == [("event", 11)]
    assert [message for message in messages if message[0] == "live at"] == [("live at", 11)] * 2


def test_since_now_after_unsubscribing_all_starts_at_the_head() -> None:
    hub, publisher, log = faulty(NO_RING)
    publish_updates(publisher, 2)
    hub.settle()
    client = hub.connect()
    log.hold_reads()
    client.subscribe("data", since="first")
    hub.settle()
    client.unsubscribe("data")
    publish_updates(publisher, 2)
    hub.settle()
    client.subscribe("data", since="now")
    log.release_reads()
    hub.settle()
    assert [message for message in summarize(client.read()) if message[0] in ("event", "live", "live at")] == [
        ("live", 4),
        ("live at", 2),
        ("live at", 4),
    ]


@pytest.mark.parametrize("ring_bytes", [0, 1 << 20])
def test_subscriber_whose_outlet_raises_gets_another_turn(ring_bytes: int) -> None:
    hub, publisher, _ = faulty(HubConfig(ring_bytes=ring_bytes, catchup_bytes=500))
    publish_updates(publisher, 20)
    hub.settle()
    broken, other = hub.connect("channels=none"), hub.connect("channels=none")
    failures = iter([MemoryError(), RuntimeError("a fault of the transport")])

    def direct() -> Callable[[bytes], int]:
        for failure in failures:
            raise failure
        return MemoryOutlet.direct(broken.outlet)

    broken.outlet.direct = direct  # type: ignore[method-assign]
    for client in (broken, other):
        client.subscribe("data", since="first")
    hub.settle()
    assert len(other.read_events()) == 20
    hub.loop.advance(5)
    assert len(broken.read_events()) == 20


# Cost.


def test_subscribers_of_one_lane_at_one_offset_share_a_read() -> None:
    hub, publisher, log = faulty(HubConfig(ring_bytes=0))
    publish_updates(publisher, 100)
    hub.settle()
    reads = log.reads
    clients = [hub.connect("channel=data&since=first") for _ in range(500)]
    hub.settle()
    assert log.reads - reads == 1
    assert all(len(client.read_events()) == 100 for client in clients)


def test_subscribers_at_different_times_share_cached_reads() -> None:
    hub, publisher, log = faulty(HubConfig(ring_bytes=0, catchup_bytes=1_000))
    publish_updates(publisher, 200)
    hub.settle()
    reads = log.reads
    clients = []
    for _ in range(50):
        clients.append(hub.connect("channel=data&since=first"))
        publish_updates(publisher, 1)
        hub.settle()
    shared = log.reads - reads
    assert shared < 350, "about seven shared full reads, and a last one for each"
    assert len(clients[0].read_events()) == len(clients[-1].read_events()) + 0 == 250


def test_read_beyond_a_subscribers_end_is_not_shared() -> None:
    hub, publisher, _ = faulty(HubConfig(ring_bytes=0, catchup_bytes=800))
    publish_updates(publisher, 3)
    hub.settle()
    early = hub.connect()
    early.outlet.stall()
    early.subscribe("data", since="first")
    publish_updates(publisher, 20)
    hub.settle()
    later = hub.connect("channel=data&since=first")
    hub.settle()
    early.outlet.take()
    hub.settle()
    for client in (early, later):
        events = [message for message in summarize(client.read()) if message[0] == "event"]
        assert events == [("event", offset) for offset in range(1, 24)]


def test_old_cached_read_is_read_again() -> None:
    hub, publisher, log = faulty(HubConfig(ring_bytes=0))
    publish_progress(hub, publisher, *(("a", percent) for percent in range(5)))
    for _ in range(2):
        reads = log.reads
        for _ in range(3):
            hub.connect("channel=operations&since=first")
            hub.settle()
        assert log.reads - reads == 1
        hub.loop.advance(2)


def test_recent_events_are_read_from_the_ring() -> None:
    hub, publisher, log = faulty()
    publish_updates(publisher, 100)
    hub.settle()
    reads = log.reads
    client = hub.connect("channel=data&since=first")
    hub.settle()
    assert (log.reads, len(client.read_events())) == (reads, 100)


def test_round_ends_with_its_time_budget() -> None:
    clock = ManualClock(reading_s=0.001)
    config = HubConfig(ring_bytes=0, catchup_bytes=1_000, catchup_budget_s=0.01)
    hub, publisher = start(config, clock=clock)
    watching = hub.connect("channel=system")
    publish_updates(publisher, 200)
    hub.settle()
    crowd = [hub.connect(f"channel=data/d&channel=operations/{number}&since=first") for number in range(100)]
    delivered_after: list[int] = []
    while len(hub.hub.delivery.catchup):
        before = hub.hub.delivery.catchup.reads
        publisher.send("system:alert", {"severity": "info", "code": "c", "message": "m", "recoverable": True})
        hub.loop.run_round()
        hub.loop.run_round()
        assert len(watching.read_events()) == 1, "an event waits at most for the round in which it arrived"
        delivered_after.append(hub.hub.delivery.catchup.reads - before)
    assert max(delivered_after) <= 2 * 10, "at most two rounds of ten clock readings each"
    assert all(len(client.read_events()) == 200 for client in crowd)


def test_thousand_paths_cost_as_one() -> None:
    hub, publisher = start()
    client = hub.connect()
    client.subscribe(*(f"operations/op-{number}" for number in range(1_000)))
    hub.settle()
    publish_progress(hub, publisher, ("op-7", 1), ("op-1000", 1), ("op-999", 1))
    assert [message["data"]["operation_id"] for message in client.read_events()] == ["op-7", "op-999"]


# A log that fails or answers late.


def test_failed_read_is_retried() -> None:
    hub, publisher, log = faulty(NO_RING)
    publish_updates(publisher, 3)
    hub.settle()
    log.fail_read(LogUnavailable("as if"))
    client = hub.connect("channel=data&since=first")
    hub.settle()
    assert client.read_events() == []
    hub.loop.advance(1)
    assert len(client.read_events()) == 3
    assert live(hub.hub) == 1


def late(since: str = "first") -> tuple[InMemoryHub, InMemoryClient, FaultyLog, InMemoryClient]:
    hub, publisher, log = faulty(HubConfig(ring_bytes=0))
    publish_updates(publisher, 3)
    hub.settle()
    log.hold_reads()
    client = hub.connect()
    client.subscribe("data", since=since)
    hub.settle()
    return hub, publisher, log, client


def test_late_read_is_delivered_to_all_waiting() -> None:
    hub, _, log, client = late()
    other = hub.connect("channel=data&since=first")
    hub.settle()
    reads = log.reads
    assert len(hub.hub.delivery.catchup) == 2
    log.release_reads()
    hub.settle()
    assert (len(client.read_events()), len(other.read_events()), log.reads) == (3, 3, reads)


def test_stall_during_a_read_duplicates_nothing() -> None:
    hub, _, log, client = late()
    client.outlet.stall()
    client.send("connection:ping")
    client.outlet.take()
    hub.settle()
    log.release_reads()
    hub.settle()
    assert [message for message in summarize(client.read()) if message[0] == "event"] == [
        ("event", 1),
        ("event", 2),
        ("event", 3),
    ]


def test_read_for_a_stalled_subscriber_waits_until_it_drains() -> None:
    hub, _, log, client = late()
    client.outlet.stall()
    client.send("connection:ping")
    log.release_reads()
    hub.settle()
    assert client.outlet.write_buffer_size() < 200
    client.outlet.take()
    hub.settle()
    assert len(client.read_events()) == 3


def test_read_requested_before_new_paths_is_not_used_for_them() -> None:
    hub, publisher, log, client = late()
    client.unsubscribe("data")
    client.subscribe("operations", since="first")
    publish_progress(hub, publisher, ("a", 1))
    log.release_reads()
    hub.settle()
    assert summarize(client.read())[1:] == [
        ("unsubscribed", []),
        ("complete", 0),
        ("live at", 3),
        ("live at", 3),
        ("event", 4),
    ]


def test_read_for_a_closed_subscriber_is_dropped() -> None:
    hub, _, log, client = late()
    client.drop()
    log.release_reads()
    hub.settle()
    assert summarize(client.read()) == [("complete", 0)]
    assert client.connection.subscriber.state is SubscriberState.CLOSED


def test_alert_cleared_between_snapshots_is_in_the_first_only() -> None:
    hub, publisher = start(HubConfig(catchup_bytes=1))
    alert = {"severity": "info", "code": "c", "message": "m", "recoverable": True}
    publisher.send("system:alert", alert | {"alert_id": "a"})
    publisher.send("system:alert", alert | {"alert_id": "b"})
    hub.settle()
    client, later = hub.connect(), hub.connect()
    client.subscribe("system")
    hub.settle()
    publisher.send("system:alert", alert | {"alert_id": "a", "state": "cleared"})
    hub.settle()
    later.subscribe("system")
    hub.settle()
    assert [message for message in summarize(client.read()) if message[0] == "event"] == [
        ("event", 1),
        ("event", 2),
        ("event", 3),
    ]
    assert [message for message in summarize(later.read()) if message[0] == "event"] == [("event", 2)]


def test_lagging_reader_joins_when_it_reaches_the_head() -> None:
    hub, publisher = start(HubConfig(high_water=500))
    client = hub.connect("channel=data")
    hub.settle()
    client.outlet.stall()
    for _ in range(5):
        publish_updates(publisher, 5)
        hub.settle()
    client.outlet.take()
    publisher.send("data:update", update("last"))
    for _ in range(3):
        hub.loop.run_round()
    assert client.connection.subscriber.state is SubscriberState.LIVE
    assert len(client.read_events()) == 26


# The cache of reads.


def place(after: int, until: int, *, newest_only: bool = False) -> ReadKey:
    return ReadKey(PLAIN_LINES, NO_PATHS, NO_PATHS, after, until, newest_only)


def read_of(scanned: int, *, at: float = 5.0, size: int = 1) -> CachedRead:
    return CachedRead(FrameRun(b"x" * size, [size], [scanned], 0), scanned, at)


def full_page(after: int, offsets: Sequence[int]) -> Page:
    return Page([make_record(offset) for offset in offsets], offsets[-1])


def test_cached_read_is_found_for_a_second() -> None:
    chunks = ReadCache()
    chunk = read_of(90)
    chunks.add(place(0, 90), chunk)
    assert chunks.find(place(0, 90), 5.9) is chunk
    assert chunks.find(place(0, 91), 5.9) is None, "readers that go further may have more to read"
    assert chunks.find(place(1, 90), 5.9) is None
    assert chunks.find(place(0, 90), 6.0) is None


def test_full_read_serves_all_that_read_at_least_as_far() -> None:
    chunks = ReadCache()
    chunk = read_of(50)
    chunks.add(place(0, 90), chunk)
    assert chunks.find(place(0, 1_000), 5.0) is chunk
    assert chunks.find(place(0, 50), 5.0) is chunk
    assert chunks.find(place(0, 49), 5.0) is None


def test_snapshot_read_serves_only_its_own_range() -> None:
    chunks = ReadCache()
    chunks.add(place(0, 90, newest_only=True), read_of(50))
    assert chunks.find(place(0, 91, newest_only=True), 5.0) is None
    assert chunks.find(place(0, 90), 5.0) is None
    assert chunks.find(place(0, 90, newest_only=True), 5.0) is not None


def test_least_recently_used_reads_are_dropped_first() -> None:
    chunks = ReadCache()
    for number in range(100):
        chunks.add(place(number, 200), read_of(200, at=0.0, size=64 << 10))
        chunks.find(place(0, 200), 0.5)
    found = [number for number in range(100) if chunks.find(place(number, 200), 0.5)]
    assert found == [0, *range(38, 100)], "4 MiB"


@pytest.mark.parametrize("step", [1, 3])
def test_cursors_from_a_hundred_offsets_meet_at_two(step: int) -> None:
    cursors = set(range(1_000, 1_000 + 100 * step, step))
    for _ in range(2):
        cursors = {alignment_cut(full_page(at, range(at + 1, at + 600 * step, step)), 1 << 50) for at in cursors}
    assert len(cursors) <= 2


@pytest.mark.parametrize(
    "offsets",
    [[1], [1, 2], [7, 8, 9], range(1, 600), [5, 1 << 40, (1 << 40) + 1], [*range(1 << 20, (1 << 20) + 300)]],
    ids=str,
)
def test_alignment_keeps_three_quarters_of_a_full_page(offsets: Sequence[int]) -> None:
    end = alignment_cut(full_page(0, offsets), 1 << 50)
    assert end <= offsets[-1]
    assert sum(offset <= end for offset in offsets) >= max(1, len(offsets) * 3 // 4)


def test_page_that_is_not_full_ends_at_its_limit() -> None:
    assert alignment_cut(Page([make_record(3)], 77), 77) == 77
    assert alignment_cut(Page([], 700), 1_000) == 700, "much was scanned, and nothing matched"


def test_reads_end_at_the_next_alignment_or_start_from_one() -> None:
    assert [next_alignment(after) for after in (1, 255, 257, 511)] == [256, 256, 512, 512]
    assert [next_alignment(after) for after in (0, 256, 1 << 40)] == [UNBOUNDED] * 3
