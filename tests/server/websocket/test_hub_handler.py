import json

import pytest
from structlog.testing import capture_logs
from tests.server.hub_server import Edge, HubServer
from tests.server.raw_client import RawClient, text
from websockets.frames import Close, Opcode


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
