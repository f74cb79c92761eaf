"""The limit of TCP connections, below the number of files that the process may open.

A process without free descriptors accepts no one, opens no file, and reports nothing: libuv then closes new connections
by itself. So the connection that has waited longest without sending a request makes room for a new one.
"""

import logging
from time import monotonic
from typing import Final, Protocol

LOG_INTERVAL_S: Final = 10.0
"""Minimum time between two log lines about the limit."""

logger = logging.getLogger(__name__)


class IdleConnection(Protocol):
    """A connection that has not sent a whole request yet."""

    def abort(self) -> None:
        """End the TCP connection immediately."""


class TcpLimit:
    """Counts the connections without a request, and ends the oldest of them when there are too many connections.

    Args:
        max_connections: Number of open TCP connections, of every kind; None for no limit.
    """

    def __init__(self, max_connections: int | None) -> None:
        self._max_connections = max_connections
        self._idle: dict[IdleConnection, None] = {}
        self._reported = -LOG_INTERVAL_S
        self._not_reported = 0
        self.dropped = 0
        """Connections that were ended to make room."""

    def add(self, connection: IdleConnection) -> None:
        """Record that `connection` waits for a request."""
        self._idle.setdefault(connection)

    def discard(self, connection: IdleConnection) -> None:
        """Record that `connection` has sent a request, or has ended."""
        self._idle.pop(connection, None)

    def admits(self, connection: IdleConnection, connections: int) -> bool:
        """Return whether a new connection may stay; others may be ended for it.

        Args:
            connection: The new connection, which was added.
            connections: Number of open TCP connections, this one included.
        """
        if self._max_connections is None or connections <= self._max_connections:
            return True
        self._report(connections)
        oldest = next(iter(self._idle))
        if oldest is connection:
            return False
        self.discard(oldest)
        oldest.abort()
        self.dropped += 1
        return True

    def _report(self, connections: int) -> None:
        self._not_reported += 1
        now = monotonic()
        if now - self._reported >= LOG_INTERVAL_S:
            self._reported = now
            logger.warning(
                "%d TCP connections are open: new ones replace those that sent no request (%d since the last report)",
                connections,
                self._not_reported,
            )
            self._not_reported = 0
