"""Compressed connections to a served hub: real clients, how often the hub compresses, and what attackers send."""

import asyncio
import json
from contextlib import ExitStack
from typing import Any

import pytest
from tests.contract.export.toolchains import Node
from tests.server.compressed import OFFER, compressed, deflated, reserved
from tests.server.hub_server import TIMEOUT_S, HubServer
from tests.server.raw_client import RawClient, handshake_request, masked, text
from tests.server.recorder import RecordingServer, connected
from tests.server.test_call_counts import count
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES

VERSIONED = "Sec-WebSocket-Protocol: tidings.v1"
LONG = "epoch done, loss 0.1234; " * 100
"""Text of a log line that is worth compressing."""


def log_line(number: int = 1, message: str = LONG) -> dict[str, Any]:
    return {"type": "data:update", "data": {"dataset": f"d-{number}", "note": message}}


async def read_event(client: Any) -> Any:
    while True:
        message = json.loads(await client.recv())
        if message.get("channel") == "data":
            return message


@pytest.mark.parametrize(
    "factory",
    [
        None,  # as websockets does by default
        ClientPerMessageDeflateFactory(),
        ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9),
        ClientPerMessageDeflateFactory(server_max_window_bits=12, server_no_context_takeover=True),
    ],
)
async def test_client_of_websockets_publishes_and_reads_compressed(
    factory: ClientPerMessageDeflateFactory | None,
) -> None:
    options: dict[str, Any] = {} if factory is None else {"compression": None, "extensions": [factory]}
    with HubServer() as server:
        async with (
            asyncio.timeout(TIMEOUT_S),
            connect(
                f"{server.ws}?channels=data", subprotocols=[Subprotocol("tidings.v1")], proxy=None, **options
            ) as client,
        ):
            assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
            for number in range(3):
                await client.send(json.dumps(log_line(number)))
                await client.ping()
                assert (await read_event(client))["data"] == log_line(number)["data"]
            fragments = json.dumps(log_line(3))
            await client.send(fragments[start : start + 100] for start in range(0, len(fragments), 100))
            assert (await read_event(client))["data"] == log_line(3)["data"]
            await client.send(json.dumps(log_line(4, "short")))
            assert (await read_event(client))["data"]["note"] == "short"


NODE_CLIENT = """
const [url, name] = process.argv.slice(2);
const socket = new WebSocket(url, ["tidings.v1"]);
socket.onopen = () => console.log(`extensions ${socket.extensions.split(";")[0]}`);
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "connection:established") {
    socket.send(JSON.stringify({ type: "data:update", data: { dataset: name, note: "long ".repeat(1000) } }));
  } else if (message.channel === "data") {
    console.log(message.data.note.length);
    socket.close(1000);
  }
};
socket.onclose = ({ code }) => console.log(code);
"""


def test_client_of_node_publishes_and_reads_compressed(tmp_path: Any) -> None:
    script = tmp_path / "client.mjs"
    script.write_text(NODE_CLIENT)
    with HubServer() as server:
        done = Node().run(script, f"{server.ws}?channels=data", "node")
    assert done.stdout.split() == ["extensions", "permessage-deflate", "5000", "1000"]


def open_raw(stack: ExitStack, server: HubServer, *headers: str, path: str = "/ws?channels=data") -> RawClient:
    client = stack.enter_context(RawClient(server.port))
    client.send(handshake_request(path, headers=(VERSIONED, *headers)))
    return client


