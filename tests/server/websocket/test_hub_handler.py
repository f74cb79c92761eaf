import gc
import json
import tracemalloc
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs
from tests.server.hub_server import Edge, HubServer
from tests.server.raw_client import RawClient, text
from websockets.frames import Close, Opcode

from tidings.hub.rate_limits import MAX_LINES_PER_S
from tidings.testing.in_memory_hub import InMemoryHub

IDLE_CONNECTIONS = 100
MAX_IDLE_BYTES = 2_700
"""Bytes of the hub's own objects for one idle connection: the rest of its 4 KiB are of libraries."""


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_unknown_subprotocols_are_logged_once(edge: Edge) -> None:
    with capture_logs() as lines, HubServer(edge) as server:
        for offered in ("graphql-ws, mqtt", "tidings.v2", "mqtt, tidings.v1"):
            with RawClient(server.port) as client:
                response = client.open("/ws?channels=none", headers=(f"Sec-WebSocket-Protocol: {offered}",))
                assert ("tidings.v1" in response) == ("tidings.v1" in offered)
    [line] = [line for line in lines if line["event"] == "unknown subprotocols"]
    assert (line["log_level"], line["offered"]) == ("warning", "graphql-ws, mqtt")
    assert "tidings.v1" in line["hint"]


def test_invalid_utf8_gets_an_error_before_close_1007() -> None:
    with HubServer() as server, RawClient(int(server.ws.split(":")[2].split("/")[0])) as client:
        client.open("/ws?channels=none", headers=("Sec-WebSocket-Protocol: tidings.v1",))
        client.send(text(b'{"type":"data:update","skipped":"\xff","id":"1"}'))
        messages = []
        while (frame := client.frame()).opcode is Opcode.TEXT:
            messages.append(json.loads(bytes(frame.data)))
    assert [message["type"] for message in messages] == [
        "connection:established",
        "connection:error",
        "connection:closed",
    ]
    assert messages[1]["data"]["code"] == "invalid_utf8"
    assert "UTF-8" in messages[1]["data"]["hint"]
    assert messages[2]["data"]["code"] == 1007
    assert Close.parse(bytes(frame.data)).code == 1007


def test_refusals_are_logged_a_few_times_a_second() -> None:
    hub = InMemoryHub()
    client = hub.connect("channels=none")
    with capture_logs() as lines:
        for _ in range(MAX_LINES_PER_S + 50):
            client.send("no:such")
        hub.loop.advance(1)
        client.send("no:such")
    refused = [line for line in lines if line["event"] == "message refused"]
    assert len(refused) == MAX_LINES_PER_S + 1
    assert refused[-1]["not_logged"] == 50


def test_an_idle_connection_takes_few_bytes() -> None:
    with HubServer() as server, ExitStack() as clients:

        def measure(connections: int) -> int:
            """Open more connections, up to this number, and return the bytes of the hub's objects."""
            while server.call(server.connections) < connections:
                clients.enter_context(RawClient(server.port)).open("/ws?channel=data")
            delivery = server.app.hub.delivery
            server.wait(lambda: sum(len(lane.members) for lane in delivery.lanes) == connections)
            gc.collect()
            traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/src/tidings/*")]).traces
            return sum(trace.size for trace in traces)

        tracemalloc.start()
        try:
            used = -measure(IDLE_CONNECTIONS) + measure(2 * IDLE_CONNECTIONS)
        finally:
            tracemalloc.stop()
    assert used < IDLE_CONNECTIONS * MAX_IDLE_BYTES
