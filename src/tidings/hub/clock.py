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


MIN_BEAT_S = 0.25
"""Minimum time between two readings of `RunningTime` while it counts."""
MAX_BEAT_S = 5.0
"""Maximum time between two readings of `RunningTime` while it counts."""
_BEATS = 16
"""Number of readings until the next deadline, within these bounds."""
_MAX_LATE_BEATS = 2
"""Time between two readings, in beats, beyond which the hub did not run: its process was stopped, or its event loop
froze."""
SETTLE_S = 2.0
"""Time after a pause that does not count either: what waited in sockets and in the listen queue is read first."""


class RunningTime:
    """Seconds during which the hub ran; its own pauses do not count.

    A pause shows as a reading that comes too late, so while the time counts, it is read again after every `beat`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_at = clock.monotonic()
        self._settled_at = self._read_at
        self._max_gap_s = _MAX_LATE_BEATS * MIN_BEAT_S
        self._passed = 0.0

    def resume(self) -> None:
        """Count from now on, after a time without readings."""
        self._read_at = self._clock.monotonic()

    def beat(self, due_s: float) -> float:
        """Return the time until the next reading, in seconds, if the next deadline is in `due_s`."""
        beat_s = min(max(due_s / _BEATS, MIN_BEAT_S), MAX_BEAT_S)
        self._max_gap_s = _MAX_LATE_BEATS * beat_s
        return min(beat_s, max(0.001, due_s))

    def now(self) -> float:
        """Return the time that has passed."""
        at = self._clock.monotonic()
        elapsed = at - self._read_at
        self._read_at = at
        if elapsed > self._max_gap_s:
            self._settled_at = at + SETTLE_S
        else:
            self._passed += max(0.0, min(elapsed, at - self._settled_at))
        return self._passed
