"""The hub behind the native WebSocket edge."""

import structlog

from tidings.contract.codes import error_data, row_of
from tidings.contract.commands import SUBPROTOCOL
from tidings.exceptions import TooManyConnections
from tidings.hub.connection import Connection
from tidings.hub.connections import Connections
from tidings.hub.hub import Hub
from tidings.server.forms import PLAIN, VERSIONED
from tidings.server.websocket import Handler, Handshake, Refusal, WebSocket

log = structlog.get_logger("tidings.server.edge")


class HubEdge:
    """A `tidings.server.websocket.Application`: every handshake on one path becomes a connection of the hub.

    Args:
        hub: The hub.
        connections: Its connections.
        path: Where it listens, such as `/ws`.
    """

    def __init__(self, hub: Hub, connections: Connections, path: str) -> None:
        self._hub = hub
        self._connections = connections
        self._path = path

    def open(self, handshake: Handshake, socket: WebSocket) -> Handler | Refusal:
        """See `Application.open`."""
        if handshake.path != self._path:
            return Refusal(status=404, body=f"There is no WebSocket at this path; it is at {self._path}.\n".encode())
        versioned = handshake.subprotocol == SUBPROTOCOL
        connection = Connection(
            self._hub,
            socket,
            VERSIONED if versioned else PLAIN,
            connection_id=self._hub.mint()[:16],
            versioned=versioned,
            query=handshake.query,
        )
        return HubHandler(connection, self._connections, socket)


class HubHandler:
    """One connection of the hub, as the edge calls it."""

    __slots__ = ("_connection", "_connections", "_socket", "pause_writing", "resume_writing", "text_received")

    def __init__(self, connection: Connection, connections: Connections, socket: WebSocket) -> None:
        self._socket = socket
        self._connection = connection
        self._connections = connections
        # The three that are called often are the connection's own methods.
        self.text_received = connection.received
        self.pause_writing = connection.pause_writing
        self.resume_writing = connection.resume_writing

    def opened(self) -> None:
        """See `Handler.opened`."""
        connection = self._connection
        # Whatever has to wait is known of at once: the hub sends past the transport while nothing does.
        self._socket.set_write_buffer_limits(0, 0)
        connection.opened()
        try:
            self._connections.check_room()
        except TooManyConnections as error:
            connection.close(row_of(error).close or 1013, error_data(error).message, retry_after_ms=5_000)
            return
        if not connection.closing:
            self._connections.add(connection)

    def binary_received(self, body: bytes) -> None:
        """See `Handler.binary_received`."""
        self._connection.refused_binary()

    def closed(self, code: int, reason: str) -> None:
        """See `Handler.closed`."""
        connection = self._connection
        connection.closed()
        self._connections.remove(connection)
        log.info("connection closed", connection_id=connection.connection_id, close_code=code, reason=reason)

    def shutdown(self) -> None:
        """Say goodbye, because the server drains."""
        config = self._connection.hub.config
        self._connection.close(4100, "the hub is shutting down", retry_after_ms=config.drain_retry_ms)
