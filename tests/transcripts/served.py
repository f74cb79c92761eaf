"""A hub on a local port, in the test's own event loop, for the examples in documents."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from msgspec import structs
from tests.access.token_table import TokenTable

from tidings.hub.config import HubConfig
from tidings.log.base import Log, Retention, Scheduler
from tidings.log.memory import MemoryLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp
from tidings.server.link_templates import LinkTemplate
from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import websocket_protocol

TIMEOUT_S = 60.0
Tokens = Mapping[str, tuple[str, tuple[str, ...]]]
"""Subject and grants of each token."""
_RETENTION = "retention_"


class ServedHub:
    """A hub over a memory log, and the server in front of it."""

    def __init__(self, settings: dict[str, Any], tokens: Tokens) -> None:
        retention = {
            name.removeprefix(_RETENTION): value for name, value in settings.items() if name.startswith(_RETENTION)
        }
        own = {name: value for name, value in settings.items() if not name.startswith(_RETENTION)}
        self._retention = structs.replace(Retention(), **retention)
        # Events of the hub itself would mix with those of an example; the example about them enables them.
        config = HubConfig(**{"status_s": 0.0, "metrics_s": 0.0, **own})
        table = TokenTable()
        for token, (name, grants) in tokens.items():
            table.add(token, *grants, name=name)
        self.app = HubApp(
            self._open_log,
            config=config,
            access=table.options if tokens else None,
            dashboard=os.devnull,
            links=[LinkTemplate(label="Trace", template="https://traces.example.com/{trace_id}")],
        )
        self.ready: asyncio.Future[ListenAddress] = asyncio.get_running_loop().create_future()
        self.runner = DrainingServer(
            self.app,
            port=0,
            websocket=websocket_protocol(self.app, subprotocols=[SUBPROTOCOL]),
            on_ready=self._on_ready,
            on_drain=self._on_drain,
            grace_s=2.0,
        )

    def trim_log(self) -> None:
        """Run retention until it is done."""
        while self.app.hub.log.maintain(self.app.hub.clock.wall_ns()):
            pass

    def _open_log(self, scheduler: Scheduler) -> Log:
        return MemoryLog("4f1c09ab", self._retention)

    def _on_ready(self, addresses: Sequence[ListenAddress]) -> None:
        self.ready.set_result(addresses[0])

    async def _on_drain(self) -> None:
        self.app.drain()


@asynccontextmanager
async def served(settings: dict[str, Any], tokens: Tokens = MappingProxyType({})) -> AsyncIterator[ServedHub]:
    """Serve a hub with `settings` during the block; it identifies its clients if there are `tokens`."""
    interrupt = signal.getsignal(signal.SIGINT)
    hub = ServedHub(settings, tokens)
    hub.app.start()
    serving = asyncio.create_task(hub.runner.serve())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await hub.ready
        signal.signal(signal.SIGINT, interrupt)  # Ctrl-C is for the tests
        yield hub
    finally:
        hub.runner.stop()
        async with asyncio.timeout(TIMEOUT_S):
            await serving
        hub.app.stop()
