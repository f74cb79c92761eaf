"""The budget of bytes that wait for clients, over all connections of a hub."""

from collections.abc import Callable

import structlog
from msgspec import Struct

from tidings.hub.clock import Clock
from tidings.hub.lanes import Lane, Subscriber
from tidings.log.base import Scheduler

WRITE_OVERHEAD_BYTES = 1 << 10
"""Memory of an unsent write besides its bytes: uvloop keeps a request of 0.8 KB for each."""

MIN_BLOCKED_S = 5.0
"""How long a client must have taken nothing before it is disconnected: a slow one takes something within that time."""

log = structlog.get_logger("tidings.hub.outbound_budget")


class _Unsent(Struct):
    """The bytes in the outlet of a blocked subscriber."""

    since: float
    """When it was blocked, in seconds of the monotonic clock."""
    size: int


class OutboundBudget:
    """All bytes that wait for clients: runs that lanes hold, and what is in the outlets of blocked subscribers.

    Beyond the budget, the lane that has held runs for the longest time gives them up: its slow members read them from
    the log. If no lane holds any, the client that has been blocked for the longest time is disconnected, and resumes
    from its position.

    Args:
        max_bytes: The budget.
        scheduler: The event loop.
        clock: The machine's clocks.
        release: Takes the slow members of a lane out of the live set.
    """

    def __init__(self, max_bytes: int, scheduler: Scheduler, clock: Clock, release: Callable[[Lane], None]) -> None:
        self._max_bytes = max_bytes
        self._scheduler = scheduler
        self._clock = clock
        self._release = release
        self._lanes: dict[Lane, int] = {}
        """Bytes that each lane holds, in the order in which they began to hold any."""
        self._unsent: dict[Subscriber, _Unsent] = {}
        """In the order in which they were blocked."""
        self._scheduled = False
        self.waiting_bytes = 0
        self.disconnected = 0
        """Clients disconnected so far."""

    def hold(self, lane: Lane) -> None:
        """Record what `lane` holds now."""
        held = lane.held_bytes
        if held:
            self.waiting_bytes += held - self._lanes.get(lane, 0)
            self._lanes[lane] = held
        else:
            self.waiting_bytes -= self._lanes.pop(lane, 0)

    def release_lanes(self) -> None:
        """Let lanes give up what they hold until the budget is kept. Not to be called while one writes."""
        while self.waiting_bytes > self._max_bytes and self._lanes:
            self._release(next(iter(self._lanes)))

    def add_unsent(self, subscriber: Subscriber, size: int) -> None:
        """Record a write of `size` bytes that waits in the outlet of `subscriber`. May be called during a write."""
        size += WRITE_OVERHEAD_BYTES
        unsent = self._unsent.get(subscriber)
        if unsent is None:
            self._unsent[subscriber] = _Unsent(self._clock.monotonic(), size)
        else:
            unsent.size += size
        self.waiting_bytes += size
        if self.waiting_bytes > self._max_bytes and not self._scheduled:
            self._scheduled = True
            self._scheduler.call_soon(self._disconnect)

    def remove_unsent(self, subscriber: Subscriber) -> None:
        """Record that the outlet of `subscriber` is empty."""
        unsent = self._unsent.pop(subscriber, None)
        if unsent is not None:
            self.waiting_bytes -= unsent.size

    def waiting_of(self, subscriber: Subscriber) -> int:
        """Return the bytes that wait for one subscriber, in its outlet and in the runs of its lane."""
        unsent = self._unsent.get(subscriber)
        held = 0 if subscriber.lane is None else subscriber.lane.missed_bytes(subscriber)
        return held if unsent is None else held + unsent.size

    def _disconnect(self) -> None:
        self._scheduled = False
        now = self._clock.monotonic()
        while self.waiting_bytes > self._max_bytes and self._unsent:
            subscriber, unsent = next(iter(self._unsent.items()))
            if now - unsent.since < MIN_BLOCKED_S:
                self._scheduled = True
                self._scheduler.call_later(unsent.since + MIN_BLOCKED_S - now, self._disconnect)
                return
            self.remove_unsent(subscriber)
            self.disconnected += 1
            log.warning("disconnected a client that does not read", blocked_s=now - unsent.since, unsent=unsent.size)
            subscriber.outlet.abort()
