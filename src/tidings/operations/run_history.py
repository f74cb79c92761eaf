"""History of the runs of one name: "usually takes 12 minutes, last succeeded yesterday"."""

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from tidings.operations.lifecycle import OperationState
from tidings.operations.status import MAX_MILESTONES, OperationStatus

_MAX_DURATIONS = 20
"""Number of runs behind the usual duration: enough for a median, few enough to follow a job that grows."""
_MAX_STEP_RUNS = 9
"""Number of runs behind the usual duration of a step."""
_MAX_STEPS = 50
"""Number of steps of which durations are kept."""
MAX_RECENT = 20
"""Number of ended runs of which state and duration are kept, for a strip of them."""
_TREND_RUNS = 5
"""Number of the newest runs that are compared with those before them."""
_MIN_TREND_RUNS = 3
"""Number of earlier runs from which on they are compared."""
MAX_DURATION_S = 10 * 365 * 86_400.0
"""Maximum duration of a run that counts, in seconds: ten years. A longer one is an error of its producer, such as
nanoseconds in place of milliseconds."""
MAX_NAMES = 1_000
"""Maximum number of names; beyond it, the name whose newest run ended first is removed. Names should be few."""


class CoursePoint(NamedTuple):
    """The time after the start at which runs usually reach a progress."""

    progress: float
    """Percent."""
    low_s: float
    """A tenth of the runs was as fast, in seconds."""
    likely_s: float
    """Half of the runs was as fast."""
    high_s: float
    """Nine tenths of the runs were as fast."""


class EndedRun(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt that has ended."""

    operation_id: str
    attempt: int
    state: OperationState
    ended_ns: int | None
    """Nanoseconds since 1970, by the hub's clock as far as it is known."""
    duration_s: float | None = None


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
    recent: list[EndedRun] = []
    """The newest ended runs, oldest first."""
    courses_s: list[list[float]] = []
    """`OperationStatus.milestones_s` of the newest successful runs that reported progress, oldest first."""
    steps_s: dict[str, list[float]] = {}
    """Durations of the steps of the newest successful run, in seconds, in it and in the runs before, oldest first."""
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

    @property
    def p95_s(self) -> float | None:
        """Duration in seconds within which 95 % of the newest successful runs ended; None where none did."""
        return _quantile(self.durations_s, 0.95) if self.durations_s else None

    @property
    def trend(self) -> float | None:
        """Median duration of the newest successful runs, divided by that of those before; None where they are few."""
        newest, before = self.durations_s[-_TREND_RUNS:], self.durations_s[:-_TREND_RUNS]
        if len(before) < _MIN_TREND_RUNS or median(before) <= 0:
            return None
        return median(newest) / median(before)

    def usual_steps_s(self) -> dict[str, float]:
        """Return the usual duration of each step of the newest successful run, in seconds."""
        return {name: median(durations) for name, durations in self.steps_s.items()}

    def course(self) -> list[CoursePoint]:
        """Return when the newest successful runs reached 10, 20, … 100 %; empty where none reported progress."""
        if not self.courses_s:
            return []
        columns = [*zip(*self.courses_s, strict=True), self.durations_s]
        return [
            CoursePoint(
                progress=100.0 * number / len(columns),
                low_s=_quantile(column, 0.1),
                likely_s=median(column),
                high_s=_quantile(column, 0.9),
            )
            for number, column in enumerate(columns, 1)
            if column
        ]

    def add_end(self, status: OperationStatus, offset: int) -> None:
        """Apply the end of an attempt, at `offset`."""
        if offset <= self.offset:
            return  # the saved history includes it
        self.offset = offset
        self.newest = status.operation_id
        run = EndedRun(
            operation_id=status.operation_id,
            attempt=status.life.attempt,
            state=status.state,
            ended_ns=None if status.ended_ns is None else status.ended_ns + status.clock_lag_ns,
            duration_s=status.duration_s,
        )
        self.recent = [*self.recent[1 - MAX_RECENT :], run]
        if status.state is OperationState.FAILED:
            self.failed += 1
        elif status.state is OperationState.CANCELLED:
            self.cancelled += 1
        else:
            self.complete += 1
            self.last_success_ns, self.last_success_id = status.ended_ns, status.operation_id
            if status.duration_s is not None and status.duration_s <= MAX_DURATION_S:
                self.durations_s = [*self.durations_s[1 - _MAX_DURATIONS :], status.duration_s]
                self.steps_s = {
                    name: [*self.steps_s.get(name, [])[1 - _MAX_STEP_RUNS :], duration_s]
                    for name, duration_s in _step_durations(status).items()
                }
                if len(status.milestones_s) == MAX_MILESTONES and status.milestones_s[-1] <= MAX_DURATION_S:
                    self.courses_s = [*self.courses_s[1 - _MAX_DURATIONS :], status.milestones_s]


def _step_durations(status: OperationStatus) -> dict[str, float]:
    """Return the time that an attempt spent in each step, in seconds; steps may come several times."""
    durations: dict[str, float] = {}
    for step in status.steps:
        if step.ended_ns is not None and (step.name in durations or len(durations) < _MAX_STEPS):
            spent_s = max(0, step.ended_ns - step.started_ns) / 1e9
            durations[step.name] = durations.get(step.name, 0.0) + spent_s
    return {name: duration_s for name, duration_s in durations.items() if duration_s <= MAX_DURATION_S}


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` of them do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]
