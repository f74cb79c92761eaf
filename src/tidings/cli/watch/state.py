"""State of the operations that a watcher sees, folded from their events (docs/protocol/operations.md, "States")."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from tidings.cli.text import sanitize
from tidings.operations.attention import Attention
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import OperationSummary
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationEstimateData,
    OperationFailedData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
    SystemAlertData,
)
from tidings.protocol.timestamps import to_nanoseconds


class EventLike(Protocol):
    """The part of an event that a watch needs."""

    @property
    def type(self) -> str:
        """Event type."""

    @property
    def timestamp(self) -> str:
        """Time of the event, RFC 3339."""

    @property
    def payload(self) -> Struct | None:
        """Data as a struct; None if this contract does not have the type, or the data does not fit it."""

    @property
    def data(self) -> bytes:
        """Data as JSON."""


def seconds(event: EventLike) -> float:
    """Return the time of `event` in seconds since 1970."""
    return _unix_s(event.timestamp)


def _unix_s(timestamp: str) -> float:
    return to_nanoseconds(timestamp) / 1e9


PRODUCER_AWAY = "producer_away"
"""Code of the hub's alert for an operation whose producer is gone (docs/protocol/operations.md, "Leases")."""
SILENT_S = 60.0
"""Seconds without an event after which an operation is silent."""
FAILED_FOR_S = 900.0
"""Seconds for which a failed operation stays in the picture: as long as the hub has it in its snapshot."""
_MAX_ENDS = 4096
"""Ends kept, so that a snapshot that brings them again does not report them twice."""

End = OperationCompleteData | OperationFailedData | OperationCancelledData


@dataclass(slots=True)
class Running:
    """An operation that has not ended. Times are seconds since 1970 by the hub's clock."""

    operation_id: str
    name: str
    reported_s: float
    """When it began by its producer's clock, but never later than its arrival."""
    seen_s: float
    """When its last event arrived here, or when the hub received it, if the hub calls it silent."""
    parent_id: str | None = None
    percent: float | None = None
    """0 to 100; None while unknown."""
    peak: float = 0.0
    """Highest percentage of this attempt."""
    step: str = ""
    total_steps: int = 0
    message: str = ""
    queued: bool = False
    attempt: int = 1
    """Number of the attempt among those seen: after the first end, the second counts as the first."""
    estimate: OperationEstimateData | None = None
    """Latest estimate of the hub."""
    estimated_s: float = 0.0
    """Time of the estimate."""
    stalled_s: float | None = None
    """Last advance of an operation that no longer advances."""
    away: bool = False
    """Whether its producer is absent: by the hub's estimate or its alert, whichever arrives first."""
    away_s: float | None = None
    """Last sign of life of the absent producer; None until an estimate brings it."""
    cancel_s: float | None = None
    """Time of the request to cancel it; None without one."""
    cancelled_by: str = ""
    """The person or program that requested that."""
    selected: bool = True
    """Whether the watch shows it."""
    confirmed: bool = True
    """False from a gap until an event proves that it still runs."""

    def attention(self, now_s: float) -> Attention:
        """Return how urgently it needs a person's attention."""
        if self.away:
            return Attention.AWAY
        if self.stalled:
            return Attention.STALLED
        silent = not self.queued and now_s - self.seen_s >= SILENT_S
        return Attention.SILENT if silent else Attention.NONE

    @property
    def started_s(self) -> float:
        """When it began, by the hub's clock if the hub calls its producer's slow."""
        began_at = None if self.estimate is None else self.estimate.began_at
        return self.reported_s if began_at is None else _unix_s(began_at)

    @property
    def stalled(self) -> bool:
        """Whether it is alive, but does not advance."""
        return self.estimate is not None and self.estimate.stalled


@dataclass(frozen=True, slots=True)
class EndedOperation:
    """The end of an operation."""

    operation_id: str
    name: str
    took_s: float | None
    """Duration in seconds; None if its start was not seen."""
    payload: End
    ended_s: float
    """When it ended: by its producer's clock, unless the hub calls that slow, but never later than its arrival; seconds
    since 1970."""
    seen_s: float
    """When its end arrived here, by the hub's clock, seconds since 1970."""
    attempt: int = 1
    parent_id: str | None = None
    selected: bool = True
    """Whether the watch shows it."""


@dataclass(frozen=True, slots=True)
class _KnownEnd:
    """An end that was reported."""

    timestamp: str
    attempt: int
    selected: bool


