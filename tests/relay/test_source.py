import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.waiting import until
from tests.relay.foreign_service import GREETING, ForeignService, joined, numbered
from websockets.asyncio.server import ServerConnection, serve

from tidings.client.reconnect import Reconnect
from tidings.exceptions import ConfigError
from tidings.relay.source import PlainSource, SourceGone, SourceStatus, bodies_in, source_url

PROMPT = Reconnect(base_s=0.01, cap_s=0.05)


class Reading:
    """A running source, and what it delivered."""

    def __init__(self, url: str, **options: object) -> None:
        self.messages: list[bytes] = []
        self.changes: list[SourceStatus] = []
        self.source = PlainSource(
            url, self.messages.append, on_change=self.changes.append, reconnect=PROMPT, **options  # type: ignore[arg-type]
        )  # fmt: skip

    async def __aenter__(self) -> "Reading":
        self.task = asyncio.create_task(self.source.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    @property
    def errors(self) -> list[str]:
        return [change.error for change in self.changes if not change.connected]


async def later(blocking: Callable[[], None]) -> None:
    await asyncio.to_thread(blocking)


async def test_source_reads_text_and_binary_without_a_subprotocol() -> None:
    text, binary = joined(numbered(1, 2)), b'{"type":"data:update","data":"\xff"}'
    with ForeignService() as service:
        async with Reading(service.url, headers=[("Cookie", "session=s")]) as reading:
            await until(lambda: reading.source.status.connected)
            await later(lambda: service.wait_accepted(1))
            await later(lambda: service.say(text, binary))
            await until(lambda: len(reading.messages) == 3)
    assert reading.messages == [GREETING.encode(), text.encode(), binary]
    (headers,) = service.headers
    assert headers["cookie"] == "session=s"
    assert "sec-websocket-protocol" not in headers
    assert "origin" not in headers


async def test_source_reconnects_however_the_connection_ends() -> None:
    with ForeignService() as service:
        async with Reading(service.url) as reading:
            for connections, end in enumerate(
                (
                    service.drop,
                    lambda: service.close(1000, "bye"),
                    lambda: service.close(4003, "forbidden"),
                    service.restart,
                ),
                1,
            ):
                await later(lambda count=connections: service.wait_accepted(count))  # type: ignore[misc]
                await later(end)
                await until(lambda count=connections: reading.source.connections > count)  # type: ignore[misc]
    assert "the connection broke" in reading.errors
    assert "the service closed the connection (1000): bye" in reading.errors
    assert "the service closed the connection (4003): forbidden" in reading.errors


async def test_source_retries_and_reports_the_error() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        async with Reading(f"ws://127.0.0.1:{port}/") as reading:
            await until(lambda: len(reading.errors) > 2)
    assert reading.errors[0] == f"no server answers at 127.0.0.1:{port}: Connection refused"
    with ForeignService() as service:
        service.refusing = HTTPStatus.SERVICE_UNAVAILABLE
        async with Reading(service.url) as reading:
            await until(lambda: bool(reading.errors))
            service.refusing = None
            await until(lambda: reading.source.status.connected)
    assert reading.errors[0].endswith("refused the WebSocket upgrade with 503 Service Unavailable")


async def test_source_reports_a_server_without_websocket(tmp_path: object) -> None:
    async def speak_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak_nonsense, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Reading(f"ws://127.0.0.1:{port}/") as reading:
            await until(lambda: bool(reading.errors))
    assert f"127.0.0.1:{port}" in reading.errors[0]


async def test_source_gives_up_only_after_give_up_s() -> None:
    with ForeignService() as service:
        url = service.url
        async with Reading(url, give_up_s=0.2) as reading:
            await until(lambda: reading.source.status.connected)
            await later(service.stop)
            with pytest.raises(SourceGone, match="no server answers"):
                await asyncio.wait_for(reading.task, 60)


REQUIRED = '{"type":"connection:established","timestamp":"2025-07-30T12:00:00Z","data":{"auth":"required"}}'
FAILED = '{"type":"auth:failed","timestamp":"2025-07-30T12:00:00Z","data":{"code":"credential_revoked"}}'


@pytest.mark.parametrize("refusal", [(), (REQUIRED, FAILED), ('{"type":"connection:closed","data":{}}',)])
async def test_source_that_accepts_no_connection_counts_as_away_and_is_reported_once(refusal: Sequence[str]) -> None:
    revoked = False

    async def answer(connection: ServerConnection) -> None:
        if revoked:
            for message in refusal:
                await connection.send(message)
            await connection.close(4001, "the key was revoked")
        else:
            await connection.send(GREETING)
            await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as service:
        url = f"ws://127.0.0.1:{service.sockets[0].getsockname()[1]}/"
        async with Reading(url, give_up_s=2.0) as reading:
            await until(lambda: len(reading.messages) == 1)
            revoked = True
            for connection in service.connections:
                await connection.close(4001, "the key was revoked")
            await until(lambda: reading.source.connections >= 5)
            assert [change.connected for change in reading.changes if change.connected] == [True, True]
            revoked = False
            await until(lambda: reading.source.status.connected)
            revoked = True
            for connection in service.connections:
                await connection.close(4001, "the key was revoked")
            with pytest.raises(SourceGone, match="the key was revoked"):
                await asyncio.wait_for(reading.task, 60.0)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("ws://h:1/feed?a=b", "ws://h:1/feed?a=b"),
        ("https://h", "wss://h/"),
        ("http://u:p@h:1/x", "ws://u:p@h:1/x"),
    ],
)
def test_source_url_forms_are_resolved(url: str, meant: str) -> None:
    assert source_url(url) == meant


@pytest.mark.parametrize("url", ["ftp://x", "ws://", "ws://x:0/", "ws://x:99999/", "ws://x/#f", "x"])
def test_invalid_source_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        source_url(url)


ONE = b'{"type":"data:update","data":{"dataset":"a"}}'
TWO = b'{"type":"report:ready","data":null}'
PRETTY = json.dumps(json.loads(ONE), indent=2).encode()


@pytest.mark.parametrize(
    ("message", "bodies"),
    [
        (ONE, [ONE]),
        (ONE + b"\n", [ONE]),
        (ONE + b"\n" + TWO, [ONE, TWO]),
        (ONE + b"\r\n\n  " + TWO + b"\n", [ONE, TWO]),
        (b"[" + ONE + b", " + TWO + b"]", [ONE, TWO]),
        (PRETTY, [PRETTY.replace(b"\n", b" ")]),
        (ONE + b"\nnonsense\n" + TWO, [ONE, b"nonsense", TWO]),
        (b"nonsense", [b"nonsense"]),
        (b"[1,", [b"[1,"]),
        (b"[]", []),
        (b" \n ", []),
        (b"", []),
    ],
)
def test_message_is_split_into_envelopes(message: bytes, bodies: list[bytes]) -> None:
    assert bodies_in(message) == bodies


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=5))
def test_envelopes_joined_with_newlines_are_split(values: list[dict[str, str]]) -> None:
    joined = b"\n".join(json.dumps(value).encode() for value in values)
    assert [json.loads(body) for body in bodies_in(joined)] == values


@given(st.binary())
def test_splitting_a_message_never_raises(message: bytes) -> None:
    for body in bodies_in(message):
        assert b"\n" not in body
