"""All connections of a hub: their heartbeats, their limit, and their end when the hub drains."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import structlog

from tidings.access.origins import is_loopback
from tidings.access.quotas import Quota, network_of
from tidings.exceptions import TooManyConnections
from tidings.hub.hub import Hub
from tidings.hub.wire import WireForm
from tidings.protocol.messages import PositionNotice, encode_hub_message

log = structlog.get_logger("tidings.hub.connection_registry")

_SLICES = 25
"""Parts of a heartbeat interval over which connections are spread, so that ten thousand heartbeats are not sent in one
tick."""
TOO_MANY_RETRY_MS = 5_000
"""Minimum time, in milliseconds, until a client that was refused for the limit of connections tries again."""


MAX_SLOT_MS = 300_000
"""Longest time, in milliseconds, for which a drain sends clients away: ours accept no longer one."""


class RegisteredConnection(Protocol):
    """A client in the registry: a WebSocket connection or an event stream."""

    def close(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Send `connection:closed` with the reason, and close."""

    @property
    def client(self) -> str:
        """IP address of the client; "" where there is none."""

    @property
    def producer_id(self) -> str:
        """The producer that is attached, or ""."""

    def drain(self, retry_after_ms: int) -> None:
        """Stop to read, answer what is outstanding, and close with 4100 and a time to reconnect."""

    def send_heartbeat(self, position_frame: Callable[[WireForm, int], bytes], /) -> None:
        """Send a heartbeat if the connection is idle; see `HubConnection.send_heartbeat`."""


class ConnectionRegistry:
    """The open connections of a hub.

    One timer sends the heartbeats of all of them, to one slice of the connections each time.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._slices: deque[dict[RegisteredConnection, None]] = deque({} for _ in range(_SLICES))
        self._slice_of: dict[RegisteredConnection, dict[RegisteredConnection, None]] = {}
        self._started = False
        self._drained: set[RegisteredConnection] = set()
        self._slot_ms = 0.0
        self.addresses = Quota(
            hub.config.connections_of_address,
            "connections from this address",
            hint="Share one connection, or list the proxy from which they come: --trusted-proxy.",
            retry_after_ms=TOO_MANY_RETRY_MS,
        )
        """Connections by network."""
        self.opened = 0
        """Connections opened since the hub started."""

    def __len__(self) -> int:
        return len(self._slice_of)

    def __iter__(self) -> Iterator[RegisteredConnection]:
        return iter(self._slice_of)

    def check_limit(self, client: str) -> None:
        """Check that one more connection may be opened.

        Args:
            client: IP address of the client.

        Raises:
            TooManyConnections: The limit is reached.
            TooManyRequests: The limit for the address is reached.
        """
        self.addresses.check(_counted(client))
        limit = self._hub.config.max_connections
        if len(self._slice_of) >= limit:
            raise TooManyConnections(f"{limit} connections are open")

    def add(self, connection: RegisteredConnection) -> None:
        """Add `connection`; from now on it receives heartbeats."""
        # Into the slice that was served last: its first heartbeat is a whole interval away.
        last = self._slices[-1]
        last[connection] = None
        self._slice_of[connection] = last
        self.addresses.count(_counted(connection.client))
        self.opened += 1
        if not self._started:
            self._started = True
            self._hub.jobs.start("heartbeats", self._hub.config.heartbeat_s / _SLICES, self._send_heartbeats)

    def remove(self, connection: RegisteredConnection) -> None:
        """Remove `connection`."""
        members = self._slice_of.pop(connection, None)
        if members is not None:
            del members[connection]
            self.addresses.release(_counted(connection.client))

    def drain_all(self) -> None:
        """Close all connections, and give each its own time to reconnect.

        The times are as far apart as `HubConfig.reconnect_rate` allows, from `drain_retry_ms` on. Producers return
        first: their leases run.
        """
        self._slot_ms = self._slot_after(self._hub.config.drain_retry_ms)
        for connection in sorted(self._slice_of, key=lambda each: not each.producer_id):
            self.drain(connection)

    def drain(self, connection: RegisteredConnection) -> None:
        """Close one connection of a hub that drains; once only."""
        if connection in self._drained:
            return
        slot_ms = self._hub.config.drain_retry_ms + round(len(self._drained) * self._slot_ms)
        self._drained.add(connection)
        try:
            connection.drain(slot_ms)
        except Exception:  # one connection's fault must not keep the others open
            log.exception("draining a connection failed")

    def close_all(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Close all connections.

        Args:
            code: Close code.
            reason: Its reason.
            retry_after_ms: When the first may reconnect; the others follow at `HubConfig.reconnect_rate`.
        """
        slot_ms = self._slot_after(retry_after_ms or 0)
        for index, connection in enumerate(list(self._slice_of)):
            retry_ms = None if retry_after_ms is None else retry_after_ms + round(index * slot_ms)
            connection.close(code, reason, retry_after_ms=retry_ms)

    def _slot_after(self, first_ms: int) -> float:
        """Return the distance of the times at which the connections may reconnect, in milliseconds."""
        return min(1_000 / self._hub.config.reconnect_rate, (MAX_SLOT_MS - first_ms) / max(1, len(self._slice_of)))

    def _send_heartbeats(self) -> None:
        due = self._slices[0]
        self._slices.rotate(-1)
        frame = self._cache_position_frames()
        for connection in list(due):
            try:
                connection.send_heartbeat(frame)
            except Exception:  # one connection's fault must not keep the heartbeats from the others
                log.exception("a heartbeat failed")

    def _cache_position_frames(self) -> Callable[[WireForm, int], bytes]:
        frames: dict[tuple[WireForm, int], bytes] = {}

        def frame(form: WireForm, offset: int) -> bytes:
            cached = frames.get((form, offset))
            if cached is None:
                hub = self._hub
                now = hub.timestamp()
                notice = PositionNotice(position=str(hub.log.position(offset)), now=now)
                body = encode_hub_message(notice, timestamp=now, trace_id=hub.mint())
                cached = frames[form, offset] = form.message(body)
            return cached

        return frame


def _counted(client: str) -> str:
    """Return the network that a connection counts for; "" for the hub's own machine, which may be a proxy."""
    return "" if not client or is_loopback(client) else network_of(client)
