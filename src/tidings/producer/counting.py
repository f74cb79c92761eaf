"""Counting: how many of how many, of what, and how fast."""

import math

_WINDOW_S = 0.5
"""Over which a rate is taken: several looks of the pacer."""
_SMOOTHING = 0.3
"""The newest window's share in the rate, as tqdm has it by default."""


class Rate:
    """How fast a count grows, smoothed; the clock is an argument."""

    __slots__ = ("_at_s", "_count", "value")

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._count = 0.0
        self.value: float | None = None
        """Per second; None until there was a window to take it over."""

    def look(self, count: float, now_s: float) -> None:
        """Take the count as it is at `now_s`."""
        if self._at_s is None:
            self._at_s, self._count = now_s, count
            return
        passed_s = now_s - self._at_s
        if passed_s < _WINDOW_S:
            return
        newest = max(0.0, count - self._count) / passed_s
        self.value = newest if self.value is None else self.value + _SMOOTHING * (newest - self.value)
        self._at_s, self._count = now_s, count


def count_text(count: float, total: float | None, unit: str, rate: float | None) -> str:
    """Return a count as a person reads it: `1,234/10,000 rows, 56.1 rows/s`."""
    of = "" if total is None else f"/{number_text(total)}"
    speed = "" if rate is None else f", {rate_text(rate)} {unit}/s"
    return f"{number_text(count)}{of} {unit}{speed}"


def number_text(value: float) -> str:
    """Return a number with its thousands apart, and no more digits than it has."""
    if not math.isfinite(value):
        return "?"
    return f"{int(value):,}" if value == int(value) else f"{value:,.6g}"


def rate_text(value: float) -> str:
    """Return a rate with three digits where it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
