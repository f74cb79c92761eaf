"""A clock that moves only when it is told to."""

_START_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: a whole second, so that timestamps in tests are short."""


class ManualClock:
    """A `tidings.hub.clock.Clock` that stands still until `advance` or `jump`.

    Args:
        wall_ns: Nanoseconds since 1970 to begin with.
        reading_s: Seconds that pass whenever the monotonic clock is read, as if work took time: what has a time budget
            then ends when it has read the clock so many times.
    """

    def __init__(self, wall_ns: int = _START_NS, *, reading_s: float = 0.0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = 0
        self._reading_s = reading_s

    @property
    def now(self) -> float:
        """The monotonic clock, not counted as a reading."""
        return self._monotonic_ns / 1e9

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z."""
        return self._wall_ns

    def monotonic(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        self.advance(self._reading_s)
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: `seconds` is negative; only `jump` goes back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s")
        passed = round(seconds * 1e9)
        self._wall_ns += passed
        self._monotonic_ns += passed

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator does; no time passes."""
        self._wall_ns += round(seconds * 1e9)
