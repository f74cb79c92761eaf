import asyncio
import base64
import socket

import msgspec
import pytest
from tests.client.http_server import http_server, recorded_server
from tests.client.hub_server import HubServer

from tidings.client.http import HTTPClient, fetch_json, parse_address
from tidings.exceptions import CommandRefused, ConfigError, HubUnreachable, NotAHub, OperationUnknown


def test_an_address_without_a_listener_is_unreachable() -> None:
    with HTTPClient("ws://127.0.0.1:1/ws") as client, pytest.raises(HubUnreachable) as caught:
        client.names(None)
    assert str(caught.value) == "no hub answers at 127.0.0.1:1: connection refused"


async def test_port_that_closes_without_an_answer_may_speak_tls() -> None:
    def hang_up(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1_000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(hang_up, listener))
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        with HTTPClient(url) as client, pytest.raises(HubUnreachable) as caught:
            await asyncio.to_thread(client.probe, "healthz")
        await server
    assert "https://" in caught.value.hint


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/ws"
        with HTTPClient(url, timeout_s=0.05) as client, pytest.raises(HubUnreachable, match="in time") as caught:
            client.names(None)
    assert isinstance(caught.value.__cause__, TimeoutError)


@pytest.mark.parametrize(
    ("body", "status", "error", "message"),
    [
        (b"<html>", 200, NotAHub, "not from a hub of this version"),
        (b"\xff", 200, NotAHub, "not from a hub of this version"),
        (b'{"x":' + b"[" * 100_000, 200, NotAHub, "not from a hub of this version"),
        (b"not found", 404, NotAHub, "status 404"),
        (b'{"x":' + b"[" * 100_000, 404, NotAHub, "status 404"),
        (b"bad gateway", 502, HubUnreachable, "a proxy at .* answers 502"),
        (
            b'{"code": "operation_unknown", "message": "no such", "recoverable": false}',
            404,
            OperationUnknown,
            "no such",
        ),
        (b'{"code": "not_found", "message": "no route", "recoverable": false}', 404, CommandRefused, "no route"),
        (b'{"code": "log_busy", "message": "busy", "recoverable": true}', 503, CommandRefused, "busy"),
    ],
)
def test_an_unexpected_answer_raises_its_error(body: bytes, status: int, error: type[Exception], message: str) -> None:
    with http_server(body, status) as url, HTTPClient(url) as client, pytest.raises(error, match=message):
        client.operation("x")


def test_empty_operation_id_is_refused_in_the_words_of_the_hub(hub: HubServer) -> None:
    with HTTPClient(hub.url) as client:
        with pytest.raises(CommandRefused) as caught:
            client.operation("")
        answer = msgspec.json.decode(client.probe("v1/operations/").body)
    assert (str(caught.value), caught.value.hint) == (answer["message"], answer["hint"])
    assert caught.value.refusal == "not_found"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/préfix/", "/pr%C3%A9fix/healthz"),
        ("/my prefix/", "/my%20prefix/healthz"),
        ("/a%2Fb%/", "/a%2Fb%25/healthz"),
        ("/a,b;c=d:e@~/", "/a,b;c=d:e@~/healthz"),
    ],
)
def test_prefix_of_the_url_is_percent_encoded(path: str, target: str) -> None:
    with recorded_server() as server, HTTPClient(server.url + path) as client:
        client.probe("healthz")
    assert [sent for sent, _ in server.requests] == [target]


def test_prefix_that_is_not_unicode_is_refused() -> None:
    with recorded_server() as server, HTTPClient(f"{server.url}/\udcff/") as client, pytest.raises(ConfigError):
        client.probe("healthz")


@pytest.mark.parametrize("host", ["a..b", "my host", "x" * 64, "ü" * 64])
def test_invalid_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid host|in the host"):
        HTTPClient(f"http://{host}:1")


