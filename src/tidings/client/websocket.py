"""One WebSocket connection to a hub: what can go wrong with it, in tidings' own words.

websockets' asyncio client rather than its Sans-I/O protocol: happy paths and proxies, TLS, redirects, flow control and
closing are its work, and a client has one connection, not ten thousand.

Keeping connections out of forked children.

A child inherits every socket of its parent. It would not use ours; but a socket lives until its last holder is gone, so
that a hub would take a dead producer with a living child for alive. A child therefore lets go of them at once.
"""

import asyncio
import logging
import os
import ssl
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection as WebSocketClient
from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProxyError,
)
from websockets.typing import Subprotocol

from tidings.client.url import authority, is_loopback
from tidings.exceptions import ClientError, HandshakeRefused, HubUnreachable, NotAHub
from tidings.protocol.messages import SUBPROTOCOL

_open: weakref.WeakSet[WebSocketClient] = weakref.WeakSet()
_forks = 0
"""Counts up before and after each fork of this process."""


async def open_unforked(opening: Callable[[], Awaitable[WebSocketClient]]) -> WebSocketClient:
    """Return a connection of which no child has a copy, neither now nor later.

    Args:
        opening: Begins to open one; called again where the process forked meanwhile.
    """
    while True:
        before = _forks
        connection = await opening()
        _open.add(connection)
        if _forks == before:
            return connection
        # The child's copy keeps the socket open; only the closing handshake tells the server that nobody is there.
        await connection.close()


def _count() -> None:
    global _forks
    _forks += 1


def _let_go() -> None:
    """Close the inherited sockets in the child, and no more than that: not a byte may be sent on them.

    Their numbers are given to a file that is nothing, because the objects that hold them close them once more.
    """
    nothing = -1
    for connection in list(_open):
        socket = connection.transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            continue
        if nothing < 0:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, socket.fileno(), inheritable=False)
    if nothing >= 0:
        os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_count, after_in_parent=_count, after_in_child=_let_go)


_MAX_SIZE = 1 << 20
"""Bytes of one message: an event is under 70 KB; the longest reply names a thousand paths of 255 bytes."""
_CLOSE_TIMEOUT_S = 1.0
"""For the hub's half of a closing: its Close waits behind what it has sent."""
_ABNORMAL = 1006
_NO_CODE = 1005

logger = logging.getLogger(__name__)


class ConnectionEnded(Exception):
    """The end of a connection, with its WebSocket close code; never leaves this package."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class ClientConnection(Protocol):
    """An open connection that speaks `tidings.v1`.

    One task receives, one sends. Whoever implements it must let a receiver that stops receiving stop the sender at the
    other end, with a bounded number of messages in between.
    """

    async def receive(self) -> bytes:
        """Return the next message.

        Raises:
            Ended: The connection has ended.
        """
        ...

    async def send(self, body: bytes) -> None:
        """Send one message; return when the way out has room for another.

        Raises:
            Ended: The connection has ended.
        """
        ...

    async def aclose(self) -> None:
        """Close in order, within a second or so; what was not received is dropped. Never raises."""
        ...

    def abort(self) -> None:
        """End the connection at once; a receiver wakes up with `ConnectionEnded`."""
        ...


OpenConnection = Callable[[str], Awaitable[ClientConnection]]
"""Opens a connection to a URL; raises HubUnreachable, HandshakeRefused or NotAHub."""


class WebSocketConnection:
    """A `ClientConnection` over a socket."""

    def __init__(self, socket: WebSocketClient) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        """See `ClientConnection.receive`."""
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def send(self, body: bytes) -> None:
        """See `ClientConnection.send`."""
        try:
            await self._socket.send(body, text=True)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def aclose(self) -> None:
        """See `ClientConnection.aclose`."""
        closing = asyncio.ensure_future(self._socket.close())
        try:
            # The hub's Close stands behind everything it has sent.
            while True:
                await self._socket.recv(decode=False)
        except ConnectionClosed:
            await closing
        finally:
            if not closing.done():
                self.abort()
                closing.cancel()

    def abort(self) -> None:
        """See `ClientConnection.abort`."""
        self._socket.transport.abort()


def _ended(closed: ConnectionClosed) -> ConnectionEnded:
    # Without the peer's Close it is an abnormal end, also where we sent one because of what it had sent.
    close = closed.rcvd
    return (
        ConnectionEnded(_ABNORMAL, "") if close is None else ConnectionEnded(int(close.code) or _NO_CODE, close.reason)
    )


async def open_websocket(url: str, *, token: str | None = None) -> ClientConnection:
    """Open a connection to the hub at `url`, with `token` as its credentials if there is one.

    There are no pings: a job that blocks its interpreter for a minute, or a reader that lets the hub wait, is not dead.
    The hub's heartbeats tell a dead connection from a quiet one.

    Raises:
        HubUnreachable: Nothing answers there.
        HandshakeRefused: The upgrade was refused.
        NotAHub: What answers does not speak `tidings.v1`.
    """
    # Unmentioned, a proxy of the environment is used, as by other programs; but never to this very machine.
    options: dict[str, Any] = {**_OPTIONS, "proxy": None} if is_loopback(url) else _OPTIONS
    if token is not None:
        options = {**options, "additional_headers": {"Authorization": f"Bearer {token}"}}
    try:
        socket = await open_unforked(partial(connect, url, **options))
    except (OSError, InvalidHandshake, InvalidProxy, InvalidURI) as error:
        raise _explain(error, url) from error
    if socket.subprotocol != SUBPROTOCOL:
        socket.transport.abort()
        raise NotAHub(f"{authority(url)} speaks WebSocket, but not {SUBPROTOCOL}: it is not a tidings hub")
    return WebSocketConnection(socket)


_OPTIONS: dict[str, Any] = {
    "subprotocols": [Subprotocol(SUBPROTOCOL)],
    "compression": None,
    "open_timeout": None,  # the caller's
    "ping_interval": None,
    "close_timeout": _CLOSE_TIMEOUT_S,
    "max_size": _MAX_SIZE,
    "logger": logger,
}


def _explain(error: Exception, url: str) -> ClientError:
    where = authority(url)
    if isinstance(error, InvalidStatus):
        return _refused(error, where)
    if isinstance(error, InvalidProxy | ProxyError):
        return HubUnreachable(
            f"the proxy on the way to {where} does not let us through: {error}",
            hint="Correct the environment's proxy variables, or name the host in NO_PROXY.",
        )
    if isinstance(error, ssl.SSLError):
        return HubUnreachable(
            f"no TLS connection to {where}: {error.reason or error}",
            hint="A hub without a certificate is at ws://, not wss://; a certificate of your own must be trusted here.",
        )
    if isinstance(error, OSError):
        # asyncio's own sentences name the call that failed; the system's name what is wrong.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        return HubUnreachable(f"no hub answers at {where}: {reason}")
    if isinstance(error, NegotiationError):
        return NotAHub(f"{where} is not a tidings hub: {error}")
    if isinstance(error.__cause__, EOFError | OSError):
        return HubUnreachable(f"{where} closed the connection during the handshake")
    return NotAHub(f"{where} does not answer as a WebSocket server: {error}")


def _refused(error: InvalidStatus, where: str) -> HandshakeRefused:
    response = error.response
    says = (response.body or b"")[:200].decode(errors="replace").strip().partition("\n")[0]
    return HandshakeRefused(
        f"{where} refused the WebSocket upgrade with {response.status_code} {response.reason_phrase}"
        + (f": {says}" if says else ""),
        status=response.status_code,
    )
