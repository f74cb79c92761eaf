"""The rules of plain and `tidings.v1` connections."""

import pytest
from tests.hub.events import publish_updates, update
from tests.hub.exchange import answer, connect

from tidings.hub.config import HubConfig
from tidings.hub.outbound_budget import WRITE_OVERHEAD_BYTES
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

FIVE = ["type", "timestamp", "trace_id", "data", "channel"]
EVENT_ID = "0123456789abcdef"


# Both kinds of connection.


@pytest.mark.parametrize("versioned", [True, False])
def test_connection_begins_with_established(versioned: bool) -> None:
    hub = InMemoryHub(HubConfig(heartbeat_s=12.5))
    greeting = hub.connect("channels=none", versioned=versioned).read()[0]
    assert greeting["type"] == "connection:established"
    assert greeting["data"] == {
        "connection_id": "client-1",
        "contract": {"version": "2025-07-30", "hash": hub.hub.contract.identity.hash},
        "position": f"{EPOCH}:0",
        "now": "2026-01-01T00:00:00Z",
        "heartbeat_s": 12.5,
        "channels": ["global", "operations", "data", "system"],
        "auth": "none",
    }


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("channel=nonsense", "unknown_channel"),
        ("channel=/x", "invalid_path"),
        ("since=yesterday", "invalid_position"),
        ("pace_ms=fast", "invalid_parameter"),
    ],
)
def test_invalid_query_is_answered_and_closed(query: str, code: str, versioned: bool) -> None:
    hub = InMemoryHub()
    client = hub.connect(query, versioned=versioned)
    _, error, closed = client.read()
    assert (error["type"], error["data"]["code"]) == ("connection:error", code)
    assert error["data"]["hint"]
    assert (closed["type"], closed["data"]["code"], closed["data"]["reconnect"]) == ("connection:closed", 1008, False)
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == 1008
    hub.settle()
    assert (len(hub.connections), hub.hub.delivery.subscribers) == (0, 0)


@pytest.mark.parametrize("versioned", [True, False])
def test_old_type_is_accepted_with_one_notice(versioned: bool) -> None:
    hub, client = connect("channel=operations", versioned=versioned)
    error = {"code": "c", "message": "m", "recoverable": False}
    for key in "ab":
        client.send("operation:error", {"operation_id": key, **error})
    hub.settle()
    messages = client.read()
    notices = [message for message in messages if message["type"] == "connection:notice"]
    assert [notice["data"]["code"] for notice in notices] == ["deprecated"]
    assert "operation:failed" in notices[0]["data"]["message"]
    assert [message["type"] for message in messages if "channel" in message] == ["operation:failed"] * 2


def test_closed_connection_neither_sends_nor_accepts() -> None:
    hub, client = connect("channel=data")
    client.send("data:update", update())
    client.connection.close(4100, "draining", retry_after_ms=1_000)
    client.send("data:update", update())
    client.connection.close(4101, "again")
    client.connection.reject_binary(b"x")
    hub.settle()
    (closed,) = client.read()
    assert closed["data"] == {"code": 4100, "reason": "draining", "reconnect": True, "retry_after_ms": 1_000}
    assert (client.outlet.closed, hub.log.head) == ((4100, "draining"), 1)


# Plain connections.


def test_plain_connection_reads_new_events_in_five_fields() -> None:
    hub = InMemoryHub()
    publisher = hub.connect("channels=none")
    publish_updates(publisher, 1)
    hub.settle()
    client = hub.connect(versioned=False)
    hub.settle()
    publisher.send("data:update", update(), event_id=EVENT_ID)
    publisher.send("system:alert", {"severity": "info", "code": "c", "message": "m", "recoverable": True})
    hub.settle()
    greeting, *events = client.read()
    assert list(greeting) == FIVE[:4]
    assert [list(event) for event in events] == [FIVE, FIVE]


def test_plain_publisher_receives_errors_only() -> None:
    hub, client = connect("channels=none", versioned=False)
    client.send("data:update", update(), id="1")
    hub.settle()
    assert (client.read(), hub.log.head) == ([], 1)
    client.send("data:update", 7, id="2")
    error = answer(hub, client)
    assert (error["data"]["code"], list(error)) == ("invalid_payload", FIVE[:4])


