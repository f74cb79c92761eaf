"""A message that ends the connection does not hide what became of the events before it."""

import json

import pytest
from tests.hub.events import publish_updates
from tests.server.hub_server import HubServer
from tests.server.raw_client import RawClient, masked, text
from websockets.frames import Opcode

from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

EVENT = b'{"type":"data:update","id":"%d","data":{"dataset":"d"}}'


def test_events_before_a_fatal_message_are_answered_first() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    client = hub.connect("channels=none")
    log.hold_appends()
    publish_updates(client, 3)
    hub.settle()
    client.connection.reject_binary(b"{}")
    client.send("data:update", {"dataset": "behind"})
    assert client.outlet.closed is None
    assert not client.outlet.reading
    log.release_appends()
    hub.settle()
    assert client.read_types()[1:] == ["connection:error", *["event:accepted"] * 3, "connection:closed"]
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == 1003
    assert log.head == 3


@pytest.mark.parametrize(
    ("fatal", "code"),
    [
        (masked(Opcode.BINARY, b"{}"), 1003),
        (text(b'{"type":"\xff"}'), 1007),
        (text(b"x" * 300_000), 1009),
        (text(b"", fin=False) + text(b""), 1002),
    ],
    ids=["binary", "not UTF-8", "too long", "violation"],
)
def test_events_before_an_abnormal_close_are_acknowledged(fatal: bytes, code: int) -> None:
    with HubServer() as server, RawClient(server.port) as client:
        client.open("/ws?channels=none", headers=("Sec-WebSocket-Protocol: tidings.v1",))
        client.send(*[text(EVENT % number) for number in range(3)], fatal)
        kinds = []
        while (frame := client.frame()).opcode is not Opcode.CLOSE:
            kinds.append(json.loads(bytes(frame.data))["type"])
        assert kinds.count("event:accepted") == 3
        assert kinds[-1] == "connection:closed"
        assert int.from_bytes(bytes(frame.data)[:2], "big") == code
        assert server.log.head == 3
