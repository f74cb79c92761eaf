"""A hub with estimates on a manual clock, and a client that reads them."""

from typing import Any

import msgspec

from tidings.hub.config import HubConfig
from tidings.protocol.envelope import Envelope
from tidings.protocol.timestamps import from_nanoseconds
from tidings.testing.in_memory_hub import InMemoryHub

CONFIG = HubConfig(status_s=0, metrics_s=0, heartbeat_s=100_000.0, maintain_s=3_600.0)
ESTIMATE = "operation:estimate"
MINUTE_S = 60.0


class ReadEstimate(msgspec.Struct):
    """An estimate that the client has read, and the time."""

    at_s: float
    operation_id: str
    stalled: bool
    rate: float | None = None
    remaining_s: float | None = None
    remaining_low_s: float | None = None
    remaining_high_s: float | None = None


class Watched:
    """A hub with estimates, and a client that reads all operations."""

    def __init__(self, hub: InMemoryHub | None = None, *, config: HubConfig = CONFIG) -> None:
        self.hub = hub or InMemoryHub(config)
        self.hub.hub.estimates.start()
        self.client = self.hub.connect("channel=operations&pace_ms=0")
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.slow_s: float | None = None
        """Seconds by which the clock of the publisher is slow; None: its events have no timestamp."""
        self.hub.settle()

    def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass, and read in each step."""
        end = self.hub.loop.now + seconds
        while self.hub.loop.now < end - 1e-6:
            self.hub.loop.advance(min(step_s, end - self.hub.loop.now))
            self.read()

    def read(self) -> None:
        now = self.hub.loop.now
        self.events.extend((now, event["type"], event["data"]) for event in self.client.read_events())

    def estimates(self, operation_id: str = "a") -> list[ReadEstimate]:
        """Return all estimates of an operation so far."""
        found = [{"at_s": at_s, **data} for at_s, type, data in self.events if type == ESTIMATE]
        return [
            estimate for estimate in msgspec.convert(found, list[ReadEstimate]) if estimate.operation_id == operation_id
        ]

    def publish(self, what: str, operation_id: str = "a", **data: Any) -> None:
        """Publish an event without a producer."""
        payload = msgspec.json.encode({"operation_id": operation_id, **data})
        settled: list[object] = []
        timestamp = None
        if self.slow_s is not None:
            timestamp = from_nanoseconds(self.hub.clock.wall_ns() - round(self.slow_s * 1e9))
        envelope = Envelope(type=f"operation:{what}", data=msgspec.Raw(payload), timestamp=timestamp)
        self.hub.hub.publish(envelope, settled.append)

    def work(
        self, percents: int, each_s: float = 10.0, operation_id: str = "a", since: int = 0, step_s: float = 1.0
    ) -> None:
        """Advance by one percent at a time."""
        for progress in range(since + 1, since + percents + 1):
            self.pass_time(each_s, step_s)
            self.publish("progress", operation_id, progress=progress)
        self.hub.settle()

    def run(self, name: str, operation_id: str, seconds: float) -> None:
        """Let a run of a name begin and succeed."""
        self.publish("start", operation_id, name=name)
        self.pass_time(seconds, step_s=seconds)
        self.publish("complete", operation_id)
        self.hub.settle()


def get(watched: Watched, operation_id: str = "a") -> Any:
    return watched.hub.hub.estimates.get(operation_id)


def stalls(watched: Watched, operation_id: str = "a") -> list[tuple[float, bool]]:
    """Return the times at which an estimate reported that a stall began or ended."""
    changes, before = [], False
    for estimate in watched.estimates(operation_id):
        if estimate.stalled is not before:
            changes.append((estimate.at_s, estimate.stalled))
            before = estimate.stalled
    return changes
