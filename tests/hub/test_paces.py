"""The events that wait for the next flush of a pace."""

import pytest
from tests.hub.events import make_event, make_record, progress

from tidings.hub.config import HubConfig
from tidings.hub.paces import CollectedEvents
from tidings.hub.ring import RingEntry
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryHub
from tidings.testing.loop import ManualLoop


def test_collected_events_are_the_newest_of_each_latest_key_in_log_order() -> None:
    collected = CollectedEvents()
    names = [("operation:progress", "a"), ("operation:progress", "b"), ("operation:log", "a"), ("operation:log", "a")]
    for offset, (type, of) in enumerate(names * 3, 1):
        collected.add(RingEntry(make_record(offset, make_event(type, of)), ""))
    assert [each.offset for each in collected.entries()] == [3, 4, 7, 8, 9, 10, 11, 12]
    collected.clear()
    assert collected.entries() == []


def test_collected_events_grow_by_what_a_newer_one_adds() -> None:
    collected = CollectedEvents()
    first = collected.add(RingEntry(make_record(1, make_event("operation:progress", "a", data=b"1")), ""))
    assert first > 1
    assert collected.add(RingEntry(make_record(2, make_event("operation:progress", "a", data=b"4444")), "")) == 3
    assert collected.add(RingEntry(make_record(3, make_event("operation:log", "a", data=b"1")), "")) == first


def test_fault_of_one_member_stops_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    clients = [hub.connect(f"channel=operations/{key}&pace_ms=50") for key in ("a", "b", "c")]
    hub.settle()
    publisher = hub.connect("channels=none")
    clients[1].outlet.stall()
    write = clients[1].outlet.write
    faults = [RuntimeError("the transport failed once")]

    def fail_once(frames: bytes) -> None:
        if faults:
            raise faults.pop()
        write(frames)

    monkeypatch.setattr(clients[1].outlet, "write", fail_once)
    for key in ("a", "b", "c"):
        publisher.send("operation:progress", progress(key))
    hub.loop.advance(0.2)
    assert faults == []
    clients[1].outlet.take()
    hub.loop.advance(1)
    assert [len(client.read_events()) for client in clients] == [1, 1, 1]
    publisher.send("operation:progress", progress("c", 2))
    hub.loop.advance(1)
    assert len(clients[2].read_events()) == 1


def test_members_of_an_overflowed_lane_all_read_the_log() -> None:
    clock = ManualClock(reading_s=0.001)
    config = HubConfig(ring_bytes=2_500, catchup_budget_s=0.0005)  # two events; each slice ends after one step
    hub = InMemoryHub(config, clock=clock, loop=ManualLoop(clock))
    clients = [hub.connect("channel=data&pace_ms=1000") for _ in range(3)]
    publisher = hub.connect("channels=none")
    hub.settle()
    publisher.send("data:update", {"dataset": "a"})
    hub.loop.advance(0.1)
    for _ in range(4):
        publisher.send("data:update", {"dataset": "a"})
    hub.loop.advance(3)
    assert [len(client.read_events()) for client in clients] == [5, 5, 5]


@pytest.mark.parametrize("free", range(50, 500, 50))
def test_member_that_leaves_in_a_flush_reads_no_event_twice(free: int) -> None:
    hub = InMemoryHub(HubConfig(high_water=300))
    clients = [hub.connect("channel=data&pace_ms=1000") for _ in range(2)]
    publisher = hub.connect("channels=none")
    hub.settle()
    for client, more in zip(clients, (120, 0), strict=True):
        client.read()
        client.outlet.stall(free + more)
    for _ in range(2):
        publisher.send("data:update", {"dataset": "a"})
    hub.loop.advance(3)
    for client in clients:
        client.outlet.take()
    hub.loop.advance(3)
    assert [[event["position"] for event in client.read_events()] for client in clients] == [
        ["0badc0de:1", "0badc0de:2"]
    ] * 2
