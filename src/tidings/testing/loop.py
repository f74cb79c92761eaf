"""An event loop that runs only when a test runs it."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from tidings.testing.clock import ManualClock

MAX_ROUNDS = 100_000
"""Number of rounds after which a loop is assumed never to become idle."""


class ManualHandle:
    """A scheduled callback, like `asyncio.Handle`."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Prevent the callback from running."""
        self.cancelled = True


class ManualLoop:
    """A `tidings.log.base.Scheduler` on a `ManualClock`.

    Rounds work as in asyncio: a round runs the callbacks that were ready when it began. Callbacks that these schedule
    with `call_soon` wait for the next round.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._ready: deque[ManualHandle] = deque()
        self._timers: list[tuple[float, int, ManualHandle]] = []
        self._numbers = count()
        self.rounds = 0
        """Number of rounds run so far."""

    @property
    def idle(self) -> bool:
        """Whether nothing is ready to run now."""
        return not self._ready and not (self._timers and self._timers[0][0] <= self._clock.now)

    @property
    def now(self) -> float:
        """Seconds since the clock was created."""
        return self._clock.now

    def call_soon(self, callback: Callable[[], object], /) -> ManualHandle:
        """See `Scheduler.call_soon`."""
        handle = ManualHandle(callback)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[[], object], /) -> ManualHandle:
        """See `Scheduler.call_later`."""
        handle = ManualHandle(callback)
        # The number keeps timers of one moment in the order of their creation.
        heapq.heappush(self._timers, (self._clock.now + delay, next(self._numbers), handle))
        return handle

    def run_round(self) -> None:
        """Run the callbacks that are ready now, but none that these make ready."""
        self.rounds += 1
        now = self._clock.now
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled:
                handle.callback()

    def run_until_idle(self) -> None:
        """Run rounds until no callback is ready; time stands still.

        Raises:
            RuntimeError: The loop does not become idle: a callback reschedules itself forever.
        """
        for _ in range(MAX_ROUNDS):
            if self.idle:
                return
            self.run_round()
        raise RuntimeError(f"the loop is not idle after {MAX_ROUNDS} rounds")

    def advance(self, seconds: float) -> None:
        """Let time pass from timer to timer, and run each when it is due.

        Raises:
            RuntimeError: See `run_until_idle`.
        """
        end = self._clock.now + seconds
        self.run_until_idle()
        while self.advance_to_timer(end):
            pass

    def advance_to_timer(self, end: float) -> bool:
        """Let time pass to the next timer and run what is due; return False if there is none until `end`.

        In that case the time is then `end`.

        Raises:
            RuntimeError: See `run_until_idle`.
        """
        clock = self._clock
        found = bool(self._timers) and self._timers[0][0] <= end
        clock.advance(max(0.0, (self._timers[0][0] if found else end) - clock.now))
        if found and self.idle:  # the clock counts whole nanoseconds and may stand just before the timer
            clock.advance(1e-9)
        self.run_until_idle()
        return found
