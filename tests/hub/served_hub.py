"""A hub over a SQLite log, served to real sockets from a thread, and started again on the same folder at will."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from tidings.contract.commands import SUBPROTOCOL
from tidings.contract.envelope import Envelope
from tidings.exceptions import TidingsError
from tidings.hub.config import HubConfig
from tidings.hub.hub import Hub
from tidings.hub.staging import Accepted
from tidings.log.sqlite import SqliteLog
from tidings.server.app import HubApp
from tidings.server.runner import Runner
from tidings.server.websocket import websocket_protocol

T = TypeVar("T")
TIMEOUT_S = 20.0
CONFIG = HubConfig(status_s=0, metrics_s=0)


class ServedHub:
    """One run of a hub."""

    def __init__(self, folder: Path, config: HubConfig = CONFIG) -> None:
        self._app = HubApp(
            lambda scheduler: SqliteLog(folder, scheduler, lambda: "0badc0de", ballast_bytes=0), config=config
        )
        self._ready: Future[int] = Future()
        self._runner = Runner(
            self._app,
            port=0,
            websocket=websocket_protocol(self._app, subprotocols=[SUBPROTOCOL]),
            on_ready=lambda addresses: self._ready.set_result(addresses[0].port),
            grace_s=5.0,
        )
        self._thread = threading.Thread(target=self._serve)
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._app.drain)
        self.loop.call_soon_threadsafe(self._runner.stop)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    @property
    def hub(self) -> Hub:
        """The hub; to be used in its own loop only (`call`)."""
        return self._app.hub

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

    def publish(self, type: str, payloads: list[dict[str, Any]]) -> None:
        """Publish events as one batch and wait until they are in the log."""
        stored: list[Future[None]] = [Future() for _ in payloads]

        def settle(future: Future[None]) -> Callable[[Accepted | TidingsError], None]:
            def settled(result: Accepted | TidingsError) -> None:
                if isinstance(result, TidingsError):
                    future.set_exception(result)
                else:
                    future.set_result(None)

            return settled

        def publish() -> None:
            for payload, future in zip(payloads, stored, strict=True):
                envelope = Envelope(type=type, data=msgspec.Raw(msgspec.json.encode(payload)))
                self.hub.publish(envelope, settle(future))

        self.call(publish)
        for future in stored:
            future.result(TIMEOUT_S)

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._runner.config.get_loop_factory()) as runner:
                self.loop = runner.get_loop()
                runner.run(self._runner.serve())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
        finally:
            self._app.stop()
