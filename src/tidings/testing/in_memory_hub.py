"""A whole hub in memory, and clients of it: every connection rule, no socket."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

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
    """Return what makes ids that are the same in every run: 32 hex digits, counted from 1."""
    numbers = count(1)
    return lambda: f"{next(numbers):032x}"


class InMemoryHub:
    """A hub on a clock and a loop that move by hand.

    Args:
        config: Limits and rhythms; without it the defaults.
        log: Where events go; without it a `MemoryLog` with the configuration's retention.
        clock: Where the hub reads the time; a hub that is started again goes on with the last one's.
        loop: What the hub runs on, made on `clock`.
        contract: What may be published.
        mint: Makes ids; without it they are counted from 1.
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
    ) -> None:
        self.config = config or HubConfig()
        self.clock = clock or ManualClock()
        self.loop = loop or ManualLoop(self.clock)
        self.log: Log = log if log is not None else MemoryLog(EPOCH, self.config.retention)
        self.hub = Hub(contract or Contract(), self.log, self.loop, self.clock, mint or counted_ids(), self.config)
        self.connections = ConnectionRegistry(self.hub)
        self._client_numbers = count(1)

    def connect(self, query: str = "", *, versioned: bool = True, past_transport: bool = True) -> "InMemoryClient":
        """Open a connection, as the WebSocket edge does.

        Args:
            query: The URL's, without the `?`.
            versioned: Whether `tidings.v1` is selected.
            past_transport: See `MemoryOutlet`.
        """
        return InMemoryClient(
            self, query, versioned, MemoryOutlet(past_transport=past_transport), f"client-{next(self._client_numbers)}"
        )

    def admit(self, connection: HubConnection) -> None:
        """Greet a connection, and give it its place if there is room, as the WebSocket edge does."""
        connection.opened()
        try:
            self.connections.check_limit()
        except TooManyConnections as error:
            connection.close(1013, str(error), retry_after_ms=5_000)
        if not connection.closing:
            self.connections.add(connection)

    def settle(self) -> None:
        """Run the loop until nothing is ready; time stands still."""
        self.loop.run_until_idle()


class InMemoryClient:
    """One client of an `InMemoryHub`, and what it has read."""

    def __init__(self, hub: InMemoryHub, query: str, versioned: bool, outlet: MemoryOutlet, connection_id: str) -> None:
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
        )
        outlet.on_pause = self.connection.pause_writing
        outlet.on_resume = self.connection.resume_writing
        outlet.on_close = self._socket_closed
        hub.admit(self.connection)

    # What a client sends.

    def send(self, type: str, data: Any = None, **fields: Any) -> str | None:
        """Send one message; return its id, made for it where `fields` names none and the connection is versioned."""
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
        # A socket's end is seen in a later round than the one in which the hub closed it.
        self._hub.loop.call_soon(self.drop)

    def drop(self) -> None:
        """Lose the connection, as when the socket is gone."""
        self._hub.connections.remove(self.connection)
        self.connection.closed()

    # What a client reads.

    def read(self) -> list[Message]:
        """Return the messages that arrived whole since the last call."""
        received = self.outlet.received
        end = received.rfind(b"\n") + 1
        lines = bytes(received[self._read_to : end]).splitlines()
        self._read_to = max(self._read_to, end)
        return [json.loads(line) for line in lines]

    def read_where(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """Return those of the new messages that are `wanted`; the others are read and dropped."""
        return [message for message in self.read() if wanted(message)]

    def read_types(self) -> list[str]:
        """Return the types of the new messages."""
        return [message["type"] for message in self.read()]

    def read_events(self) -> list[Message]:
        """Return those of the new messages that are logged events."""
        return self.read_where(lambda message: "channel" in message)
