"""Estimates: the hub publishes how long running operations will still take, and which ones are stalled.

One estimate serves all subscribers. No work is done per event: a timer updates the estimates every few seconds, a slice
of the operations at a time (docs/estimates.md).
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from math import inf

import structlog
from msgspec import structs

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.cancellation import CancellationRegistry, PendingCancel
from tidings.hub.operations.forecast import DurationHistory, Forecast, blend, smooth
from tidings.hub.operations.leases import Leases
from tidings.hub.operations.progress_model import ProgressModel, StallDetector
from tidings.operations.lifecycle import OperationState
from tidings.operations.run_history import MAX_NAMES
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationEstimateData
from tidings.protocol.timestamps import from_nanoseconds

MIN_REMAINING_CHANGE = 0.02
"""Relative change of the remaining time below which no new estimate is published."""
MIN_OTHER_CHANGE = 0.1
"""Relative change of the rate, of the interval, or of any figure without new progress, below which no new estimate is
published."""
MIN_CHANGE_S = 1.0
"""Absolute change of any time below which no new estimate is published."""
_MAX_UPDATES_PER_ROUND = 100
"""Operations updated in one round of the event loop: about five milliseconds when all of them are published."""
_MIN_PAUSE_S = 0.05
"""Minimum pause between two such rounds. Each of 10,000 operations then has its turn every 5 s; with more operations
the interval grows, so that estimates never take more than a tenth of the hub's time."""
SILENT_S = 60.0
"""Seconds without an event after which an operation counts as silent."""
_AWAY_DELAY_S = 1.5
"""Seconds after the loss of its connection at which a producer's operations are published as without a producer."""
_MAX_ROUNDING_S = 0.1
"""Difference between two readings of the wall clock and the steady one that does not count as a jump, in seconds."""
_EARLY = 0.99
"""Part of the interval after which an estimate may be published again: timers may fire a little early."""

log = structlog.get_logger("tidings.hub.operations.estimator")