def test_host_that_is_not_ascii_reaches_a_proxy_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "")
    with recorded_server(b"ok") as server:
        monkeypatch.setenv("http_proxy", server.url)
        with HTTPClient("ws://bücher.invalid:81/ws") as client:
            assert client.probe("healthz").body == b"ok"
    ((target, headers),) = server.requests
    assert (target, headers["host"]) == ("http://xn--bcher-kva.invalid:81/healthz", "xn--bcher-kva.invalid:81")


async def test_answer_before_the_end_of_the_body_is_returned() -> None:
    body = b'{"code": "payload_too_large", "message": "too large", "recoverable": false}'

    def answer_early(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1_000)
            head = f"HTTP/1.1 413 Content Too Large\r\ncontent-length: {len(body)}\r\n\r\n"
            accepted.sendall(head.encode() + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(answer_early, listener))
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        with HTTPClient(url) as client, pytest.raises(CommandRefused, match="too large"):
            await asyncio.to_thread(client.publish, b" " * 50_000_000)
        await server


async def test_first_line_of_another_protocol_is_one_printable_line() -> None:
    def greet(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1_000)
            accepted.sendall(b"SSH-2.0-x\x1b[31m\x00\x9b\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(greet, listener))
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        with HTTPClient(f"ws://{where}/ws") as client, pytest.raises(HubUnreachable) as caught:
            await asyncio.to_thread(client.probe, "healthz")
        await server
    assert str(caught.value) == f"the connection to {where} was lost: ssh-2.0-x [31m"


@pytest.mark.parametrize("id", ["a/b", "a b?c#d", "ü/%2F", "x/cancel"])
def test_an_operation_id_may_hold_any_character(id: str, hub: HubServer) -> None:
    with HTTPClient(hub.url) as client, pytest.raises(OperationUnknown) as caught:
        client.operation(id)
    assert repr(id) in str(caught.value)


def test_an_id_that_is_longer_than_a_url_is_refused(hub: HubServer) -> None:
    with HTTPClient(hub.url) as client, pytest.raises(ConfigError):
        client.operation("x" * 100_000)


def test_what_is_published_is_in_the_history(hub: HubServer) -> None:
    with HTTPClient(hub.url) as client:
        for name in ("a", "b"):
            answer = client.publish(msgspec.json.encode({"type": "data:update", "data": {"dataset": name}}))
            assert (answer.attempt, answer.cancel_requests) == (None, ())
        datasets = [msgspec.json.decode(envelope)["data"]["dataset"] for envelope in client.history()]
        assert client.contract()["hash"].startswith("sha256:")
    assert datasets == ["a", "b"]


def test_a_connection_is_kept_between_requests() -> None:
    with recorded_server(b'{"names": []}', requests_per_connection=9) as server, HTTPClient(server.url) as client:
        assert [client.names(None) for _ in range(3)] == [[], [], []]
        assert server.connections == 1


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    with recorded_server(b'{"names": []}') as server, HTTPClient(server.url) as client:
        assert [client.names(None) for _ in range(3)] == [[], [], []]
        assert server.connections == 3


def test_the_token_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_TOKEN", "secret")
    with recorded_server() as server, HTTPClient(server.url) as client:
        client.probe("healthz")
    ((target, headers),) = server.requests
    assert (target, headers["authorization"]) == ("/healthz", "Bearer secret")
    monkeypatch.setenv("TIDINGS_TOKEN", "se cret")
    with pytest.raises(ConfigError):
        HTTPClient("http://127.0.0.1:1")


def test_user_and_password_of_the_url_are_sent() -> None:
    with recorded_server() as server, HTTPClient(server.url.replace("://", "://me:p%40ss@")) as client:
        client.probe("readyz")
    ((_, headers),) = server.requests
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:p@ss"


def test_a_proxy_of_the_environment_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with recorded_server(b"ok") as server:
        monkeypatch.setenv("http_proxy", server.url.replace("://", "://user:pass@"))
        with HTTPClient("ws://hub.invalid:81/ws") as client:
            assert client.probe("healthz").body == b"ok"
        with HTTPClient("ws://127.0.0.1:1/ws") as client, pytest.raises(HubUnreachable):
            client.probe("healthz")
    ((target, headers),) = server.requests
    assert (target, headers["host"]) == ("http://hub.invalid:81/healthz", "hub.invalid:81")
    assert headers["proxy-authorization"].startswith("Basic ")


def test_a_socks_proxy_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ConfigError, match="unsupported proxy socks5://127") as caught:
        HTTPClient("wss://hub.invalid/ws")
    assert "NO_PROXY" in caught.value.hint


