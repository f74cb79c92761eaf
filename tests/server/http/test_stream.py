import gc
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import msgspec
import pytest
from tests.heap import private_heap
from tests.server.hub_server import HubServer, Stream, progress, update

from tidings.exceptions import LogInUse
from tidings.log.base import Log, Retention, Scheduler
from tidings.server.app import HubApp
from tidings.server.asgi.outlet import MAX_WAITING_BYTES, BufferedOutlet
from tidings.server.websocket.socket_options import MAX_UNSENT_BYTES


@pytest.fixture(params=["native", "asgi"])
def server(request: pytest.FixtureRequest) -> Iterator[HubServer]:
    with HubServer(request.param) as running:
        yield running


# The start of a stream.


def test_stream_sends_subscribed_then_snapshot_then_live(server: HubServer) -> None:
    positions = server.publish(update("a", 1), update("b", 2), update("a", 3))
    with Stream(server.port, "?channel=data") as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert "no-store" in stream.response.headers["cache-control"]
        first = stream.block()
        assert 1_000 <= int(first["retry"]) <= 3_000
        subscribed = msgspec.json.decode(first["data"])
        *events, live = stream.until("channel:live")
        assert subscribed["type"] == "channel:subscribed"
        assert subscribed["data"] == {"channels": ["data", "global"], "position": positions[2], "outcome": "snapshot"}
        assert [event["position"] for event in events] == positions[1:]
        assert live["data"]["position"] == positions[2]
        newest = server.publish(update("c", 4))
        assert stream.events(1)[0]["position"] == newest[0] == stream.last_id


def test_broken_snapshot_is_not_resumed_at_its_end(server: HubServer) -> None:
    server.publish(update("a", 1), update("b", 2))
    with Stream(server.port) as stream:
        stream.until("channel:subscribed")
        assert stream.last_id == ""
        assert stream.events(1)[0]["position"] == stream.last_id


def test_since_sets_the_start_of_the_stream(server: HubServer) -> None:
    positions = server.publish(*(update("a", n) for n in range(5)))
    for since, expected in (("first", positions), (positions[1], positions[2:]), ("now", [])):
        with Stream(server.port, f"?since={since}") as stream:
            messages = stream.until("channel:live")
            assert [message["position"] for message in messages if "position" in message] == expected
            assert messages[0]["data"]["outcome"] == ("live" if since == "now" else "complete")


def test_stream_without_events_can_be_resumed(server: HubServer) -> None:
    with Stream(server.port, "?since=now") as stream:
        stream.until("channel:subscribed")
        before = stream.last_id
    missed = server.publish(update("missed"))
    with Stream(server.port, "?since=now", headers={"Last-Event-ID": before}) as stream:
        assert [event["position"] for event in stream.events(1)] == missed