@pytest.mark.parametrize("type", ["channel:subscribe", "channel:unsubscribe", "connection:ping"])
def test_plain_connection_has_no_commands(type: str) -> None:
    hub, client = connect("channels=none", versioned=False)
    client.send(type, {"channels": ["data"]})
    error = answer(hub, client)
    assert error["data"]["code"] == "unknown_type"
    assert "tidings.v1" in error["data"]["hint"]


def test_plain_snapshot_has_no_messages_around_it() -> None:
    hub = InMemoryHub()
    publish_updates(hub.connect("channels=none"), 2)
    hub.settle()
    client = hub.connect("channel=data&since=snapshot", versioned=False)
    hub.settle()
    assert client.read_types() == ["connection:established", "data:update"]


# tidings.v1.


def test_v1_connection_reads_nothing_until_it_subscribes() -> None:
    hub, client = connect()
    client.send("data:update", update(), id="1")
    hub.settle()
    assert client.read_types() == ["event:accepted"]


def test_v1_connection_receives_subscribed_for_its_url() -> None:
    hub = InMemoryHub()
    publish_updates(hub.connect("channels=none"), 2)
    hub.settle()
    client = hub.connect("channel=data&since=first")
    hub.settle()
    _, subscribed, *events, live = client.read()
    assert (subscribed["type"], subscribed["data"]["outcome"]) == ("channel:subscribed", "complete")
    assert "reply_to" not in subscribed
    assert [event["position"] for event in events] == [f"{EPOCH}:1", f"{EPOCH}:2"]
    assert live["data"] == {"channels": ["data", "global"], "position": f"{EPOCH}:2"}


def test_event_carries_position_and_event_id() -> None:
    hub, client = connect("channel=data")
    client.send("data:update", update(), event_id=EVENT_ID)
    hub.settle()
    (event,) = client.read_events()
    assert list(event) == [*FIVE, "position", "event_id"]
    assert (event["position"], event["event_id"]) == (f"{EPOCH}:1", EVENT_ID)


def test_event_is_accepted_before_it_is_delivered() -> None:
    hub, client = connect("channel=data")
    client.send("data:update", update(), id="mine", trace_id="trace")
    hub.settle()
    accepted, event = client.read()
    assert (accepted["type"], accepted["reply_to"], accepted["trace_id"]) == ("event:accepted", "mine", "trace")
    assert accepted["data"] == {"position": f"{EPOCH}:1"}
    assert event["trace_id"] == "trace"


def test_accepted_carries_a_new_trace_id() -> None:
    hub, client = connect("channel=data")
    client.send("data:update", update())
    hub.settle()
    accepted, event = client.read()
    assert accepted["trace_id"] == event["trace_id"]
    assert len(event["trace_id"]) == 32


def test_event_without_an_id_has_no_reply() -> None:
    hub, client = connect()
    client.send("data:update", update(), id=None)
    hub.settle()
    assert (client.read(), hub.log.head) == ([], 1)


def test_repeated_event_id_is_answered_with_the_first_position() -> None:
    hub, client = connect()
    for id in ("1", "2"):
        client.send("data:update", update(), id=id, event_id=EVENT_ID)
    hub.settle()
    client.send("data:update", update(), id="3", event_id=EVENT_ID)
    client.send("data:update", update("other"), id="4", event_id=EVENT_ID)
    hub.settle()
    replies = client.read()
    assert [reply["data"] for reply in replies[:3]] == [
        {"position": f"{EPOCH}:1"},
        {"position": f"{EPOCH}:1", "duplicate": True},
        {"position": f"{EPOCH}:1", "duplicate": True},
    ]
    assert (replies[3]["data"]["code"], replies[3]["reply_to"]) == ("event_id_reused", "4")
    assert hub.log.head == 1


def test_ping_is_answered_with_the_time() -> None:
    hub, client = connect()
    client.send("connection:ping", None, id="p", trace_id="trace")
    hub.loop.advance(0)
    pong = answer(hub, client)
    assert (pong["type"], pong["reply_to"], pong["trace_id"]) == ("connection:pong", "p", "trace")
    assert pong["data"] == {"now": "2026-01-01T00:00:00Z"}


