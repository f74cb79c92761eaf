"""When producers without a connection are checked, in time that the hub ran.

Only time in which the hub ran counts, and sockets are read before leases are judged: what waits in them may be the sign
of life.
"""

import heapq
from collections.abc import Callable
from functools import partial
from itertools import count

from tidings.exceptions import HubError
from tidings.hub.clock import RunningTime
from tidings.hub.interfaces import HubCore, LeaseHolder
from tidings.log.newest import SEPARATOR

WATCH_S = 10.0
"""Interval at which the timer of the checks is watched."""
ROUNDING_S = 1e-6
"""Rounding error of a timer and of `RunningTime`."""
_MAX_STALE_CHECKS = 1_024
"""Superseded entries that the queue of checks may hold in addition to as many as there are producers."""


class TrackedProducer:
    """A producer with a lease, as one hub tracks it."""

    __slots__ = (
        "check_at",
        "holder",
        "last_seen",
        "lease_overrides",
        "lease_s",
        "posts",
        "producer_id",
        "reported_at",
        "seen_at",
        "shortest_s",
    )

    def __init__(self, producer_id: str, lease_s: float) -> None:
        self.producer_id = producer_id
        """Its own id, behind the subject and `SEPARATOR` where the hub identifies its clients."""
        self.lease_s = lease_s
        """Default lease of its operations, in seconds."""
        self.lease_overrides: dict[str, float] = {}
        """Leases by operation id, where they differ from the default."""
        self.shortest_s = lease_s
        """Lower bound of the leases of its operations, in seconds."""
        self.holder: LeaseHolder | None = None
        """Its connection to this hub, or None while it has none."""
        self.last_seen = 0.0
        """Time of its last sign of life, in seconds of the monotonic clock; unused while it is connected."""
        self.seen_at = 0.0
        """The same in seconds of `RunningTime`."""
        self.posts = False
        """Whether its last sign of life was a post over HTTP."""
        self.reported_at: float | None = None
        """When its posts were reported to the other hubs, or will be, in seconds of the monotonic clock."""
        self.check_at: float | None = None
        """When it is checked next, in seconds of `RunningTime`."""

    @property
    def shown_id(self) -> str:
        """Its id for the log."""
        return self.producer_id.replace(SEPARATOR, "/")


class LeaseChecks:
    """The times at which producers are checked.

    Args:
        hub: The hub.
        judge: Called with the producers that are due, after the sockets were read.
    """

    def __init__(self, hub: HubCore, judge: Callable[[list[TrackedProducer]], None]) -> None:
        self._hub = hub
        self._judge = judge
        self._time = RunningTime(hub.clock)
        self._checks: list[tuple[float, int, TrackedProducer]] = []
        """A heap of the times at which producers are checked; entries other than `check_at` of theirs are stale."""
        self._numbers = count()
        self._beat_at: float | None = None
        """Time of the next `_beat`, in seconds of `RunningTime`; None while no producer is away."""
        self._beats: int | None = None
        """Calls of `_beat` since the last `watch`; None if there was nothing to check then, and no call since."""

    def __len__(self) -> int:
        return len(self._checks)

    def now(self) -> float:
        """Return the time that leases are measured in, in seconds."""
        if self._beat_at is None:
            self._time.resume()
        return self._time.now()

    def add(self, producer: TrackedProducer, delay: float, producers: int) -> None:
        """Check a producer `delay` seconds after its last sign of life, or before.

        Args:
            producer: The producer.
            delay: The delay.
            producers: How many producers there are.
        """
        at = producer.seen_at + delay
        if producer.check_at is None or at < producer.check_at:
            producer.check_at = at
            heapq.heappush(self._checks, (at, next(self._numbers), producer))
            if len(self._checks) > 2 * producers + _MAX_STALE_CHECKS:
                self._checks = [check for check in self._checks if check[0] == check[2].check_at]
                heapq.heapify(self._checks)
            self._schedule_beat()

    def _schedule_beat(self) -> None:
        """Read the time again when the next check is due, or before."""
        now = self.now()
        delay = self._time.beat(self._checks[0][0] - now)
        if self._beat_at is None or now + delay < self._beat_at - ROUNDING_S:
            self._beat_at = now + delay
            self._hub.scheduler.call_later(delay, partial(self._beat, self._beat_at))

    def _beat(self, beat_at: float) -> None:
        if beat_at != self._beat_at or self._hub.closed:
            return  # an earlier one took its place
        self._beats = (self._beats or 0) + 1
        try:
            self._judge_due()
        finally:
            self._beat_at = None
            if self._checks:
                self._schedule_beat()

    def _judge_due(self) -> None:
        now = self.now()
        due: list[TrackedProducer] = []
        while self._checks and self._checks[0][0] <= now + ROUNDING_S:
            at, _, producer = heapq.heappop(self._checks)
            if at == producer.check_at:
                producer.check_at = None
                due.append(producer)
        if due:
            # Event loops run timers before they read sockets; after two rounds they have read them in any case.
            scheduler = self._hub.scheduler
            scheduler.call_soon(partial(scheduler.call_soon, partial(self._judge, due)))

    def watch(self) -> None:
        """Begin the beat again if it stopped.

        Raises:
            HubError: It had stopped.
        """
        stopped = self._beats == 0  # None where there was nothing to check at the last call
        self._beats = 0 if self._checks else None
        if stopped and self._checks:
            self._beat_at = None
            self._schedule_beat()
            raise HubError(f"leases were not judged for {WATCH_S:g} s")