class WatchedOperations:
    """The running operations, the recently failed ones, and counts of the ended ones.

    Args:
        selects: Returns whether the watch shows an operation of a name; its descendants are shown with it.
    """

    def __init__(self, selects: Callable[[str], bool] = lambda name: True) -> None:
        self.running: dict[str, Running] = {}
        self.failures: dict[str, EndedOperation] = {}
        """Failed operations that have not begun again, in the order of their ends."""
        self.complete = self.failed = self.cancelled = 0
        self.begun = 0
        """Number of attempts that were seen running."""
        self._selects = selects
        self._ends: OrderedDict[str, _KnownEnd] = OrderedDict()

    @property
    def ended(self) -> int:
        """Number of ended operations."""
        return self.complete + self.failed + self.cancelled

    def is_selected(self, event: EventLike) -> bool:
        """Return whether the watch shows the operation of an event; call it before `apply`."""
        payload = event.payload
        operation_id = getattr(payload, "operation_id", None) or ""
        if isinstance(payload, OperationStartData):
            return self._is_selected(operation_id, payload.name, payload.parent_id)
        return self._is_selected(operation_id, "", None)

    def _is_selected(self, operation_id: str, name: str, parent_id: str | None) -> bool:
        running, end = self.running.get(operation_id), self._ends.get(operation_id)
        if running is not None and running.selected:
            return True
        if running is None and not name and end is not None:
            return end.selected
        parent = self.running.get(parent_id or "")
        return (parent is not None and parent.selected) or self._selects(sanitize(name) or sanitize(operation_id))

    def apply(self, event: EventLike, now_s: float) -> EndedOperation | None:
        """Fold `event` in; return the end of an operation that was not seen before, if it is one.

        Args:
            event: The event.
            now_s: Time by the hub's clock, seconds since 1970.
        """
        payload, at_s = event.payload, min(seconds(event), now_s)
        if isinstance(payload, OperationStartData):
            self._start(payload, at_s, now_s)
        elif isinstance(payload, OperationProgressData):
            self._progress(payload, at_s, now_s)
        elif isinstance(payload, OperationLogData):
            self._heard(payload.operation_id, now_s)
        elif isinstance(payload, OperationEstimateData):
            self._estimate(payload, at_s)
        elif isinstance(payload, End):
            ended = self._end(payload, event, at_s, now_s)
            if ended is not None and ended.selected:
                self._count(ended)
            return ended
        elif isinstance(payload, SystemAlertData):
            self._alert(payload)
        return None

    def add_begun(self, each: OperationSummary, now_s: float) -> None:
        """Add an operation that began before the first event that the watch reads.

        Args:
            each: The operation, as the hub lists it.
            now_s: Time by the hub's clock, seconds since 1970.
        """
        start = OperationStartData(
            operation_id=each.operation_id,
            name=each.name,
            parent_id=each.parent_id,
            attempt=each.attempt,
            total_steps=each.total_steps,
            queued=each.state is OperationState.QUEUED,
        )
        began_at = each.started_at or each.queued_at
        self._start(start, now_s if began_at is None else _unix_s(began_at), now_s)

    def expire(self, now_s: float) -> None:
        """Drop the failures that are too old."""
        for operation_id, failure in list(self.failures.items()):
            if now_s - failure.seen_s >= FAILED_FOR_S:
                del self.failures[operation_id]

    def covers(self, alert: SystemAlertData) -> bool:
        """Return whether an alert adds nothing: the state or the end of its operation is shown."""
        id = alert.operation_id or ""
        return alert.code == PRODUCER_AWAY and (id in self.running or id in self._ends)

    def doubt_all(self) -> None:
        """Record a gap: running operations may have ended unseen."""
        for running in self.running.values():
            running.confirmed = False

    def drop_doubtful(self) -> list[Running]:
        """Record the end of the snapshot after a gap; return the operations that it did not bring, which are gone."""
        gone = [running for running in self.running.values() if not running.confirmed]
        for running in gone:
            del self.running[running.operation_id]
        return gone

    def _start(self, payload: OperationStartData, at_s: float, now_s: float) -> None:
        operation_id, before = payload.operation_id, self.running.get(payload.operation_id)
        attempt = payload.attempt or self._attempt(operation_id, before)
        name = sanitize(payload.name) or (sanitize(operation_id) if before is None else before.name)
        selected = self._is_selected(operation_id, payload.name, payload.parent_id)
        self.failures.pop(operation_id, None)
        self.failures.pop(payload.resumes or "", None)
        if before is not None and before.confirmed and before.attempt == attempt and not before.queued:
            # On a running operation a start only changes its description.
            before.name, before.selected, before.seen_s = name, selected, now_s
            before.parent_id = payload.parent_id or before.parent_id
            before.total_steps = payload.total_steps or before.total_steps
            return
        if before is None:
            self.begun += selected
        self.running.pop(operation_id, None)
        self.running[operation_id] = Running(
            operation_id=operation_id,
            name=name,
            reported_s=at_s,
            seen_s=now_s,
            parent_id=payload.parent_id or (None if before is None else before.parent_id),
            total_steps=payload.total_steps or 0,
            queued=payload.queued,
            attempt=attempt,
            selected=selected,
        )

    def _attempt(self, operation_id: str, before: Running | None) -> int:
        """Return the number of the beginning attempt: the next one after an end, else that of the queued one."""
        if before is not None:
            return before.attempt
        end = self._ends.get(operation_id)
        return 1 if end is None else end.attempt + 1

    def _heard(self, operation_id: str, now_s: float) -> None:
        running = self.running.get(operation_id)
        if running is not None:
            running.seen_s = now_s

    def _estimate(self, payload: OperationEstimateData, at_s: float) -> None:
        running = self.running.get(payload.operation_id)
        if running is None:
            return
        running.estimate, running.estimated_s = payload, at_s
        running.stalled_s = None if payload.stalled_since is None else _unix_s(payload.stalled_since)
        running.away = payload.away_since is not None
        running.away_s = None if payload.away_since is None else _unix_s(payload.away_since)
        running.cancel_s = None if payload.cancel_requested_at is None else _unix_s(payload.cancel_requested_at)
        running.cancelled_by = sanitize(payload.cancelled_by)
        if payload.silent_since is not None:
            running.seen_s = min(running.seen_s, _unix_s(payload.silent_since))

    def _alert(self, payload: SystemAlertData) -> None:
        running = self.running.get(payload.operation_id or "")
        if running is not None and payload.code == PRODUCER_AWAY:
            running.away = payload.state != "cleared"
            running.away_s = running.away_s if running.away else None

    def _progress(self, payload: OperationProgressData, at_s: float, now_s: float) -> None:
        operation_id = payload.operation_id
        running = self.running.get(operation_id)
        if running is None:
            # Progress for an unknown operation counts as its start.
            selected = self._is_selected(operation_id, "", None)
            self.begun += selected
            running = Running(
                operation_id,
                sanitize(operation_id),
                at_s,
                now_s,
                attempt=self._attempt(operation_id, None),
                selected=selected,
            )
            self.running[operation_id] = running
            self.failures.pop(operation_id, None)
        running.attempt = payload.attempt or running.attempt
        if not payload.indeterminate:
            running.peak = max(running.peak, payload.progress)
        running.seen_s = now_s
        running.confirmed = True
        running.queued = False
        # The percentage shown never falls within an attempt.
        running.percent, running.step = None if payload.indeterminate else running.peak, sanitize(payload.current_step)
        running.total_steps = payload.total_steps or running.total_steps
        running.message = sanitize(payload.message)

    def _end(self, payload: End, event: EventLike, at_s: float, now_s: float) -> EndedOperation | None:
        key = payload.operation_id or ""
        selected = self._is_selected(key, "", None)
        running = self.running.pop(key, None)
        known = self._ends.get(key)
        if known is not None and known.timestamp == event.timestamp:
            return None
        attempt = payload.attempt or (running.attempt if running else 1 if known is None else known.attempt + 1)
        if key:
            self._ends[key] = _KnownEnd(event.timestamp, attempt, selected)
            self._ends.move_to_end(key)
            if len(self._ends) > _MAX_ENDS:
                self._ends.popitem(last=False)
        return EndedOperation(
            operation_id=key,
            name=running.name if running else sanitize(key) or "an operation",
            took_s=self._duration(payload, running, at_s),
            payload=payload,
            ended_s=at_s if running is None else min(now_s, at_s + running.started_s - running.reported_s),
            seen_s=now_s,
            attempt=attempt,
            parent_id=None if running is None else running.parent_id,
            selected=selected,
        )

    def _count(self, ended: EndedOperation) -> None:
        self.failures.pop(ended.operation_id, None)
        if isinstance(ended.payload, OperationCompleteData):
            self.complete += 1
        elif isinstance(ended.payload, OperationFailedData):
            self.failed += 1
            if ended.operation_id:
                self.failures[ended.operation_id] = ended
        else:
            self.cancelled += 1

    @staticmethod
    def _duration(payload: object, running: Running | None, at_s: float) -> float | None:
        if isinstance(payload, OperationCompleteData) and payload.duration_ms is not None:
            return payload.duration_ms / 1000
        return max(0.0, at_s - running.reported_s) if running else None
