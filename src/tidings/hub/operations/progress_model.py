"""Estimates the remaining time of an attempt from its own progress updates, and detects stalls.

Pure: the caller passes the time. Work is modelled as a process of independent advances at a rate that drifts: the rest
takes as long as it does at the present rate, give or take the chance seen so far and the drift to come
(docs/estimates.md). The stall detector learns the usual interval between updates.
"""

from array import array
from bisect import bisect_left
from collections import deque
from math import exp, log, log1p, sqrt
from statistics import median

from msgspec import Struct

from tidings.hub.operations.forecast import FOUR_IN_FIVE, Forecast

MAX_SAMPLES = 24
"""Samples of one attempt; beyond it every second one is dropped, so that they always cover the whole attempt."""
_INSTANT_S = 0.5
"""Progress this soon after the start counts as done before it: a resumed job first reports how far it is."""
_MIN_WORK_S, _MIN_PERCENT = 1e-3, 1e-6
"""Below these, nothing counts as done yet."""
_MIN_SINGLE_PERCENT = 5.0
"""From this percentage on, a single advance is a basis for a forecast; below it, two are."""
_RECENT = 0.3
"""Part of the time at work after which an advance has 1/e of the newest one's weight: the rate is the recent one."""
_SPANS = 4
"""Number of equal spans of the time at work between which the drift of the rate is measured."""
_PRIOR_DRIFT = 0.05
"""Variance of the rate's logarithm from one span to the next that is assumed before any is measured."""
_PRIOR_WEIGHT = 2
"""Weight of the assumed variance, in measured spans."""
_MIN_PER_OVERDUE = 0.5
"""Share of the overdue time of an advance in the lower bound of the remaining time."""
_MIN_PER_ADVANCE = 0.15
"""Share of the usual time of an advance in the lower bound of the remaining time."""
_MAX_DEVIATION = 1.0
"""Deviation of the logarithm beyond which the interval is not widened: from a quarter to four times."""
_MAX_GAPS = 32
"""Gaps between advances that the usual gap is computed from."""
_MIN_GAPS = 3
"""Gaps from which on a usual gap is known."""
MIN_STALL_TIMEOUT_S = 60.0
"""Lower bound of the stall timeout, for operations that usually update often."""
INITIAL_STALL_TIMEOUT_S = 300.0
"""Stall timeout while nothing is done yet: many jobs read and connect for minutes before they begin to count."""


class RateFit(Struct, frozen=True, gc=False):
    """The rate of an attempt and its variability, computed from the samples."""

    rate: float
    """Percent per second of time at work."""
    jump: float
    """Percent of a usual single advance."""
    chance_s: float
    """Variance of progress per second, divided by the rate squared."""
    watched_s: float
    """Effective time at work that the rate was computed from."""
    span_s: float
    """Length of one of the `_SPANS`."""
    drift: float
    """Variance of the rate's logarithm from one span to the next."""


