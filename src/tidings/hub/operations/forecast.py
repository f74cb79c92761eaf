"""How long something will still take, and how sure that is: what estimates are made of.

Pure. Times are seconds; intervals are meant to hold four times out of five.

What the earlier runs of a name say of the one under way: "usually takes 12 minutes, now at 9".
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, hypot, log, sqrt
from statistics import NormalDist, median

from msgspec import Struct

FOUR_IN_FIVE = 1.2816
"""Deviations of a normal distribution to either side of its middle between which four of five fall."""
_AT_ONCE_S = 1.0
"""Below it, times are alike: their ratios say nothing."""


class Forecast(Struct, frozen=True, gc=False):
    """The time that is left: the middle, and the ends of the interval."""

    remaining_s: float
    low_s: float
    high_s: float

    @property
    def deviation(self) -> float:
        """The deviation of the logarithm that the interval stands for."""
        return max(0.01, (_log(self.high_s) - _log(self.low_s)) / (2 * FOUR_IN_FIVE))

    def scaled(self, factor: float) -> "Forecast":
        """Return the forecast of `factor` times the time."""
        return Forecast(self.remaining_s * factor, self.low_s * factor, self.high_s * factor)


def blend(own: Forecast, earlier: Forecast, done: float) -> Forecast:
    """Return one forecast out of what an operation's own progress and its earlier runs say.

    Each has the weight of its precision, and the earlier runs less the more is done. Where they contradict each other
    the interval is wide enough for both.

    Args:
        own: By its own progress.
        earlier: By its earlier runs.
        done: How much of it is, from 0 to 1.
    """
    weight_own = own.deviation**-2
    weight_earlier = (1 - done) * earlier.deviation**-2
    share = weight_own / (weight_own + weight_earlier)
    middles = _log(own.remaining_s), _log(earlier.remaining_s)
    middle = share * middles[0] + (1 - share) * middles[1]
    apart = FOUR_IN_FIVE * sqrt(share * (1 - share)) * (middles[0] - middles[1])

    def reach(end_own: float, end_earlier: float) -> float:
        own_reach, earlier_reach = _log(end_own) - middles[0], _log(end_earlier) - middles[1]
        return hypot(sqrt(share) * own_reach, sqrt(1 - share) * earlier_reach, apart)

    remaining_s = exp(middle)
    return Forecast(
        remaining_s,
        remaining_s * exp(-reach(own.low_s, earlier.low_s)),
        remaining_s * exp(reach(own.high_s, earlier.high_s)),
    )


def smooth(fresh: Forecast, before_s: float, passed_s: float, elapsed_s: float) -> Forecast:
    """Return `fresh`, drawn towards what was foreseen before: a reader wants to see time run down, not jump about.

    Args:
        fresh: What is foreseen now.
        before_s: The time that was foreseen to be left,
        passed_s: so long ago.
        elapsed_s: How long the attempt has run: a twentieth of it, or of what is left where that is less, is how long
            news take to be believed.
    """
    if fresh.remaining_s <= 0:
        return fresh
    expected_s = max(0.0, before_s - passed_s)
    belief_s = min(elapsed_s, max(_AT_ONCE_S, fresh.remaining_s)) / 20
    believed = passed_s / max(1e-9, passed_s + belief_s)
    remaining_s = expected_s + believed * (fresh.remaining_s - expected_s)
    # However sudden the news are: what is shown stays within a factor of two.
    factor = min(2.0, max(0.5, remaining_s / fresh.remaining_s))
    return fresh.scaled(factor)


def _log(seconds: float) -> float:
    return log(max(_AT_ONCE_S, seconds))


_DOUBT = 0.6
"""The deviation of a duration's logarithm, when one run is all that is known: half or twice as long is no surprise."""
_NEIGHBOURS = 5
_POINTS = 9
_SPREAD = tuple(NormalDist().inv_cdf((index + 0.5) / _POINTS) for index in range(_POINTS))
_SHORTEST_S = 0.001
_OUTLIVED = 0.05
"""A run that has lasted longer than all but this part of them would is like none of them."""


class DurationHistory:
    """How long the runs of a name took.

    Args:
        durations_s: Of those that ended well; at least one.
    """

    __slots__ = ("_points", "median_s")

    def __init__(self, durations_s: Sequence[float]) -> None:
        self.median_s = median(durations_s)
        logs = sorted(log(max(_SHORTEST_S, duration_s)) for duration_s in durations_s)
        self._points = sorted(
            exp(each + width * step) for each, width in zip(logs, _widths(logs), strict=True) for step in _SPREAD
        )
        """Durations that a run may have, all equally likely."""

    def forecast(self, elapsed_s: float) -> Forecast | None:
        """Return what is left of a run that has lasted `elapsed_s`; None where the others had ended by then."""
        points = self._points
        first = bisect_right(points, elapsed_s)
        left = len(points) - first
        if left <= _OUTLIVED * len(points):
            return None
        low, middle, high = (points[first + int(part * left)] - elapsed_s for part in (0.1, 0.5, 0.9))
        return Forecast(middle, low, high)


def _widths(logs: Sequence[float]) -> list[float]:
    """Return about how far each run stands for others: as far as to its fifth neighbour; further, of few.

    By their neighbours, as a name may have runs of two kinds: whole and incremental ones.
    """
    count = len(logs)
    near = min(_NEIGHBOURS, (count - 1) // 2)
    widths = []
    for each in logs:
        apart = sorted(abs(other - each) for other in logs)[near]
        widths.append((_DOUBT + (count - 1) * apart) / count)
    return widths
