"""One WebSocket connection to a hub, with tidings' own errors.

It uses websockets' asyncio client rather than its Sans-I/O protocol: that handles proxies, TLS, redirects, flow control
and closing, and a client has one connection, not ten thousand.

A forked child inherits every socket of its parent. It would not use them, but a socket stays open until its last holder
is gone, so that to a hub a dead producer with a living child would look alive. A child therefore closes them
immediately.
"""

import asyncio
import contextlib
import logging
import os
import re
import ssl
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection as WebSocketClient
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProxyError,
    SecurityError,
)
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame
from websockets.typing import ExtensionParameter, Subprotocol

from tidings.client.network import PLAIN_TO_TLS_HINT, explain_tls_error, network_options, proxy_hint
from tidings.client.url import authority, is_loopback, origin
from tidings.exceptions import ClientError, ConfigError, HandshakeRefused, HubUnreachable, NotAHub
from tidings.protocol.messages import SUBPROTOCOL
from tidings.protocol.payloads import ErrorData

_open: weakref.WeakSet[WebSocketClient] = weakref.WeakSet()
_forks = 0
"""Number of steps of forks in this process: one before and one after each."""


async def open_fork_safe(opening: Callable[[], Awaitable[WebSocketClient]]) -> WebSocketClient:
    """Return a connection of which no forked child has a copy, now or later.

    Args:
        opening: Opens a connection; called again if the process has forked during the call.
    """
    while True:
        before = _forks
        connection = await opening()
        _open.add(connection)
        if _forks == before:
            return connection
        # The child's copy keeps the socket open; only the closing handshake shows the server that it is unused.
        await connection.close()


def _count_fork() -> None:
    global _forks
    _forks += 1


def _close_inherited() -> None:
    """Close the inherited sockets in the child without sending a byte on them.

    Their descriptors then refer to the null device, because the objects that own them will close them once more.
    """
    null = -1
    for connection in list(_open):
        socket = connection.transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            continue
        if null < 0:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, socket.fileno(), inheritable=False)
    if null >= 0:
        os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_count_fork, after_in_parent=_count_fork, after_in_child=_close_inherited)


_MAX_MESSAGE_BYTES = 1 << 20
"""Size of one message: an event is under 70 KB; the longest reply has a thousand paths of 255 bytes."""
_CLOSE_TIMEOUT_S = 1.0
"""Time for the hub's half of a closing handshake: its Close waits behind the messages that it has sent."""
_SECRET = re.compile(r"((?:authorization|cookie): |auth:token).*", re.IGNORECASE | re.DOTALL)
_ABNORMAL = 1006
_NO_CODE = 1005

logger = logging.getLogger(__name__)


def hide_tokens(record: logging.LogRecord) -> bool:
    """Cut tokens out of a debug record of websockets, which logs headers and messages; a filter of loggers."""
    if record.levelno <= logging.DEBUG and _SECRET.search(text := record.getMessage()):
        record.msg, record.args = _SECRET.sub(r"\1...", text), ()
    return True


logger.addFilter(hide_tokens)


class RedirectRefused(SecurityError):
    """A redirect to another origin, to which the credentials are not sent."""


class connect_securely(connect):
    """As `connect`, but follows no redirect that would take `Authorization` to another origin.

    Not even without the header: the hub at the other origin would ask for the token.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """See `connect.process_redirect`."""
        here, has_credentials = self.uri, self.has_credentials()
        target = super().process_redirect(exc)
        if isinstance(target, Exception) or not has_credentials or origin(target) == origin(here):
            return target
        return RedirectRefused(f"{origin(target)}{urlsplit(target).path}")

    def has_credentials(self) -> bool:
        """Return whether the server of this connection receives credentials."""
        return "Authorization" in Headers(self.additional_headers or ())


class _connect_for_token(connect_securely):
    """As `connect_securely`, for a connection whose first message is the token."""

    def has_credentials(self) -> bool:
        """See `connect_securely.has_credentials`."""
        return True


class ConnectionEnded(Exception):
    """The end of a connection, with its WebSocket close code; never raised outside this package."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class ClientConnection(Protocol):
    """An open connection that speaks `tidings.v1`.

    One task receives, one sends. If the receiver stops, an implementation must stop the sender at the other end, with a
    bounded number of messages in between.
    """

    async def receive(self) -> bytes:
        """Return the next message.

        Raises:
            ConnectionEnded: The connection has ended.
        """

    async def send(self, body: bytes) -> None:
        """Send one message; return when there is room for another.

        Raises:
            ConnectionEnded: The connection has ended.
        """

    async def aclose(self) -> None:
        """Complete the closing handshake, within about a second; drops messages not received. Never raises."""

    def abort(self) -> None:
        """End the connection immediately; `receive` raises `ConnectionEnded`."""


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
            # The hub's Close comes behind everything it has sent.
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
    # Without the peer's Close the end is abnormal, even if this side sent a Close because of an invalid message.
    close = closed.rcvd
    return (
        ConnectionEnded(_ABNORMAL, "") if close is None else ConnectionEnded(int(close.code) or _NO_CODE, close.reason)
    )


