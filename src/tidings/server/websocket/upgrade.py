"""uvicorn's HTTP protocol, with an upgrade that loses nothing and leaves nothing behind."""

import asyncio
from http import HTTPStatus
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidings.server.websocket.socket_options import apply_socket_options


class UpgradableHttpProtocol(HttpToolsProtocol):
    """The HTTP/1.1 side of a port that also speaks WebSocket; given to uvicorn as `Config(http=...)`.

    It differs from its base in the socket's options, so that what an event stream has not read waits in the log and not
    in the kernel, and in the upgrade: bytes that came in the same segment as the handshake (RFC 6455
    §4.1 forbids a client to send them before the answer, yet some do, and a proxy may join the two) reach the
    WebSocket instead of being dropped, and this object is emptied, so that an open WebSocket does not pay for the
    HTTP parser and the request for the rest of its life.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection."""
        super().connection_made(cast(asyncio.Transport, transport))
        apply_socket_options(transport)

    def data_received(self, data: bytes) -> None:
        """Read a segment of HTTP, or of what follows an upgrade."""
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
            # The response before it is still being written; the 101 would land in its middle.
            self.transport.close()
            return
        if self.parser.get_http_version() != "1.1":
            # The base rewrites the request line as HTTP/1.1, so that nobody after it could tell (RFC 6455 §4.1).
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
        """Drop what the request has built; the parser and this object hold each other, which nothing else would end."""
        for name in ("parser", "flow", "transport", "scope", "headers", "cycle"):
            setattr(self, name, None)

    def abort(self) -> None:
        """End the TCP connection at once, as `WebSocket.abort` does."""
        self.transport.abort()
