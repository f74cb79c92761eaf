"""What one request sees of operations: views of them with what the hub knows beside the log."""

from collections.abc import Sequence

from tidings.hub.hub import Hub
from tidings.operations.run_history import NameHistory
from tidings.operations.status import OperationStatus
from tidings.operations.views import (
    LogLineView,
    NameView,
    OperationDetail,
    OperationSummary,
    Presence,
    UsualView,
    detail_of,
    rolled_up,
    summary_of,
    time_of,
    weight_of,
)
from tidings.protocol.payloads import OperationEstimateData

MOST_CHILDREN = 100
"""Shown with their parent; `?parent=` lists all of them."""
_DEEPEST = 16
"""Generations that progress is rolled up over. Who names a parent need not be right: there may be rings."""


class Sight:
    """The views that one answer is made of.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rolled: dict[str, float | None] = {}
        """By operation: what its children have come to, as far as it was asked for."""
        self.looked_at = 0
        """Operations looked at so far: what the views cost."""

    def summary(self, status: OperationStatus) -> OperationSummary:
        """Return an operation as lists show it."""
        self.looked_at += 1
        return summary_of(
            status,
            presence=self._presence(status),
            estimate=self._estimate(status),
            of_children=self._of_children(status, _DEEPEST) if status.progress is None else None,
        )

    def detail(self, status: OperationStatus, lines: Sequence[LogLineView]) -> OperationDetail:
        """Return an operation with all that is known of it, the newest lines of its log given."""
        children = self._hub.operations.children(status.operation_id)[-MOST_CHILDREN:]
        history = self._hub.operations.names.get(status.name)
        return detail_of(
            status,
            presence=self._presence(status),
            estimate=self._estimate(status),
            of_children=self._of_children(status, _DEEPEST) if status.progress is None else None,
            log=lines,
            children=[self.summary(child) for child in children],
            usual=None if history is None else _usual(history),
        )

    def name(self, history: NameHistory) -> NameView:
        """Return what is known of the runs of a name."""
        newest = self._hub.operations.get(history.newest)
        return NameView(
            name=history.name,
            newest=None if newest is None else self.summary(newest),
            runs=history.runs,
            failed=history.failed,
            last_success_at=time_of(history.last_success_ns),
            median_duration_s=history.median_s,
        )

    def _presence(self, status: OperationStatus) -> Presence:
        if not status.live:
            return "unknown"
        presence: Presence = self._hub.leases.presence(status.operation_id)  # type: ignore[assignment]
        return presence

    def _estimate(self, status: OperationStatus) -> OperationEstimateData | None:
        return self._hub.estimates.get(status.operation_id) if status.live else None

    def _of_children(self, status: OperationStatus, deepest: int) -> float | None:
        operation_id = status.operation_id
        if operation_id not in self._rolled:
            self._rolled[operation_id] = None  # what a ring comes back to counts for nothing
            children = self._hub.operations.children(operation_id)
            self.looked_at += len(children)
            self._rolled[operation_id] = rolled_up(
                [(weight_of(child), self._progress(child, deepest - 1)) for child in children]
            )
        return self._rolled[operation_id]

    def _progress(self, status: OperationStatus, deepest: int) -> float | None:
        if status.progress is not None or deepest == 0:
            return status.progress
        return self._of_children(status, deepest)


def _usual(history: NameHistory) -> UsualView:
    return UsualView(
        runs=history.runs,
        failed=history.failed,
        median_duration_s=history.median_s,
        last_success_at=time_of(history.last_success_ns),
    )
