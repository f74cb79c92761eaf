import asyncio
import json
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy
from tests.server.test_call_counts import Calls
from websockets.asyncio.server import ServerConnection, serve

from tidings.client.websocket import ConnectionEnded, open_websocket, parse_retry_after
from tidings.exceptions import HandshakeRefused, HubUnreachable, NotAHub

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[str]:
    """A TCP server that is not a hub."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


def answering(response: bytes) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()

    return handle


async def test_websocket_carries_messages_both_ways(hub: HubServer) -> None:
    connection = await open_websocket(hub.url)
    assert b'"connection:established"' in await connection.receive()
    await connection.send(b'{"type":"connection:ping","id":"1"}')
    assert b'"connection:pong"' in await connection.receive()
    await connection.aclose()
    with pytest.raises(ConnectionEnded):
        await connection.receive()
    with pytest.raises(ConnectionEnded):
        await connection.send(b"late")


@pytest.mark.parametrize(("host", "compresses"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
async def test_long_events_are_compressed_unless_the_hub_is_on_this_machine(
    hub: HubServer, host: str, *, compresses: bool
) -> None:
    # 0.0.0.0 leads to this machine, too, but is not known for that.
    inflaters = Calls()
    connection = await open_websocket(hub.url.replace("127.0.0.1", host) + "?channels=data")
    inflaters.start()
    for note in ("short", "long " * 500):
        event = {"type": "data:update", "id": "1", "data": {"dataset": "d", "note": note}}
        await connection.send(json.dumps(event).encode())
        while b'"channel":"data"' not in (received := await connection.receive()):
            pass
        assert json.loads(received)["data"]["note"] == note
    inflaters.stop()
    await connection.aclose()
    assert inflaters.methods["decompressobj"] == compresses
    assert inflaters.methods["compressobj"] == 0


async def test_port_without_a_listener_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(HubUnreachable, match=f"127.0.0.1:{port}: Connection refused"):
            await open_websocket(f"ws://127.0.0.1:{port}/ws")


async def test_unresolvable_name_is_unreachable() -> None:
    with pytest.raises(HubUnreachable, match=r"no-such-host\.invalid"):
        await open_websocket("ws://no-such-host.invalid/ws")


async def test_refused_upgrade_shows_status_and_first_line_of_the_body(hub: HubServer) -> None:
    with pytest.raises(HandshakeRefused, match="404 Not Found") as caught:
        await open_websocket(f"ws://127.0.0.1:{hub.port}/elsewhere")
    assert caught.value.status == 404
    assert "/ws" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "asked_s"),
    [
        ("7", 7.0),
        ("Thu, 30 Jul 2026 12:00:09 GMT", 9.0),
        ("Thu, 30 Jul 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("٧", 0.0),
        ("9" * 4_000, 9_999_999_999.0),
        ("Thu, 30 Jul 99999999 12:00:09 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, asked_s: float) -> None:
    now_s = datetime(2026, 7, 30, 12, tzinfo=UTC).timestamp()
    assert parse_retry_after([value], now_s) == asked_s
    assert parse_retry_after([], now_s) == 0.0


async def test_refused_upgrade_has_the_time_to_come_back() -> None:
    async with listening(
        answering(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
    ) as url:
        with pytest.raises(HandshakeRefused) as caught:
            await open_websocket(url)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 7.0)


async def test_server_of_another_protocol_is_not_a_hub() -> None:
    async with listening(answering(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")) as url:
        with pytest.raises(NotAHub):
            await open_websocket(url)


@pytest.mark.parametrize(
    ("login", "token", "sent"),
    [
        ("reporter:p%40s%3As@", None, b"Basic " + b64encode(b"reporter:p@s:s")),
        ("reporter@", None, b"Basic " + b64encode(b"reporter:")),
        ("reporter:secret@", "t0ken", b"Bearer t0ken"),
    ],
)
async def test_login_in_the_url_is_sent_decoded_unless_there_is_a_token(
    login: str, token: str | None, sent: bytes
) -> None:
    received: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with listening(refuse) as url:
        with pytest.raises(HandshakeRefused):
            await open_websocket(url.replace("ws://", f"ws://{login}"), token=token)
    assert re.findall(rb"Authorization: (.*)\r\n", received[0]) == [sent]


async def test_server_that_hangs_up_is_unreachable() -> None:
    async with listening(answering(b"")) as url:
        with pytest.raises(HubUnreachable, match="during the handshake") as caught:
            await open_websocket(url)
    assert "wss://" in caught.value.hint  # as a port with TLS does


async def test_invalid_upgrade_is_not_a_hub() -> None:
    async with listening(
        answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    ) as url:
        with pytest.raises(NotAHub):
            await open_websocket(url)


@pytest.mark.parametrize("subprotocol", [None, "other"])
async def test_websocket_server_without_tidings_is_not_a_hub(subprotocol: str | None) -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    def select(connection: ServerConnection, offered: object) -> str | None:
        return subprotocol

    async with serve(silent, "127.0.0.1", 0, select_subprotocol=select) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(NotAHub):
            await open_websocket(f"ws://127.0.0.1:{port}/ws")


async def test_tls_to_a_plain_server_is_unreachable_with_a_hint(hub: HubServer) -> None:
    with pytest.raises(HubUnreachable) as caught:
        await open_websocket(hub.url.replace("ws://", "wss://"))
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert "ws://" in caught.value.hint


async def test_proxy_of_the_environment_is_not_used_for_this_machine(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.setenv(variable.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    connection = await open_websocket(hub.url)
    await connection.aclose()
    with pytest.raises(HubUnreachable):
        await open_websocket("ws://hub.invalid/ws")


async def test_close_code_and_reason_of_the_hub_are_reported(hub: HubServer) -> None:
    connection = await open_websocket(hub.url)
    await connection.receive()
    hub.close_all(4003, "the reason")
    assert b'"connection:closed"' in await connection.receive()
    with pytest.raises(ConnectionEnded) as caught:
        await connection.receive()
    assert (caught.value.code, caught.value.reason) == (4003, "the reason")
    await connection.aclose()


async def test_broken_connection_ends_abnormally(hub: HubServer, proxy: TcpProxy) -> None:
    connection = await open_websocket(proxy.url)
    await connection.receive()
    proxy.drop()
    with pytest.raises(ConnectionEnded) as caught:
        await connection.receive()
    assert caught.value.code == 1006
    await connection.aclose()


@pytest.mark.alone
async def test_closing_waits_for_the_hubs_answer_for_up_to_a_second(hub: HubServer, proxy: TcpProxy) -> None:
    loop = asyncio.get_running_loop()
    prompt, stalled = await open_websocket(proxy.url), await open_websocket(proxy.url)
    began = loop.time()
    await prompt.aclose()
    assert loop.time() - began < 0.9
    proxy.stall()
    began = loop.time()
    await stalled.aclose()
    assert 0.9 < loop.time() - began < 2.0


async def test_cancelled_close_ends_the_connection_immediately(hub: HubServer, proxy: TcpProxy) -> None:
    connection = await open_websocket(proxy.url)
    proxy.stall()
    closing = asyncio.create_task(connection.aclose())
    await asyncio.sleep(0.01)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    with pytest.raises(ConnectionEnded):
        await asyncio.wait_for(connection.receive(), 0.5)
