"""The cost of crowds, counted: frames encoded, reads of the log, writes per round, bytes held."""

import gc
import tracemalloc
from collections.abc import Iterable, Sequence

from tidings.hub.config import HubConfig
from tidings.hub.lanes import SubscriberState
from tidings.log.base import Log, Retention
from tidings.log.memory import MemoryLog
from tidings.testing.clock import ManualClock
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message

OPERATIONS = "channel=operations"
TICK = 50
"""Events of one tick of `pass_events`."""


class CountedHub(InMemoryHub):
    """A hub whose log counts its reads, and one client that publishes."""

    def __init__(self, config: HubConfig | None = None, *, log: Log | None = None, reading_s: float = 0.0) -> None:
        self.counted = FaultyLog(log or MemoryLog(EPOCH, config.retention if config else None))
        super().__init__(config, log=self.counted, clock=ManualClock(reading_s=reading_s))
        self.publisher = self.connect("channels=none")
        self.settle()

    def watch(self, count: int, query: str = OPERATIONS) -> list[InMemoryClient]:
        """Connect clients and wait until they are live."""
        clients = [self.connect(query) for _ in range(count)]
        self.settle()
        assert all(client.connection.subscriber.state is SubscriberState.LIVE for client in clients)
        return clients

    def start(self, *numbers: int) -> None:
        """Publish durable events with their numbers as keys."""
        for number in numbers:
            self.publisher.send("operation:start", {"operation_id": f"op-{number}", "name": "job"})

    def progress(self, number: int, percent: float) -> None:
        """Publish an event of class `latest`."""
        self.publisher.send("operation:progress", {"operation_id": f"op-{number}", "progress": percent})

    def position(self, offset: int) -> str:
        return str(self.log.position(offset))


def writes(clients: Iterable[InMemoryClient]) -> list[int]:
    return [client.outlet.writes for client in clients]


def keys(events: Iterable[Message]) -> list[str]:
    return [event["data"]["operation_id"] for event in events]


def names(numbers: Iterable[int]) -> list[str]:
    return [f"op-{number}" for number in numbers]


def test_resume_reuses_encoded_frames() -> None:
    hub = CountedHub()
    hub.watch(1)
    hub.start(*range(30))
    hub.settle()
    ring = hub.hub.delivery.ring
    assert ring.encodes == 30
    reads = hub.counted.reads
    late = [hub.connect("channel=operations&since=first") for _ in range(50)]
    hub.settle()
    assert [keys(client.read_events()) for client in late] == [names(range(30))] * 50
    assert (ring.encodes, hub.counted.reads) == (30, reads)


def test_resumes_from_a_hundred_offsets_share_reads() -> None:
    hub = CountedHub(HubConfig(ring_bytes=0, catchup_bytes=4 << 10))
    hub.start(*range(1_500))
    hub.settle()
    reads = hub.counted.reads
    hub.connect(f"{OPERATIONS}&since={hub.position(100)}")
    hub.settle()
    for_one = hub.counted.reads - reads
    assert for_one > 10, "it takes many reads"
    hub.loop.advance(2.0)  # longer than the cache keeps a read
    reads = hub.counted.reads
    places = [place for place in range(100) for _ in range(20)]
    crowd = [hub.connect(f"{OPERATIONS}&since={hub.position(place)}") for place in places]
    hub.settle()
    # One read per offset; from then on the clients share a few tracks.
    assert hub.counted.reads - reads < 100 + 5 * for_one
    for first in range(0, len(crowd), 20):
        of_one_place = crowd[first : first + 20]
        # One client of each group with equal bytes.
        [events] = {events_of(client) for client in of_one_place}
        assert b'"op-1499"' in events
        assert keys(of_one_place[0].read_events()) == names(range(places[first], 1_500))


def events_of(client: InMemoryClient) -> bytes:
    """Return the frames of all started operations."""
    _, _, events = bytes(client.outlet.received).partition(b'{"type":"operation:start"')
    return events.rpartition(b'{"type":"channel:live"')[0]


