"""The clocks of a hub; it reads no others."""

import time
from typing import Protocol


class Clock(Protocol):
    """The source of time for a hub."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z; may jump."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back, and counts the time during which the machine is suspended."""


_STEADY_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux's clock that goes on while the machine is suspended; on macOS, `CLOCK_MONOTONIC` does. Elsewhere, the fallback
`time.monotonic` may stop then: `SteadyWallClock.adopt` makes up for it."""


class SystemClock:
    """The machine's clocks."""

    wall_ns = staticmethod(time.time_ns)
    """See `Clock.wall_ns`."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic() if _STEADY_CLOCK is None else time.clock_gettime(_STEADY_CLOCK)


LASTING_S = 30.0
"""Time for which a difference between the wall clock and the steady one must last before it is adopted."""
_TOLERANCE_NS = 500_000_000
"""Largest difference that is not adopted, and by which a lasting one may vary."""


class SteadyWallClock:
    """A wall clock that does not jump for a moment: read once, then advanced by the monotonic clock.

    It jumps only when a difference to the real wall clock has lasted (`adopt`); the caller then corrects all ages.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.wall_ns()
        self._start = clock.monotonic()
        self._difference_ns = 0
        self._differs_since: float | None = None

    def now_ns(self) -> int:
        """Return nanoseconds since 1970."""
        return self._start_ns + int((self._clock.monotonic() - self._start) * 1e9)

    def adopt(self) -> int:
        """Adopt a difference that has lasted for `LASTING_S`; return by how much this clock jumped, in nanoseconds.

        To be called again and again.
        """
        difference_ns, now = self._clock.wall_ns() - self.now_ns(), self._clock.monotonic()
        if abs(difference_ns) <= _TOLERANCE_NS:
            self._differs_since = None
        elif self._differs_since is None or abs(difference_ns - self._difference_ns) > _TOLERANCE_NS:
            self._difference_ns, self._differs_since = difference_ns, now
        elif now - self._differs_since >= LASTING_S:
            self._start_ns += difference_ns
            self._differs_since = None
            return difference_ns
        return 0


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
