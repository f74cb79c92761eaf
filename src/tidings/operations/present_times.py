"""Times of an operation by the present clock of the hub, where that clock was set after some of its events.

Pure. An operation keeps the times as the clock had them at its events. Each is moved by the jumps of the clock since
then, so that ages, orders and durations count the time that passed, and not the time that the clock skipped.
"""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import structs

from tidings.operations.status import MAX_DELAY_NS, OperationStatus, StateChange, StepStatus

AdjustTime: TypeAlias = Callable[[int, int], int]
"""Returns a time at the event of an offset by the present clock, in nanoseconds since 1970; see `Log.received_ns`."""


def at_present(status: OperationStatus, adjust: AdjustTime) -> OperationStatus:
    """Return an operation with its times by the present clock: itself where the clock did not jump since its events."""
    if adjust(status.offset, 0) == 0 and not any(
        adjust(change.offset, 0) for change in status.timeline if change.offset
    ):
        return status
    return _PresentTimes(status, adjust).status()


class _PresentTimes:
    def __init__(self, status: OperationStatus, adjust: AdjustTime) -> None:
        self._status = status
        self._adjust = adjust
        self._attempt = [change for change in status.timeline if change.attempt == status.life.attempt]
        # An ended attempt whose events waited for the hub keeps the times of its producer's clock. So does one whose
        # delay went with the jump: not its producer's clock was wrong, but the hub's.
        first = self._attempt[0].offset if self._attempt else status.offset
        gone_ns = status.first_lag_ns - status.lag_ns + adjust(first or status.offset, 0)
        self._is_foreign = (not status.live and bool(status.lag_ns) and not status.clock_lag_ns) or (
            bool(status.first_lag_ns) and abs(gone_ns) <= MAX_DELAY_NS
        )
        self._first_ns = min((change.at_ns for change in map(self._change, self._attempt)), default=0)
        self._heard_ns = adjust(status.offset, status.heard_ns)

    def status(self) -> OperationStatus:
        status = self._status
        changes = {change.at_ns: self._change(change).at_ns for change in self._attempt}
        return structs.replace(
            status,
            queued_ns=changes.get(status.queued_ns or 0, status.queued_ns),
            started_ns=changes.get(status.started_ns or 0, status.started_ns),
            ended_ns=changes.get(status.ended_ns or 0, status.ended_ns),
            heard_ns=self._heard_ns,
            advanced_ns=self._between(status.advanced_ns),
            steps=[self._step(step) for step in status.steps],
            timeline=[self._change(change) for change in status.timeline],
        )

    def _change(self, change: StateChange) -> StateChange:
        if self._is_foreign and change.attempt == self._status.life.attempt:
            return change
        return structs.replace(change, at_ns=self._adjust(change.offset or self._status.offset, change.at_ns))

    def _step(self, step: StepStatus) -> StepStatus:
        if self._is_foreign:
            return step
        return structs.replace(
            step, started_ns=self._between(step.started_ns) or 0, ended_ns=self._between(step.ended_ns)
        )

    def _between(self, at_ns: int | None) -> int | None:
        """Return a time of which the offset is not known: between the first and the newest event of the attempt."""
        if at_ns is None:
            return None
        offsets = [*(change.offset or self._status.offset for change in self._attempt), self._status.offset]
        times = [self._adjust(offset, at_ns) for offset in offsets]
        return next((time for time in times if self._first_ns <= time <= self._heard_ns), times[-1])
