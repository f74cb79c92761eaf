"""What the earlier runs of a name say of the one under way: "usually takes 12 minutes, now at 9"."""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, log, sqrt
from statistics import NormalDist, median

from tidings.hub.forecast import Forecast

_DOUBT = 0.5
"""The deviation of a duration's logarithm, when one run is all that is known: half or twice as long is no surprise."""
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
        logs = [log(max(_SHORTEST_S, duration_s)) for duration_s in durations_s]
        count, middle = len(logs), sum(logs) / len(logs)
        deviation = sqrt((_DOUBT**2 + sum((each - middle) ** 2 for each in logs)) / count)
        # Silverman's rule: each run stands for runs about as long as it, the less about the more there were.
        width = deviation * count**-0.2
        self._points = sorted(exp(each + width * step) for each in logs for step in _SPREAD)
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
