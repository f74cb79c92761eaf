"""Estimates: the hub tells, once for everyone, how long running operations will still take, and which are stalled.

Nothing is done when an event comes: operations are looked at every few seconds, a few at a time (PROTOCOL.md,
`operation:estimate`).
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice

import structlog

from tidings.exceptions import TidingsError
from tidings.hub.core import HubCore
from tidings.hub.earlier_runs import EarlierRuns
from tidings.hub.leases import Leases
from tidings.hub.own_events import publish_own
from tidings.hub.watched import WatchedAttempt
from tidings.operations.lifecycle import OperationState
from tidings.operations.run_history import MOST_NAMES
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationEstimateData

_AT_ONCE = 100
"""Operations looked at in one round of the loop: about five milliseconds, when each is published."""
_LEAST_PAUSE_S = 0.05
"""Between two such rounds: with 10,000 operations each has its turn every 5 s; with more, the less often, so that
estimates never take more than a tenth of the hub's time."""
_EARLY = 0.99
"""A timer may come a little early; what was told this part of the interval ago may be told again."""

log = structlog.get_logger("tidings.hub.estimates")


class Estimates:
    """What the hub foresees of its running operations."""

    def __init__(self, hub: HubCore, leases: Leases) -> None:
        self._leases = leases
        self._hub = hub
        self._watched: dict[str, WatchedAttempt] = {}
        self._earlier: dict[str, tuple[list[float], EarlierRuns]] = {}
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
            watched = self._watched[operation_id] = WatchedAttempt(status, now_ns)
        is_away = bool(status.life.producer_id) and self._leases.presence(operation_id) == "away"
        watched.look(status, now_ns, self._earlier_runs(status.name), is_away=is_away)
        if now - watched.told_at >= _EARLY * hub.config.estimate_s and watched.is_news():
            self._tell(watched, status, now)

    def _earlier_runs(self, name: str) -> EarlierRuns | None:
        history = self._hub.operations.names.get(name)
        if history is None or not history.durations_s:
            return None
        durations_s, earlier = self._earlier.get(name, (None, None))
        # The history makes a new list of every run that ended well.
        if earlier is None or durations_s is not history.durations_s:
            if len(self._earlier) >= MOST_NAMES:
                self._earlier.clear()
            earlier = EarlierRuns(history.durations_s)
            self._earlier[name] = history.durations_s, earlier
        return earlier

    # Telling.

    def _tell(self, watched: WatchedAttempt, status: OperationStatus, now: float) -> None:
        hub, estimate = self._hub, watched.newest
        life = hub.life(status.operation_id)  # its end may be on its way into the log
        is_running = life is not None and life.state is OperationState.RUNNING and life.attempt == watched.attempt
        # Of all events, estimates can wait the longest.
        if not is_running or hub.draining or hub.staged > hub.config.staged_events // 4:
            return
        watched.told, watched.told_at, watched.has_advanced = estimate, now, False
        publish_own(
            hub,
            MessageType.OPERATION_ESTIMATE,
            estimate,
            trace_id=status.life.trace_id,
            settled=partial(_settled, watched, estimate),
        )


def _settled(watched: WatchedAttempt, estimate: OperationEstimateData, error: TidingsError | None) -> None:
    if error is not None and watched.told is estimate:
        watched.told = None  # nobody has heard of it: it is said again when the log can
