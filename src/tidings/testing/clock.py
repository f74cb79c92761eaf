"""A clock that moves only when a test advances it."""

_START_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z: a whole second, so that timestamps in tests are short."""


class ManualClock:
    """A `tidings.hub.clock.Clock` that stands still until `advance` or `jump`.

    Args:
        wall_ns: The initial time, nanoseconds since 1970. Default: a fixed date.
        reading_s: Seconds that pass whenever the monotonic clock is read, as if work took time: work with a time budget
            then ends after a fixed number of readings. Default: 0.
    """

    def __init__(self, wall_ns: int = _START_NS, *, reading_s: float = 0.0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = 0
        self._reading_s = reading_s

    @property
    def now(self) -> float:
        """The monotonic clock in seconds; does not count as a reading."""
        return self._monotonic_ns / 1e9

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01T00:00:00Z."""
        return self._wall_ns

    def monotonic(self) -> float:
        """Return the seconds since the clock was created."""
        self.advance(self._reading_s)
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: `seconds` is negative; only `jump` goes back.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        passed = round(seconds * 1e9)
        self._wall_ns += passed
        self._monotonic_ns += passed

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would; no time passes."""
        self._wall_ns += round(seconds * 1e9)
