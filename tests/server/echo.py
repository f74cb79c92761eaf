"""An echo server on the WebSocket edge, with an endless SSE stream beside it: `python -m tests.server.echo`.

It represents applications on the edge, shares nothing with the hub, and the conformance suite runs against it.
"""

import argparse
import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import websocket_protocol
from tidings.server.websocket.deflate import Deflate
from tidings.server.websocket.frames import binary_frame, compressed_text_frame, text_frame
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import Handshake, Refusal
from tidings.server.websocket.protocol import WebSocket

_BINARY = 0x02
_COMPRESSED = 0x40
_TAIL = b"\x00\x00\xff\xff"
"""The end of each flushed message, which is not sent (RFC 7692 §7.2.1)."""

Message = MutableMapping[str, Any]


class EchoHandler:
    """Sends back what it receives, and reads no faster than the client does."""

    def __init__(self, socket: WebSocket, deflate: Deflate | None) -> None:
        self.socket = socket
        self.deflate = deflate

    def opened(self) -> None:
        pass

    def text_received(self, body: bytes) -> None:
        self.socket.write(text_frame(body) if self.deflate is None else _compress(self.deflate, body))

    def binary_received(self, body: bytes) -> None:
        if self.deflate is None:
            self.socket.write(binary_frame(body))
        else:
            frame = _compress(self.deflate, body)
            self.socket.write(bytes((frame[0] & 0xF0 | _BINARY,)) + frame[1:])

    def pause_writing(self) -> None:
        self.socket.pause_reading()

    def resume_writing(self) -> None:
        self.socket.resume_reading()

    def closed(self, code: int, reason: str) -> None:
        pass


def _compress(deflate: Deflate, body: bytes) -> bytes:
    """Return the compressed frame for a text, also where that is longer: the conformance suite reads no other."""
    frame = deflate.compress(text_frame(body))
    if frame[0] & _COMPRESSED:
        return frame
    deflater = zlib.compressobj(wbits=-9)
    payload = deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return compressed_text_frame(payload[: -len(_TAIL)])


class EchoApplication:
    """Accepts all handshakes."""

    def open(self, handshake: Handshake, socket: WebSocket) -> WebSocketHandler | Refusal:
        return EchoHandler(socket, handshake.deflate)


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """`/stream` is an event stream that never ends and ignores a disconnect; `/body` sends the request's body back.

    `/headers` sends the headers back, as they are after the body. Every other path is one line of text.
    """
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"echo\n"
    if scope["path"] in ("/body", "/headers"):
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
    if scope["path"] == "/headers":
        body = b"".join(b"%b: %b\n" % field for field in scope["headers"])
    endless = scope["path"] == "/stream"
    content_type = b"text/event-stream" if endless else b"text/plain"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    while endless:
        await send({"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": body})


def print_addresses(addresses: Sequence[ListenAddress]) -> None:
    for address in addresses:
        print(f"ready {address.host} {address.port}", flush=True)  # noqa: T201 - this program's output


async def print_drain() -> None:
    print("draining", flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--grace", type=float, default=5.0)
    parser.add_argument("--loop", choices=["auto", "asyncio"], default="auto")
    parser.add_argument("--compression-bytes", type=int)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    runner = DrainingServer(
        app,
        port=options.port,
        websocket=websocket_protocol(
            EchoApplication(), subprotocols=["echo"], compression_bytes=options.compression_bytes
        ),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        grace_s=options.grace,
        on_ready=print_addresses,
        on_drain=print_drain,
    )
    runner.config.loop = options.loop
    runner.run()


if __name__ == "__main__":
    main()
