import re

import pytest
from tests.server.raw_client import RawClient, handshake_request, masked, text
from tests.server.recorder import RecordingServer
from websockets.frames import Opcode


def test_frames_in_the_handshakes_segment_are_not_lost(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        response = client.open(with_it=text(b"first") + masked(Opcode.PING, b"p") + text(b"cut off")[:5])
        assert response.startswith("HTTP/1.1 101 ")
        handler = server.handler()
        assert handler.next_call() == ("text", b"first")
        assert client.frame().data == b"p"


def test_frame_may_span_the_handshakes_segment(server: RecordingServer) -> None:
    frame = text(b"in two halves")
    with RawClient(server.port) as client:
        client.open(with_it=frame[:7])
        client.send(frame[7:])
        assert server.handler().next_call() == ("text", b"in two halves")


def test_handshake_may_arrive_byte_by_byte(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        for byte in handshake_request():
            client.send(bytes((byte,)))
        assert client.read_response().startswith("HTTP/1.1 101 ")


def test_connection_serves_http_before_the_upgrade(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = b""
        while not response.endswith(b"\r\n0\r\n\r\n"):
            response += client.socket.recv(1) or pytest.fail(f"ended within {response!r}")
        assert response.startswith(b"HTTP/1.1 200 ")
        assert client.open().startswith("HTTP/1.1 101 ")
        client.send(text(b"hello"))
        assert server.handler().next_call() == ("text", b"hello")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"\x16\x03\x01\x02\x00", id="TLS on a plain port"),
        pytest.param(handshake_request(version="HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(re.sub(rb"Host.*\r\n", b"Host : localhost\r\n", handshake_request()), id="a malformed header"),
    ],
)
def test_http_1_0_handshake_is_refused_with_400(server: RecordingServer, request_bytes: bytes) -> None:
    with RawClient(server.port) as client:
        client.send(request_bytes)
        assert client.read_response().startswith("HTTP/1.1 400 ")
        client.wait_eof()


def test_handshake_after_an_unfinished_response_ends_the_connection(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", handshake_request())
        received = b""
        while data := client.socket.recv(65536):
            received += data
        assert b" 101 " not in received
    assert server.application.handlers.empty()


def test_unknown_upgrade_is_served_as_http(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert client.read_response().startswith("HTTP/1.1 200 ")
