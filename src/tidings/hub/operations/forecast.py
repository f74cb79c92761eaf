"""Forecasts of the time that is left, and how certain they are.

Pure. Times are seconds; intervals are meant to hold four times out of five. A forecast comes from an attempt's own
progress or from the durations of earlier runs of the same name ("usually takes 12 minutes, now at 9"); the two are
blended and smoothed here (docs/estimates.md).
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, hypot, log, sqrt
from statistics import NormalDist, median

from msgspec import Struct

FOUR_IN_FIVE = 1.2816
"""Half-width of the interval that holds four of five values of a normal distribution, in standard deviations."""
_MIN_TIME_S = 1.0
"""Below it, times count as equal: their ratios mean nothing."""
_SINGLE_RUN_DEVIATION = 0.6
"""Standard deviation of a duration's logarithm with one known run: half or twice as long is not surprising."""
_NEIGHBOURS = 5
"""Rank of the neighbour whose distance is the width of a run."""
_POINTS = 9
"""Points by which each run is represented."""
_SPREAD = tuple(NormalDist().inv_cdf((index + 0.5) / _POINTS) for index in range(_POINTS))
"""Places of those points, in widths."""
_MIN_DURATION_S, _MAX_DURATION_S = 0.001, 1e9
"""Bounds of a run's duration, and of the possible durations made of it, in seconds: beyond 30 years none is meant."""
_OUTLIVED = 0.05
"""Share of the points that must be left: a run that has lasted longer resembles no earlier run."""


class Forecast(Struct, frozen=True, gc=False):
    """The time that is left: the median, and both ends of the interval."""

    remaining_s: float
    low_s: float
    high_s: float

    @property
    def deviation(self) -> float:
        """Standard deviation of the time's logarithm, as the interval implies it."""
        return max(0.01, (_log(self.high_s) - _log(self.low_s)) / (2 * FOUR_IN_FIVE))

    def scaled(self, factor: float) -> "Forecast":
        """Return this forecast with all times multiplied by `factor`."""
        return Forecast(self.remaining_s * factor, self.low_s * factor, self.high_s * factor)


def blend(own: Forecast, earlier: Forecast, done: float) -> Forecast:
    """Return one forecast from an operation's own progress and from its earlier runs.

    Each is weighted by its precision, and the earlier runs count less as more is done. Where the two contradict each
    other, the interval is wide enough for both.

    Args:
        own: Forecast from its own progress.
        earlier: Forecast from its earlier runs.
        done: Share of the work that is done, from 0 to 1.
    """
    weight_own = own.deviation**-2
    weight_earlier = (1 - done) * earlier.deviation**-2
    share = weight_own / (weight_own + weight_earlier)
    medians = _log(own.remaining_s), _log(earlier.remaining_s)
    median_log = share * medians[0] + (1 - share) * medians[1]
    conflict = FOUR_IN_FIVE * sqrt(share * (1 - share)) * (medians[0] - medians[1])

    def reach(end_own: float, end_earlier: float) -> float:
        own_reach, earlier_reach = _log(end_own) - medians[0], _log(end_earlier) - medians[1]
        return hypot(sqrt(share) * own_reach, sqrt(1 - share) * earlier_reach, conflict)

    remaining_s = exp(median_log)
    return Forecast(
        remaining_s,
        remaining_s * exp(-reach(own.low_s, earlier.low_s)),
        remaining_s * exp(reach(own.high_s, earlier.high_s)),
    )


def smooth(fresh: Forecast, before_s: float, passed_s: float, elapsed_s: float) -> Forecast:
    """Return `fresh`, drawn towards the previous forecast: the remaining time should run down, not jump about.

    Args:
        fresh: The new forecast.
        before_s: Remaining time in the previous forecast.
        passed_s: Time since the previous forecast.
        elapsed_s: How long the attempt has run. A twentieth of it, or of the remaining time where that is less, is the
            time constant with which new forecasts take effect.
    """
    if fresh.remaining_s <= 0:
        return fresh
    expected_s = max(0.0, before_s - passed_s)
    time_constant_s = min(elapsed_s, max(_MIN_TIME_S, fresh.remaining_s)) / 20
    weight = passed_s / max(1e-9, passed_s + time_constant_s)
    remaining_s = expected_s + weight * (fresh.remaining_s - expected_s)
    # After a sudden change, the shown time still stays within a factor of two of the new forecast.
    factor = min(2.0, max(0.5, remaining_s / fresh.remaining_s))
    return fresh.scaled(factor)


def _log(seconds: float) -> float:
    return log(max(_MIN_TIME_S, seconds))


class DurationHistory:
    """Durations of the runs of a name.

    Args:
        durations_s: Durations of the successful runs; at least one.
    """

    __slots__ = ("_points", "median_s")

    def __init__(self, durations_s: Sequence[float]) -> None:
        bounded = [min(max(_MIN_DURATION_S, duration_s), _MAX_DURATION_S) for duration_s in durations_s]
        self.median_s = median(bounded)
        logs = sorted(map(log, bounded))
        furthest = log(_MAX_DURATION_S)
        self._points = sorted(
            exp(min(furthest, each + width * step))
            for each, width in zip(logs, _widths(logs), strict=True)
            for step in _SPREAD
        )
        """Possible durations of a run, in order, all equally likely."""

    def forecast(self, elapsed_s: float) -> Forecast | None:
        """Return the forecast for a run that has lasted `elapsed_s`; None where nearly all others had ended by then."""
        points = self._points
        first = bisect_right(points, elapsed_s)
        left = len(points) - first
        if left <= _OUTLIVED * len(points):
            return None
        low, middle, high = (points[first + int(part * left)] - elapsed_s for part in (0.1, 0.5, 0.9))
        return Forecast(middle, low, high)


def _widths(logs: Sequence[float]) -> list[float]:
    """Return the width of each run, the range it represents: to its fifth neighbour, and wider when there are few.

    Neighbours decide, because a name may have runs of two kinds: full and incremental ones.
    """
    count = len(logs)
    near = min(_NEIGHBOURS, (count - 1) // 2)
    widths = []
    for each in logs:
        distance = sorted(abs(other - each) for other in logs)[near]
        widths.append((_SINGLE_RUN_DEVIATION + (count - 1) * distance) / count)
    return widths