def test_reads_of_the_log_at_different_times_share_their_end() -> None:
    hub = CountedHub()
    hub.start(*range(300))
    hub.settle()
    restarted = CountedHub(log=hub.log)  # its ring is empty
    reads = restarted.counted.reads
    crowd = []
    for number in range(300, 350):
        restarted.start(number)
        restarted.loop.run_round()
        crowd.append(restarted.connect("channel=operations&since=first"))
    restarted.settle()
    assert restarted.counted.reads - reads == 1, "everything that is not in the ring, once"
    for client in crowd:
        assert keys(client.read_events()) == names(range(350))


def test_shared_read_is_handed_out_over_many_rounds() -> None:
    reading_s = 0.0001
    hub = CountedHub(HubConfig(ring_bytes=0), reading_s=reading_s)
    hub.start(*range(20))
    hub.settle()
    watcher = hub.watch(1, "channel=data")[0]
    hub.counted.hold_reads()
    crowd = [hub.connect("channel=operations&since=first") for _ in range(2_000)]
    hub.settle()
    catchup = hub.hub.delivery.catchup
    assert len(catchup) == 2_000
    written: list[int] = []
    hub.counted.release_reads()
    assert catchup.writes == 0
    while len(catchup):
        before = catchup.writes
        hub.publisher.send("data:update", {"dataset": "d"})
        hub.loop.run_round()
        written.append(catchup.writes - before)
        hub.loop.run_round()
        written.append(catchup.writes - before - written[-1])
        assert len(watcher.read_events()) == 1, "live delivery had its turn"
    # Each write ends with a reading of the clock.
    assert max(written) <= hub.config.catchup_budget_s / reading_s + 1
    assert [keys(client.read_events()) for client in crowd] == [names(range(20))] * 2_000