class AttemptEstimator:
    """The estimate of one running attempt, and the state that is kept between two updates of it.

    Args:
        status: The operation.
        now_ns: Time of the first update, nanoseconds since 1970.
    """

    __slots__ = (
        "_advanced_ns",
        "_forecast",
        "_forecast_ns",
        "_has_begun",
        "_history",
        "_idle_since_ns",
        "_model",
        "_progress",
        "_stall_detector",
        "_updated_ns",
        "attempt",
        "has_advanced",
        "newest",
        "published",
        "published_at",
    )

    def __init__(self, status: OperationStatus, now_ns: int) -> None:
        self.attempt = status.life.attempt
        self.newest = OperationEstimateData(operation_id=status.operation_id, stalled=False)
        """Result of the last update."""
        self.published: OperationEstimateData | None = None
        """The estimate that was published last."""
        self.published_at = -inf
        """When it was published, in seconds of the monotonic clock."""
        self.has_advanced = False
        """Whether the attempt has advanced since then."""
        # A later attempt, or one that resumes another, may begin with much of the work done.
        fresh = self.attempt == 1 and status.resumes is None and status.began_ns is not None
        self._model = ProgressModel((status.began_ns or 0) / 1e9 if fresh else None)
        self._stall_detector = StallDetector()
        self._advanced_ns: int | None = None
        self._progress: float | None = None
        self._has_begun = False
        # Work done while the hub or the producer is away is not visible: the stall timeout starts with the first
        # update.
        self._idle_since_ns = self._updated_ns = now_ns
        self._forecast: Forecast | None = None
        self._forecast_ns = now_ns
        self._history: DurationHistory | None = None

    def update(
        self,
        status: OperationStatus,
        now_ns: int,
        history: DurationHistory | None,
        *,
        away_since_ns: int | None = None,
        cancel: PendingCancel | None = None,
    ) -> None:
        """Take in the changes of the operation and renew `newest`.

        Args:
            status: The operation.
            now_ns: The present time, nanoseconds since 1970 from a clock that does not jump.
            history: Durations of earlier runs of the same name.
            away_since_ns: Last sign of life of its producer, if that is away, nanoseconds since 1970.
            cancel: The request to cancel it, if there is one.
        """
        self._history = history
        measured = status.progress is not None and not status.indeterminate
        self._has_begun = bool(status.progress) or len(status.steps) > 1
        began_ns, heard_ns, advanced_ns = status.began_ns, status.heard_ns, status.advanced_ns
        self._note_advance(status, advanced_ns)
        # An attempt that measures its progress goes on when that rises; any other when it sends any event.
        updated_ns = (advanced_ns or 0) if measured else heard_ns
        if updated_ns > self._updated_ns:
            self._stall_detector.add_gap(max(0, updated_ns - self._idle_since_ns) / 1e9)
            self._updated_ns = updated_ns
            self._idle_since_ns = max(self._idle_since_ns, updated_ns)
        if away_since_ns is not None:
            self._idle_since_ns = now_ns
        idle_s = (now_ns - self._idle_since_ns) / 1e9
        stalled = idle_s > self._stall_timeout_s() and (measured or self._expects_updates(status))
        is_silent = now_ns - heard_ns >= SILENT_S * 1e9
        is_slow = status.lag_ns and began_ns is not None
        attention = {
            "stalled_since": _format_time(max(updated_ns, began_ns or 0) if stalled else None),
            # In whole seconds, so that it does not change with each event.
            "began_at": _format_time((began_ns or 0) // 10**9 * 10**9 if is_slow else None),
            "silent_since": _format_time(heard_ns if is_silent else None),
            "away_since": _format_time(away_since_ns),
            "cancel_requested_at": _format_time(None if cancel is None else cancel.requested_ns),
            "cancelled_by": None if cancel is None else cancel.cancelled_by,
        }
        self._estimate(status, now_ns, began_ns, measured, stalled)
        self.newest = structs.replace(self.newest, **attention)

    def _expects_updates(self, status: OperationStatus) -> bool:
        """Return whether an attempt that measures nothing should send events: a job that never does is not stalled."""
        return self._stall_detector.has_gaps or status.indeterminate or bool(status.current_step or status.total_steps)

    def _stall_timeout_s(self) -> float:
        usual_s = None if self._history is None else self._history.median_s
        return self._stall_detector.stall_timeout_s(usual_s, has_begun=self._has_begun)

    def _note_advance(self, status: OperationStatus, advanced_ns: int | None) -> None:
        if advanced_ns is None or advanced_ns == self._advanced_ns:
            return
        self._advanced_ns = advanced_ns
        self.has_advanced = True
        progress = status.progress
        if progress is not None and (self._progress is None or progress > self._progress):
            stall_timeout_s = self._stall_timeout_s() if self._stall_detector.is_calibrated else None
            self._model.add(advanced_ns / 1e9, progress, stall_timeout_s)
            self._progress = progress

    def _estimate(
        self, status: OperationStatus, now_ns: int, began_ns: int | None, measured: bool, stalled: bool
    ) -> None:
        elapsed_s = max(0.0, (now_ns - (began_ns or now_ns)) / 1e9)
        own = self._model.forecast(now_ns / 1e9, self._stall_timeout_s()) if measured else None
        earlier = None if self._history is None else self._history.forecast(elapsed_s)
        if own is not None and earlier is not None:
            forecast: Forecast | None = blend(own, earlier, (self._progress or 0.0) / 100)
        else:
            forecast = own or earlier
        if forecast is not None and self._forecast is not None and own is not None:
            passed_s = (now_ns - self._forecast_ns) / 1e9
            forecast = smooth(forecast, self._forecast.remaining_s, passed_s, elapsed_s)
        self._forecast, self._forecast_ns = forecast, now_ns
        rate = self._model.rate if measured else None
        self.newest = OperationEstimateData(
            operation_id=status.operation_id,
            rate=None if rate is None else float(f"{rate:.4g}"),
            remaining_s=None if forecast is None else round(forecast.remaining_s, 1),
            remaining_low_s=None if forecast is None else round(forecast.low_s, 1),
            remaining_high_s=None if forecast is None else round(forecast.high_s, 1),
            stalled=stalled,
        )

    @property
    def attention_changed(self) -> bool:
        """Whether the need for attention differs from what was published last."""
        return _attention(self.newest) != (_NO_ATTENTION if self.published is None else _attention(self.published))

    def should_publish(self) -> bool:
        """Return whether `newest` differs visibly from the estimate that was published last."""
        new, old = self.newest, self.published
        if old is None:
            return new.stalled or new.remaining_s is not None or new.rate is not None
        if new.stalled is not old.stalled:
            return True
        threshold = MIN_REMAINING_CHANGE if self.has_advanced else MIN_OTHER_CHANGE
        return (
            _differ(new.remaining_s, old.remaining_s, threshold, MIN_CHANGE_S)
            or _differ(new.remaining_low_s, old.remaining_low_s, MIN_OTHER_CHANGE, MIN_CHANGE_S)
            or _differ(new.remaining_high_s, old.remaining_high_s, MIN_OTHER_CHANGE, MIN_CHANGE_S)
            or _differ(new.rate, old.rate, MIN_OTHER_CHANGE, 0.0)
        )


def _attention(estimate: OperationEstimateData) -> tuple[bool, bool, str | None, str | None, str | None]:
    """Return what is published without delay; a later sign of life of an absent producer is the same absence."""
    is_away, is_silent = estimate.away_since is not None, estimate.silent_since is not None
    return is_away, is_silent, estimate.cancel_requested_at, estimate.cancelled_by, estimate.began_at


_NO_ATTENTION = (False, False, None, None, None)


def _format_time(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else from_nanoseconds(unix_ns)


def _differ(new: float | None, old: float | None, threshold: float, min_change: float) -> bool:
    """Return whether two figures differ by more than the relative `threshold` and by more than `min_change`."""
    if new is None or old is None:
        return new is not old
    return abs(new - old) > max(min_change, threshold * max(new, old))


class EstimatePublisher:
    """Estimates all running operations of a hub on a timer, and publishes the estimates that have changed."""

    def __init__(self, hub: HubCore, leases: Leases, cancellations: CancellationRegistry) -> None:
        self._hub = hub
        self._leases = leases
        self._cancellations = cancellations
        self._unknown: set[str] = set()
        """Operations about which an earlier hub published an estimate, which may no longer hold."""
        self._changed: dict[str, None] = {}
        """Operations to examine before their turn, the oldest change first."""
        self._examining = False
        self._estimators: dict[str, AttemptEstimator] = {}
        """Estimators by operation id."""
        self._histories: dict[str, tuple[list[float], DurationHistory]] = {}
        """Durations of the runs of a name, and the history made of them, by name."""
        self._failed_names: set[str] = set()
        """Names of operations of which an estimate failed."""
        self._turns: Iterator[OperationStatus] = iter(())
        """The operations whose turn comes in this round."""
        self._slices_left = 0
        """Slices that are left in this round."""
        self._difference_s = hub.now_ns() / 1e9 - hub.clock.monotonic()
        """Difference between the wall clock and the steady one, in seconds."""
        self._pause_s = 0.0
        """Pause between two slices of this round, in seconds."""

    def start(self) -> None:
        """Start to estimate every `HubConfig.estimate_s` seconds, and to publish what needs attention as it changes."""
        hub = self._hub
        if hub.config.estimate_s:
            type = MessageType.OPERATION_ESTIMATE
            self._unknown = {
                status.operation_id for status in hub.operations.live if hub.has_event(type, status.operation_id)
            }
            hub.on_operation.append(self._on_operation)
            self._leases.on_connected.append(self._examine_producer)
            self._leases.on_detached.append(self._on_detached)
            self._leases.on_away.append(self._examine)
            self._cancellations.on_change.append(self._examine)
            hub.jobs.start("estimates", hub.config.estimate_s, self._round)

    def get(self, operation_id: str) -> OperationEstimateData | None:
        """Return the estimate of a running operation, at most a few seconds old; None if there is none yet."""
        estimator, life = self._estimators.get(operation_id), self._hub.operations.life(operation_id)
        if estimator is None or life is None or life.state is not OperationState.RUNNING:
            return None
        return estimator.newest if estimator.attempt == life.attempt else None

    def _on_operation(self, status: OperationStatus) -> None:
        if not status.live:
            self._estimators.pop(status.operation_id, None)
            self._unknown.discard(status.operation_id)

    # Changes that are published without waiting for the operation's turn.

    def _on_detached(self, producer_id: str) -> None:
        # A producer that reconnects immediately, as after a cut of the network, was never away.
        self._hub.scheduler.call_later(_AWAY_DELAY_S, partial(self._examine_producer, producer_id))

    def _examine_producer(self, producer_id: str) -> None:
        for status in self._hub.operations.of_producer(producer_id):
            self._examine(status.operation_id)

    def _examine(self, operation_id: str) -> None:
        # A cancelled parent or a lost producer changes many operations at a time.
        self._changed[operation_id] = None
        if not self._examining:
            self._examining = True
            self._hub.scheduler.call_soon(self._examine_changed)

    def _examine_changed(self) -> None:
        hub = self._hub
        self._examining = bool(self._changed)
        if hub.closed or not self._changed:
            return
        due = list(islice(self._changed, _MAX_UPDATES_PER_ROUND))
        # Also after the last slice: however often producers come and go, this takes no more time than the rounds do.
        hub.scheduler.call_later(_MIN_PAUSE_S * len(due) / _MAX_UPDATES_PER_ROUND, self._examine_changed)
        now_ns, now = self._now()
        for operation_id in due:
            del self._changed[operation_id]
            status = hub.operations.get(operation_id)
            if status is not None and status.state is OperationState.RUNNING:
                self._try_update(status, now_ns, now)

    # Rounds.

    def _round(self) -> float:
        """Update one slice of the operations; return the pause before the next one."""
        hub = self._hub
        if not self._slices_left:
            interval_s, count = hub.config.estimate_s, len(hub.operations)
            slices = self._slices_left = max(1, -(-count // _MAX_UPDATES_PER_ROUND))
            self._pause_s = interval_s if slices == 1 else max(_MIN_PAUSE_S, interval_s / slices)
            self._turns = iter(list(hub.operations.live))
        self._slices_left -= 1
        now_ns, now = self._now()
        for status in islice(self._turns, _MAX_UPDATES_PER_ROUND):
            if status.state is OperationState.RUNNING:
                self._try_update(status, now_ns, now)
        return self._pause_s

    def _now(self) -> tuple[int, float]:
        """Return the time by the wall clock, in nanoseconds since 1970, and by the steady one, in seconds.

        After a jump of the wall clock, all estimators begin again: their times are by the clock before it.
        """
        hub = self._hub
        now_ns, now = hub.now_ns(), hub.clock.monotonic()
        difference_s = now_ns / 1e9 - now
        if abs(difference_s - self._difference_s) > _MAX_ROUNDING_S:
            self._difference_s = difference_s
            self._unknown.update(id for id, estimator in self._estimators.items() if estimator.published is not None)
            self._estimators.clear()
        return now_ns, now

    def _try_update(self, status: OperationStatus, now_ns: int, now: float) -> None:
        """Update an operation; a failure leaves it without an estimate and is logged once for each name."""
        try:
            self._update(status, now_ns, now)
        except Exception:
            if status.name not in self._failed_names and len(self._failed_names) < MAX_NAMES:
                self._failed_names.add(status.name)
                log.exception("an estimate failed", name=status.name, operation_id=status.operation_id)

    def _update(self, status: OperationStatus, now_ns: int, now: float) -> None:
        hub, operation_id = self._hub, status.operation_id
        estimator = self._estimators.get(operation_id)
        status = hub.by_age(status)
        if estimator is None or estimator.attempt != status.life.attempt:
            estimator = self._estimators[operation_id] = AttemptEstimator(status, now_ns)
        estimator.update(
            status,
            now_ns,
            self._history_of(status.name),
            away_since_ns=self._leases.away_since_ns(operation_id),
            cancel=self._cancellations.find(operation_id),
        )
        is_due = now - estimator.published_at >= _EARLY * hub.config.estimate_s and estimator.should_publish()
        if is_due or estimator.attention_changed or operation_id in self._unknown:
            self._publish(estimator, status, now)

    def _history_of(self, name: str) -> DurationHistory | None:
        runs = self._hub.operations.names.get(name)
        if runs is None or not runs.durations_s:
            return None
        durations_s, history = self._histories.get(name, (None, None))
        # The run history makes a new list for every run that succeeds.
        if history is None or durations_s is not runs.durations_s:
            if len(self._histories) >= MAX_NAMES:
                self._histories.clear()
            history = DurationHistory(runs.durations_s)
            self._histories[name] = runs.durations_s, history
        return history

    def _publish(self, estimator: AttemptEstimator, status: OperationStatus, now: float) -> None:
        hub, estimate = self._hub, estimator.newest
        life = hub.operations.life(status.operation_id)
        is_running = life is not None and life.state is OperationState.RUNNING and life.attempt == estimator.attempt
        # Estimates can wait longer than all other events.
        if not is_running or not hub.leads or hub.draining or hub.staged > hub.config.staged_events // 4:
            return
        estimator.published, estimator.published_at, estimator.has_advanced = estimate, now, False
        self._unknown.discard(status.operation_id)
        publish_internal(
            hub,
            MessageType.OPERATION_ESTIMATE,
            estimate,
            trace_id=status.life.trace_id,
            running_attempt=estimator.attempt,  # its end may be about to be appended
            settled=partial(_settled, estimator, estimate),
        )


def _settled(estimator: AttemptEstimator, estimate: OperationEstimateData, error: TidingsError | None) -> None:
    if error is not None and estimator.published is estimate:
        estimator.published = None  # no subscriber has it: it is published again when the log accepts events
