"""What is remembered of the runs of one name: "usually takes 12 minutes, last went well yesterday"."""

from statistics import median

from msgspec import Struct

from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus

_MAX_DURATIONS = 20
"""Runs that "usually" is reckoned from: enough for a median, few enough to follow a job that grows."""
MAX_NAMES = 1_000
"""Beyond it, the name whose newest run ended longest ago is forgotten: names are to be few, ids are many."""


class RunHistory(Struct, kw_only=True):
    """The ended attempts of all operations of one name."""

    name: str
    newest: str = ""
    """The operation that ended last: kept however old it is."""
    complete: int = 0
    failed: int = 0
    cancelled: int = 0
    last_success_ns: int | None = None
    last_success_id: str | None = None
    durations_s: list[float] = []
    """Of the newest that ended well, oldest first."""
    offset: int = 0
    """Of the newest end folded in."""

    @property
    def runs(self) -> int:
        """How many have ended."""
        return self.complete + self.failed + self.cancelled

    @property
    def median_s(self) -> float | None:
        """How long one usually takes, in seconds; None where none ended well."""
        return median(self.durations_s) if self.durations_s else None

    def note(self, status: OperationStatus, offset: int) -> None:
        """Fold in the end of an attempt, at `offset`."""
        if offset <= self.offset:
            return  # it was saved with the name
        self.offset = offset
        self.newest = status.operation_id
        if status.state is OperationState.FAILED:
            self.failed += 1
        elif status.state is OperationState.CANCELLED:
            self.cancelled += 1
        else:
            self.complete += 1
            self.last_success_ns, self.last_success_id = status.ended_ns, status.operation_id
            if status.duration_s is not None:
                self.durations_s = [*self.durations_s[1 - _MAX_DURATIONS :], status.duration_s]