def test_last_event_id_takes_precedence_over_since(server: HubServer) -> None:
    positions = server.publish(*(update("a", n) for n in range(5)))
    with Stream(server.port, "?since=first", headers={"Last-Event-ID": positions[2]}) as stream:
        assert [event["position"] for event in stream.events(2)] == positions[3:]


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?channel=nope", {}, 422, "unknown_channel"),
        ("?since=nope", {}, 422, "invalid_position"),
        ("?pace_ms=soon", {}, 400, "invalid_parameter"),
        ("?channels=none", {}, 400, "invalid_parameter"),
        ("", {"Last-Event-ID": "nope"}, 422, "invalid_position"),
        ("", {"Last-Event-ID": "snapshot"}, 422, "invalid_position"),
    ],
)
def test_invalid_stream_request_is_refused(
    server: HubServer, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = httpx.get(f"{server.http}/v1/stream{query}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


def test_stream_over_the_limit_is_refused() -> None:
    with HubServer(config={"max_connections": 1}) as server, Stream(server.port):
        answer = httpx.get(f"{server.http}/v1/stream")
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_connections")
        assert "retry-after" in answer.headers


# Refusals to an EventSource, which gives up after every status but 200.

EVENT_SOURCE = {"Accept": "text/event-stream"}


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?channel=nope", {}, "unknown_channel"),
        ("?since=nope", {}, "invalid_position"),
        ("?pace_ms=soon", {}, "invalid_parameter"),
        ("?channels=none", {}, "invalid_parameter"),
        ("?contract=1999-01-01", {}, "not_supported"),
        ("", {"Last-Event-ID": "nope"}, "invalid_position"),
    ],
)
def test_final_refusal_is_streamed_to_an_event_source(
    server: HubServer, query: str, headers: dict[str, str], code: str
) -> None:
    with Stream(server.port, query, headers={**headers, **EVENT_SOURCE}) as stream:
        assert (stream.response.status, stream.response.headers["content-type"]) == (200, "text/event-stream")
        first = stream.block()
        error = msgspec.json.decode(first["data"])
        assert int(first["retry"]) == 60_000, "an EventSource that its page does not close"
        assert (error["type"], error["data"]["code"]) == ("connection:error", code)
        assert error["data"]["hint"]
        closed = stream.message()
        assert closed["type"] == "connection:closed"
        assert closed["data"] == {"code": 1008, "reason": error["data"]["message"], "reconnect": False}
        with pytest.raises(EOFError):
            stream.block()


def test_draining_hub_asks_an_event_source_to_come_back(server: HubServer) -> None:
    server.call(server.app.drain)
    with Stream(server.port, headers=EVENT_SOURCE) as stream:
        first = stream.block()
        assert 1_000 <= int(first["retry"]) < 3_000
        assert msgspec.json.decode(first["data"])["data"]["code"] == "draining"
        closed = stream.message()["data"]
        assert (closed["code"], closed["reconnect"]) == (4100, True)
        assert closed["retry_after_ms"] == int(first["retry"])


def test_full_hub_asks_an_event_source_to_come_back_later() -> None:
    accept = {"Accept": "text/event-stream, application/json;q=0.5"}
    with (
        HubServer(config={"max_connections": 1}) as server,
        Stream(server.port),
        Stream(server.port, headers=accept) as stream,
    ):
        assert int(stream.block()["retry"]) >= 5_000
        closed = stream.message()["data"]
        assert (closed["code"], closed["reconnect"]) == (1013, True)


async def test_event_source_comes_back_to_a_hub_without_a_log() -> None:
    def open_log(scheduler: Scheduler) -> Log:
        raise LogInUse("process 42 holds the data folder")

    transport = httpx.ASGITransport(HubApp(open_log))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/v1/stream", headers=EVENT_SOURCE)
    assert answer.status_code == 200
    assert '"code":"log_in_use"' in answer.text
    assert '"code":1013' in answer.text
    assert '"reconnect":true' in answer.text


def test_page_of_a_foreign_origin_gets_the_status(server: HubServer) -> None:
    headers = {**EVENT_SOURCE, "Origin": "https://elsewhere.example"}
    answer = httpx.get(f"{server.http}/v1/stream", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")


# Delivery.


def test_reconnecting_reader_gets_each_event_once_in_order(server: HubServer) -> None:
    total = 600
    published: list[str] = []

    def publish() -> None:
        for start in range(0, total, 20):
            published.extend(server.publish(*(update("a", n) for n in range(start, start + 20))))

    publisher = threading.Thread(target=publish)
    publisher.start()
    seen: list[str] = []
    last: dict[str, str] = {}
    while len(seen) < total:
        with Stream(server.port, "?channel=data&since=first", headers=last) as stream:
            count = min(37, total - len(seen))
            seen += [event["position"] for event in stream.events(count)]
            last = {"Last-Event-ID": stream.last_id}
    publisher.join()
    assert seen == published


def test_streams_of_the_same_paths_share_a_lane(server: HubServer) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(Stream(server.port, "?channel=data&since=now")) for _ in range(5)]
        for stream in streams:
            stream.until("channel:live")
        delivery = server.app.hub.delivery
        server.wait(lambda: [len(lane.members) for lane in delivery.lanes] == [5])
        server.publish(*(update("a", n) for n in range(3)))
        for stream in streams:
            assert [event["data"]["version"] for event in stream.events(3)] == [0, 1, 2]
        assert server.call(lambda: delivery.ring.encodes) == 3