async def open_websocket(url: str, token: str | None = None, *, token_follows: bool = False) -> ClientConnection:
    """Open a connection to the hub at `url`, with `token` in its handshake if there is one.

    If `token_follows`, the caller sends the token in a message, so that no redirect to another origin is followed.

    It sends no WebSocket pings: a job that blocks its interpreter for a minute, or a reader that makes the hub wait, is
    not dead. The hub's heartbeats distinguish a dead connection from a quiet one.

    Raises:
        HubUnreachable: No server answers.
        HandshakeRefused: The upgrade was refused.
        NotAHub: The server does not speak `tidings.v1`.
    """
    try:
        headers = [] if token is None else [("Authorization", f"Bearer {token}")]
        # Within one machine, compression costs both sides time and saves nothing.
        extensions = None if is_loopback(url) else [_DeflateOffer()]
        options = {**_OPTIONS, **network_options(url, headers), "extensions": extensions}
    except ConfigError as error:
        raise HubUnreachable(f"no TLS connection to {authority(url)}: {error}", hint=error.hint) from error
    try:
        kind = _connect_for_token if token_follows else connect_securely
        socket = await open_fork_safe(partial(kind, **options))
    except (OSError, InvalidHandshake, InvalidProxy, InvalidURI) as error:
        raise _explain(error, url) from error
    if socket.subprotocol != SUBPROTOCOL:
        socket.transport.abort()
        raise NotAHub(f"{authority(url)} speaks WebSocket, but not {SUBPROTOCOL}: it is not a tidings hub")
    return WebSocketConnection(socket)


class _ReadDeflate(PerMessageDeflate):
    """Compression of what is received. Messages that are sent stay as they are: most are short."""

    def encode(self, frame: Frame) -> Frame:
        """See `Extension.encode`."""
        return frame


class _DeflateOffer(ClientPerMessageDeflateFactory):
    """Offers compression in a way that keeps no compressor here."""

    def __init__(self) -> None:
        super().__init__(client_no_context_takeover=True, client_max_window_bits=None)

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        """See `ClientExtensionFactory.process_response_params`."""
        agreed = super().process_response_params(params, accepted_extensions)
        return _ReadDeflate(
            agreed.remote_no_context_takeover, True, agreed.remote_max_window_bits, agreed.local_max_window_bits
        )


_OPTIONS: dict[str, Any] = {
    "subprotocols": [Subprotocol(SUBPROTOCOL)],
    "compression": None,
    "open_timeout": None,  # the caller has its own
    "ping_interval": None,
    "close_timeout": _CLOSE_TIMEOUT_S,
    "max_size": _MAX_MESSAGE_BYTES,
    "logger": logger,
}


def _explain(error: Exception, url: str) -> ClientError:
    where = authority(url)
    if isinstance(error, InvalidStatus):
        return _refused(error, where)
    if isinstance(error, RedirectRefused):
        return HandshakeRefused(
            f"{where} redirects to another origin, to which the token is not sent",
            status=302,
            hint=f"If you trust it, use its URL: {error}",
        )
    if isinstance(error, InvalidProxy | ProxyError):
        return HubUnreachable(
            f"the proxy for {where} refused the connection: {error}",
            hint="Correct the proxy variables of the environment, or add the host to NO_PROXY.",
        )
    if isinstance(error, ssl.SSLError):
        return explain_tls_error(error, where)
    if isinstance(error, OSError):
        # asyncio's sentences name the call that failed; the system's name the cause.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        return HubUnreachable(f"no hub answers at {where}: {reason}")
    if isinstance(error, NegotiationError):
        return NotAHub(f"{where} is not a tidings hub: {error}")
    if isinstance(error.__cause__, EOFError | OSError):
        hint = "" if url.startswith("wss:") else PLAIN_TO_TLS_HINT
        return HubUnreachable(f"{where} closed the connection during the handshake", hint=hint)
    return NotAHub(f"{where} does not answer as a WebSocket server: {error}")


def _refused(error: InvalidStatus, where: str) -> HandshakeRefused:
    response, status = error.response, error.response.status_code
    body = bytes(response.body or b"")
    try:
        refusal = msgspec.json.decode(body, type=ErrorData)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail, hint = "", proxy_hint(status)
        if not body.lstrip().startswith(b"<"):  # a page explains nothing on one line
            detail = body[:200].decode(errors="replace").strip().partition("\n")[0]
    else:
        detail, hint = refusal.message, refusal.hint or ""
    return HandshakeRefused(
        f"{where} refused the WebSocket upgrade with {status} {response.reason_phrase}"
        + (f": {detail}" if detail else ""),
        status=status,
        retry_after_s=parse_retry_after(response.headers.get_all("Retry-After"), time.time()),
        hint=hint,
    )


def parse_retry_after(values: Sequence[str], now_s: float) -> float:
    """Return the seconds that a `Retry-After` asks for (RFC 9110 §10.2.3); 0 without a valid one.

    Args:
        values: The headers of this name.
        now_s: Seconds since 1970: the header may be a date.
    """
    text = values[0].strip() if values else ""
    if text.isdecimal() and text.isascii():
        return float(text[:10])
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    return 0.0
