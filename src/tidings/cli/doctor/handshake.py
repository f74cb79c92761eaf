"""Checks the WebSocket handshake, and explains each way in which it fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    ProxyError,
)
from websockets.http11 import Response
from websockets.typing import Subprotocol

from tidings.cli.doctor.finding import CheckResult, bad, good
from tidings.cli.doctor.network import TIMEOUT_S, read_refusal
from tidings.client.http import HubAddress
from tidings.client.network import network_options
from tidings.client.url import hide_password
from tidings.client.websocket import RedirectRefused, connect_securely
from tidings.protocol.messages import SUBPROTOCOL

UPGRADE, PROTOCOL = "websocket", "subprotocol"

_STRIPPED = (
    "A proxy removes the headers Upgrade and Connection. nginx needs: proxy_http_version 1.1; "
    'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
)
_MEANINGS: dict[int, tuple[str, str]] = {
    200: ("an ordinary page, not a WebSocket", _STRIPPED),
    400: ("the handshake arrived incomplete", _STRIPPED),
    401: (
        "a login is required",
        "A proxy in front of the hub asks for it: a hub itself accepts the upgrade, and asks then. Write the login "
        "into the URL (wss://USER:PASSWORD@HOST/), or exempt the hub's paths from it.",
    ),
    403: ("refused", "Allow this origin with --allow-origin, or allow the path in the proxy."),
    404: ("no WebSocket at this path", f"Correct the path: the default is /ws (--ws-path). Or: {_STRIPPED}"),
    405: ("the path does not accept GET", "Correct the path: the default is /ws (--ws-path)."),
    407: ("the outgoing proxy requires a login", "Set it in HTTPS_PROXY, or name the host in NO_PROXY."),
    426: ("the server received a request without an upgrade", _STRIPPED),
    500: ("the server failed", "See the log of the hub."),
    502: ("a proxy cannot reach the hub", "Check the address that the proxy forwards to, and that the hub runs."),
    503: ("not ready", "The hub starts or shuts down, or its proxy has no server: try again."),
    504: ("the hub does not answer a proxy", "Check the address that the proxy forwards to, and that the hub runs."),
}


@asynccontextmanager
async def check_handshake(
    target: HubAddress, token: str | None
) -> AsyncIterator[tuple[list[CheckResult], ClientConnection | None]]:
    """Open a WebSocket, with a token if there is one, for the length of a block; None if that fails."""
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    try:
        connection = await connect_securely(
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            open_timeout=TIMEOUT_S,
            close_timeout=1,
            ping_interval=None,
            max_size=1 << 20,
            **network_options(target.url, headers),
        )
    except (OSError, InvalidHandshake, InvalidURI) as error:
        yield [_failure(target, error)], None
        return
    try:
        yield [good(UPGRADE, f"open at {hide_password(target.url)}"), _protocol(connection)], connection
    finally:
        await connection.close()


def _protocol(connection: ClientConnection) -> CheckResult:
    if connection.subprotocol == SUBPROTOCOL:
        return good(PROTOCOL, SUBPROTOCOL)
    return bad(
        PROTOCOL,
        f"{SUBPROTOCOL} was not selected",
        "No hub listens there, or a proxy removes the header Sec-WebSocket-Protocol: forward it both ways.",
    )


def _failure(target: HubAddress, error: Exception) -> CheckResult:
    if isinstance(error, InvalidStatus):
        return _refusal(error.response)
    if isinstance(error, RedirectRefused):
        return bad(UPGRADE, f"redirected to another origin, {error}", f"If you trust it, use its URL: {error}")
    if isinstance(error, InvalidURI):
        # The URL of a redirect: the configured URL has been parsed before.
        return bad(UPGRADE, f"redirected to {error.uri}", f"Use the target of the redirect: {_as_ws(error.uri)}")
    if isinstance(error, InvalidUpgrade):
        return bad(UPGRADE, f"the answer is not an upgrade: {error}", _STRIPPED)
    if isinstance(error, InvalidProxyStatus | InvalidProxyMessage | ProxyError):
        hint = "Name the host in NO_PROXY, or allow CONNECT to it in the proxy."
        return bad(UPGRADE, f"the outgoing proxy refuses: {error}", hint)
    if isinstance(error, InvalidMessage):
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return bad(
            UPGRADE,
            f"the answer is not HTTP/1.1{cause}",
            "If the server supports HTTP/2 only, enable HTTP/1.1: a WebSocket begins with it. "
            "If it is not a web server, correct the URL.",
        )
    if isinstance(error, TimeoutError):
        hint = "A proxy delays the handshake, or the hub hangs: see its log."
        return bad(UPGRADE, f"no answer within {TIMEOUT_S:g} s", hint)
    return bad(UPGRADE, f"the handshake failed: {error}", "See the log of the hub.")


def _refusal(response: Response) -> CheckResult:
    status = response.status_code
    refusal = read_refusal(bytes(response.body or b"")) if status in (401, 403) else None
    if refusal is not None:
        return bad(UPGRADE, f"{status} by the hub: {refusal.message} ({refusal.code})", refusal.hint or "")
    body = " ".join(bytes(response.body or b"").decode(errors="replace").split())[:120]
    server = response.headers.get("Server", "")
    by = f" by {server}" if server else ""
    meaning, hint = _MEANINGS.get(status, ("refused", "See the log of the server that answered."))
    return bad(UPGRADE, f"{status}{by}: {meaning}{f' ({body})' if body and len(body) < 120 else ''}", hint)


def _as_ws(url: str) -> str:
    return "ws" + url[4:] if url.startswith("http") else url