def test_pace_conflates_latest_events(server: HubServer) -> None:
    with Stream(server.port, "?channel=operations&since=now&pace_ms=250") as stream:
        stream.until("channel:live")
        for percent in range(0, 100, 10):
            server.publish(progress("o", percent))
        server.publish(progress("o", 100))
        seen = [event["data"]["progress"] for event in stream.events(1)]
        while seen[-1] != 100:
            seen += [event["data"]["progress"] for event in stream.events(1)]
        assert len(seen) < 6


def test_gap_is_sent_to_the_stream() -> None:
    with HubServer(retention=Retention(events=3), config={"ring_bytes": 0}) as short:
        positions = short.publish(*(update("a", n) for n in range(10)))
        short.wait(lambda: short.log.statistics().trimmed_events == 7)
        with Stream(short.port, "?channel=data", headers={"Last-Event-ID": positions[0]}) as stream:
            messages = stream.until("channel:live")
    assert messages[0]["data"]["outcome"] == "gap"
    assert messages[1]["type"] == "channel:gap"
    assert messages[1]["data"]["after"] == positions[0]
    assert [message["position"] for message in messages if "position" in message] == positions[7:]


def test_idle_stream_gets_its_position_as_an_event() -> None:
    with HubServer(config={"heartbeat_s": 0.2}) as server, Stream(server.port, "?channel=operations") as stream:
        stream.until("channel:live")
        before = stream.last_id
        elsewhere = server.publish(update("on a channel that is not read"))
        block = stream.block()
        while block["id"] == before:
            block = stream.block()
        assert block["id"] == elsewhere[0]
        notice = msgspec.json.decode(block["data"])
        assert (notice["type"], notice["data"]["position"]) == ("connection:position", elsewhere[0])
        assert notice["data"]["now"].endswith("Z")


def test_busy_stream_gets_the_time_of_the_hub_too() -> None:
    with HubServer(config={"heartbeat_s": 0.2}) as server, Stream(server.port, "?channel=data&since=now") as stream:
        stream.until("channel:live")
        positions: list[str] = []
        while True:
            positions += server.publish(update("a", len(positions)))
            notice = msgspec.json.decode(stream.block()["data"])
            if notice["type"] == "connection:position":
                break
        assert len(positions) > 1
        assert notice["data"]["position"] in positions
        assert notice["data"]["now"].endswith("Z")


def test_every_block_has_data(server: HubServer) -> None:
    server.publish(*(update("a", n) for n in range(3)))
    with Stream(server.port, "?since=first") as stream:
        blocks = [stream.block() for _ in range(5)]
        server.call(lambda: server.app.connections.close_all(4100, "as at a drain"))
        blocks.append(stream.block())
    assert all(set(block) <= {"retry", "id", "data"} and "data" in block for block in blocks)
    assert [index for index, block in enumerate(blocks) if "retry" in block] == [0]


def test_heartbeat_while_waiting_for_a_position_ends_no_block() -> None:
    with HubServer(config={"heartbeat_s": 0.02}) as server:
        [position] = server.publish(update("a"))
        epoch, _, offset = position.partition(":")
        ahead = f"{epoch}:{int(offset) + 1}"
        with Stream(server.port, headers={"Last-Event-ID": ahead}) as stream:
            assert stream.response.readline() == b":\n"
            server.publish(update("a", 1), update("a", 2))
            line = b":\n"
            while line == b":\n":
                line = stream.response.readline()
            assert line.startswith(b"retry: ")
            assert stream.message()["type"] == "channel:subscribed"


# Slow and lost readers.


