"""An event loop that runs only when it is told to."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from tidings.testing.clock import ManualClock

_MOST_ROUNDS = 100_000
"""Rounds after which a loop that should have become idle never will."""


class ManualHandle:
    """A callback that was scheduled, as `asyncio.Handle` is one."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Do not run the callback."""
        self.cancelled = True


class ManualLoop:
    """A `tidings.log.base.Scheduler` on a `ManualClock`.

    Rounds are as asyncio's: a round runs what was ready when it began, so that what a callback schedules with
    `call_soon` waits for the next one.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._ready: deque[ManualHandle] = deque()
        self._timers: list[tuple[float, int, ManualHandle]] = []
        self._numbers = count()
        self.rounds = 0
        """Rounds run so far."""

    @property
    def idle(self) -> bool:
        """Whether nothing is ready to run now."""
        return not self._ready and not (self._timers and self._timers[0][0] <= self._clock.now)

    @property
    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._clock.now

    def call_soon(self, callback: Callable[[], object], /) -> ManualHandle:
        """See `Scheduler.call_soon`."""
        handle = ManualHandle(callback)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[[], object], /) -> ManualHandle:
        """See `Scheduler.call_later`."""
        handle = ManualHandle(callback)
        # The number keeps timers of one moment in the order in which they were set.
        heapq.heappush(self._timers, (self._clock.now + delay, next(self._numbers), handle))
        return handle

    def run_round(self) -> None:
        """Run what is ready now, and nothing that this makes ready."""
        self.rounds += 1
        now = self._clock.now
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled:
                handle.callback()

    def run_until_idle(self) -> None:
        """Run rounds until nothing is ready; time stands still.

        Raises:
            RuntimeError: It does not become idle: something schedules itself again and again.
        """
        for _ in range(_MOST_ROUNDS):
            if self.idle:
                return
            self.run_round()
        raise RuntimeError(f"the loop is not idle after {_MOST_ROUNDS} rounds")

    def advance(self, seconds: float) -> None:
        """Let time pass, from timer to timer, running each when it is due.

        Raises:
            RuntimeError: See `run_until_idle`.
        """
        end = self._clock.now + seconds
        self.run_until_idle()
        while self.advance_to_timer(end):
            pass

    def advance_to_timer(self, end: float) -> bool:
        """Let time pass to the next timer and run what is due; return False where there is none until `end`.

        Time is then `end`.

        Raises:
            RuntimeError: See `run_until_idle`.
        """
        clock = self._clock
        found = bool(self._timers) and self._timers[0][0] <= end
        clock.advance(max(0.0, (self._timers[0][0] if found else end) - clock.now))
        if found and self.idle:  # the clock counts whole nanoseconds, and may stand just before the timer
            clock.advance(1e-9)
        self.run_until_idle()
        return found
