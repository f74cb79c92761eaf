"""What an attempt's own progress tells of the rest: how fast it goes, and how evenly.

Pure: whoever looks brings the time. Work is taken for a process of independent advances at a rate that drifts: the
rest takes as long as it does at the present rate, give or take what chance did so far and what the rate may yet do.

How often an attempt shows that it goes on, and so how long to wait before worrying.
"""

from array import array
from bisect import bisect_left
from collections import deque
from math import exp, log, log1p, sqrt
from statistics import median

from msgspec import Struct

from tidings.hub.operations.forecast import FOUR_IN_FIVE, Forecast

MAX_SAMPLES = 24
"""Of one attempt; beyond it every second one is dropped, so that together they always tell the whole of it."""
_INSTANT_S = 0.5
"""What is done so soon after the beginning was done before it: a resumed job says first how far it is."""
_LEAST_S, _LEAST_PERCENT = 1e-3, 1e-6
"""Below these nothing has happened yet."""
_FIRST_PERCENT = 5.0
"""A single advance is a basis from here on; below it, two are."""
_RECENT = 0.3
"""The rate is the recent one: an advance has 1/e of the newest's weight after this part of the time at work."""
_SPANS = 4
"""Into so many equal spans the time at work is divided, to see how the rate drifts from one to the next."""
_DRIFT = 0.05
"""Variance of the rate's logarithm from one span to the next, as long as nothing is known of it,"""
_DRIFT_WEIGHT = 2
"""which counts as much as so many spans that were seen."""
_OVERDUE = 0.5
"""The rest is thought to take at least this part of the time for which an advance is overdue,"""
_HARDLY = 0.15
"""and this part of the time that an advance usually takes."""
_NO_IDEA = 1.0
"""Deviation of the logarithm beyond which the interval is no longer widened: from a quarter to four times."""


class RateFit(Struct, frozen=True, gc=False):
    """What the samples say, until there is another."""

    rate: float
    """Percent a second of time at work."""
    jump: float
    """Percent that it usually advances at once."""
    chance_s: float
    """Variance of progress per second, over the rate squared."""
    watched_s: float
    """Time at work that the rate was, in effect, found from."""
    span_s: float
    """One of `_SPANS`."""
    drift: float
    """Variance of the rate's logarithm from one span to the next."""