def read_frames(client: RawClient, number: int) -> list[bytes]:
    """Return the next frames with events, as they were sent."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.socket.recv(65536)
    received = received.partition(b"\r\n\r\n")[2]
    events: list[bytes] = []
    while len(events) < number:
        while len(received) < 4 or len(received) < (end := frame_end(received)):
            received += client.socket.recv(65536)
        frame, received = received[:end], received[end:]
        if frame[0] & 0x40 or b'"data:update"' in frame:
            events.append(frame)
    return events


def frame_end(data: bytes) -> int:
    if data[1] < 126:
        return 2 + data[1]
    return 4 + int.from_bytes(data[2:4], "big")


def test_events_are_compressed_once_for_all_readers() -> None:
    readers, events = 200, 5
    with HubServer() as server, ExitStack() as stack:
        clients = [open_raw(stack, server, OFFER) for _ in range(readers)]
        plain = [open_raw(stack, server) for _ in range(2)]
        server.wait(lambda: server.connections() == readers + 2)
        encodes = server.call(lambda: server.app.hub.delivery.ring.encodes)
        batch = [log_line(number) for number in range(events)]
        calls = count(server.call, lambda: server.publish(*batch, log_line(9, "short")))
        received = {tuple(read_frames(client, events + 1)) for client in clients}
        others = {tuple(read_frames(client, events + 1)) for client in plain}
        assert calls.methods["compressobj"] == events
        assert server.call(lambda: server.app.hub.delivery.ring.encodes) - encodes == 2 * (events + 1)
    (frames,) = received
    assert [frame[0] for frame in frames] == [0xC1] * events + [0x81], "a short event is not compressed"
    (frames_of_others,) = others
    assert [frame[0] for frame in frames_of_others] == [0x81] * (events + 1)
    assert sum(map(len, frames)) < sum(map(len, frames_of_others)) / 5


def test_events_of_each_lane_share_what_is_compressed() -> None:
    with HubServer() as server, ExitStack() as stack:
        paths = [f"/ws?channels=data/d-1&channels=data/x{number}" for number in range(50)]
        clients = [open_raw(stack, server, OFFER, path=path) for path in paths]
        server.wait(lambda: server.connections() == len(paths))
        calls = count(server.call, lambda: server.publish(log_line()))
        received = {read_frames(client, 1)[0] for client in clients}
        assert calls.methods["compressobj"] == 1
    assert len(received) == 1


def test_events_read_later_are_compressed_once_for_all_readers() -> None:
    with HubServer(config={"ring_bytes": 0}) as server, ExitStack() as stack:
        server.publish(*(log_line(number) for number in range(10)))

        def read_all() -> None:
            clients = [open_raw(stack, server, OFFER, path="/ws?channels=data&since=first") for _ in range(20)]
            assert len({tuple(read_frames(client, 10)) for client in clients}) == 1

        calls = count(server.call, read_all)
        assert calls.methods["compressobj"] <= 10 * 20 / 2


@pytest.mark.parametrize("edge_compression", [None, 512])
def test_hub_without_compression_serves_clients_that_offer_it(edge_compression: int | None) -> None:
    with HubServer(compression_bytes=edge_compression) as server, RawClient(server.port) as client:
        response = client.open("/ws?channels=data", headers=(VERSIONED, OFFER))
        assert ("permessage-deflate" in response) == (edge_compression is not None)


# What attackers send.

BOMB = deflated(b'{"type":"data:update","data":{"dataset":"' + b"a" * (64 << 20), level=9)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(compressed(BOMB), 1009, id="a bomb"),
        pytest.param(compressed(BOMB[:900], fin=False) + masked(Opcode.CONT, BOMB[900:]), 1009, id="one in fragments"),
        pytest.param(compressed(deflated(BOMB)), 1007, id="a bomb in a bomb"),
        pytest.param(compressed(deflated(bytes(MAX_MESSAGE_BYTES + 1)), opcode=Opcode.BINARY), 1009, id="a binary one"),
        pytest.param(compressed(b"\xff" * 20), 1007, id="invalid data"),
        pytest.param(compressed(deflated(b"x" * 999)[:-1]), 1007, id="incomplete data"),
        pytest.param(compressed(deflated(b"\xff\xfe")), 1007, id="text that is not UTF-8"),
        pytest.param(compressed(deflated(b"\x00"), opcode=Opcode.BINARY), 1003, id="a binary message"),
        pytest.param(reserved(masked(Opcode.PING)), 1002, id="a compressed ping"),
    ],
)
def test_invalid_message_is_answered_after_earlier_events(sent: bytes, code: int) -> None:
    first = text(json.dumps({**log_line(1, "first"), "id": "1"}).encode())
    second = compressed(deflated(json.dumps({**log_line(2), "id": "2"}).encode()))
    with HubServer() as server, RawClient(server.port) as client:
        client.open("/ws", headers=(VERSIONED, OFFER))
        client.send(first + second + sent + compressed(deflated(b"{}")))
        answered = []
        while (frame := client.frame()).opcode is Opcode.TEXT:
            message = json.loads(bytes(frame.data))
            if message["type"] == "event:accepted":
                answered.append(message["reply_to"])
        assert answered == ["1", "2"]
        assert int.from_bytes(bytes(frame.data)[:2], "big") == code
        client.wait_eof()
        assert server.call(lambda: server.app.hub.log.head) == 2


def test_messages_that_wait_are_kept_compressed(server: RecordingServer) -> None:
    big = b"a" * MAX_MESSAGE_BYTES
    server.application.reactions["text"] = lambda handler, _: handler.socket.pause_reading()
    with connected(server, headers=(OFFER,)) as (client, handler):
        client.send(compressed(deflated(big)) * 200)
        assert handler.next_call() == ("text", big)
        kept = server.call(lambda: server.websocket.inbound_budget.total)
        assert kept < 2 * MAX_MESSAGE_BYTES
        server.application.reactions.clear()
        server.call(handler.socket.resume_reading)
        for _ in range(199):
            assert handler.next_call() == ("text", big)