def test_paced_lane_gets_ten_writes_for_ten_thousand_events() -> None:
    hub = CountedHub(HubConfig(status_s=0, metrics_s=0))
    clients = hub.watch(20, "channel=operations&pace_ms=100")
    clients[0].read()
    before = writes(clients)
    encodes = hub.hub.delivery.ring.encodes
    shown: dict[str, float] = {}
    flushes = 0
    for moment in range(1_000):
        for event in range(10):
            hub.progress((moment * 10 + event) % 100, moment / 10)
        hub.settle()
        flush = clients[0].read_events()
        if flush:
            flushes += 1
            assert len(flush) == len(set(keys(flush))) <= 100
            note_progress(shown, flush)
        hub.loop.advance(0.001)
    in_a_second = {after - count for after, count in zip(writes(clients), before, strict=True)}
    assert in_a_second == {flushes} == {10}
    assert hub.hub.delivery.ring.encodes - encodes <= 10 * 100
    hub.loop.advance(0.1)
    note_progress(shown, clients[0].read_events())
    assert shown == {f"op-{number}": (990 + number // 10) / 10 for number in range(100)}, "the newest of every key"


def note_progress(shown: dict[str, float], events: Sequence[Message]) -> None:
    shown.update((event["data"]["operation_id"], event["data"]["progress"]) for event in events)


def test_stalled_readers_cost_their_outlets_and_nothing_per_event() -> None:
    retention = Retention(events=1_000, superseded_events=1_000)
    config = HubConfig(high_water=16 << 10, ring_bytes=1 << 20, heartbeat_s=3_600.0, retention=retention)
    hub = CountedHub(config)
    live = hub.watch(3)
    stalled = hub.watch(200)
    tracemalloc.start()
    try:
        for client in stalled:
            client.outlet.stall()
        empty = traced(hub)
        pass_events(hub, live, 4_000)
        full = traced(hub)
        pass_events(hub, live, 10_000)
        after = traced(hub)
    finally:
        tracemalloc.stop()
    assert hub.hub.delivery.counters.fell_behind == 200
    assert len(hub.hub.delivery.catchup) == 0, "no stalled reader waits for a turn"
    owed = [client.outlet.write_buffer_size() for client in stalled]
    assert max(owed) <= config.high_water + TICK * 300
    of_log = 2_000 * 1_500
    # A bytearray may be half as large again as its content.
    assert full - empty < config.ring_bytes + 1.5 * sum(owed) + of_log
    assert after - full < 100_000, "10,000 events for 200 readers use less than a bit for each pair"


def pass_events(hub: CountedHub, live: list[InMemoryClient], count: int) -> None:
    """Publish durable and `latest` events in turn; the live clients read them and the log trims them."""
    for number in range(count):
        if number % 2:
            hub.progress(number % 100, number % 101)
        else:
            hub.start(number % 100)
        if number % TICK == TICK - 1:
            hub.settle()
            hub.loop.advance(0.05)
            for client in (*live, hub.publisher):
                client.outlet.received.clear()


def traced(hub: CountedHub) -> int:
    """Return the allocated bytes after a garbage collection."""
    hub.loop.advance(2.0)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


# Crowds whose members each read something else.


def test_paced_watchers_cost_nothing_for_events_of_others() -> None:
    hub = CountedHub(HubConfig(status_s=0, metrics_s=0))
    clients = [hub.connect(f"channel=operations/mine-{number}&pace_ms=1000") for number in range(1_000)]
    hub.settle()
    before = writes(clients)
    delivery = hub.hub.delivery
    rounds = hub.loop.rounds
    for number in range(2_000):
        hub.progress(number % 500, number / 20)
        if number % 20 == 0:
            hub.loop.advance(0.01)
    hub.loop.advance(2.0)
    assert (delivery.ring.visits, delivery.ring.encodes, delivery.catchup.reads) == (0, 0, 0)
    assert writes(clients) == before
    assert hub.loop.rounds - rounds < 2_000, "no timer runs for lanes without events"


def test_paced_lanes_are_written_in_slices() -> None:
    reading_s = 0.0001
    hub = CountedHub(HubConfig(status_s=0, metrics_s=0), reading_s=reading_s)
    clients = [hub.connect(f"channel=operations&channel=data/{number}&pace_ms=1000") for number in range(1_000)]
    hub.settle()
    hub.start(0)
    hub.loop.advance(1.5)
    counters = hub.hub.delivery.counters
    encodes = hub.hub.delivery.ring.encodes
    hub.start(1)
    hub.start(2)
    hub.start(1)
    written: list[int] = []
    while sum(written) < 1_000:
        before = counters.lane_writes
        hub.loop.run_round()
        written.append(counters.lane_writes - before)
        assert len(written) < 1_000
    # Each write ends with a reading of the clock.
    assert max(written) <= hub.config.catchup_budget_s / reading_s + 1
    assert hub.hub.delivery.ring.encodes - encodes == 3
    hub.settle()
    received = [keys(client.read_where(is_start)) for client in clients]
    assert received == [["op-0", "op-1", "op-2", "op-1"]] * 1_000


def is_start(message: Message) -> bool:
    return bool(message["type"] == "operation:start")


def test_resuming_watchers_visit_only_their_own_events() -> None:
    hub = CountedHub(HubConfig(status_s=0, metrics_s=0, ring_bytes=64 << 20))
    for first in range(0, 6_000, 1_000):
        hub.start(*range(first, first + 1_000))
        hub.settle()
    ring = hub.hub.delivery.ring
    assert len(ring) == 6_000
    clients = [hub.connect(f"channel=operations/op-{number}&since=first") for number in range(300)]
    hub.settle()
    assert [keys(client.read_events()) for client in clients] == [[f"op-{number}"] for number in range(300)]
    assert ring.visits == 300
    assert hub.counted.reads == 0


def test_overflowing_paced_lanes_read_the_log_and_miss_nothing() -> None:
    hub = CountedHub(HubConfig(status_s=0, metrics_s=0, ring_bytes=20_000))
    clients = hub.watch(3, "channel=operations&pace_ms=1000")
    hub.start(0)
    hub.loop.advance(0.5)
    for number in range(1, 200):
        hub.start(number)
        hub.settle()
    assert [len(client.read_events()) for client in clients] == [1] * 3, "the pace is kept"
    hub.loop.advance(2.0)
    assert [keys(client.read_events()) for client in clients] == [names(range(1, 200))] * 3
    hub.start(200)
    hub.loop.advance(2.0)
    assert [keys(client.read_events()) for client in clients] == [names([200])] * 3
