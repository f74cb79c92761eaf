"""A real hub on its own thread and loop, for clients that are tested from another thread."""

import asyncio
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from tidings.access.control import AccessOptions
from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp
from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import websocket_protocol

T = TypeVar("T")
TIMEOUT_S = 60.0
QUIET = HubConfig(status_s=0, metrics_s=0)
"""Configuration of a hub that publishes nothing by itself."""


class HubServer:
    """One hub, from listening to its end.

    Args:
        port: 0 picks a free one; a hub that comes back takes the one it had.
        config: The hub's limits and rhythms.
        contract: What may be published; what every hub speaks by default.
        access: How clients are identified; by default not at all.
        event_log: A log that outlives this server, as a file would; a new one in memory by default.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        config: HubConfig = QUIET,
        event_log: Log | None = None,
        contract: Contract | None = None,
        access: AccessOptions | None = None,
    ) -> None:
        self._log = event_log
        self._ready: Future[int] = Future()
        self.app = HubApp(self._open_log, config=config, contract=contract, access=access)
        self._runner = DrainingServer(
            self.app,
            port=port,
            websocket=websocket_protocol(self.app, subprotocols=[SUBPROTOCOL]),
            on_ready=self._on_ready,
            grace_s=1.0,
            lifespan="off",
        )
        self._thread = threading.Thread(target=self._serve)
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def stop(self) -> None:
        """Drain the hub, as a signal does, and wait for its end."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._runner.stop)
            self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the hub's loop and return its result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return result.result(TIMEOUT_S)

    def close_all(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Close every connection, as the hub does."""
        self.call(lambda: self.app.connections.close_all(code, reason, retry_after_ms=retry_after_ms))

    def connections(self) -> int:
        return self.call(lambda: len(self.app.connections))

    def _open_log(self, scheduler: Scheduler) -> Log:
        return self._log or MemoryLog(secrets.token_hex(4))

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            self.loop = runner.get_loop()
            try:
                runner.run(self._runner.serve())
            except BaseException as error:
                self._ready.set_exception(error)
                raise
            finally:
                self.app.stop()

    def _on_ready(self, addresses: Any) -> None:
        first: ListenAddress = addresses[0]
        # The hub starts with the server, so that a log is there before the first client.
        self.app.start()
        self._ready.set_result(first.port)