def test_subscribed_lists_the_paths_in_canonical_form() -> None:
    hub, client = connect()
    client.subscribe("operations/a", "operations/a*", "data", since="now")
    hub.settle()
    subscribed, live = client.read()
    assert subscribed["data"]["channels"] == live["data"]["channels"] == ["data", "global", "operations/a*"]


def test_paths_are_unsubscribed_one_by_one() -> None:
    hub, client = connect("channels=data,operations/a,system&since=now")
    left = {"data": ["global", "operations/a", "system"], "operations/a": ["global", "system"], "system": []}
    for path, expected in left.items():
        client.unsubscribe(path)
        assert answer(hub, client)["data"]["channels"] == expected
        publish_updates(client, 1)
        hub.settle()
        assert client.read_events() == []


@pytest.mark.parametrize("channel", ["global", "*"])
def test_last_global_path_can_be_unsubscribed(channel: str) -> None:
    hub, client = connect("channel=global&since=now")
    client.unsubscribe(channel)
    assert answer(hub, client)["data"]["channels"] == []


def test_unsubscribing_a_path_that_is_not_read_is_rejected() -> None:
    hub, client = connect("channel=operations&since=now")
    for path in ("data", "operations/a"):
        client.unsubscribe("operations", path)
        error = answer(hub, client)
        assert error["data"]["code"] == "invalid_path"
        assert "global, operations" in error["data"]["hint"]
    assert client.connection.subscriber.paths.names() == ["global", "operations"]


# Limits of unacknowledged events and unsent replies.


def test_reading_stops_at_event_limit_and_resumes_at_half() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(HubConfig(unacknowledged_events=10, batch_events=10), log=log)
    client = hub.connect("channels=none")
    log.hold_appends()
    client.send("data:update", update("first"))
    hub.settle()
    for number in range(8):
        client.send("data:update", update(f"{number}"))
    assert client.outlet.reading
    client.send("data:update", update("last"))
    assert not client.outlet.reading
    log.release_appends()
    assert (client.outlet.reading, log.head) == (False, 1)
    hub.settle()
    assert (client.outlet.reading, log.head) == (True, 10)


def test_reading_stops_at_byte_limit() -> None:
    hub = InMemoryHub(HubConfig(unacknowledged_bytes=10_000))
    client = hub.connect("channels=none")
    publish_updates(client, 3, size=3_000)
    assert client.outlet.reading
    publish_updates(client, 1, size=3_000)
    assert not client.outlet.reading
    hub.settle()
    assert client.outlet.reading


def test_reading_stops_for_a_client_that_reads_no_replies() -> None:
    _, client = connect()
    client.outlet.stall()
    sent = 0
    while client.outlet.reading:
        client.send("data:update", 7)
        sent += 1
        assert sent < 10_000
    owed = client.outlet.write_buffer_size() + sent * WRITE_OVERHEAD_BYTES
    assert 1 << 20 <= owed < (1 << 20) + 3_000
    client.outlet.take()
    assert client.outlet.reading
    assert len(client.read()) == sent


def test_disconnected_publisher_receives_no_reply() -> None:
    hub, client = connect()
    client.send("data:update", update())
    client.drop()
    hub.settle()
    assert (client.read(), hub.log.head) == ([], 1)


def test_event_without_a_trace_id_takes_that_of_its_operation() -> None:
    hub, client = connect("channel=operations")
    client.send("operation:start", {"operation_id": "a", "name": "run"}, trace_id="trace")
    client.send("operation:log", {"operation_id": "a", "message": "m"})
    client.send("operation:complete", {"operation_id": "a"})
    client.send("operation:start", {"operation_id": "a"})
    hub.settle()
    first, second, third, fourth = [event["trace_id"] for event in client.read_events()]
    assert first == second == third == "trace"
    assert fourth != "trace"


def test_plain_error_belongs_to_the_operation_of_its_trace() -> None:
    hub, client = connect("channel=operations/a")
    client.send("operation:start", {"operation_id": "a", "name": "run"}, trace_id="one")
    client.send("operation:failed", {"code": "c", "message": "m", "recoverable": False}, trace_id="other")
    client.send("operation:failed", {"code": "c", "message": "m", "recoverable": False}, trace_id="one")
    hub.settle()
    failed = client.read_events()[-1]
    assert next(iter(failed["data"].items())) == ("operation_id", "a")
    assert failed["position"] == f"{EPOCH}:3"