def test_slow_reader_catches_up_without_losing_durable_events(server: HubServer) -> None:
    delivery = server.hub.delivery
    with (
        private_heap(),
        Stream(server.port, "?since=now", receive_buffer=4096) as slow,
        Stream(server.port, "?since=now") as quick,
    ):
        slow.until("channel:live")
        quick.until("channel:live")
        quick_versions: list[int] = []

        def read_quickly() -> None:
            while len(quick_versions) < 400:
                quick_versions.extend(e["data"]["version"] for e in quick.events(1) if e["type"] == "data:update")

        reader = threading.Thread(target=read_quickly)
        reader.start()
        for start in range(0, 400, 10):
            events = [update("durable", n, padding=30_000) for n in range(start, start + 10)]
            server.publish(*events, progress("conflated", start / 4, padding=10_000))
        reader.join(120)
        server.wait(lambda: delivery.counters.fell_behind >= 1)
        outlets = [each for each in gc.get_objects() if type(each) is BufferedOutlet]
        buffered = server.call(lambda: max(outlet.write_buffer_size() for outlet in outlets))
        assert buffered < MAX_WAITING_BYTES + (64 << 10), "nearly all of the 12 MB wait in the log"
        seen: list[int] = []
        conflated: list[float] = []
        while len(seen) < 400:
            event = slow.events(1)[0]
            if event["type"] == "data:update":
                seen.append(event["data"]["version"])
            elif event["type"] == "operation:progress":  # there may be estimates, if it takes longer
                conflated.append(event["data"]["progress"])
        assert seen == quick_versions == list(range(400))
        assert conflated == sorted(set(conflated))
        assert len(conflated) < 40
        server.wait(lambda: sum(len(lane.members) for lane in delivery.lanes) == 2)


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="a platform without it bounds SO_SNDBUF")
def test_unread_events_do_not_pile_up_in_the_kernel() -> None:
    with HubServer("native") as server, Stream(server.port) as stream:
        stream.until("channel:live")
        unsent = server.call(
            lambda: [
                protocol.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
                for protocol in server.server.server_state.connections
            ]
        )
        assert unsent == [MAX_UNSENT_BYTES]


def test_lost_client_is_removed(server: HubServer) -> None:
    with Stream(server.port) as stream:
        stream.until("channel:live")
        server.wait(lambda: server.connections() == 1)
    server.wait(lambda: server.connections() == 0)
    assert server.call(lambda: server.app.hub.delivery.subscribers) == 0
    assert server.call(lambda: len(server.app.hub.delivery.lanes)) == 0


def test_head_request_opens_no_stream(server: HubServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("HEAD", "/v1/stream")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"], answer.read()) == (200, "text/event-stream", b"")
    connection.close()
    assert server.call(server.connections) == 0


# The end.


def test_drain_ends_the_stream_with_a_retry_time(server: HubServer) -> None:
    with Stream(server.port) as stream:
        stream.until("channel:live")
        server.call(server.app.drain)
        block = stream.block()
        assert block["retry"] == "1000", "an EventSource reads only this"
        closed = msgspec.json.decode(block["data"])
        assert closed["type"] == "connection:closed"
        assert closed["data"] == {
            "code": 4100,
            "reason": "the hub is shutting down",
            "reconnect": True,
            "retry_after_ms": 1_000,
        }
        with pytest.raises(EOFError):
            stream.block()


def test_draining_hub_opens_no_stream(server: HubServer) -> None:
    server.call(server.app.drain)
    answer = httpx.get(f"{server.http}/v1/stream")
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")


def test_client_that_reads_nothing_does_not_block_shutdown(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.server.asgi.outlet.CLOSE_TIMEOUT_S", 0.1)
    with Stream(server.port, "?since=first", receive_buffer=4096) as stream:
        stream.until("channel:subscribed")
        for _ in range(10):
            server.publish(*(update("a", n, padding=60_000) for n in range(20)))
        server.wait(lambda: server.app.hub.delivery.subscribers == 1)
        server.call(server.app.drain)
        server.wait(lambda: server.connections() == 0)
