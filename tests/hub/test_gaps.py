"""Resuming from positions that the log no longer has, or does not have yet."""

from tests.hub.events import publish_updates
from tests.hub.exchange import position, start, summarize

from tidings.hub.config import HubConfig
from tidings.log.base import Retention
from tidings.protocol.timestamps import from_nanoseconds
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub


def trimming(hub: InMemoryHub, publisher: InMemoryClient) -> None:
    """Publish ten events of one key; the log keeps three of them."""
    publish_updates(publisher, 10)
    hub.loop.advance(3)


KEEP_3 = HubConfig(retention=Retention(events=3), ring_bytes=0)


def test_resume_from_trimmed_position_reports_gap_and_reads_the_rest() -> None:
    hub, publisher = start(KEEP_3)
    trimming(hub, publisher)
    for since, after in (("first", 0), (position(2), 2)):
        client = hub.connect()
        client.subscribe("data", since=since)
        hub.settle()
        assert summarize(client.read()) == [
            ("gap", after),
            ("gap trimmed", (position(after), position(7))),
            ("event", 8),
            ("event", 9),
            ("event", 10),
            ("live at", 10),
        ]
    client = hub.connect()
    client.subscribe("data", since=position(7))
    hub.settle()
    assert summarize(client.read())[0] == ("complete", 7)
    assert hub.hub.delivery.counters.gaps == 2


def test_plain_connection_gets_the_gap() -> None:
    hub, publisher = start(KEEP_3)
    trimming(hub, publisher)
    client = hub.connect("channel=data&since=first", versioned=False)
    hub.settle()
    assert client.read_types()[:3] == ["connection:established", "channel:gap", "data:update"]


def test_trimming_during_catch_up_reports_each_gap_once() -> None:
    hub, publisher = start(HubConfig(retention=Retention(events=3), ring_bytes=0, high_water=100))
    client = hub.connect()
    client.subscribe("data", since="first")
    hub.settle()
    client.outlet.stall()
    trimming(hub, publisher)
    trimming(hub, publisher)
    client.outlet.take()
    hub.settle()
    messages = summarize(client.read())
    assert ("gap trimmed", (position(1), position(17))) in messages
    assert [message for message in messages if message[0] == "event"] == [
        ("event", offset) for offset in [1, 18, 19, 20]
    ]


def test_trimmed_range_still_in_the_ring_is_not_a_gap() -> None:
    hub, publisher = start(HubConfig(retention=Retention(events=3)))
    trimming(hub, publisher)
    client = hub.connect()
    client.subscribe("data", since=position(2))
    hub.settle()
    assert summarize(client.read()) == [
        ("complete", 2),
        *(("event", offset) for offset in range(3, 11)),
        ("live at", 10),
    ]


def test_position_of_another_log_is_a_gap_and_a_snapshot() -> None:
    hub, publisher = start()
    publish_updates(publisher, 3)
    hub.settle()
    client = hub.connect()
    client.subscribe("data", since="ffffffff:12")
    hub.settle()
    assert summarize(client.read()) == [
        ("gap", 3),
        ("gap epoch", ("ffffffff:12", position(3))),
        ("event", 3),
        ("live at", 3),
    ]


def test_future_position_waits_for_the_tail() -> None:
    hub, publisher = start()
    client = hub.connect()
    client.subscribe("data", since=position(3))
    hub.loop.advance(4.9)
    publish_updates(publisher, 2)
    hub.settle()
    assert summarize(client.read()) == []
    publish_updates(publisher, 2)
    hub.settle()
    assert summarize(client.read()) == [("complete", 3), ("event", 4), ("live at", 4)]
    hub.loop.advance(5)
    assert summarize(client.read()) == []


def test_future_position_is_a_gap_after_five_seconds() -> None:
    hub, publisher = start()
    publish_updates(publisher, 1)
    hub.settle()
    client, gone = hub.connect(), hub.connect()
    for waiting in (client, gone):
        waiting.subscribe("data", since=position(3))
    gone.drop()
    hub.loop.advance(4.9)
    assert summarize(client.read()) == []
    hub.loop.advance(0.2)
    assert summarize(client.read()) == [
        ("gap", 1),
        ("gap future", (position(3), position(1))),
        ("event", 1),
        ("live at", 1),
    ]
    assert summarize(gone.read()) == []


def test_other_paths_continue_during_a_future_position() -> None:
    hub, publisher = start()
    client = hub.connect()
    client.subscribe("data", since="now")
    hub.settle()
    client.subscribe("system", since=position(5))
    publish_updates(publisher, 2)
    hub.settle()
    assert [message for message in summarize(client.read()) if message[0] == "event"] == [("event", 1), ("event", 2)]


def test_time_below_the_floor_reads_as_first_does() -> None:
    hub, publisher = start(KEEP_3)
    before = hub.clock.wall_ns()
    hub.loop.advance(10)
    trimming(hub, publisher)
    answers = []
    for since in ("first", from_nanoseconds(before), "1700-01-01T00:00:00Z"):
        client = hub.connect()
        client.subscribe("data", since=since)
        hub.settle()
        answers.append(summarize(client.read()))
    assert answers[0][0] == ("gap", 0)
    assert answers == [answers[0]] * 3


def test_time_of_events_that_the_log_has_is_complete() -> None:
    hub, publisher = start(HubConfig(ring_bytes=0))
    publish_updates(publisher, 3)
    hub.loop.advance(3_600)
    since = from_nanoseconds(hub.hub.now_ns())
    publish_updates(publisher, 2)
    for text in (since, since.replace("Z", "+00:00"), "2200-01-01T00:00:00Z"):
        client = hub.connect()
        client.subscribe("data", since=text)
        hub.settle()
        answer = summarize(client.read())
        assert answer[0] == ("complete", 5 if text.startswith("2200") else 3)
        assert [each for each in answer if each[0] == "event"] == (
            [] if "2200" in text else [("event", 4), ("event", 5)]
        )
    plain = hub.connect(f"channel=data&since={since.replace('Z', '+00:00')}", versioned=False)  # the + is a space
    hub.settle()
    assert plain.read_types().count("data:update") == 2
