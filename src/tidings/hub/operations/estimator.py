"""Estimates: the hub tells, once for everyone, how long running operations will still take, and which are stalled.

Nothing is done when an event comes: operations are looked at every few seconds, a few at a time (PROTOCOL.md,
`operation:estimate`).

One attempt of an operation as it is looked at every few seconds: how it goes on, and what to foresee.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import inf

import structlog

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.forecast import DurationHistory, Forecast, blend, smooth
from tidings.hub.operations.leases import Leases
from tidings.hub.operations.progress_model import ProgressModel, StallDetector
from tidings.operations.lifecycle import OperationState
from tidings.operations.run_history import MAX_NAMES
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationEstimateData

_FEWEST_PERCENT = 0.02
"""A change of the remaining time by less is not seen;"""
_COARSELY = 0.1
"""nor is one of the rate and of the interval, or of any figure that only time has changed, by less than this,"""
_LEAST_S = 1.0
"""nor of any time by less than this."""


class AttemptEstimator:
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
        self._advances = ProgressModel((status.started_ns or 0) / 1e9 if fresh else None)
        self._rhythm = StallDetector()
        self._advanced_ns: int | None = None
        self._progress: float | None = None
        # What was done while the hub was away, or the producer is, cannot be seen: patience begins with looking.
        self._watched_ns = self._shown_ns = now_ns
        self._foreseen: Forecast | None = None
        self._foreseen_ns = now_ns
        self._earlier: DurationHistory | None = None

    def look(self, status: OperationStatus, now_ns: int, earlier: DurationHistory | None, *, is_away: bool) -> None:
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
            forecast: Forecast | None = blend(own, earlier, (self._progress or 0.0) / 100)
        else:
            forecast = own or earlier
        if forecast is not None and self._foreseen is not None and own is not None:
            passed_s = (now_ns - self._foreseen_ns) / 1e9
            forecast = smooth(forecast, self._foreseen.remaining_s, passed_s, elapsed_s)
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


_AT_ONCE = 100
"""Operations looked at in one round of the loop: about five milliseconds, when each is published."""
_LEAST_PAUSE_S = 0.05
"""Between two such rounds: with 10,000 operations each has its turn every 5 s; with more, the less often, so that
estimates never take more than a tenth of the hub's time."""
_EARLY = 0.99
"""A timer may come a little early; what was told this part of the interval ago may be told again."""

log = structlog.get_logger("tidings.hub.operations.estimator")


class EstimatePublisher:
    """What the hub foresees of its running operations."""

    def __init__(self, hub: HubCore, leases: Leases) -> None:
        self._leases = leases
        self._hub = hub
        self._watched: dict[str, AttemptEstimator] = {}
        self._earlier: dict[str, tuple[list[float], DurationHistory]] = {}
        """Of each name, what was made of the durations of its runs."""

    def start(self) -> None:
        """Begin to look; `HubConfig.estimate_s` is how often."""
        if self._hub.config.estimate_s:
            self._hub.on_operation.append(self._turned)
            self._hub.scheduler.call_later(self._hub.config.estimate_s, self._round)

    def get(self, operation_id: str) -> OperationEstimateData | None:
        """Return what was found at the last look at a running operation, at most a few seconds ago; None before."""
        watched, life = self._watched.get(operation_id), self._hub.operations.life(operation_id)
        if watched is None or life is None or life.state is not OperationState.RUNNING:
            return None
        return watched.newest if watched.attempt == life.attempt else None

    def _turned(self, status: OperationStatus) -> None:
        if not status.live:
            self._watched.pop(status.operation_id, None)

    # Looking.

    def _round(self) -> None:
        hub = self._hub
        if hub.closed:
            return
        interval_s, count = hub.config.estimate_s, len(hub.operations)
        slices = max(1, -(-count // _AT_ONCE))
        pause_s = interval_s if slices == 1 else max(_LEAST_PAUSE_S, interval_s / slices)
        self._next_slice(iter(list(hub.operations.live)), pause_s, slices)

    def _next_slice(self, statuses: Iterator[OperationStatus], pause_s: float, left: int) -> None:
        hub = self._hub
        if hub.closed:
            return
        then = partial(self._next_slice, statuses, pause_s, left - 1) if left > 1 else self._round
        hub.scheduler.call_later(pause_s, then)
        now_ns, now = hub.now_ns(), hub.clock.monotonic()
        for status in islice(statuses, _AT_ONCE):
            if status.state is OperationState.RUNNING:
                self._look(status, now_ns, now)

    def _look(self, status: OperationStatus, now_ns: int, now: float) -> None:
        hub, operation_id = self._hub, status.operation_id
        watched = self._watched.get(operation_id)
        if watched is None or watched.attempt != status.life.attempt:
            watched = self._watched[operation_id] = AttemptEstimator(status, now_ns)
        is_away = bool(status.life.producer_id) and self._leases.presence(operation_id) == "away"
        watched.look(status, now_ns, self._earlier_runs(status.name), is_away=is_away)
        if now - watched.told_at >= _EARLY * hub.config.estimate_s and watched.is_news():
            self._tell(watched, status, now)

    def _earlier_runs(self, name: str) -> DurationHistory | None:
        history = self._hub.operations.names.get(name)
        if history is None or not history.durations_s:
            return None
        durations_s, earlier = self._earlier.get(name, (None, None))
        # The history makes a new list of every run that ended well.
        if earlier is None or durations_s is not history.durations_s:
            if len(self._earlier) >= MAX_NAMES:
                self._earlier.clear()
            earlier = DurationHistory(history.durations_s)
            self._earlier[name] = history.durations_s, earlier
        return earlier

    # Telling.

    def _tell(self, watched: AttemptEstimator, status: OperationStatus, now: float) -> None:
        hub, estimate = self._hub, watched.newest
        life = hub.life(status.operation_id)  # its end may be on its way into the log
        is_running = life is not None and life.state is OperationState.RUNNING and life.attempt == watched.attempt
        # Of all events, estimates can wait the longest.
        if not is_running or hub.draining or hub.staged > hub.config.staged_events // 4:
            return
        watched.told, watched.told_at, watched.has_advanced = estimate, now, False
        publish_internal(
            hub,
            MessageType.OPERATION_ESTIMATE,
            estimate,
            trace_id=status.life.trace_id,
            settled=partial(_settled, watched, estimate),
        )


def _settled(watched: AttemptEstimator, estimate: OperationEstimateData, error: TidingsError | None) -> None:
    if error is not None and watched.told is estimate:
        watched.told = None  # nobody has heard of it: it is said again when the log can
