"""The hub as one application: its log, its hub, its connections, and the ways in.

`HubApp` is an ASGI application, so it can be mounted in another one; `tidings serve` runs the same object with the native
WebSocket edge beside it. A mounted application's lifespan never runs: the hub starts at first use, or by
`HubApp.lifespan`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from tidings.contract.contract import Contract
from tidings.exceptions import Draining
from tidings.hub.clock import Clock, SystemClock
from tidings.hub.config import HubConfig
from tidings.hub.connections import Connections
from tidings.hub.hub import Hub
from tidings.hub.vitals import Vitals
from tidings.log.base import Log, Scheduler
from tidings.server.edge import HubEdge
from tidings.server.websocket import Handler, Handshake, Refusal, WebSocket

OpenLog = Callable[[Scheduler], Log]
"""Opens the log on the loop that the hub will run on."""

log = structlog.get_logger("tidings.server")


class HubApp:
    """One hub and everything it serves.

    Args:
        open_log: Opens its log, when the hub starts.
        config: Limits and rhythms.
        contract: What may be published.
        ws_path: Where the WebSocket is.
        clock: The machine's clocks.
    """

    def __init__(
        self,
        open_log: OpenLog,
        *,
        config: HubConfig | None = None,
        contract: Contract | None = None,
        ws_path: str = "/ws",
        clock: Clock | None = None,
    ) -> None:
        self._open_log = open_log
        self._config = config or HubConfig()
        self._contract = contract or Contract()
        self._clock = clock or SystemClock()
        self.ws_path = ws_path
        self._running: tuple[Hub, Connections, HubEdge] | None = None

    @property
    def hub(self) -> Hub:
        """The hub; started if it was not.

        Raises:
            Draining: It was stopped.
        """
        return self._parts()[0]

    @property
    def connections(self) -> Connections:
        """The hub's connections."""
        return self._parts()[1]

    @property
    def started(self) -> bool:
        """Whether the hub runs."""
        return self._running is not None

    def start(self) -> None:
        """Open the log and start the hub on the running loop; nothing happens where it runs already.

        Raises:
            LogError: The log cannot be opened.
        """
        if self._running is not None:
            return
        loop = asyncio.get_running_loop()
        event_log = self._open_log(loop)
        hub = Hub(self._contract, event_log, loop, self._clock, mint, self._config)
        connections = Connections(hub)
        Vitals(hub, connections).start()
        self._running = hub, connections, HubEdge(hub, connections, self.ws_path)

    def drain(self) -> None:
        """Take nothing new and tell every client to come back later."""
        if self._running is not None:
            hub, connections, _ = self._running
            hub.draining = True
            connections.close_all(4100, "the hub is shutting down", retry_after_ms=hub.config.drain_retry_ms)

    def stop(self) -> None:
        """Stop the hub and close its log."""
        if self._running is not None:
            hub = self._running[0]
            hub.close()
            hub.log.close()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the hub for the length of a block, inside a host application's own lifespan."""
        self.start()
        try:
            yield
        finally:
            self.drain()
            self.stop()

    def open(self, handshake: Handshake, socket: WebSocket) -> Handler | Refusal:
        """See `tidings.server.websocket.Application.open`: the native edge."""
        try:
            return self._parts()[2].open(handshake, socket)
        except Draining as error:
            return Refusal(status=503, body=f"{error}\n".encode())

    def _parts(self) -> tuple[Hub, Connections, HubEdge]:
        if self._running is None:
            self.start()
            assert self._running is not None
        if self._running[0].closed:
            raise Draining("the hub has stopped")
        return self._running


def mint() -> str:
    """Return a new W3C trace id: 32 lower-case hex digits."""
    return secrets.token_hex(16)
