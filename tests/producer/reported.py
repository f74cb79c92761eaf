"""The events that a real hub received from operations of this process."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from tests.client.hub_server import TIMEOUT_S, HubServer

from tidings.log.base import Page, Query
from tidings.producer.runtime import RUNTIME
from tidings.protocol.envelope import Event
from tidings.protocol.paths import parse_paths

ReceivedEvent = tuple[str, dict[str, Any]]
"""An event's type and its data."""


class Reported:
    """A hub, and the events that it has received."""

    def __init__(self, hub: HubServer) -> None:
        self.hub = hub

    def events(self) -> list[Event]:
        """Return all events in the log of the hub, without conflation."""

        def read() -> list[Event]:
            events: list[Event] = []
            log = self.hub.app.hub.log
            paths = parse_paths(["*"], self.hub.app.hub.contract.channels)
            after = 0

            def done(page: Page | Exception) -> None:
                nonlocal after
                assert isinstance(page, Page)
                events.extend(record.event for record in page.records)
                after = page.scanned

            while after < log.head:
                log.read(Query(after=after, until=log.head, paths=paths, conflate=False), done)
            return events

        return self.hub.call(read)

    def received(self, operation_id: str | None = None) -> list[ReceivedEvent]:
        """Wait until everything has arrived; return the events of one operation, or of all."""
        assert RUNTIME.flush(TIMEOUT_S) == 0
        return [
            (event.type.removeprefix("operation:"), msgspec.json.decode(event.data))
            for event in self.events()
            if operation_id is None or event.key == operation_id
        ]

    def last(self, operation_id: str | None = None) -> ReceivedEvent:
        """Return the newest event."""
        return self.received(operation_id)[-1]

    def kinds(self, operation_id: str | None = None) -> list[str]:
        """Return the types of the events, without progress and without the hub's estimates."""
        return [kind for kind, _ in self.received(operation_id) if kind not in ("progress", "estimate")]


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
