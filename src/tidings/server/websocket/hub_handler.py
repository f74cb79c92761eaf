"""The hub behind the native WebSocket edge, and the checks that all WebSocket edges share."""

from typing import Final

import structlog
from websockets.datastructures import Headers

from tidings.access.control import NOTHING_YET, AccessControl
from tidings.access.credentials import check_cookie_origin, find_credential, headers_by_name
from tidings.access.origins import is_own_origin
from tidings.access.subjects import AccessRequest, Credential
from tidings.exceptions import (
    AccessError,
    Draining,
    Forbidden,
    TidingsError,
    TooManyConnections,
    TooManyRequests,
)
from tidings.hub.connection import HubConnection
from tidings.hub.connection_registry import TOO_MANY_RETRY_MS, ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.hub.wire import Outlet, WireForm
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import Handshake, Refusal, refusal
from tidings.server.websocket.handshake_check import HandshakeCheck
from tidings.server.websocket.protocol import WebSocket
from tidings.server.wire_formats import PLAIN, VERSIONED, deflate_form

_REASONS_ABOUT_URLS: Final = frozenset({1008, 4003})
"""Close codes with reasons that repeat values of the URL, which do not belong into a log."""

log = structlog.get_logger("tidings.server.websocket.hub_handler")


class HubWebSocketApp:
    """The `WebSocketApplication` of a hub: it accepts handshakes on one path as connections of the hub.

    Args:
        hub: The hub.
        connections: Its connections.
        handshake_check: The check that every handshake passes first.
    """

    def __init__(self, hub: Hub, connections: ConnectionRegistry, handshake_check: HandshakeCheck) -> None:
        self._hub = hub
        self.connections = connections
        self.handshake_check = handshake_check
        self._reported_subprotocols = False

    def open(self, handshake: Handshake, socket: WebSocket) -> WebSocketHandler | Refusal:
        """See `WebSocketApplication.open`."""
        headers = handshake.headers
        try:
            self.check_draining()
            address = self.handshake_check.admit(handshake, socket)
        except TidingsError as error:
            return refusal(error)
        versioned = handshake.subprotocol == SUBPROTOCOL
        if not versioned:
            self.report_unknown_subprotocols(_header(headers, "Sec-WebSocket-Protocol"))
        form = VERSIONED if versioned else PLAIN
        if handshake.deflate is not None:
            form = deflate_form(form, handshake.deflate)
        request = None
        if self.identifies:
            request = AccessRequest(
                headers=headers_by_name(headers.raw_items()), address=address.client, path=handshake.path
            )
        connection = self.connection(
            socket,
            form,
            handshake.query,
            versioned=versioned,
            client=address.client,
            request=request,
            host=address.host,
        )
        return _NativeHandler(connection, self, socket)

    @property
    def identifies(self) -> bool:
        """Whether the hub identifies its clients."""
        return self._hub.access is not None

    def check_draining(self) -> None:
        """Check that the hub accepts connections, while HTTP can still refuse one.

        Raises:
            Draining: It does not.
        """
        if self._hub.draining:
            raise Draining("the hub is shutting down")

    def report_unknown_subprotocols(self, offered: str | None) -> None:
        """Log, once, that a client offered only unknown subprotocols.

        A browser then fails the connection (RFC 6455 §4.1), and the page sees only close code 1006.

        Args:
            offered: The subprotocols, separated by commas; None where the client offered none.
        """
        if offered and not self._reported_subprotocols:
            self._reported_subprotocols = True
            hint = f"Offer {SUBPROTOCOL}, or no subprotocol for a plain connection: browsers fail such connections."
            log.warning("unknown subprotocols", offered=offered[:200], hint=hint)

    def connection(
        self,
        outlet: Outlet,
        form: WireForm,
        query: str,
        *,
        versioned: bool,
        client: str,
        request: AccessRequest | None = None,
        host: str | None = None,
    ) -> HubConnection:
        """Make the connection of a handshake that was accepted.

        Args:
            outlet: Writes to the client.
            form: Wire form of events and messages.
            query: Query of the URL.
            versioned: Whether the subprotocol is `tidings.v1`.
            client: IP address of the client.
            request: The handshake, where the hub identifies its clients.
            host: Host and port in the client's URL.
        """
        credential: Credential | AccessError | None = None
        access = self._hub.access
        if request is not None and access is not None:
            try:
                credential = find_credential(request.headers, query, cookie=access.cookie)
                if credential is not None and credential.source == "cookie":
                    check_cookie_origin(request.headers, host)
                elif credential is None and access.identifies_requests:
                    credential = self._check_automatic(access, request.headers.get("origin"), host)
            except AccessError as error:
                credential = error  # answered after the upgrade: a browser sees nothing of a refused one
        return HubConnection(
            self._hub,
            outlet,
            form,
            connection_id=self._hub.mint()[:16],
            versioned=versioned,
            query=query,
            client=client,
            credential=credential,
            request=request,
        )

    def _check_automatic(self, access: AccessControl, origin: str | None, host: str | None) -> Credential | None:
        """Check that what a browser adds by itself, such as cookies, may identify a handshake of a page of `origin`.

        With `*` as an allowed origin, any page could act as the person who looks at it.

        Returns:
            None if it may; `NOTHING_YET` if the page must send a token.

        Raises:
            Forbidden: It may not, and the hub accepts no tokens.
        """
        origins = self.handshake_check.request_check.origins
        if origin is None or is_own_origin(origin, host) or origins.allows_credentials(origin):
            return None
        if access.methods:
            return NOTHING_YET
        raise Forbidden(
            "cookies count only for pages of the hub's own origin, and of origins that are allowed by name",
            hint="Allow the page's origin by its name.",
        )

    def opened(self, connection: HubConnection) -> None:
        """Open the connection and register it, or close it if the hub has too many connections."""
        connection.opened()
        try:
            self.connections.check_limit(connection.client)
        except (TooManyConnections, TooManyRequests) as error:
            connection.close(row_of(error).close or 1013, error_data(error).message, retry_after_ms=TOO_MANY_RETRY_MS)
            return
        if not connection.closing:
            self.connections.add(connection)

    def closed(self, connection: HubConnection, code: int, reason: str) -> None:
        """Remove a connection whose socket is closed."""
        connection.closed()
        self.connections.remove(connection)
        shown = "" if code in _REASONS_ABOUT_URLS else reason
        log.info("connection closed", connection_id=connection.connection_id, close_code=int(code), reason=shown)


