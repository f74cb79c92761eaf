"""Credentials in the handshake, at both edges."""

import asyncio
import json
from typing import Any

import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import Edge, HubServer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def exchange(port: int, count: int, query: str = "", *, send: str = "", authorization: str = "") -> list[Any]:
    """Send a message, and return the next `count` messages; after a close, its code."""
    messages: list[Any] = []
    headers = {"Authorization": authorization} if authorization else {}
    url = f"ws://127.0.0.1:{port}/ws{query}"
    async with asyncio.timeout(30), connect(url, additional_headers=headers, proxy=None, compression=None) as socket:
        if send:
            await socket.send(send)
        try:
            messages += [json.loads(await socket.recv()) for _ in range(count)]
            await socket.wait_closed() if messages[-1]["type"] == "connection:closed" else None
        except ConnectionClosed:
            pass
    return [*messages, socket.close_code]


@pytest.fixture(params=["native", "asgi"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge: Edge = request.param
    return edge


async def test_bearer_in_the_handshake_identifies_the_subject(edge: Edge) -> None:
    tokens = TokenTable()
    tokens.add("s3cr3t", "read data", name="ann")
    with HubServer(edge, access=tokens.options) as server:
        greeting, _ = await exchange(server.port, 1, authorization="Bearer s3cr3t")
        assert (greeting["data"]["auth"], greeting["data"]["channels"]) == ("ann", ["global", "data"])
        ((credential, request),) = tokens.requests
    assert (credential.source, request.address, request.path) == ("header", "127.0.0.1", "/ws")
    assert request.headers["authorization"] == "Bearer s3cr3t"


@pytest.mark.parametrize(
    ("query", "authorization", "code"),
    [
        ("", "Bearer wrong-s3cr3t", "invalid_token"),
        ("", "Bearer s3cr3t" + "x" * 6_000, "invalid_token"),
        ("", "tdk_k3v7ab2q_s3cr3t", "invalid_token"),
        ("", "Basic tdk_k3v7ab2q_s3cr3t", "invalid_token"),
        ("?token=s3cr3t", "", "credential_in_url"),
        ("?ticket=s3cr3t", "", "invalid_ticket"),
    ],
)
async def test_refused_credential_is_answered_after_the_upgrade(
    edge: Edge, query: str, authorization: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = TokenTable()
    tokens.add("s3cr3t", "read data", name="ann")
    with HubServer(edge, access=tokens.options) as server:
        greeting, failed, _, close = await exchange(server.port, 3, query, authorization=authorization)
    assert (greeting["data"]["auth"], failed["type"], failed["data"]["code"]) == ("required", "auth:failed", code)
    assert close == 4001
    assert "s3cr3t" not in str(failed)
    logged = capsys.readouterr().out
    assert "connection opened" in logged
    assert "s3cr3t" not in logged


async def test_other_schemes_of_authorization_are_left_to_a_proxy(edge: Edge) -> None:
    tokens = TokenTable()
    tokens.add("s3cr3t", "read data", name="ann")
    token = json.dumps({"type": "auth:token", "data": {"token": "s3cr3t"}})
    with HubServer(edge, access=tokens.options) as server:
        greeting, required, success, _ = await exchange(server.port, 3, send=token, authorization="Basic dXNlcjpwYXNz")
    shown = greeting["data"]["auth"], required["type"], success["data"]["subject"]
    assert shown == ("required", "auth:required", "ann")
