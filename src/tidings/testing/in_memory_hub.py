"""A whole hub in memory and its clients: all connection rules, but no socket."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from tidings.access.control import AccessControl, AccessOptions
from tidings.access.subjects import Credential
from tidings.contract.contract import Contract
from tidings.exceptions import TooManyConnections
from tidings.hub.config import HubConfig
from tidings.hub.connection import HubConnection
from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.log.base import Log
from tidings.log.memory import MemoryLog
from tidings.protocol import messages
from tidings.server.wire_formats import PLAIN_LINES, VERSIONED_LINES
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop
from tidings.testing.outlet import MemoryOutlet

Message = dict[str, Any]
"""One envelope as a client reads it."""

EPOCH = "0badc0de"


def counted_ids() -> Callable[[], str]:
    """Return a generator of ids that are the same in every run: 32 hex digits, counted from 1."""
    numbers = count(1)
    return lambda: f"{next(numbers):032x}"


class InMemoryHub:
    """A hub on a clock and a loop that the test advances.

    Args:
        config: Limits and intervals. Default: those of `HubConfig`.
        log: The log. Default: a `MemoryLog` with the configuration's retention.
        clock: The hub's clock; a hub that is started again continues with the clock of the last one.
        loop: The hub's event loop, created on `clock`.
        contract: The event types that may be published.
        mint: Creates ids. Default: counted from 1.
        access: How clients are identified. Default: not at all.
    """

    def __init__(
        self,
        config: HubConfig | None = None,
        *,
        log: Log | None = None,
        clock: ManualClock | None = None,
        loop: ManualLoop | None = None,
        contract: Contract | None = None,
        mint: Callable[[], str] | None = None,
        access: AccessOptions | None = None,
    ) -> None:
        self.config = config or HubConfig()
        self.clock = clock or ManualClock()
        self.loop = loop or ManualLoop(self.clock)
        self.log: Log = log if log is not None else MemoryLog(EPOCH, self.config.retention)
        control = (
            None
            if access is None
            else AccessControl(
                access,
                wall_ns=self.clock.wall_ns,
                monotonic=self.clock.monotonic,
                scheduler=self.loop,
                revocations=self.log.revocations,
            )
        )
        self.hub = Hub(
            contract or Contract(), self.log, self.loop, self.clock, mint or counted_ids(), self.config, control
        )
        self.connections = ConnectionRegistry(self.hub)
        self._client_numbers = count(1)

    def connect(
        self, query: str = "", *, versioned: bool = True, past_transport: bool = True, token: str | None = None
    ) -> "InMemoryClient":
        """Open a connection, like the WebSocket edge.

        Args:
            query: The query of the URL, without the `?`.
            versioned: Whether the client selects `tidings.v1`.
            past_transport: See `MemoryOutlet`.
            token: A credential for the handshake's `Authorization`.
        """
        outlet = MemoryOutlet(past_transport=past_transport)
        return InMemoryClient(self, query, versioned, outlet, f"client-{next(self._client_numbers)}", token)

    def admit(self, connection: HubConnection) -> None:
        """Open a connection and register it unless there are too many, like the WebSocket edge."""
        connection.opened()
        try:
            self.connections.check_limit(connection.client)
        except TooManyConnections as error:
            connection.close(1013, str(error), retry_after_ms=5_000)
        if not connection.closing:
            self.connections.add(connection)

    def settle(self) -> None:
        """Run the loop until no callback is ready; time stands still."""
        self.loop.run_until_idle()


class InMemoryClient:
    """One client of an `InMemoryHub`, with the messages it received."""

    def __init__(
        self,
        hub: InMemoryHub,
        query: str,
        versioned: bool,
        outlet: MemoryOutlet,
        connection_id: str,
        token: str | None = None,
    ) -> None:
        self._hub = hub
        self._read_to = 0
        self._ids = count(1)
        self.outlet = outlet
        self.connection = HubConnection(
            hub.hub,
            outlet,
            VERSIONED_LINES if versioned else PLAIN_LINES,
            connection_id=connection_id,
            versioned=versioned,
            query=query,
            credential=None if token is None else Credential(token, "header"),
        )
        outlet.on_pause = self.connection.pause_writing
        outlet.on_resume = self.connection.resume_writing
        outlet.on_close = self._socket_closed
        hub.admit(self.connection)

    # Sending.

    def send(self, type: str, data: Any = None, **fields: Any) -> str | None:
        """Send one message; return its id. On a versioned connection an id is created unless `fields` has one."""
        message: Message = {"type": type, "data": data, **fields}
        if self.connection.versioned and "id" not in fields:
            message["id"] = f"{next(self._ids)}"
        self.send_raw(json.dumps(message).encode())
        return message.get("id")

    def send_raw(self, body: bytes) -> None:
        """Send `body` as one text message."""
        self.connection.received(body)

    def subscribe(self, *channels: str, since: str | None = None) -> str | None:
        """Send `channel:subscribe`."""
        data: Message = {"channels": list(channels)}
        if since is not None:
            data["since"] = since
        return self.send(messages.SUBSCRIBE, data)

    def unsubscribe(self, *channels: str) -> str | None:
        """Send `channel:unsubscribe`."""
        return self.send(messages.UNSUBSCRIBE, {"channels": list(channels)})

    def _socket_closed(self) -> None:
        # The end of a socket is noticed in a later round than the one in which the hub closed it.
        self._hub.loop.call_soon(self.drop)

    def drop(self) -> None:
        """Lose the connection, as if the socket were gone."""
        self._hub.connections.remove(self.connection)
        self.connection.closed()

    # Receiving.

    def read(self) -> list[Message]:
        """Return the messages that arrived completely since the last call."""
        received = self.outlet.received
        end = received.rfind(b"\n") + 1
        lines = bytes(received[self._read_to : end]).splitlines()
        self._read_to = max(self._read_to, end)
        return [json.loads(line) for line in lines]

    def read_where(self, is_selected: Callable[[Message], bool]) -> list[Message]:
        """Return the new messages for which `is_selected` is true; drop the others."""
        return [message for message in self.read() if is_selected(message)]

    def read_types(self) -> list[str]:
        """Return the types of the new messages."""
        return [message["type"] for message in self.read()]

    def read_events(self) -> list[Message]:
        """Return the new messages that are logged events; drop the others."""
        return self.read_where(lambda message: "channel" in message)
