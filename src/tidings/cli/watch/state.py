"""State of the operations that a watcher sees, folded from their events (docs/protocol/operations.md, "States")."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from tidings.cli.text import sanitize
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationEstimateData,
    OperationFailedData,
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
    return to_nanoseconds(event.timestamp) / 1e9


PRODUCER_AWAY = "producer_away"
"""Code of the hub's alert for an operation whose producer is gone (docs/protocol/operations.md, "Leases")."""
_MAX_ENDS = 4096
"""Ends kept, so that a snapshot that brings them again does not report them twice."""


@dataclass(slots=True)
class Running:
    """An operation that has not ended."""

    operation_id: str
    name: str
    started_s: float
    """Seconds since 1970."""
    seen_s: float
    """Time of its last event, seconds since 1970."""
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
    advanced_s: float = 0.0
    """Time of the last rise of its progress or change of its step, seconds since 1970."""
    estimate: OperationEstimateData | None = None
    """Latest estimate of the hub."""
    estimated_s: float = 0.0
    """Time of the estimate, seconds since 1970."""
    away_s: float | None = None
    """Time of the alert that its producer is away, seconds since 1970; None without one."""
    confirmed: bool = True
    """False from a gap until an event proves that it still runs."""


@dataclass(frozen=True, slots=True)
class EndedOperation:
    """The end of an operation."""

    name: str
    took_s: float | None
    """Duration in seconds; None if its start was not seen."""
    payload: OperationCompleteData | OperationFailedData | OperationCancelledData
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class _End:
    """An end that was reported."""

    timestamp: str
    attempt: int


class WatchedOperations:
    """The running operations, and counts of the ended ones."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self.complete = self.failed = self.cancelled = 0
        self._ends: OrderedDict[str, _End] = OrderedDict()

    @property
    def ended(self) -> int:
        """Number of ended operations."""
        return self.complete + self.failed + self.cancelled

    def apply(self, event: EventLike) -> EndedOperation | None:
        """Fold `event` in; return the end of an operation that was not seen before, if it is one."""
        payload = event.payload
        if isinstance(payload, OperationStartData):
            self._start(payload, seconds(event))
        elif isinstance(payload, OperationProgressData):
            self._progress(payload, seconds(event))
        elif isinstance(payload, OperationEstimateData):
            self._estimate(payload, seconds(event))
        elif isinstance(payload, OperationCompleteData | OperationFailedData | OperationCancelledData):
            return self._end(payload, event)
        elif isinstance(payload, SystemAlertData):
            self._alert(payload, seconds(event))
        return None

    def of_alert(self, alert: SystemAlertData) -> Running | None:
        """Return the running operation of a `producer_away` alert; None for other alerts and operations."""
        return self.running.get(alert.operation_id or "") if alert.code == PRODUCER_AWAY else None

    def doubt_all(self) -> None:
        """Record a gap: running operations may have ended unseen."""
        for running in self.running.values():
            running.confirmed = False

    def drop_doubtful(self) -> None:
        """Record the end of the snapshot after a gap: operations that it did not bring have ended."""
        self.running = {key: running for key, running in self.running.items() if running.confirmed}

    def _start(self, payload: OperationStartData, at: float) -> None:
        before = self.running.pop(payload.operation_id, None)
        self.running[payload.operation_id] = Running(
            operation_id=payload.operation_id,
            name=sanitize(payload.name) or sanitize(payload.operation_id),
            started_s=at,
            seen_s=at,
            percent=None,
            total_steps=payload.total_steps or 0,
            queued=payload.queued,
            attempt=payload.attempt or self._attempt(payload.operation_id, before),
            advanced_s=at,
        )

    def _attempt(self, operation_id: str, before: Running | None) -> int:
        """Return the number of the beginning attempt: the next one after an end, else that of the queued one."""
        if before is not None:
            return before.attempt
        end = self._ends.get(operation_id)
        return 1 if end is None else end.attempt + 1

    def _estimate(self, payload: OperationEstimateData, at: float) -> None:
        running = self.running.get(payload.operation_id)
        if running is not None:
            running.estimate, running.estimated_s = payload, at

    def _alert(self, payload: SystemAlertData, at: float) -> None:
        running = self.of_alert(payload)
        if running is not None:
            running.away_s = None if payload.state == "cleared" else at

    def _progress(self, payload: OperationProgressData, at: float) -> None:
        running = self.running.get(payload.operation_id)
        if running is None:
            # Progress for an unknown operation counts as its start.
            attempt = self._attempt(payload.operation_id, None)
            running = Running(
                payload.operation_id, sanitize(payload.operation_id), at, at, attempt=attempt, advanced_s=at
            )
            self.running[payload.operation_id] = running
        running.attempt = payload.attempt or running.attempt
        step = sanitize(payload.current_step)
        if (step and step != running.step) or (not payload.indeterminate and payload.progress > running.peak):
            running.advanced_s = max(running.advanced_s, at)
        if not payload.indeterminate:
            running.peak = max(running.peak, payload.progress)
        running.seen_s = max(running.seen_s, at)
        running.confirmed = True
        running.queued = False
        # The percentage shown never falls within an attempt.
        running.percent, running.step = None if payload.indeterminate else running.peak, step
        running.total_steps = payload.total_steps or running.total_steps
        running.message = sanitize(payload.message)

    def _end(
        self, payload: OperationCompleteData | OperationFailedData | OperationCancelledData, event: EventLike
    ) -> EndedOperation | None:
        key = payload.operation_id or ""
        running = self.running.pop(key, None)
        known = self._ends.get(key)
        if known is not None and known.timestamp == event.timestamp:
            return None
        attempt = payload.attempt or (running.attempt if running else 1 if known is None else known.attempt + 1)
        if key:
            self._ends[key] = _End(event.timestamp, attempt)
            self._ends.move_to_end(key)
            if len(self._ends) > _MAX_ENDS:
                self._ends.popitem(last=False)
        if isinstance(payload, OperationCompleteData):
            self.complete += 1
        elif isinstance(payload, OperationFailedData):
            self.failed += 1
        else:
            self.cancelled += 1
        name = running.name if running else sanitize(key) or "an operation"
        return EndedOperation(name, self._duration(payload, running, seconds(event)), payload, attempt)

    @staticmethod
    def _duration(payload: object, running: Running | None, at: float) -> float | None:
        if isinstance(payload, OperationCompleteData) and payload.duration_ms is not None:
            return payload.duration_ms / 1000
        return max(0.0, at - running.started_s) if running else None
