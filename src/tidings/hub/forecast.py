"""How long something will still take, and how sure that is: what estimates are made of.

Pure. Times are seconds; intervals are meant to hold four times out of five.
"""

from math import exp, hypot, log, sqrt

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


def blended(own: Forecast, earlier: Forecast, done: float) -> Forecast:
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


def steadied(fresh: Forecast, before_s: float, passed_s: float, elapsed_s: float) -> Forecast:
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