class ProgressModel:
    """The progress of one attempt, and the forecast that follows from it.

    Args:
        began_s: When it began with nothing done, in seconds; None where it may have begun with more.
    """

    __slots__ = ("_done", "_fit", "_is_assumed", "_last_s", "_work")

    def __init__(self, began_s: float | None) -> None:
        known = began_s is not None
        self._last_s = began_s
        self._work = array("d", [0.0] if known else [])
        """Time at work of each sample since the first; pauses beyond the stall timeout are left out."""
        self._done = array("d", [0.0] if known else [])
        """Percentage of each sample."""
        self._is_assumed = known
        """Whether the only sample is the assumption that it began with nothing done."""
        self._fit: RateFit | None = None

    @property
    def rate(self) -> float | None:
        """Percent per second of time at work; None where there is no basis."""
        fit = self._current_fit()
        return None if fit is None else fit.rate

    def add(self, at_s: float, progress: float, stall_timeout_s: float | None) -> None:
        """Record that progress rose to `progress` at `at_s`.

        Args:
            at_s: Time of the advance, in seconds of a clock that does not jump.
            progress: Percentage.
            stall_timeout_s: Pauses beyond it do not count as time at work; None counts all of them.
        """
        if self._last_s is None:
            self._begin(at_s, progress)
            return
        gap = max(0.0, at_s - self._last_s)
        if self._is_assumed and gap < _INSTANT_S:
            self._work.pop()
            self._done.pop()
            self._begin(at_s, progress)
            return
        self._is_assumed = False
        worked, fit = gap, self._current_fit()
        if stall_timeout_s is not None and fit is not None:
            # Unless that much was done in between: then the report was late, and not the work.
            worked = min(gap, max(stall_timeout_s, (progress - self._done[-1]) / fit.rate))
        self._last_s += gap
        self._work.append(self._work[-1] + worked)
        self._done.append(max(progress, self._done[-1]))
        self._fit = None
        newest = len(self._work) - 1
        if newest >= MAX_SAMPLES:
            del self._work[1:newest:2], self._done[1:newest:2]

    def _begin(self, at_s: float, progress: float) -> None:
        self._is_assumed = False
        self._last_s = at_s
        self._work.append(0.0)
        self._done.append(progress)

    def forecast(self, now_s: float, stall_timeout_s: float) -> Forecast | None:
        """Return how long the rest will take; None where there is no basis.

        Args:
            now_s: The present time, in seconds of the same clock.
            stall_timeout_s: Time without an advance after which the attempt is stalled.
        """
        fit, last_s = self._current_fit(), self._last_s
        if last_s is None or not self._done:
            return None
        rest, idle_s = 100 - self._done[-1], max(0.0, now_s - last_s)
        if rest <= 0:
            # All is done but the end, which is not measured: it may take as long again as it has taken so far.
            return Forecast(0.0, 0.0, max(1.0, idle_s))
        if fit is None or (len(self._done) == 2 and self._done[1] < _MIN_SINGLE_PERCENT):
            return None
        whole_s = rest / fit.rate
        next_s = min(fit.jump / fit.rate, whole_s)
        overdue_s = max(0.0, min(idle_s, stall_timeout_s) - next_s)
        half_s = fit.span_s * _SPANS / 2
        remaining_s = whole_s - idle_s if not overdue_s else (whole_s - next_s) * (1 + overdue_s / half_s)
        remaining_s = max(remaining_s, _MIN_PER_ADVANCE * next_s + _MIN_PER_OVERDUE * overdue_s)
        # A random walk has, averaged over the time ahead, a third of the variance that it has at the end of that time.
        drift = fit.drift * (1 + remaining_s / fit.span_s / 3)
        chance = log1p(fit.chance_s * (1 / remaining_s + 1 / fit.watched_s))
        factor = exp(FOUR_IN_FIVE * min(_MAX_DEVIATION, sqrt(drift + chance)))
        stalled_s = max(0.0, idle_s - stall_timeout_s)
        return Forecast(remaining_s, remaining_s / factor, remaining_s * factor + stalled_s)

    def _current_fit(self) -> RateFit | None:
        if self._fit is None and self._has_basis():
            self._fit = self._fit_rate()
        return self._fit

    def _has_basis(self) -> bool:
        work, done = self._work, self._done
        return len(work) > 1 and work[-1] > _MIN_WORK_S and done[-1] - done[0] > _MIN_PERCENT

    def _fit_rate(self) -> RateFit:
        work, done = self._work, self._done
        end, count = work[-1], len(work) - 1
        scale = -1 / (_RECENT * end)
        took = [work[index + 1] - work[index] for index in range(count)]
        gained = [done[index + 1] - done[index] for index in range(count)]
        weights = [exp(scale * (end - (work[index] + work[index + 1]) / 2)) for index in range(count)]
        progress = sum(weight * percent for weight, percent in zip(weights, gained, strict=True))
        seconds = sum(weight * each_s for weight, each_s in zip(weights, took, strict=True))
        rate = progress / seconds
        total = sum(weights)
        jump = progress / total
        squares = sum(
            weight * (percent - rate * each_s) ** 2
            for weight, percent, each_s in zip(weights, gained, took, strict=True)
        )
        # Plus one advance that deviates by its whole size: a few even advances prove little.
        squares += jump * jump * sum(weight * weight for weight in weights) / total
        chance_s = squares / seconds / (rate * rate)
        watched_s = (
            seconds * seconds / sum(weight * weight * each_s for weight, each_s in zip(weights, took, strict=True))
        )
        return RateFit(rate, jump, chance_s, watched_s, end / _SPANS, self._drift(chance_s))

    def _drift(self, chance_s: float) -> float:
        span_s = self._work[-1] / _SPANS
        reached = [self._reached(span_s * index) for index in range(_SPANS)] + [self._done[-1]]
        smallest = (self._done[-1] - self._done[0]) / (20 * _SPANS)
        rates = [log(max(smallest, reached[index + 1] - reached[index])) for index in range(_SPANS)]
        # The difference of two spans that chance alone causes is not drift.
        measured = sum((rates[index + 1] - rates[index]) ** 2 - 2 * chance_s / span_s for index in range(_SPANS - 1))
        return (max(0.0, measured) + _PRIOR_DRIFT * _PRIOR_WEIGHT) / (_SPANS - 1 + _PRIOR_WEIGHT)

    def _reached(self, worked_s: float) -> float:
        """Return the percentage done after `worked_s` of time at work, interpolated between samples."""
        work, done = self._work, self._done
        after = bisect_left(work, worked_s)
        if after == 0:
            return done[0]
        before = after - 1
        part = (worked_s - work[before]) / (work[after] - work[before])
        return done[before] + part * (done[after] - done[before])


