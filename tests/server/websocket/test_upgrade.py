import contextlib
import re
import socket

import pytest
from tests.server.raw_client import RawClient, handshake_request, masked, text
from tests.server.recorder import RecordingServer
from websockets.frames import Opcode

from tidings.server.websocket.upgrade import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED, MAX_URL_BYTES


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


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000], ids="segments of {} bytes".format)
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 11\r\n", b"hello world"),
        (b"Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n", b"6\r\nhello \r\n5\r\nworld\r\n0\r\nx-sum: 1\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
def test_ignored_upgrade_keeps_the_body_and_the_connection(
    server: RecordingServer, framing: bytes, body: bytes, size: int
) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: localhost\r\n" + H2C + framing + b"\r\n"
    sent = (head + body) * 2
    with RawClient(server.port) as client:
        for start in range(0, len(sent), size):
            client.send(sent[start : start + size])
        received = b""
        while received.count(b"\r\n0\r\n\r\n") < 2:
            received += client.socket.recv(65536) or pytest.fail(f"ended within {received!r}")
        assert received.count(b"HTTP/1.1 200 ") == received.count(b"hello world") == 2
        assert client.open().startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "headers",
    [b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", b"Upgrade: TLS/1.0\r\n" + H2C],
)
def test_upgrade_that_is_no_handshake_is_ignored(server: RecordingServer, headers: bytes) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n", headers, b"\r\n")
        assert client.read_response().startswith("HTTP/1.1 200 ")


def test_post_with_a_websocket_upgrade_is_a_post(server: RecordingServer) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    with RawClient(server.port) as client:
        client.send(head, b"Content-Length: 2\r\n\r\nhi")
        assert client.read_response().startswith("HTTP/1.1 200 ")


def test_handshake_may_spread_its_connection_header(server: RecordingServer) -> None:
    request = handshake_request().replace(b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: keep-alive")
    with RawClient(server.port) as client:
        client.send(request)
        assert client.read_response().startswith("HTTP/1.1 101 ")


def test_connect_method_is_refused(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        assert client.read_response().startswith("HTTP/1.1 405 ")
        client.wait_eof()


def test_options_about_the_whole_server_are_served(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.read_response().startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost")])
def test_request_needs_exactly_one_host(server: RecordingServer, hosts: tuple[str, ...]) -> None:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    with RawClient(server.port) as client:
        client.send(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
        assert client.read_response().startswith("HTTP/1.1 400 ")
        client.wait_eof()
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_response().startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: ",
        b"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: ",
    ],
    ids=["head", "trailers"],
)
def test_endless_head_is_refused(server: RecordingServer, begin: bytes) -> None:
    with RawClient(server.port) as client:
        client.send(begin)
        with contextlib.suppress(OSError):  # the server has closed the connection, or even reset it
            for _ in range(1_000):
                client.send(b"x" * 65_536)
            pytest.fail("the server has read 64 MB of a head")


def test_large_body_is_no_head(server: RecordingServer) -> None:
    body = b"x" * (4 * MAX_HEAD_BYTES)
    with RawClient(server.port) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 10_000):
            client.send(body[start : start + 10_000])
        assert client.read_response().startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a head"])
def test_head_that_never_ends_is_cut_off(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr("tidings.server.websocket.upgrade.HEAD_TIMEOUT_S", 0.05)
    with RawClient(server.port) as client:
        client.send(begin)
        client.wait_eof()


def test_answer_follows_the_half_close_of_its_client(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        client.socket.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.socket.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"hello" in received


def test_half_close_ends_a_stream(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.read_response()
        client.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            client.wait_eof()


def test_malformed_request_is_refused_in_json(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n")
        received = b""
        while data := client.socket.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b'"code":"bad_request"' in body


def test_unknown_upgrade_is_served_as_http(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert client.read_response().startswith("HTTP/1.1 200 ")


def answer_to(server: RecordingServer, *parts: bytes) -> bytes:
    """Return everything that the server sends before it closes the connection."""
    received = b""
    with RawClient(server.port) as client:
        client.send(*parts)
        with contextlib.suppress(ConnectionError):
            while data := client.socket.recv(65536):
                received += data
    return received


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * MAX_URL_BYTES), b"414 "),
        (b"GET /?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 200_000), b"414 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (b"a:\r\n" * MAX_HEADERS), b"431 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\na: %b\r\n\r\n" % (b"a" * MAX_HEAD_BYTES), b"431 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (b"a: %b\r\n" % (b"a" * 1_000) * 33), b"431 "),
        (b"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400 "),
        (
            b"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_100,
            b"400 ",
        ),
    ],
    ids=["URL", "endless URL", "headers", "header", "large headers", "coding", "hosts", "chunks"],
)
def test_request_beyond_the_limits_is_refused_with_its_status(
    server: RecordingServer, request_bytes: bytes, status: bytes
) -> None:
    received = answer_to(server, request_bytes)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert b'"hint":"' in received


def test_answer_to_http_1_0_ends_with_the_connection(server: RecordingServer) -> None:
    head, _, body = answer_to(server, b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head
    chunked = answer_to(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"\r\n%b\r\n0\r\n\r\n" % body in chunked


def test_client_that_waits_before_its_body_is_asked_for_it(server: RecordingServer) -> None:
    fields = b"Host: localhost\r\nConnection: close\r\nContent-Length: 5\r\nExpect: 100-Continue"
    with RawClient(server.port) as client:
        client.send(b"POST /body HTTP/1.1\r\n%b\r\n\r\n" % fields)
        assert client.read_response() == "HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert client.read_response().startswith("HTTP/1.1 200 ")


def test_body_of_many_short_chunks_is_read(server: RecordingServer) -> None:
    chunks = b"10\r\n0123456789abcdef\r\n" * 5_000 + b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\n"
    head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    received = answer_to(server, head, chunks)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"0123456789abcdef") == 5_000


def test_trailers_are_not_headers(server: RecordingServer) -> None:
    head = b"POST /headers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    received = answer_to(server, head, b"1\r\nx\r\n0\r\nOrigin: https://evil.example\r\nTidings-Producer: p\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"evil" not in received
    assert b"tidings-producer" not in received


@pytest.mark.parametrize("count", [MAX_PIPELINED, 20 * MAX_PIPELINED])
def test_pipelined_requests_are_answered_in_order_and_bounded(server: RecordingServer, count: int) -> None:
    request = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n%b\r\n%04d"
    sent = [request % (b"Connection: close\r\n" if number == count else b"", number) for number in range(1, count + 1)]
    received = answer_to(server, *sent)
    answered = [int(found) for found in re.findall(rb"\r\n([0-9]{4})\r\n0\r\n", received)]
    assert answered == list(range(1, len(answered) + 1))
    if count == MAX_PIPELINED:
        assert len(answered) == count
    else:
        assert len(answered) == MAX_PIPELINED + 1
        assert received.count(b"HTTP/1.1 429 ") == 1
        assert received.rpartition(b"HTTP/1.1 ")[2].startswith(b"429 ")
