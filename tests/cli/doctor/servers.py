"""Servers that fail in the ways that proxies, firewalls and strangers do."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trustme
from websockets.sync.server import ServerConnection, serve

Answer = Callable[[bytes], bytes]


def http(status: str, *headers: str, body: str = "") -> bytes:
    """Return an HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(lines).encode()


@contextmanager
def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer every request by its head; yields the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:

        def stop() -> None:
            server.close()
            loop.call_later(0.05, loop.stop)

        loop.call_soon_threadsafe(stop)
        thread.join()
        loop.close()


def stripping_proxy(hub_port: int) -> Answer:
    """Return a proxy to a hub that forwards requests without their upgrade, as nginx does unless told otherwise."""

    def forward(head: bytes) -> bytes:
        kept = [
            line
            for line in head.split(b"\r\n")
            if not line.lower().startswith((b"upgrade:", b"connection:", b"sec-websocket-extensions:"))
        ]
        request = b"\r\n".join(kept).removesuffix(b"\r\n\r\n") + b"\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", hub_port)) as upstream:
            upstream.sendall(request)
            chunks = []
            while chunk := upstream.recv(65536):
                chunks.append(chunk)
        return b"".join(chunks)

    return forward


@contextmanager
def speaking(talk: Callable[[ServerConnection], None], *subprotocols: str) -> Iterator[int]:
    """Serve a WebSocket that is not a hub; yields the port."""
    with serve(talk, "127.0.0.1", 0, subprotocols=list(subprotocols) or None) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


def tls_of(name: str, authority: trustme.CA) -> ssl.SSLContext:
    """Return a server's TLS with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