def test_a_document_behind_a_redirect_is_fetched() -> None:
    with recorded_server(b"[1]") as server, recorded_server(status=301, headers={"location": server.url}) as first:
        assert fetch_json(f"{first.url}/contract.json") == [1]
    with recorded_server(status=302, headers={"location": "/again.json"}) as loop, pytest.raises(NotAHub):
        fetch_json(f"{loop.url}/contract.json")


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/contract.json", "file:///etc/hostname", "gopher://x"])
def test_redirect_to_another_kind_of_url_is_refused(place: str) -> None:
    refused = pytest.raises(NotAHub, match=r"^invalid redirect to a (ftp|file|gopher) URL: expected http or https$")
    with recorded_server(status=302, headers={"location": place}) as server, refused:
        fetch_json(f"{server.url}/contract.json")


def test_half_a_surrogate_pair_is_refused_before_a_request() -> None:
    with recorded_server() as server, HTTPClient(server.url.replace("http", "ws") + "/ws") as client:
        with pytest.raises(ConfigError, match=r"^invalid operation id"):
            client.operation("\ud800")
        with pytest.raises(ConfigError, match=r"^invalid operation id"):
            client.cancel("\ud800", None, 1.0)
        with pytest.raises(ConfigError, match=r"^invalid reason"):
            client.cancel("op", "\ud800", 1.0)
        with pytest.raises(ConfigError, match=r"^invalid query"):
            client.names("\ud800")
    assert server.requests == []


async def test_closing_ends_a_request_on_another_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HTTPClient(f"ws://127.0.0.1:{silent.getsockname()[1]}/ws", timeout_s=3600)
        request = asyncio.create_task(asyncio.to_thread(client.probe, "healthz"))
        accepted, _ = await asyncio.to_thread(silent.accept)
        with accepted:
            client.close()
            with pytest.raises(HubUnreachable):
                await request


@pytest.mark.parametrize(("text", "url"), [("http://h:1", "ws://h:1/ws"), ("wss://h/base/ws", "wss://h/base/ws")])
def test_an_address_has_its_http_resources_beside_the_websocket(text: str, url: str) -> None:
    address = parse_address(text)
    assert address.url == url
    assert address.http("v1/events").endswith("/v1/events")


def test_history_ends_where_the_hub_has_nothing_more() -> None:
    page = b'{"events": [], "next": "e:0", "position": "e:0"}'
    with http_server(page) as url, HTTPClient(url) as client:
        assert list(client.history()) == []


def test_history_spans_pages(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.client.http._PAGE_SIZE", 1)
    with HTTPClient(hub.url) as client:
        for name in ("a", "b", "c"):
            client.publish(msgspec.json.encode({"type": "data:update", "data": {"dataset": name}}))
        datasets = [msgspec.json.decode(envelope)["data"]["dataset"] for envelope in client.history()]
    assert datasets == ["a", "b", "c"]


def test_request_on_a_closed_client_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = HTTPClient(f"ws://127.0.0.1:{listener.getsockname()[1]}/ws")
        client.close()
        with pytest.raises(HubUnreachable, match="the client is closed"):
            client.probe("healthz")


def test_no_proxy_bypasses_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "localhost")
    with recorded_server(b"ok") as server, HTTPClient(server.url.replace("127.0.0.1", "localhost")) as client:
        assert client.probe("healthz").body == b"ok"
