"""Operations as a watcher knows them: folded from their events (CONTRACT §4)."""

from collections import OrderedDict
from dataclasses import dataclass

from tidings.cli.watch.sight import Sight, clean, seconds
from tidings.contract.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationProgressData,
    OperationStartData,
)

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
    step: str = ""
    total_steps: int = 0
    message: str = ""
    queued: bool = False
    confirmed: bool = True
    """False from a gap on until an event shows that it still runs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an operation."""

    name: str
    took_s: float | None
    """None where its start was not seen."""
    payload: OperationCompleteData | OperationFailedData | OperationCancelledData


class Operations:
    """The operations that run, and how many ended how."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self.complete = self.failed = self.cancelled = 0
        self._ends: OrderedDict[str, str] = OrderedDict()

    @property
    def ended(self) -> int:
        """How many ended, however."""
        return self.complete + self.failed + self.cancelled

    def apply(self, event: Sight) -> Ended | None:
        """Fold `event` in, and return the end it is, if it is one that was not seen before."""
        payload = event.payload
        if isinstance(payload, OperationStartData):
            self._start(payload, seconds(event))
        elif isinstance(payload, OperationProgressData):
            self._progress(payload, seconds(event))
        elif isinstance(payload, OperationCompleteData | OperationFailedData | OperationCancelledData):
            return self._end(payload, event)
        return None

    def doubt_all(self) -> None:
        """Note a gap: what runs may have ended unseen."""
        for running in self.running.values():
            running.confirmed = False

    def drop_doubtful(self) -> None:
        """Note the end of the snapshot after a gap: what it did not bring runs no more."""
        self.running = {key: running for key, running in self.running.items() if running.confirmed}

    def _start(self, payload: OperationStartData, at: float) -> None:
        self.running.pop(payload.operation_id, None)
        self.running[payload.operation_id] = Running(
            operation_id=payload.operation_id,
            name=clean(payload.name) or clean(payload.operation_id),
            started_s=at,
            seen_s=at,
            percent=None,
            total_steps=payload.total_steps or 0,
            queued=payload.queued,
        )

    def _progress(self, payload: OperationProgressData, at: float) -> None:
        running = self.running.get(payload.operation_id)
        if running is None:
            # Progress for an unknown operation counts as its start.
            running = Running(payload.operation_id, clean(payload.operation_id), at, at)
            self.running[payload.operation_id] = running
        running.seen_s = max(running.seen_s, at)
        running.confirmed = True
        running.queued = False
        running.percent = None if payload.indeterminate else payload.progress
        running.step = clean(payload.current_step)
        running.total_steps = payload.total_steps or running.total_steps
        running.message = clean(payload.message)

    def _end(
        self, payload: OperationCompleteData | OperationFailedData | OperationCancelledData, event: Sight
    ) -> Ended | None:
        key = payload.operation_id or ""
        running = self.running.pop(key, None)
        if self._ends.get(key) == event.timestamp:
            return None
        if key:
            self._ends[key] = event.timestamp
            self._ends.move_to_end(key)
            if len(self._ends) > _REMEMBERED_ENDS:
                self._ends.popitem(last=False)
        if isinstance(payload, OperationCompleteData):
            self.complete += 1
        elif isinstance(payload, OperationFailedData):
            self.failed += 1
        else:
            self.cancelled += 1
        name = running.name if running else clean(key) or "an operation"
        return Ended(name, self._duration(payload, running, seconds(event)), payload)

    @staticmethod
    def _duration(payload: object, running: Running | None, at: float) -> float | None:
        if isinstance(payload, OperationCompleteData) and payload.duration_ms is not None:
            return payload.duration_ms / 1000
        return max(0.0, at - running.started_s) if running else None