class StallDetector:
    """The usual gap between the updates of one attempt, and the time after which it counts as stalled."""

    __slots__ = ("_gaps", "_stall_timeout_s")

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_MAX_GAPS)
        self._stall_timeout_s: float | None = None

    @property
    def is_calibrated(self) -> bool:
        """Whether there are enough gaps to know the usual one."""
        return len(self._gaps) >= _MIN_GAPS

    @property
    def has_gaps(self) -> bool:
        """Whether the attempt has updated at least once."""
        return bool(self._gaps)

    def add_gap(self, gap_s: float) -> None:
        """Record an update after a gap of `gap_s` seconds."""
        self._gaps.append(gap_s)
        self._stall_timeout_s = None

    def stall_timeout_s(self, usual_s: float | None = None, *, has_begun: bool = False) -> float:
        """Return the time without an update after which the attempt is stalled, in seconds.

        Five times the median gap, at least a minute; and at least twice the gap that one in ten exceeds, because a job
        that works in bursts pauses often. Before the usual gap is known: a quarter of the usual duration of a run, at
        least a minute. Without an earlier run: a minute if something is done already, else five minutes. In any case
        at least five times the longest gap so far.

        Args:
            usual_s: Usual duration of a run of the same name, if known.
            has_begun: Whether something is done already.
        """
        if not self.is_calibrated:
            unknown_s = MIN_STALL_TIMEOUT_S if has_begun else INITIAL_STALL_TIMEOUT_S
            first_s = unknown_s if usual_s is None else max(MIN_STALL_TIMEOUT_S, usual_s / 4)
            return max(first_s, 5 * max(self._gaps, default=0.0))
        if self._stall_timeout_s is None:
            ordered = sorted(self._gaps)
            one_in_ten = ordered[-max(1, len(ordered) // 10)]
            self._stall_timeout_s = max(MIN_STALL_TIMEOUT_S, 5 * median(ordered), 2 * one_in_ten)
        return self._stall_timeout_s
