"""Redirects, plain HTTP and the environment: where a token must not go."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.access.token_table import TokenTable
from tests.client.http_server import recorded_server
from tests.client.hub_server import HubServer
from tests.client.waiting import PROMPT, until

import tidings
from tidings.cli.login import identify
from tidings.client.http import HTTPClient
from tidings.client.logins import hub_of
from tidings.client.url import hide_password, origin
from tidings.exceptions import ConfigError, Forbidden, HandshakeRefused, InvalidToken, NotAHub, SignedOut
from tidings.relay.source import PlainSource, SourceStatus

SECRET = "hunter2"


@contextmanager
def redirecting(target: str) -> Iterator[tuple[str, list[str | None]]]:
    """Serve redirects to `target`; yields the WebSocket URL, and the credentials of each request."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization"))
            place = target if self.path.startswith("/ws") else "/gone"
            self.send_response(302)
            self.send_header("location", place)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.server_address[1]}/ws", seen
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def eavesdropping() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Serve nothing, and record what arrives."""
    with recorded_server(status=404) as server:
        requests: list[tuple[str, str | None]] = []
        yield server.url.replace("http:", "ws:"), requests
        requests.extend((path, headers.get("authorization")) for path, headers in server.requests)


async def test_token_is_not_sent_to_the_origin_of_a_redirect() -> None:
    with (
        eavesdropping() as (foreign, requests),
        redirecting(f"{foreign}/ws") as (url, seen),
        pytest.raises(HandshakeRefused) as caught,
    ):
        await tidings.connect(url, token=SECRET, options=PROMPT)
    assert seen == [f"Bearer {SECRET}"]
    assert requests == [], "not even a connection without the token, on which the server would ask for it"
    assert f"{foreign}/ws" in caught.value.hint
    assert SECRET not in str(caught.value) + caught.value.hint


async def test_login_in_the_url_is_not_sent_to_the_origin_of_a_redirect() -> None:
    with (
        eavesdropping() as (foreign, requests),
        redirecting(f"{foreign}/ws") as (url, _),
        pytest.raises(HandshakeRefused),
    ):
        await tidings.connect(url.replace("ws://", f"ws://ann:{SECRET}@"), token="", options=PROMPT)
    assert requests == []


async def test_token_in_a_message_is_not_sent_to_the_origin_of_a_redirect() -> None:
    """As `tidings login` and `tidings whoami` send it: their handshake has no credentials."""
    tokens = TokenTable()
    tokens.add(SECRET, "read *", name="ann")
    with HubServer(access=tokens.options) as hub, redirecting(hub.url) as (url, seen):
        access = await identify(hub.url, SECRET)
        assert access is not None
        assert access.subject == "ann"
        with pytest.raises(HandshakeRefused) as caught:
            await identify(url, SECRET)
    assert seen == [None, f"Bearer {SECRET}"]
    assert hub.url in caught.value.hint


async def test_redirect_without_credentials_is_followed() -> None:
    with HubServer() as hub, redirecting(hub.url) as (url, seen):
        async with tidings.connect(url, token="", options=PROMPT):
            pass
    assert seen == [None]


async def test_plain_source_sends_no_headers_to_the_origin_of_a_redirect() -> None:
    changes: list[SourceStatus] = []
    with eavesdropping() as (foreign, requests), redirecting(f"{foreign}/ws") as (url, _):
        headers = [("Authorization", f"Bearer {SECRET}")]
        source = PlainSource(url, lambda _: None, headers=headers, on_change=changes.append)
        reading = asyncio.ensure_future(source.run())
        await until(lambda: bool(changes))
        reading.cancel()
        await asyncio.wait([reading])
    assert requests == []
    assert "redirects to another origin" in changes[0].error
    assert SECRET not in changes[0].error


def test_http_client_follows_no_redirect() -> None:
    with (
        eavesdropping() as (foreign, requests),
        redirecting(foreign) as (url, seen),
        HTTPClient(url, token=SECRET) as client,
        pytest.raises(NotAHub),
    ):
        client.operation("op-1")
    assert seen == [f"Bearer {SECRET}"]
    assert requests == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("wss://h/ws", "wss://H:443/other", True),
        ("ws://h/ws", "ws://h:80/ws", True),
        ("ws://h/ws", "wss://h/ws", False),
        ("wss://h/ws", "wss://h:8443/ws", False),
        ("wss://h/ws", "wss://h.example/ws", False),
        ("wss://ann:x@h/ws", "wss://h/ws", True),
        ("ws://[::1]:5/ws", "ws://[::1]:5/x", True),
    ],
)
def test_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


def test_shown_urls_hold_no_secret() -> None:
    url = "wss://ann:hunter2@h/ws?a=1&token=hunter2&ticket=hunter2#x"
    assert hide_password(url) == "wss://ann:...@h/ws?a=1&token=...&ticket=...#x"
    assert hub_of(url) == "wss://h:443/ws"


class TestHTTPClient:
    @pytest.fixture
    def tokens(self) -> TokenTable:
        return TokenTable()

    @pytest.fixture
    def hub(self, tokens: TokenTable) -> Iterator[HubServer]:
        with HubServer(access=tokens.options) as server:
            yield server

    def test_refused_token_is_replaced_by_the_next_of_its_source(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add("new", "read operations")
        issued = iter(["old", "new"])
        with HTTPClient(hub.url, token=lambda: next(issued)) as client:
            assert list(client.operations([], 10)) == []
            assert list(client.operations([], 10)) == []

    def test_token_that_stays_refused_is_the_hubs_error(self, hub: HubServer) -> None:
        for token in (SECRET, lambda: SECRET):
            with HTTPClient(hub.url, token=token) as client, pytest.raises(InvalidToken) as caught:
                list(client.operations([], 10))
            assert SECRET not in str(caught.value)
            assert caught.value.hint

    def test_missing_grant_is_forbidden(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add(SECRET, "read data")
        with HTTPClient(hub.url, token=SECRET) as client, pytest.raises(Forbidden):
            client.publish(b'{"type":"data:update","data":{"dataset":"prices"}}')

    def test_source_without_a_token_is_signed_out(self, hub: HubServer) -> None:
        with HTTPClient(hub.url, token=lambda: None) as client, pytest.raises(SignedOut):
            list(client.operations([], 10))

    async def test_asynchronous_function_works_within_a_running_loop(self, hub: HubServer, tokens: TokenTable) -> None:
        tokens.add(SECRET, "read operations")

        async def token() -> str:
            await asyncio.sleep(0)
            return SECRET

        with HTTPClient(hub.url, token=token) as client:
            assert list(client.operations([], 10)) == []

    def test_token_over_plain_http_to_another_machine_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="unencrypted"):
            HTTPClient("http://hub.example.com", token=SECRET)
        HTTPClient("http://hub.example.com", token=SECRET, allow_plaintext_token=True).close()
        HTTPClient("http://hub.example.com", token="").close()
