"""Reads another service's WebSocket as a browser does, and reconnects.

One WebSocket message may hold several envelopes: servers join queued messages, as Go's usual write loop does with a
newline between JSON objects. Others send an array, or JSON over several lines.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Raw, Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI

from tidings.client.network import explain_tls_error, network_options
from tidings.client.reconnect import Backoff, Reconnect
from tidings.client.tokens import TokenSource
from tidings.client.url import authority
from tidings.client.websocket import RedirectRefused, connect_securely, hide_tokens
from tidings.exceptions import AccessError, ConfigError, Forbidden, HubUnreachable, InvalidCredential, TokenUnavailable
from tidings.protocol.envelope import to_single_line
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import AUTH_TOKEN

_MAX_MESSAGE_BYTES = 16 << 20
"""Size of one message: the queue of a slow moment in one frame."""
_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_KEEPALIVE: Sequence[tuple[int, str, int]] = (
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
)
"""Keepalive options: a service whose machine is gone is noticed after a minute of silence. They are the kernel's, not
WebSocket pings, which a server that never reads would not answer."""

logger = logging.getLogger(__name__)
logger.addFilter(hide_tokens)

_REFUSALS: Mapping[int, type[AccessError]] = {4001: InvalidCredential, 4003: Forbidden}
_AUTH_REQUIRED = f'"{MessageType.AUTH_REQUIRED}"'.encode()
_IS_REFUSING = re.compile(
    rb'[^,]*"(?:auth:(?:required|failed)"|connection:closed"|connection:established".*"auth":"required")', re.DOTALL
).match
"""Called with a message: matches those of a service that has not accepted the client, or does not any more."""
_TYPE_WITHIN = 64
"""Bytes in which a hub names the type of its message: a type comes first, and an event may hold the words, too."""


class SourceStatus(Struct, frozen=True, kw_only=True):
    """State of the connection to a service."""

    connected: bool
    error: str = ""
    """Why there is no connection; "" while there is one, and before the first attempt has failed."""
    retry_s: float = 0.0
    """Seconds until the next attempt."""


class SourceGone(HubUnreachable):
    """The service was away for longer than allowed."""


class PlainSource:
    """The messages of a service, over any number of connections.

    It offers no subprotocol, sends nothing, and treats text and binary messages alike.

    Args:
        url: URL of the service, as `source_url` returns it.
        deliver: Called with each message; while its result is awaited, the service is not read.
        on_change: Called when the connection is established or lost.
        headers: Headers of the handshake.
        tokens: Source of the token for the handshake, and for `auth:required`; None for a service without tokens.
        is_hub: Whether the service is a hub, whose close codes state that another try makes no sense.
        give_up_s: Seconds without a connection after which it ends; None means never.
        reconnect: Delay before reconnecting.
    """

    def __init__(
        self,
        url: str,
        deliver: Callable[[bytes], Awaitable[None] | None],
        *,
        on_change: Callable[[SourceStatus], None] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        tokens: TokenSource | None = None,
        is_hub: bool = False,
        give_up_s: float | None = None,
        reconnect: Reconnect = Reconnect(),  # noqa: B008 -- frozen
    ) -> None:
        self.connections = 0
        """Connections established: one more than the reconnects."""
        self.status = SourceStatus(connected=False)
        self._url = url
        self._deliver = deliver
        self._on_change = on_change
        self._headers = list(headers)
        self._tokens = tokens
        self._is_hub = is_hub
        self._token: str | None = None
        self._give_up_s = give_up_s
        self._settled_s = reconnect.settled_s
        self._backoff = Backoff(reconnect, random.random)
        self._accepted = True
        """Whether the service accepted the present connection, or the last one: it sent something, or kept it open."""

    async def run(self) -> None:
        """Read until it is cancelled.

        Raises:
            SourceGone: The service was away for `give_up_s`, or accepted no connection in that time.
            InvalidCredential: The hub refuses the token.
            Forbidden: The token has no grant for the paths of the URL.
        """
        loop = asyncio.get_running_loop()
        away_since = loop.time()
        while True:
            began: float | None = None
            try:
                socket = await self._open()
                began = loop.time()
                self.connections += 1
                if self._accepted:  # else it may refuse this connection, too, and reports would alternate
                    self._change(SourceStatus(connected=True))
                refused_before, self._accepted = not self._accepted, False
                error = await self._read(socket, report=refused_before)
            except TokenUnavailable as failure:
                error = str(failure)
            except (OSError, TimeoutError, InvalidHandshake, InvalidProxy, InvalidURI, ConfigError) as failure:
                error = _explain(failure, self._url)
            lasted_s = 0.0 if began is None else loop.time() - began
            self._accepted = self._accepted or lasted_s >= self._settled_s
            if began is not None and self._accepted:
                away_since = loop.time()
            if self._give_up_s is not None and loop.time() - away_since >= self._give_up_s:
                raise SourceGone(error, hint="Start the service, correct its URL, or wait longer with --give-up.")
            delay_s = self._backoff.next_delay(lasted_s=lasted_s)
            logger.info("%s; connecting again in %.2f s", error, delay_s)
            self._change(SourceStatus(connected=False, error=error, retry_s=delay_s))
            await asyncio.sleep(delay_s)

    async def _open(self) -> ClientConnection:
        headers = list(self._headers)
        if self._tokens is not None and (token := await self._tokens.fetch()) is not None:
            self._token = token
            headers.append(("Authorization", f"Bearer {token}"))
        connection = await connect_securely(
            open_timeout=_OPEN_TIMEOUT_S,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=_MAX_MESSAGE_BYTES,
            logger=logger,
            **network_options(self._url, headers),
        )
        _keep_alive(connection)
        return connection

    async def _read(self, connection: ClientConnection, *, report: bool) -> str:
        """Read to the end of a connection, and return why it ended.

        Args:
            connection: The connection.
            report: Whether to report that it is connected when the service has accepted it.
        """
        try:
            while True:
                message = await connection.recv(decode=False)
                if self._tokens is not None and _AUTH_REQUIRED in message[:_TYPE_WITHIN]:
                    await self._send_token(connection, self._tokens)
                if not self._accepted and not _IS_REFUSING(message):
                    self._accepted = True
                    if report:
                        self._change(SourceStatus(connected=True))
                waiting = self._deliver(message)
                if waiting is not None:
                    await waiting
        except ConnectionClosed as closed:
            if closed.rcvd is None and closed.sent is not None:
                return f"we ended the connection ({int(closed.sent.code)}): {closed.sent.reason or 'its form'}"
            close = closed.rcvd
            if close is None:
                return "the connection broke"
            if self._is_hub and close.code in _REFUSALS:
                raise _REFUSALS[close.code](close.reason or "the hub refuses this client") from None
            return f"the service closed the connection ({int(close.code)})" + (f": {close.reason}" * bool(close.reason))
        finally:
            if not connection.transport.is_closing():
                await connection.close()

    async def _send_token(self, connection: ClientConnection, tokens: TokenSource) -> None:
        """Answer `auth:required`, unless with the token that the service has."""
        token = await tokens.fetch()
        if token is not None and token != self._token:
            self._token = token
            await connection.send(msgspec.json.encode({"type": AUTH_TOKEN, "data": {"token": token}}), text=True)

    def _change(self, status: SourceStatus) -> None:
        self.status = status
        if self._on_change is not None:
            self._on_change(status)


def source_url(url: str) -> str:
    """Return the WebSocket address of another service; `http` and `https` stand for `ws` and `wss`.

    Raises:
        ConfigError: The URL is invalid.
    """
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(
            f"invalid WebSocket URL {url!r}", option="url", source="argument", hint="Use the form ws://host:port/path."
        )
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path or "/", parts.query, ""))


def _keep_alive(connection: ClientConnection) -> None:
    tcp = connection.transport.get_extra_info("socket")
    for level, name, value in _KEEPALIVE:
        # Absent on some systems, refused by some kernels; the connection works.
        with contextlib.suppress(OSError, AttributeError):
            tcp.setsockopt(level, getattr(socket, name), value)


def _explain(error: Exception, url: str) -> str:
    where = authority(url)
    if isinstance(error, InvalidStatus):
        response = error.response
        return f"{where} refused the WebSocket upgrade with {response.status_code} {response.reason_phrase}"
    if isinstance(error, RedirectRefused):
        return f"{where} redirects to another origin, to which its headers are not sent: {error}"
    if isinstance(error, ConfigError):
        return f"no TLS connection to {where}: {error}"
    if isinstance(error, TimeoutError):
        return f"{where} did not answer within {_OPEN_TIMEOUT_S:g} s"
    if isinstance(error, ssl.SSLError):
        return str(explain_tls_error(error, where))
    if isinstance(error, OSError):
        # asyncio's sentences name the call that failed; the system's name the cause.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        return f"no server answers at {where}: {reason}"
    return f"{where} does not answer as a WebSocket server: {error}"


_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def bodies_in(message: bytes) -> list[bytes]:
    """Return the items of `message`, each supposed to be an envelope; text that is not JSON is returned unchanged."""
    message = message.strip()
    if b"\n" in message and not _is_json(message):
        return [line for line in (line.strip() for line in message.split(b"\n")) if line]
    if message.startswith(b"["):
        try:
            return [b"" + to_single_line(bytes(each)) for each in _decode_list(message)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [message]
    return [to_single_line(message)] if message else []


def _is_json(message: bytes) -> bool:
    """Return whether `message` is one JSON value."""
    try:
        _decode_raw(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
