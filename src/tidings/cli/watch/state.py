"""Operations as a watcher knows them: folded from their events (CONTRACT §4).

What the view needs of an event, whoever read it, and how its times and texts are prepared for a screen.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationEstimateData,
    OperationFailedData,
    OperationProgressData,
    OperationStartData,
    SystemAlertData,
)
from tidings.protocol.timestamps import nanoseconds

_MAX_TEXT = 500
"""Characters of one text that can be worth showing on a line."""


class EventLike(Protocol):
    """An event as a watcher reads it."""

    @property
    def type(self) -> str:
        """Its name."""
        ...

    @property
    def timestamp(self) -> str:
        """When it happened, RFC 3339."""
        ...

    @property
    def payload(self) -> Struct | None:
        """Its data as a struct; None where this contract does not know the type, or not this form of it."""
        ...

    @property
    def data(self) -> bytes:
        """Its data as JSON."""
        ...


def seconds(event: EventLike) -> float:
    """Return when `event` happened, in seconds since 1970."""
    return nanoseconds(event.timestamp) / 1e9


def sanitize(text: str | None) -> str:
    """Return `text` for one line of a terminal.

    What others publish must not move the cursor, ring the bell or turn the writing round: whatever is not printable
    becomes a space, and runs of spaces one.
    """
    cut = (text or "")[:_MAX_TEXT]
    return " ".join("".join(each if each.isprintable() else " " for each in cut).split())


PRODUCER_AWAY = "producer_away"
"""The code of the alert that the producer of an operation is gone, as the hub raises it (CONTRACT §4)."""
_REMEMBERED_ENDS = 4096
"""Ends that are not told twice when a snapshot brings them again."""


@dataclass(slots=True)
class Running:
    """An operation that has not ended."""

    operation_id: str
    name: str
    started_s: float
    """Seconds since 1970."""
    seen_s: float
    """When it was last heard of."""
    percent: float | None = None
    """0–100; None while nobody knows how much is left."""
    peak: float = 0.0
    """The most that was told of this attempt."""
    step: str = ""
    total_steps: int = 0
    message: str = ""
    queued: bool = False
    attempt: int = 1
    """As far as was seen: who comes later than the first end takes the second attempt for the first."""
    advanced_s: float = 0.0
    """When its progress last rose, or its step changed."""
    estimate: OperationEstimateData | None = None
    """What the hub reckons of the rest."""
    estimated_s: float = 0.0
    """When it did."""
    away_s: float | None = None
    """Since when its producer is known to be away; None while it is not."""
    confirmed: bool = True
    """False from a gap on until an event shows that it still runs."""


@dataclass(frozen=True, slots=True)
class EndedOperation:
    """The end of an operation."""

    name: str
    took_s: float | None
    """None where its start was not seen."""
    payload: OperationCompleteData | OperationFailedData | OperationCancelledData
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class _End:
    """An end that was told."""

    timestamp: str
    attempt: int


class WatchedOperations:
    """The operations that run, and how many ended how."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self.complete = self.failed = self.cancelled = 0
        self._ends: OrderedDict[str, _End] = OrderedDict()

    @property
    def ended(self) -> int:
        """How many ended, however."""
        return self.complete + self.failed + self.cancelled

    def apply(self, event: EventLike) -> EndedOperation | None:
        """Fold `event` in, and return the end it is, if it is one that was not seen before."""
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
        """Return the operation at which an alert that its producer is away is shown, if it is one that runs."""
        return self.running.get(alert.operation_id or "") if alert.code == PRODUCER_AWAY else None

    def doubt_all(self) -> None:
        """Note a gap: what runs may have ended unseen."""
        for running in self.running.values():
            running.confirmed = False

    def drop_doubtful(self) -> None:
        """Note the end of the snapshot after a gap: what it did not bring runs no more."""
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
        """Return which attempt begins: the next one behind an end, else the one that was queued."""
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
        # Within an attempt what is shown never falls (CONTRACT §4).
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
            if len(self._ends) > _REMEMBERED_ENDS:
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