class _NativeHandler:
    """The `WebSocketHandler` of one connection of the hub."""

    __slots__ = (
        "_app",
        "_connection",
        "_socket",
        "pause_writing",
        "resume_writing",
        "text_received",
    )

    def __init__(self, connection: HubConnection, app: HubWebSocketApp, socket: WebSocket) -> None:
        self._socket = socket
        self._connection = connection
        self._app = app
        # The methods that are called often are the connection's own.
        self.text_received = connection.received
        self.pause_writing = connection.pause_writing
        self.resume_writing = connection.resume_writing

    def opened(self) -> None:
        """See `WebSocketHandler.opened`."""
        # With limits of 0 any unsent byte is reported immediately: without them, the hub bypasses the transport.
        self._socket.set_write_buffer_limits(0, 0)
        self._app.opened(self._connection)

    def invalid_text_received(self, body: bytes) -> None:
        """See `WebSocketHandler`: the check of the envelope reports the error and closes."""
        self._connection.received(body)

    def binary_received(self, body: bytes) -> None:
        """See `WebSocketHandler.binary_received`."""
        self._connection.reject_binary(body)

    def overhead_received(self, count: int) -> None:
        """See `WebSocketHandler`."""
        self._connection.overhead_received(count)

    def overloaded(self) -> None:
        """See `WebSocketHandler`."""
        self._connection.overloaded()

    def violated(self, code: int, reason: str) -> None:
        """See `WebSocketHandler`: close when what came before is answered."""
        self._connection.close_after_events(code, reason)

    def closed(self, code: int, reason: str) -> None:
        """See `WebSocketHandler.closed`."""
        self._app.closed(self._connection, code, reason)

    def shutdown(self) -> None:
        """Close the connection, because the server drains."""
        self._app.connections.drain(self._connection)


def _header(headers: Headers, name: str) -> str | None:
    values = headers.get_all(name)
    return ", ".join(values) if values else None
