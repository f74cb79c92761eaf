"""The hub's WebSocket: the same behaviour behind the native edge and behind plain uvicorn."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any, Self

import msgspec
import pytest
from tests.server.hub_server import QUIET, HubServer, progress, update
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tidings.exceptions import LogUnavailable
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp

V1 = Subprotocol("tidings.v1")
EDGES = ["native", "asgi"]


@pytest.fixture(params=EDGES)
def server(request: pytest.FixtureRequest) -> Iterator[HubServer]:
    with HubServer(request.param) as running:
        yield running


class Client:
    """One WebSocket to a hub, in envelopes."""

    def __init__(self, server: HubServer, query: str = "", *, v1: bool = True, **options: Any) -> None:
        # With an unbounded queue, so that its end does not wait for a reader.
        options.setdefault("max_queue", None)
        offered = [Subprotocol("other"), V1] if v1 else None
        self._selected = V1 if v1 else None
        self._connecting = connect(server.ws + query, subprotocols=offered, **options)
        self.socket: ClientConnection

    def __enter__(self) -> Self:
        self.socket = self._connecting.__enter__()
        assert self.socket.subprotocol == self._selected
        return self

    def __exit__(self, *fault: Any) -> None:
        self._connecting.__exit__(*fault)

    def send(self, type: str, data: Any = None, **fields: str) -> None:
        self.socket.send(msgspec.json.encode({"type": type, "data": data, **fields}).decode())

    def publish(self, event: dict[str, Any], **fields: str) -> None:
        self.send(event["type"], event["data"], **fields)

    def receive(self) -> dict[str, Any]:
        envelope: dict[str, Any] = msgspec.json.decode(self.socket.recv(timeout=60))
        return envelope

    def until(self, type: str) -> list[dict[str, Any]]:
        found = [self.receive()]
        while found[-1]["type"] != type:
            found.append(self.receive())
        return found

    def wait_close(self) -> int:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=60)
        code = self.socket.close_code
        assert code is not None
        return code


# Plain and versioned connections.


def test_plain_connection_reads_five_fields_and_gets_no_replies(server: HubServer) -> None:
    with Client(server, "?channel=data", v1=False) as client:
        established = client.receive()
        assert established["type"] == "connection:established"
        client.publish(update("a", 1), event_id="an-event-id-0001")
        event = client.receive()
        assert list(event) == ["type", "timestamp", "trace_id", "data", "channel"]
        assert event["data"] == {"dataset": "a", "version": 1}


def test_v1_connection_gets_snapshot_then_live_events(server: HubServer) -> None:
    positions = server.publish(update("a", 1), update("a", 2), update("b", 3))
    with Client(server) as client:
        established = client.receive()
        assert established["data"]["position"] == positions[2]
        client.send("channel:subscribe", {"channels": ["data"]}, id="s1")
        messages = client.until("channel:live")
        assert messages[0]["reply_to"] == "s1"
        assert messages[0]["data"] == {"channels": ["data", "global"], "position": positions[2], "outcome": "snapshot"}
        assert [event["position"] for event in messages[1:-1]] == positions[1:]
        assert server.publish(update("c")) == [client.receive()["position"]]


def test_event_is_accepted_before_its_delivery_to_the_publisher(server: HubServer) -> None:
    with Client(server, "?channel=data") as client:
        client.until("channel:live")
        for number in range(20):
            client.publish(update("a", number), id=f"p{number}")
        messages = [client.receive() for _ in range(40)]
    accepted = {envelope["reply_to"]: place for place, envelope in enumerate(messages) if "reply_to" in envelope}
    delivered = {envelope["position"]: place for place, envelope in enumerate(messages) if "position" in envelope}
    assert list(accepted) == [f"p{number}" for number in range(20)]
    for place in accepted.values():
        assert place < delivered[messages[place]["data"]["position"]]


def test_reconnecting_reader_gets_each_event_once_in_order(server: HubServer) -> None:
    total = 400
    published: list[str] = []

    def publish() -> None:
        for start in range(0, total, 20):
            published.extend(server.publish(*(update("a", n) for n in range(start, start + 20))))

    publisher = threading.Thread(target=publish)
    publisher.start()
    seen: list[str] = []
    since = "first"
    while len(seen) < total:
        with Client(server, f"?channel=data&since={since}") as client:
            for _ in range(min(61, total - len(seen))):
                while "position" not in (envelope := client.receive()):
                    pass
                since = envelope["position"]
                seen.append(since)
    publisher.join()
    assert seen == published


def test_slow_reader_catches_up_without_losing_durable_events(server: HubServer) -> None:
    delivery = server.hub.delivery
    # Without compression: what fills the sockets is padding.
    options: Any = {"max_queue": 1, "close_timeout": 0.1, "compression": None}
    with Client(server, "?channel=data&channel=operations", **options) as slow:
        slow.until("channel:live")
        for start in range(0, 400, 10):
            events = [update("durable", n, padding=30_000) for n in range(start, start + 10)]
            server.publish(*events, progress("conflated", start / 4, padding=10_000))
        server.wait(lambda: delivery.counters.fell_behind >= 1)
        seen: list[int] = []
        conflated: list[float] = []
        while len(seen) < 400:
            event = slow.receive()
            if event["type"] == "data:update":
                seen.append(event["data"]["version"])
            else:
                conflated.append(event["data"]["progress"])
    assert seen == list(range(400))
    assert conflated == sorted(set(conflated))


@pytest.mark.parametrize("edge", EDGES)
def test_idle_connection_gets_its_position(edge: Any) -> None:
    with HubServer(edge, config={"heartbeat_s": 0.1}) as server, Client(server, "?channel=operations") as client:
        client.until("channel:live")
        (elsewhere,) = server.publish(update("on a channel that is not read"))
        while (last := client.until("connection:position")[-1])["data"]["position"] != elsewhere:
            pass
        assert last["data"]["now"].endswith("Z")


# Invalid messages.


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", "invalid_json"),
        ("[]", "invalid_envelope"),
        ('{"type":"no:such","id":"x"}', "unknown_type"),
        ('{"type":"data:update","data":{"url":"' + "x" * 65_536 + '"}}', "payload_too_large"),
        ('{"type":"data:update","x":' + "[" * 65 + "]" * 65 + "}", "too_deep"),
        ('{"type":"channel:subscribe","id":"x","data":{"channels":["nope"]}}', "unknown_channel"),
        ('{"type":"channel:subscribe","id":"x","data":{"channels":["data"],"since":"nope"}}', "invalid_position"),
        ('{"type":"connection:ping"}', "invalid_command"),
    ],
)
def test_invalid_message_is_refused_and_the_connection_continues(server: HubServer, message: str, code: str) -> None:
    with Client(server) as client:
        client.receive()
        client.socket.send(message)
        error = client.receive()
        assert (error["type"], error["data"]["code"]) == ("connection:error", code)
        assert error["data"]["hint"]
        client.send("connection:ping", id="alive")
        assert client.receive()["reply_to"] == "alive"


def test_binary_message_closes_with_1003(server: HubServer) -> None:
    with Client(server) as client:
        client.receive()
        client.socket.send(b"{}")
        assert client.receive()["data"]["code"] == "binary_message"
        closed = client.receive()
        assert (closed["type"], closed["data"]["code"]) == ("connection:closed", 1003)
        assert client.wait_close() == 1003
    server.wait(lambda: server.connections() == 0)


def test_message_over_256_kib_closes_with_1009(server: HubServer) -> None:
    with Client(server) as client:
        client.receive()
        client.socket.send("x" * (256 * 1024 + 1))
        assert client.wait_close() == 1009


def test_invalid_query_closes_with_1008(server: HubServer) -> None:
    with Client(server, "?since=nope") as client:
        messages = client.until("connection:closed")
        assert [message["data"].get("code") for message in messages[1:]] == ["invalid_position", 1008]
        assert client.wait_close() == 1008


# Before the upgrade.


def refusal(server: HubServer, path: str = "/ws", **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{server.port}{path}", **options):
        pass
    response = caught.value.response
    return response.status_code, msgspec.json.decode(response.body or b"")


def test_foreign_origin_is_refused_before_the_upgrade(server: HubServer) -> None:
    status, error = refusal(server, origin=Origin("http://evil.example"))
    assert (status, error["code"]) == (403, "origin_refused")
    assert "--allow-origin http://evil.example" in error["hint"]
    assert server.call(server.connections) == 0


def test_foreign_host_name_is_refused(server: HubServer) -> None:
    plain = socket.create_connection(("127.0.0.1", server.port))
    with pytest.raises(InvalidStatus) as caught, connect("ws://evil.example/ws", sock=plain):
        pass
    assert caught.value.response.status_code == 403


def test_own_origin_is_accepted(server: HubServer) -> None:
    with Client(server, origin=Origin(server.http)) as client:
        assert client.receive()["type"] == "connection:established"


@pytest.mark.parametrize("edge", EDGES)
def test_listed_origin_is_accepted(edge: Any) -> None:
    with (
        HubServer(edge, allow_origins=["https://app.example.com"]) as server,
        Client(server, origin=Origin("https://app.example.com")) as client,
    ):
        assert client.receive()["type"] == "connection:established"


def test_other_path_has_no_websocket(server: HubServer) -> None:
    status, error = refusal(server, "/elsewhere")
    assert (status, error["code"]) == (404, "not_found")
    assert "/ws" in error["hint"]


# Limits.


@pytest.mark.parametrize("edge", EDGES)
def test_connection_over_the_limit_closes_with_1013(edge: Any) -> None:
    with HubServer(edge, config={"max_connections": 1}) as server, Client(server), Client(server) as second:
        closed = second.until("connection:closed")[-1]
        assert closed["data"]["retry_after_ms"] == 5_000
        assert second.wait_close() == 1013


@pytest.mark.parametrize("edge", EDGES)
def test_publisher_with_too_many_unread_replies_is_not_read(edge: Any) -> None:
    with HubServer(edge, config={"unacknowledged_events": 10}) as server, Client(server) as client:
        client.receive()
        server.call(server.log.hold_appends)
        for number in range(100):
            client.publish(update("a", number), id=f"p{number}")
        server.wait(lambda: server.app.hub.staged >= 10)
        assert server.call(lambda: server.app.hub.staged) == 10
        server.call(server.log.release_appends)
        assert [client.receive()["reply_to"] for _ in range(100)] == [f"p{number}" for number in range(100)]


def test_log_error_is_reported_to_the_publisher(server: HubServer) -> None:
    with Client(server) as client:
        client.receive()
        server.call(lambda: server.log.fail_append(LogUnavailable("the disk is gone")))
        client.publish(update("a"), id="p")
        error = client.receive()
        assert (error["reply_to"], error["data"]["code"]) == ("p", "log_unavailable")


# The end.


def test_drain_closes_with_4100(server: HubServer) -> None:
    with Client(server, "?channel=data") as client:
        client.until("channel:live")
        server.call(server.app.drain)
        assert client.until("connection:closed")[-1]["data"]["code"] == 4100
        assert client.wait_close() == 4100


def test_lost_client_is_removed(server: HubServer) -> None:
    with Client(server, "?channel=data") as client:
        client.until("channel:live")
    with Client(server, "?channel=data") as client:
        client.until("channel:live")
        client.socket.socket.close()
    server.wait(lambda: server.connections() == 0)
    assert server.call(lambda: len(server.app.hub.delivery.lanes)) == 0
    assert server.call(lambda: server.app.hub.delivery.subscribers) == 0


# Servers that implement less, or accept more, than uvicorn.


async def ws_exchange(hub: HubApp, *messages: dict[str, Any], **scope: Any) -> list[dict[str, Any]]:
    """Drive the hub as an ASGI server does; return the messages that it sent."""
    inbound = iter([{"type": "websocket.connect"}, *messages])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in inbound:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    request = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "subprotocols": [], **scope}
    async with hub.lifespan(), asyncio.timeout(60):
        await hub(request, receive, send)
    return sent


@pytest.fixture
def hub() -> HubApp:
    return HubApp(lambda scheduler: MemoryLog("0badcafe"), config=HubConfig(**QUIET))


async def test_server_without_http_responses_closes(hub: HubApp) -> None:
    assert [message["type"] for message in await ws_exchange(hub, path="/elsewhere")] == ["websocket.close"]


async def test_abandoned_handshake_is_ignored(hub: HubApp) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await hub({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    assert sent == []


async def test_half_a_surrogate_pair_is_answered_and_closes_with_1007(hub: HubApp) -> None:
    sent = await ws_exchange(hub, {"type": "websocket.receive", "text": '{"type":"\ud800"}'})
    assert [message["type"] for message in sent] == ["websocket.accept", *["websocket.send"] * 3, "websocket.close"]
    assert json.loads(sent[2]["text"])["data"]["code"] == "invalid_utf8"
    assert sent[-1]["code"] == 1007


async def test_server_that_fails_to_send_ends_the_connection(hub: HubApp) -> None:
    received = False

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received:
            await asyncio.Event().wait()
        received = True
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the client is gone")

    async with hub.lifespan(), asyncio.timeout(60):
        await hub({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
        assert len(hub.connections) == 0


async def test_stopped_hub_refuses_connections(hub: HubApp) -> None:
    async with hub.lifespan():
        pass
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    extensions: dict[str, Any] = {"websocket.http.response": {}}
    await hub({"type": "websocket", "path": "/ws", "headers": [], "extensions": extensions}, receive, send)
    assert sent[0]["status"] == 503
    assert msgspec.json.decode(sent[1]["body"])["code"] == "draining"


def test_native_edge_of_a_stopped_hub_refuses_connections() -> None:
    with HubServer() as server:
        server.call(server.app.stop)
        status, error = refusal(server)
        assert (status, error["code"]) == (503, "draining")
