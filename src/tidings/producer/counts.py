"""Texts for people about a count: the number, its total and its rate."""

import math

_RATE_WINDOW_S = 0.5
"""Time over which a rate is measured, in seconds: several intervals of the sampler."""
_RATE_SMOOTHING = 0.3
"""Weight of the newest window in a rate, the default of tqdm."""


class Rate:
    """Smoothed growth of a count. The clock is an argument."""

    __slots__ = ("_count", "_measured_at_s", "value")

    def __init__(self) -> None:
        self._measured_at_s: float | None = None
        self._count = 0.0
        self.value: float | None = None
        """Units per second; None until the first window is complete."""

    def update(self, count: float, now_s: float) -> None:
        """Use the count at `now_s`."""
        if self._measured_at_s is None:
            self._measured_at_s, self._count = now_s, count
            return
        elapsed_s = now_s - self._measured_at_s
        if elapsed_s < _RATE_WINDOW_S:
            return
        newest = max(0.0, count - self._count) / elapsed_s
        self.value = newest if self.value is None else self.value + _RATE_SMOOTHING * (newest - self.value)
        self._measured_at_s, self._count = now_s, count


def count_text(count: float, total: float | None, unit: str, rate: float | None) -> str:
    """Return a count for people: `1,234/10,000 rows, 56.1 rows/s`."""
    of = "" if total is None else f"/{number_text(total)}"
    speed = "" if rate is None else f", {rate_text(rate)} {unit}/s"
    return f"{number_text(count)}{of} {unit}{speed}"


def number_text(value: float) -> str:
    """Return a number with thousands separators and at most six significant digits of a fraction."""
    if not math.isfinite(value):
        return "?"
    return f"{int(value):,}" if value == int(value) else f"{value:,.6g}"


def rate_text(value: float) -> str:
    """Return a rate, with three significant digits below 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
