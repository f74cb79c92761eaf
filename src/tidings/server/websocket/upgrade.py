"""uvicorn's HTTP protocol, with an upgrade that loses no bytes and leaks no memory."""

import asyncio
from http import HTTPStatus
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidings.server.websocket.socket_options import apply_socket_options


class UpgradableHttpProtocol(HttpToolsProtocol):
    """The HTTP/1.1 side of a port that also speaks WebSocket; given to uvicorn as `Config(http=...)`.

    It differs from its base in two ways. It sets the socket's options, so that events which an event stream has not
    read wait in the log and not in the kernel. And at the upgrade, bytes in the same segment as the handshake (RFC 6455
    §4.1 forbids a client to send them before the response, yet some do, and a proxy may join the two) reach the
    WebSocket instead of being dropped, and this object is emptied, so that an open WebSocket does not keep the HTTP
    parser and the request in memory.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start a new connection."""
        super().connection_made(cast(asyncio.Transport, transport))
        apply_socket_options(transport)

    def data_received(self, data: bytes) -> None:
        """Read a segment of HTTP, and hand the bytes after an upgrade over."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._hand_over(data[upgrade.args[0] :])
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _hand_over(self, rest: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # The previous response is still being written; the 101 would land in its middle.
            self.transport.close()
            return
        if self.parser.get_http_version() != "1.1":
            # RFC 6455 §4.1. Checked here, because the base rewrites the request line as HTTP/1.1.
            status = HTTPStatus.BAD_REQUEST
            self.send_400_response(f"{status.phrase}: a WebSocket handshake needs HTTP/1.1.")
            return
        transport = self.transport
        self.handle_websocket_upgrade()
        self._forget()
        if rest:
            websocket = transport.get_protocol()
            websocket.data_received(rest)  # type: ignore[attr-defined]  # a Protocol, by uvicorn's contract for `ws`

    def _forget(self) -> None:
        """Drop the state of the request, and with it a cycle between the parser and this object."""
        for name in ("parser", "flow", "transport", "scope", "headers", "cycle"):
            setattr(self, name, None)

    def abort(self) -> None:
        """End the TCP connection immediately, as `WebSocket.abort` does."""
        self.transport.abort()
