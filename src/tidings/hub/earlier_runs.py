"""What the earlier runs of a name say of the one under way: "usually takes 12 minutes, now at 9"."""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, log
from statistics import NormalDist, median

from tidings.hub.forecast import Forecast

_DOUBT = 0.6
"""The deviation of a duration's logarithm, when one run is all that is known: half or twice as long is no surprise."""
_NEIGHBOURS = 5
_POINTS = 9
_SPREAD = tuple(NormalDist().inv_cdf((index + 0.5) / _POINTS) for index in range(_POINTS))
_SHORTEST_S = 0.001
_OUTLIVED = 0.05
"""A run that has lasted longer than all but this part of them would is like none of them."""


class EarlierRuns:
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
