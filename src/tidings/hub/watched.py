"""One attempt of an operation as it is looked at every few seconds: how it goes on, and what to foresee."""

from math import inf

from tidings.hub.advances import Advances
from tidings.hub.earlier_runs import EarlierRuns
from tidings.hub.forecast import Forecast, blended, steadied
from tidings.hub.rhythm import Rhythm
from tidings.operations.status import OperationStatus
from tidings.protocol.payloads import OperationEstimateData

_FEWEST_PERCENT = 0.02
"""A change of the remaining time by less is not seen;"""
_COARSELY = 0.1
"""nor is one of the rate and of the interval, or of any figure that only time has changed, by less than this,"""
_LEAST_S = 1.0
"""nor of any time by less than this."""


class WatchedAttempt:
    """What is remembered of a running attempt between two looks at it.

    Args:
        status: The operation.
        now_ns: When it is looked at for the first time.
    """

    __slots__ = (
        "_advanced_ns",
        "_advances",
        "_earlier",
        "_foreseen",
        "_foreseen_ns",
        "_progress",
        "_rhythm",
        "_shown_ns",
        "_watched_ns",
        "attempt",
        "has_advanced",
        "newest",
        "told",
        "told_at",
    )

    def __init__(self, status: OperationStatus, now_ns: int) -> None:
        self.attempt = status.life.attempt
        self.newest = OperationEstimateData(operation_id=status.operation_id, stalled=False)
        """What was found at the last look."""
        self.told: OperationEstimateData | None = None
        """What was published last."""
        self.told_at = -inf
        """When, by the monotonic clock, in seconds."""
        self.has_advanced = False
        """Whether it did since then."""
        # A later attempt, or one that resumes another, may begin with much done.
        fresh = self.attempt == 1 and status.resumes is None and status.started_ns is not None
        self._advances = Advances((status.started_ns or 0) / 1e9 if fresh else None)
        self._rhythm = Rhythm()
        self._advanced_ns: int | None = None
        self._progress: float | None = None
        # What was done while the hub was away, or the producer is, cannot be seen: patience begins with looking.
        self._watched_ns = self._shown_ns = now_ns
        self._foreseen: Forecast | None = None
        self._foreseen_ns = now_ns
        self._earlier: EarlierRuns | None = None

    def look(self, status: OperationStatus, now_ns: int, earlier: EarlierRuns | None, *, is_away: bool) -> None:
        """Note what has changed, and foresee anew: `newest` tells.

        Args:
            status: The operation.
            now_ns: The present time, nanoseconds since 1970 by a clock that does not jump.
            earlier: The runs of its name.
            is_away: Whether its producer cannot be heard.
        """
        self._earlier = earlier
        measured = status.progress is not None and not status.indeterminate
        self._note_advance(status)
        # What measures its progress goes on when that rises; what does not, when it says anything at all.
        shown_ns = (status.advanced_ns or 0) if measured else status.heard_ns
        if shown_ns > self._shown_ns:
            self._rhythm.note(max(0, shown_ns - self._watched_ns) / 1e9)
            self._shown_ns = shown_ns
            self._watched_ns = max(self._watched_ns, shown_ns)
        if is_away:
            self._watched_ns = now_ns
        idle_s = (now_ns - self._watched_ns) / 1e9
        stalled = idle_s > self._patience_s() and (measured or self._has_promised(status))
        self._foresee(status, now_ns, measured, stalled)

    def _has_promised(self, status: OperationStatus) -> bool:
        """Return whether one that measures nothing is to be heard of: a job that is silent by nature is not stalled."""
        return self._rhythm.has_begun or status.indeterminate or bool(status.current_step or status.total_steps)

    def _patience_s(self) -> float:
        return self._rhythm.patience_s(None if self._earlier is None else self._earlier.median_s)

    def _note_advance(self, status: OperationStatus) -> None:
        if status.advanced_ns is None or status.advanced_ns == self._advanced_ns:
            return
        self._advanced_ns = status.advanced_ns
        self.has_advanced = True
        progress = status.progress
        if progress is not None and (self._progress is None or progress > self._progress):
            patience_s = self._patience_s() if self._rhythm.is_known else None
            self._advances.note(status.advanced_ns / 1e9, progress, patience_s)
            self._progress = progress

    def _foresee(self, status: OperationStatus, now_ns: int, measured: bool, stalled: bool) -> None:
        elapsed_s = max(0.0, (now_ns - (status.started_ns or now_ns)) / 1e9)
        own = self._advances.forecast(now_ns / 1e9, self._patience_s()) if measured else None
        earlier = None if self._earlier is None else self._earlier.forecast(elapsed_s)
        if own is not None and earlier is not None:
            forecast: Forecast | None = blended(own, earlier, (self._progress or 0.0) / 100)
        else:
            forecast = own or earlier
        if forecast is not None and self._foreseen is not None and own is not None:
            passed_s = (now_ns - self._foreseen_ns) / 1e9
            forecast = steadied(forecast, self._foreseen.remaining_s, passed_s, elapsed_s)
        self._foreseen, self._foreseen_ns = forecast, now_ns
        rate = self._advances.rate if measured else None
        self.newest = OperationEstimateData(
            operation_id=status.operation_id,
            rate=None if rate is None else float(f"{rate:.4g}"),
            remaining_s=None if forecast is None else round(forecast.remaining_s, 1),
            remaining_low_s=None if forecast is None else round(forecast.low_s, 1),
            remaining_high_s=None if forecast is None else round(forecast.high_s, 1),
            stalled=stalled,
        )

    def is_news(self) -> bool:
        """Return whether a reader who knows what was told would see that something has changed."""
        new, told = self.newest, self.told
        if told is None:
            return new.stalled or new.remaining_s is not None or new.rate is not None
        if new.stalled is not told.stalled:
            return True
        finely = _FEWEST_PERCENT if self.has_advanced else _COARSELY
        return (
            _differ(new.remaining_s, told.remaining_s, finely, _LEAST_S)
            or _differ(new.remaining_low_s, told.remaining_low_s, _COARSELY, _LEAST_S)
            or _differ(new.remaining_high_s, told.remaining_high_s, _COARSELY, _LEAST_S)
            or _differ(new.rate, told.rate, _COARSELY, 0.0)
        )


def _differ(new: float | None, told: float | None, share: float, least: float) -> bool:
    if new is None or told is None:
        return new is not told
    return abs(new - told) > max(least, share * max(new, told))
