"""The clocks of a hub; it reads no others."""

import time
from typing import Protocol


class Clock(Protocol):
    """The source of time for a hub."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z; may jump."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        return time.time_ns()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()


class SteadyWallClock:
    """A wall clock that does not jump: read once, then advanced by the monotonic clock.

    Ages are computed with it, so that a clock set forward for a moment trims nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.wall_ns()
        self._start = clock.monotonic()

    def now_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self._start_ns + int((self._clock.monotonic() - self._start) * 1e9)
