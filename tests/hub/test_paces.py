"""The events that wait for the next flush of a pace."""

from tests.hub.events import make_event, make_record

from tidings.hub.paces import CollectedEvents
from tidings.hub.ring import RingEntry


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
