"""What a web page or a confused proxy may send: the same answers over HTTP and in handshakes, on every edge."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.hub_server import NO_DASHBOARD, HubServer
from tests.server.raw_client import RawClient

APP_PAGE = "https://app.example.com"
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)


@pytest.fixture(params=["native", "asgi"], scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[HubServer]:
    with HubServer(request.param, allow_origins=[APP_PAGE], allow_hosts=["hub"]) as running:
        yield running


@pytest.fixture(params=["native", "asgi"], scope="module")
def proxied(request: pytest.FixtureRequest) -> Iterator[HubServer]:
    options: dict[str, Any] = {"allow_hosts": ["hub.example.com"], "trusted_proxies": ["127.0.0.1"]}
    with HubServer(request.param, root_path="/tidings", dashboard=NO_DASHBOARD, **options) as running:
        yield running


def answer_to(server: HubServer, line: str, *fields: str, body: bytes = b"") -> tuple[int, str]:
    """Send a request, and return the status and the rest of what is answered until the end of the connection."""
    if not line.endswith("/ws"):
        fields = (*fields, "Connection: close")
    head = "\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode()
    with RawClient(server.port) as client:
        client.send(head, body)
        received = b""
        while b"\r\n\r\n" not in received or not received.startswith(b"HTTP/1.1 101 "):
            data = client.socket.recv(65536)
            if not data:
                break
            received += data
    return int(received.split(b" ", 2)[1]), received.decode("latin-1")


def handshake(server: HubServer, *fields: str) -> tuple[int, str]:
    return answer_to(server, "GET /ws", *HANDSHAKE, *fields)


REPEATED = [
    ("Host: localhost", "Host: evil.example"),
    ("Origin: http://localhost", "Origin: http://evil.example"),
    ("Authorization: Bearer a", "Authorization: Bearer b"),
    ("Content-Type: application/json", "Content-Type: text/plain"),
    ("Content-Length: 0", "Content-Length: 0"),
    ("Tidings-Producer: a", "tidings-producer: b"),
    ("Tidings-Anything: a", "Tidings-Anything: a"),
    ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
]


@pytest.mark.parametrize("pair", REPEATED, ids=lambda pair: pair[0].partition(":")[0])
@pytest.mark.parametrize("line", ["GET /readyz", "POST /v1/events", "GET /ws", "GET /nowhere"])
def test_repeated_header_is_refused(server: HubServer, line: str, pair: tuple[str, str]) -> None:
    host = () if pair[0].startswith("Host") else ("Host: localhost",)
    opening = HANDSHAKE if line == "GET /ws" else ()
    status, answered = answer_to(server, line, *host, *opening, *pair)
    assert status == 400, answered


def test_header_that_may_have_several_lines_is_accepted(server: HubServer) -> None:
    fields = ("Host: localhost", "Accept: text/html", "Accept: */*", "tracestate: a=1", "tracestate: b=2")
    assert answer_to(server, "GET /readyz", *fields)[0] == 200
    assert handshake(server, *fields)[0] == 101


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("192.0.2.7:80", 200), ("app.example.com", 200), ("hub", 200), ("evil.example", 403)],
)
def test_host_is_one_of_the_hubs_names(server: HubServer, host: str, status: int) -> None:
    assert answer_to(server, "GET /readyz", f"Host: {host}")[0] == status
    assert handshake(server, f"Host: {host}")[0] == (101 if status == 200 else status)


@pytest.mark.parametrize("origin", [None, "http://localhost", "null"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"])
def test_request_of_a_foreign_page_is_refused(server: HubServer, method: str, site: str, origin: str | None) -> None:
    fields = ["Host: localhost", f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors"]
    if origin is not None:
        fields.append(f"Origin: {origin}")
    assert answer_to(server, f"{method} /v1/events", *fields)[0] == 403
    assert handshake(server, *fields)[0] == 403


def test_request_of_a_listed_page_is_served(server: HubServer) -> None:
    fields = ("Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", f"Origin: {APP_PAGE}")
    assert answer_to(server, "GET /readyz", *fields)[0] == 200
    assert handshake(server, *fields)[0] == 101


FORM_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/operations/op/cancel"])
@pytest.mark.parametrize("type", [*FORM_TYPES, None])
def test_post_that_a_form_can_send_is_refused(server: HubServer, path: str, type: str | None) -> None:
    fields = ["Host: localhost", *(() if type is None else (f"Content-Type: {type}",))]
    status, answered = answer_to(server, f"POST {path}", *fields, "Content-Length: 2", body=b"[]")
    assert (status, "unsupported_media_type" in answered) == (415, True)
    if type is not None:
        assert answer_to(server, f"POST {path}", *fields, "Content-Length: 0")[0] == 415


FORWARDED = [
    ("X-Forwarded-For: 203.0.113.9, 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: hub.example.com"),
    ('Forwarded: for=203.0.113.9, for="192.0.2.7:47";proto=https;host=hub.example.com',),
]


@pytest.mark.parametrize("fields", FORWARDED, ids=["X-Forwarded", "Forwarded"])
def test_page_names_the_address_that_the_proxy_reports(proxied: HubServer, fields: tuple[str, ...]) -> None:
    page = ("Host: 127.0.0.1:8765", "Accept: text/html")
    assert "wss://hub.example.com/tidings/ws" in answer_to(proxied, "GET /tidings/", *page, *fields)[1]
    assert "wss://hub.example.com/b/ws" in answer_to(proxied, "GET /", *page, *fields, "X-Forwarded-Prefix: /b")[1]
    status, described = answer_to(proxied, "GET /tidings/asyncapi.json", *page, *fields)
    assert (status, '"host": "hub.example.com"' in described) == (200, True), described
    assert answer_to(proxied, "GET /", *page, *fields, "X-Forwarded-Proto: ftp")[0] == 400


@pytest.mark.parametrize("fields", FORWARDED, ids=["X-Forwarded", "Forwarded"])
def test_page_of_the_proxys_own_origin_is_served(proxied: HubServer, fields: tuple[str, ...]) -> None:
    page = ("Host: 127.0.0.1:8765", "Origin: https://hub.example.com", *fields)
    assert handshake(proxied, *page)[0] == 101
    assert answer_to(proxied, "GET /readyz", *page)[0] == 200
    evil = tuple(field.replace("hub.example.com", "evil.example") for field in page)
    assert handshake(proxied, *evil)[0] == 403
    assert answer_to(proxied, "GET /readyz", *evil)[0] == 403


@pytest.mark.parametrize("prefix", ["", "/tidings"])
def test_routes_and_the_websocket_are_below_the_root_path(proxied: HubServer, prefix: str) -> None:
    assert answer_to(proxied, f"GET {prefix}/readyz", "Host: localhost")[0] == 200
    assert answer_to(proxied, f"GET {prefix}/v1/operations/a%2Fb", "Host: localhost")[0] == 404
    assert answer_to(proxied, f"GET {prefix}/ws", *HANDSHAKE, "Host: localhost")[0] == 101
    body = b'{"type":"data:update","data":{"dataset":"below"}}'
    fields = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}")
    assert answer_to(proxied, f"POST {prefix}/v1/events", *fields, body=body)[0] == 200


def test_root_path_without_a_slash_leads_to_the_page(proxied: HubServer) -> None:
    status, answered = answer_to(proxied, "GET /tidings", "Host: localhost", "Accept: text/html")
    assert (status, "location: /tidings/\r\n" in answered) == (308, True)


def test_client_behind_the_proxy_is_logged(proxied: HubServer, capfd: pytest.CaptureFixture[str]) -> None:
    assert handshake(proxied, "Host: localhost", "X-Forwarded-For: 203.0.113.9, 192.0.2.7")[0] == 101
    answer_to(proxied, "GET /v1/stream?since=x", "Host: localhost", "X-Forwarded-For: 192.0.2.8")
    answer = ""
    while "connection opened" not in answer:
        answer += capfd.readouterr().out
    assert "client=192.0.2.7" in answer


SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PLACES = ["/", "/docs", "/openapi.json", "/v1/events", "/v1/operations/x", "/v1/stream?since=x", "/nowhere", "/metrics"]


@pytest.mark.parametrize("place", [*PLACES, "/ws"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_every_answer_has_the_security_headers_once(server: HubServer, place: str, accept: str) -> None:
    answers = [
        answer_to(server, f"GET {place}", "Host: localhost", f"Accept: {accept}", "Connection: close"),
        answer_to(server, f"OPTIONS {place}", "Host: localhost"),
        answer_to(server, f"GET {place}", "Host: localhost", "Origin: https://evil.example", "Connection: close"),
        answer_to(server, f"POST {place}", "Host: localhost", "Content-Length: 2", body=b"[]"),
        answer_to(server, "GET /elsewhere", *HANDSHAKE, "Host: localhost"),
    ]
    for status, answered in answers:
        head = answered.partition("\r\n\r\n")[0].split("\r\n")[1:]
        fields = [(name.lower(), value) for name, value in (line.split(": ", 1) for line in head)]
        names = [name for name, _ in fields]
        assert SECURITY.items() <= dict(fields).items(), (status, answered)
        assert "frame-ancestors 'none'" in dict(fields)["content-security-policy"]
        documents = ("no-cache", "no-store, no-transform")
        assert dict(fields)["cache-control"] in ("no-store", *documents)
        for name in (*SECURITY, "content-security-policy", "cache-control"):
            assert names.count(name) == 1, (name, answered)
        assert "strict-transport-security" not in names


@pytest.mark.parametrize("request_bytes", [b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"])
def test_request_that_cannot_be_read_is_answered_with_the_headers(request_bytes: bytes) -> None:
    with HubServer() as server, RawClient(server.port) as client:
        client.send(request_bytes)
        head = client.read_response().lower()
    assert head.startswith("http/1.1 400 ")
    assert all(f"{name}: {value}".lower() in head for name, value in SECURITY.items())