class ProgressModel:
    """The advances of one attempt.

    Args:
        began_s: When it began with nothing done; None where it may have begun with more.
    """

    __slots__ = ("_done", "_fit", "_is_assumed", "_last_s", "_work")

    def __init__(self, began_s: float | None) -> None:
        known = began_s is not None
        self._last_s = began_s
        self._work = array("d", [0.0] if known else [])
        """Of each sample, the time at work since the first: pauses beyond patience are left out."""
        self._done = array("d", [0.0] if known else [])
        """Of each sample, percent."""
        self._is_assumed = known
        """Whether that it began with nothing done is all that is known."""
        self._fit: RateFit | None = None

    @property
    def rate(self) -> float | None:
        """Percent a second, while it is at work; None where there is no basis."""
        fit = self._fitted()
        return None if fit is None else fit.rate

    def note(self, at_s: float, progress: float, patience_s: float | None) -> None:
        """Note that progress rose to `progress` at `at_s`.

        Args:
            at_s: When, in seconds of a clock that does not jump.
            progress: Percent.
            patience_s: A longer pause is no time at work; None where every one is.
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
        worked, fit = gap, self._fitted()
        if patience_s is not None and fit is not None:
            # Unless so much was done meanwhile: then the news were late, and not the work.
            worked = min(gap, max(patience_s, (progress - self._done[-1]) / fit.rate))
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

    def forecast(self, now_s: float, patience_s: float) -> Forecast | None:
        """Return how long the rest will take; None where there is no basis.

        Args:
            now_s: The present time.
            patience_s: When nothing has come for longer, it is stalled.
        """
        fit, last_s = self._fitted(), self._last_s
        if last_s is None or not self._done:
            return None
        rest, idle_s = 100 - self._done[-1], max(0.0, now_s - last_s)
        if rest <= 0:
            # All is done but the end, which nobody has measured: as much longer as it took so far.
            return Forecast(0.0, 0.0, max(1.0, idle_s))
        if fit is None or (len(self._done) == 2 and self._done[1] < _FIRST_PERCENT):
            return None
        whole_s = rest / fit.rate
        next_s = min(fit.jump / fit.rate, whole_s)
        overdue_s = max(0.0, min(idle_s, patience_s) - next_s)
        half_s = fit.span_s * _SPANS / 2
        remaining_s = whole_s - idle_s if not overdue_s else (whole_s - next_s) * (1 + overdue_s / half_s)
        remaining_s = max(remaining_s, _HARDLY * next_s + _OVERDUE * overdue_s)
        # A rate that walks at random has, on average over a time ahead, a third of the variance that it has at its end.
        drift = fit.drift * (1 + remaining_s / fit.span_s / 3)
        chance = log1p(fit.chance_s * (1 / remaining_s + 1 / fit.watched_s))
        factor = exp(FOUR_IN_FIVE * min(_NO_IDEA, sqrt(drift + chance)))
        stalled_s = max(0.0, idle_s - patience_s)
        return Forecast(remaining_s, remaining_s / factor, remaining_s * factor + stalled_s)

    def _fitted(self) -> RateFit | None:
        if self._fit is None and self._has_basis():
            self._fit = self._found()
        return self._fit

    def _has_basis(self) -> bool:
        work, done = self._work, self._done
        return len(work) > 1 and work[-1] > _LEAST_S and done[-1] - done[0] > _LEAST_PERCENT

    def _found(self) -> RateFit:
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
        # One advance more, which deviates by its whole size: a few that were even prove little.
        squares += jump * jump * sum(weight * weight for weight in weights) / total
        chance_s = squares / seconds / (rate * rate)
        watched_s = (
            seconds * seconds / sum(weight * weight * each_s for weight, each_s in zip(weights, took, strict=True))
        )
        return RateFit(rate, jump, chance_s, watched_s, end / _SPANS, self._drift(chance_s))

    def _drift(self, chance_s: float) -> float:
        span_s = self._work[-1] / _SPANS
        reached = [self._reached(span_s * index) for index in range(_SPANS)] + [self._done[-1]]
        least = (self._done[-1] - self._done[0]) / (20 * _SPANS)
        rates = [log(max(least, reached[index + 1] - reached[index])) for index in range(_SPANS)]
        # What chance alone makes of the difference of two spans is not drift.
        seen = sum((rates[index + 1] - rates[index]) ** 2 - 2 * chance_s / span_s for index in range(_SPANS - 1))
        return (max(0.0, seen) + _DRIFT * _DRIFT_WEIGHT) / (_SPANS - 1 + _DRIFT_WEIGHT)

    def _reached(self, worked_s: float) -> float:
        """Return how much was done after `worked_s`, between samples in proportion."""
        work, done = self._work, self._done
        after = bisect_left(work, worked_s)
        if after == 0:
            return done[0]
        before = after - 1
        part = (worked_s - work[before]) / (work[after] - work[before])
        return done[before] + part * (done[after] - done[before])


_MOST_GAPS = 32
"""Times between two advances that "usual" is reckoned from."""
_FEWEST_GAPS = 3
"""From which on there is a usual time between advances."""
MIN_STALL_TIMEOUT_S = 60.0
"""Below it nobody worries, however quick an operation was so far."""
INITIAL_STALL_TIMEOUT_S = 300.0
"""While nothing is usual: many a job reads and connects for minutes before it begins to count."""


class StallDetector:
    """The times between the advances of one attempt."""

    __slots__ = ("_gaps", "_patience_s")

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_MOST_GAPS)
        self._patience_s: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a usual time."""
        return len(self._gaps) >= _FEWEST_GAPS

    @property
    def has_begun(self) -> bool:
        """Whether it ever went on."""
        return bool(self._gaps)

    def note(self, gap_s: float) -> None:
        """Note that it went on after `gap_s`."""
        self._gaps.append(gap_s)
        self._patience_s = None

    def patience_s(self, usual_s: float | None = None) -> float:
        """Return after how many seconds without an advance the attempt is stalled.

        Five times what is usual between two of them, at least a minute; and at least twice what one in ten takes, as a
        job that works in bursts pauses often. Before anything is usual: a quarter of the time that runs of its name
        take, at least a minute, or five minutes; or five times the longest so far, if that is more.

        Args:
            usual_s: How long a run takes, where that is known.
        """
        if not self.is_known:
            first_s = INITIAL_STALL_TIMEOUT_S if usual_s is None else max(MIN_STALL_TIMEOUT_S, usual_s / 4)
            return max(first_s, 5 * max(self._gaps, default=0.0))
        if self._patience_s is None:
            ordered = sorted(self._gaps)
            one_in_ten = ordered[-max(1, len(ordered) // 10)]
            self._patience_s = max(MIN_STALL_TIMEOUT_S, 5 * median(ordered), 2 * one_in_ten)
        return self._patience_s
