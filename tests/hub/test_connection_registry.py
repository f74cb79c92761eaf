import pytest
from tests.hub.events import publish_updates

from tidings.hub.config import HubConfig
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub, Message

CONFIG = HubConfig(heartbeat_s=25.0)


def positions(messages: list[Message]) -> list[str]:
    return [message["data"]["position"] for message in messages if message["type"] == "connection:position"]


def test_idle_connection_gets_its_position_every_heartbeat() -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect("channel=data")
    publisher = hub.connect("channels=none")
    hub.loop.advance(24)
    assert positions(client.read()) == []
    publisher.send("system:alert", {"severity": "info", "code": "c", "message": "m", "recoverable": True})
    hub.loop.advance(2)
    messages = client.read()
    assert positions(messages) == [f"{EPOCH}:1"], "a quiet path on a busy log never looks like a gap"
    assert messages[0]["data"]["now"] == messages[0]["timestamp"] == "2026-01-01T00:00:25Z"
    hub.loop.advance(50)
    assert positions(client.read()) == [f"{EPOCH}:1"] * 2


def test_busy_connection_gets_no_heartbeat() -> None:
    hub = InMemoryHub(CONFIG)
    client, publisher = hub.connect("channel=data"), hub.connect("channels=none")
    for _ in range(25):
        publish_updates(publisher, 1)
        hub.loop.advance(4)
    assert positions(client.read()) == []
    assert len(positions(publisher.read())) == 4, "a connection without paths gets one"


def test_silence_is_bounded_by_the_heartbeat() -> None:
    hub = InMemoryHub(CONFIG)
    client, publisher = hub.connect("channel=data"), hub.connect("channels=none")
    hub.loop.advance(19)
    publish_updates(publisher, 1)
    hub.loop.advance(7)
    assert len(positions(client.read())) == 1
    hub.loop.advance(22)
    publish_updates(publisher, 1)
    hub.loop.advance(25 + 5)
    assert len(positions(client.read())) == 1


def test_idle_plain_connection_gets_a_ping() -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect(versioned=False)
    hub.loop.advance(76)
    assert client.outlet.pings == 3
    assert client.read_types() == ["connection:established"]


def test_paced_connection_gets_the_position_it_has_reached() -> None:
    hub = InMemoryHub(HubConfig(heartbeat_s=1.0))
    publisher = hub.connect("channels=none")
    client = hub.connect("channel=data&pace_ms=5000")
    hub.settle()
    publish_updates(publisher, 1)
    hub.loop.advance(0.1)
    publish_updates(publisher, 1)
    hub.loop.advance(3)
    assert set(positions(client.read())) == {f"{EPOCH}:1"}
    hub.loop.advance(2)
    assert client.read_events()[0]["position"] == f"{EPOCH}:2"
    hub.loop.advance(3)
    assert set(positions(client.read())) == {f"{EPOCH}:2"}


def test_stalled_connection_gets_no_heartbeat() -> None:
    hub = InMemoryHub(CONFIG)
    for versioned in (True, False):
        client = hub.connect("channel=data", versioned=versioned)
        hub.settle()
        client.outlet.stall()
        client.connection.write(b"x\n")
        hub.loop.advance(60)
        assert (client.outlet.write_buffer_size(), client.outlet.pings) == (2, 0)


def test_heartbeats_are_spread_over_the_interval() -> None:
    hub = InMemoryHub(CONFIG)
    clients = []
    for _ in range(25):
        clients.append(hub.connect())
        hub.loop.advance(1)
    hub.loop.advance(1)
    beaten = sum(len(positions(client.read())) for client in clients)
    assert 1 <= beaten <= 2


def test_heartbeat_frame_is_encoded_once() -> None:
    hub = InMemoryHub(CONFIG)
    clients = [hub.connect() for _ in range(20)]
    hub.loop.advance(26)
    beats = [client.read()[-1] for client in clients]
    assert len({beat["trace_id"] for beat in beats}) == 1


def test_connection_over_the_limit_is_closed_with_a_retry_time() -> None:
    hub = InMemoryHub(HubConfig(max_connections=2))
    clients = [hub.connect() for _ in range(3)]
    closed = clients[2].read()[-1]
    assert (closed["type"], closed["data"]["code"], closed["data"]["reconnect"]) == ("connection:closed", 1013, True)
    assert closed["data"]["retry_after_ms"] > 0
    clients[0].drop()
    assert hub.connect().outlet.closed is None
    hub.settle()
    assert (len(hub.connections), hub.connections.opened) == (2, 3)


def test_drain_closes_all_connections_and_refuses_events() -> None:
    hub = InMemoryHub(CONFIG)
    clients = [hub.connect(versioned=versioned) for versioned in (True, False)]
    hub.settle()
    hub.hub.draining = True
    clients[0].send("data:update", {})
    hub.connections.close_all(4100, "the hub is shutting down", retry_after_ms=1_000)
    hub.settle()
    for client in clients:
        closed = client.read()[-1]
        assert closed["data"] == {
            "code": 4100,
            "reason": closed["data"]["reason"],
            "reconnect": True,
        } | ({"retry_after_ms": 1_001} if client is clients[1] else {})
        assert client.outlet.closed is not None
        assert client.outlet.closed[0] == 4100
    assert (len(hub.connections), hub.log.head) == (0, 0)


def test_drain_answers_what_is_outstanding_before_it_closes() -> None:
    hub = InMemoryHub(CONFIG)
    client, idle = hub.connect(), hub.connect()
    hub.settle()
    for messages in (client, idle):
        messages.read()
    for number in range(3):
        client.send("data:update", {"dataset": f"d{number}"}, id=f"p{number}")
    hub.hub.draining = True
    hub.connections.drain_all()
    client.send("data:update", {"dataset": "too late"}, id="late")
    assert idle.read_types() == ["connection:closed"], "it has nothing to wait for"
    hub.settle()
    answers = client.read()
    assert [message.get("reply_to") for message in answers] == ["p0", "p1", "p2", None]
    assert [message["type"] for message in answers[:3]] == ["event:accepted"] * 3
    assert (answers[3]["type"], answers[3]["data"]["code"]) == ("connection:closed", 4100)
    assert (len(hub.connections), hub.log.head) == (0, 3)


@pytest.mark.parametrize(("rate", "apart_ms"), [(100.0, 10), (20_000.0, 0.05), (0.5, 299 / 3)])
def test_drain_gives_each_client_its_own_time_and_producers_the_first(rate: float, apart_ms: float) -> None:
    count = 3_000
    hub = InMemoryHub(HubConfig(heartbeat_s=25.0, reconnect_rate=rate, drain_retry_ms=1_000))
    clients = [hub.connect() for _ in range(count)]
    hub.settle()
    producers = clients[1_000:1_100]
    for producer in producers:
        producer.connection.producer_id = "p"
    hub.connections.drain_all()
    hub.connections.drain_all()
    hub.settle()
    slots = [client.read()[-1]["data"]["retry_after_ms"] for client in clients]
    first = sorted(range(count), key=lambda number: slots[number])[: len(producers)]
    if apart_ms >= 1:
        assert [clients[number] for number in first] == producers
    assert sorted(slots) == [1_000 + round(number * apart_ms) for number in range(count)]
    assert max(slots) <= 300_000


def test_heartbeats_stop_with_the_last_connection_or_the_hub() -> None:
    hub = InMemoryHub(CONFIG)
    hub.connect().drop()
    hub.loop.advance(2)
    client = hub.connect()
    hub.loop.advance(26)
    assert len(positions(client.read())) == 1
    hub.hub.close()
    hub.loop.advance(100)
    assert positions(client.read()) == []
