"""History of the runs of one name: "usually takes 12 minutes, last succeeded yesterday"."""

from statistics import median

from msgspec import Struct

from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus

_MAX_DURATIONS = 20
"""Number of runs behind the usual duration: enough for a median, few enough to follow a job that grows."""
MAX_DURATION_S = 10 * 365 * 86_400.0
"""Maximum duration of a run that counts, in seconds: ten years. A longer one is an error of its producer, such as
nanoseconds in place of milliseconds."""
MAX_NAMES = 1_000
"""Maximum number of names; beyond it, the name whose newest run ended first is removed. Names should be few."""


class RunHistory(Struct, kw_only=True):
    """The ended attempts of all operations of one name."""

    name: str
    owner: str = ""
    """The subject that began that operation; "" without authentication."""
    newest: str = ""
    """Id of the operation that ended last. That operation is kept, whatever its age."""
    complete: int = 0
    failed: int = 0
    cancelled: int = 0
    last_success_ns: int | None = None
    last_success_id: str | None = None
    durations_s: list[float] = []
    """Durations of the newest successful runs, in seconds, oldest first."""
    offset: int = 0
    """Offset of the newest applied end."""

    @property
    def runs(self) -> int:
        """Number of runs that have ended."""
        return self.complete + self.failed + self.cancelled

    @property
    def median_s(self) -> float | None:
        """Usual duration in seconds; None where no run succeeded."""
        return median(self.durations_s) if self.durations_s else None

    def add_end(self, status: OperationStatus, offset: int) -> None:
        """Apply the end of an attempt, at `offset`."""
        if offset <= self.offset:
            return  # the saved history includes it
        self.offset = offset
        self.newest = status.operation_id
        if status.state is OperationState.FAILED:
            self.failed += 1
        elif status.state is OperationState.CANCELLED:
            self.cancelled += 1
        else:
            self.complete += 1
            self.last_success_ns, self.last_success_id = status.ended_ns, status.operation_id
            if status.duration_s is not None and status.duration_s <= MAX_DURATION_S:
                self.durations_s = [*self.durations_s[1 - _MAX_DURATIONS :], status.duration_s]
