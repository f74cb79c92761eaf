"""A network that can be cut, and actions of other clients, for tests without an event loop."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, Self

import msgspec
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.client.tcp_proxy import TcpProxy

from tidings.client import sync
from tidings.client.background_loop import LoopThread
from tidings.log.base import Page, Query
from tidings.producer.outbox.outbox import Outbox
from tidings.protocol.messages import CancelOutcome
from tidings.protocol.paths import parse_paths


class Cut:
    """A `TcpProxy` to a hub, on its own thread."""

    def __init__(self, hub: HubServer) -> None:
        self._thread = LoopThread("network")
        self._proxy = TcpProxy(hub.port)

    def __enter__(self) -> Self:
        self._thread.run(self._proxy.__aenter__())
        self.url = self._proxy.url
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self._proxy.__aexit__())
        self._thread.close()

    def stall(self) -> None:
        self._call(self._proxy.stall)

    def resume(self) -> None:
        self._call(self._proxy.resume)

    def drop(self) -> None:
        self._call(self._proxy.drop)

    def refuse(self) -> None:
        """Drop all connections, and refuse new ones."""
        self._proxy.refusing = True
        self.drop()

    def accept(self) -> None:
        self._proxy.refusing = False

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self._thread.run(call())


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def told(hub: HubServer) -> list[tuple[str, dict[str, Any]]]:
    """Return the events in the log of the hub: type, without the domain `operation` or `system`, and data."""

    def read() -> list[tuple[str, dict[str, Any]]]:
        events: list[tuple[str, dict[str, Any]]] = []
        log = hub.app.hub.log
        paths = parse_paths(["*"], hub.app.hub.contract.channels)
        after = 0

        def done(page: Page | Exception) -> None:
            nonlocal after
            assert isinstance(page, Page)
            for record in page.records:
                kind = record.event.type.removeprefix("operation:").removeprefix("system:")
                if kind != "estimate":
                    events.append((kind, msgspec.json.decode(record.event.data)))
            after = page.scanned

        while after < log.head:
            log.read(Query(after=after, until=log.head, paths=paths, conflate=False), done)
        return events

    return hub.call(read)


def asked_to_cancel(hub: HubServer, operation_id: str) -> "Future[CancelOutcome]":
    """Request the cancellation of an operation on a thread; return once the hub has the request."""
    outcome: Future[CancelOutcome] = Future()

    def ask() -> None:
        try:
            with sync.connect(hub.url) as client:
                outcome.set_result(client.cancel(operation_id, timeout_s=TIMEOUT_S))
        except BaseException as error:
            outcome.set_exception(error)

    before = hub.connections()
    Thread(target=ask).start()
    until(lambda: outcome.done() or hub.connections() > before)
    return outcome


def end_in_its_name(hub: HubServer, producer_id: str, operation_id: str) -> None:
    """End an operation from elsewhere, under the id of its own producer."""
    other = Outbox(hub.url, spool=None, lease_s=30)
    other.producer_id = producer_id
    other.put_nowait("operation:cancelled", {"operation_id": operation_id, "reason": "elsewhere"})
    assert other.close(TIMEOUT_S, patient=True) == 0
