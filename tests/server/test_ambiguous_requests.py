"""Requests of which two programs may disagree where they end: a hub and its proxy must never (RFC 9112 §11.2)."""

import re
import socket
from collections.abc import Iterator

import pytest
from tests.server.hub_server import TIMEOUT_S, HubServer

EVENT = b'{"type":"data:update","data":{"dataset":"d"}}'
SMUGGLED = (
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
SMUGGLED %= (len(EVENT), EVENT)
LENGTH = b"Content-Length: %d" % len(EVENT)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)


def post(*fields: bytes, body: bytes = EVENT, first: bytes = b"POST /v1/events HTTP/1.1") -> bytes:
    head = [first, b"Host: localhost", b"Content-Type: application/json", *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


AMBIGUOUS = {
    "length and chunks": post(b"Content-Length: %d" % len(CHUNK), CHUNKED, body=CHUNK + SMUGGLED),
    "chunks and a short length": post(CHUNKED, b"Content-Length: 4", body=CHUNK + SMUGGLED),
    "two lengths": post(LENGTH, b"Content-Length: %d" % (len(EVENT) + len(SMUGGLED)), body=EVENT + SMUGGLED),
    "one length twice": post(LENGTH, LENGTH),
    "list of lengths": post(b"Content-Length: %d, %d" % (len(EVENT), len(EVENT))),
    "length with a sign": post(b"Content-Length: +%d" % len(EVENT)),
    "negative length": post(b"Content-Length: -1"),
    "hexadecimal length": post(b"Content-Length: 0x2d"),
    "length beyond 64 bits": post(b"Content-Length: 18446744073709551661"),
    "space before the colon of a length": post(b"Content-Length : %d" % len(EVENT)),
    "space before the colon of an encoding": post(b"Transfer-Encoding : chunked", body=CHUNK),
    "unknown encoding and a length": post(b"Transfer-Encoding: xchunked", LENGTH, body=EVENT + SMUGGLED),
    "chunks that are not last": post(b"Transfer-Encoding: chunked, identity", body=CHUNK + SMUGGLED),
    "two encodings": post(CHUNKED, b"Transfer-Encoding: identity", body=CHUNK + SMUGGLED),
    "encoding behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=CHUNK + SMUGGLED),
    "folded header": post(b"X-A: b", b" Content-Length: %d" % len(EVENT)),
    "line feeds only": post(LENGTH).replace(b"\r\n", b"\n"),
    "carriage return in a header": post(b"X-A: b\r%b" % CHUNKED, LENGTH),
    "null in a header": post(b"X-A: b\0", LENGTH),
    "line feed behind the size of a chunk": post(CHUNKED, body=CHUNK.replace(b"\r\n", b"\n", 1)),
    "line feed in the extension of a chunk": post(CHUNKED, body=CHUNK.replace(b"\r\n", b";a=\n\r\n", 1)),
    "size of a chunk with a prefix": post(CHUNKED, body=b"0x" + CHUNK),
    "negative size of a chunk": post(CHUNKED, body=b"-" + CHUNK),
    "size of a chunk beyond 64 bits": post(CHUNKED, body=b"10000000000000000" + CHUNK),
    "chunk without its end": post(CHUNKED, body=CHUNK.replace(EVENT + b"\r\n", EVENT)),
    "later version": post(LENGTH, first=b"POST /v1/events HTTP/1.2"),
    "blank in the path": post(LENGTH, first=b"POST /v1/events x HTTP/1.1"),
}


@pytest.fixture(scope="module", params=["native", "asgi"])
def hub(request: pytest.FixtureRequest) -> Iterator[HubServer]:
    with HubServer(request.param) as running:
        yield running


def exchange(hub: HubServer, data: bytes) -> list[int]:
    """Send bytes, read to the end, and return the statuses of the answers."""
    with socket.create_connection(("127.0.0.1", hub.port), TIMEOUT_S) as client:
        client.sendall(data)
        received = b""
        while part := client.recv(65_536):
            received += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)]


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_request_is_refused_and_ends_the_connection(hub: HubServer, name: str) -> None:
    before = hub.call(lambda: hub.app.hub.log.head)
    assert exchange(hub, AMBIGUOUS[name]) == [400]
    assert hub.call(lambda: hub.app.hub.log.head) == before, "an event was published"


def test_request_inside_of_a_body_is_not_served(hub: HubServer) -> None:
    before = hub.call(lambda: hub.app.hub.log.head)
    read = b"GET /v1/operations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    assert len(exchange(hub, read + CHUNKED + b"\r\n\r\n" + chunk)) == 1
    assert len(exchange(hub, read + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)) == 1
    assert hub.call(lambda: hub.app.hub.log.head) == before
