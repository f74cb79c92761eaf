"""Metrics of operations by name, for `/metrics`: counted in this process, for a bounded number of names."""

import shlex
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from tidings.hub.hub import Hub
from tidings.operations.lifecycle import LIVE_STATES, OperationState
from tidings.operations.status import CUT_MARKS, OperationStatus

MAX_NAMES: Final = 100
"""Names with metrics of their own, the most recently used ones; each costs up to thirty lines of a response."""
OTHER: Final = "other"
"""The name under which all other names are counted."""
BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
"""Upper bounds of the histogram buckets, in seconds: from interactive waits to jobs of a whole day."""
_MAX_NAME_CHARS: Final = 200
"""Characters of a name that distinguish it from others: labels are repeated on every line."""
_SLACK: Final = 1_000
"""Counted operations kept beyond twice the number of known operations."""


class Histogram:
    """A histogram of durations."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        """Counts by bucket; the last one is unbounded."""
        self.sum_s = 0.0

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    def observe(self, duration_s: float) -> None:
        """Count one duration, in seconds."""
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    def add(self, other: "Histogram") -> None:
        """Add the counts of `other`."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s


class NameMetrics:
    """The metrics of one name."""

    __slots__ = ("duration", "ended", "last_success_ns", "queued")

    def __init__(self) -> None:
        self.ended = {state: 0 for state in OperationState if state not in LIVE_STATES}
        self.last_success_ns = 0
        """Time of the last success, nanoseconds since 1970; 0 if there is none."""
        self.duration = Histogram()
        """Durations of successful attempts."""
        self.queued = Histogram()
        """Times in the queue of attempts that have begun."""

    def add(self, other: "NameMetrics") -> None:
        """Add the counts of `other`."""
        for state, count in other.ended.items():
            self.ended[state] += count
        self.last_success_ns = max(self.last_success_ns, other.last_success_ns)
        self.duration.add(other.duration)
        self.queued.add(other.queued)


class OperationMetrics:
    """The metrics of one hub's operations since it started.

    Args:
        hub: The hub. Operations that ended before its start are not counted, but the time of the last success of a name
            is taken from the log.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._names: dict[str, NameMetrics] = {}
        """Least recently used first."""
        self._other = NameMetrics()
        self._counted: dict[str, int] = {}
        """The part of each operation's timeline that is counted, by operation id; see `_rank`."""
        for status in hub.operations.before(None, hub.operations.known):
            self._counted[status.operation_id] = _rank(status.life.attempt, status.state)
        for name, history in hub.operations.names.items():
            if history.last_success_ns is not None:
                newest = hub.operations.get(history.newest)
                metrics = self._get(label_of(name, newest.command if newest is not None else None))
                metrics.last_success_ns = max(metrics.last_success_ns, history.last_success_ns)
        hub.on_operation.append(self._on_operation)

    def by_name(self) -> Iterator[tuple[str, NameMetrics]]:
        """Yield the metrics of each name, and of all other names together if there are any."""
        yield from self._names.items()
        if self._other.last_success_ns or any(self._other.ended.values()) or self._other.queued.count:
            yield OTHER, self._other

    def live(self) -> dict[OperationState, int]:
        """Return the number of live operations by state."""
        counts = dict.fromkeys((state for state in OperationState if state in LIVE_STATES), 0)
        for status in self._hub.operations.live:
            counts[status.state] += 1
        return counts

    def _on_operation(self, status: OperationStatus) -> None:
        """Count the new part of an operation's timeline: one batch may hold several changes of its state."""
        counted = self._counted.get(status.operation_id, -1)
        times: dict[tuple[int, OperationState], int] = {}
        for change in status.timeline:
            times[change.attempt, change.state] = change.at_ns
            rank = _rank(change.attempt, change.state)
            if rank > counted:
                counted = rank
                self._count(status, change.attempt, change.state, times)
        self._counted[status.operation_id] = counted
        operations = self._hub.operations
        if len(self._counted) > 2 * operations.known + _SLACK:
            self._counted = {key: rank for key, rank in self._counted.items() if operations.get(key) is not None}

    def _count(
        self, status: OperationStatus, attempt: int, state: OperationState, times: dict[tuple[int, OperationState], int]
    ) -> None:
        metrics = self._get(label_of(status.name, status.command))
        at_ns = times[attempt, state]
        if state is OperationState.RUNNING:
            queued_ns = times.get((attempt, OperationState.QUEUED))
            if queued_ns is not None:
                metrics.queued.observe(max(0, at_ns - queued_ns) / 1e9)
        elif state in metrics.ended:
            metrics.ended[state] += 1
            if state is OperationState.COMPLETE:
                metrics.last_success_ns = max(metrics.last_success_ns, at_ns)
                duration_s = _duration_s(status, attempt, at_ns, times)
                if duration_s is not None:
                    metrics.duration.observe(duration_s)

    def _get(self, name: str) -> NameMetrics:
        """Return the metrics of a name, and make it the most recently used one."""
        name = name[:_MAX_NAME_CHARS]
        if name == OTHER:
            return self._other
        metrics = self._names.pop(name, None) or NameMetrics()
        self._names[name] = metrics
        if len(self._names) > MAX_NAMES:
            oldest = next(iter(self._names))
            self._other.add(self._names.pop(oldest))
        return metrics


def label_of(name: str, command: str | None) -> str:
    """Return the label of an operation: its name, or its program if the name is just the command line.

    `tidings run` names operations so by default. Their arguments differ between runs, and are for people.

    Args:
        name: Name of the operation.
        command: Command line of the operation, quoted for a shell.
    """
    if not command or " " not in name:
        return name
    first, _, rest = command.partition(" ")
    try:
        program = PurePath(*shlex.split(first)).name
    except ValueError:  # a program with a blank in its path, quoted
        return name
    line = f"{program} {rest}"
    is_line = name == line or any(name.endswith(cut) and line.startswith(name.removesuffix(cut)) for cut in CUT_MARKS)
    return program if is_line else name


def _rank(attempt: int, state: OperationState) -> int:
    """Return a number that grows during an operation's life: by attempt, then queued, running, ended."""
    within = {OperationState.QUEUED: 0, OperationState.RUNNING: 1}.get(state, 2)
    return 3 * attempt + within


def _duration_s(
    status: OperationStatus, attempt: int, ended_ns: int, times: dict[tuple[int, OperationState], int]
) -> float | None:
    if attempt == status.life.attempt and not status.live:
        return status.duration_s
    started_ns = times.get((attempt, OperationState.RUNNING))
    return None if started_ns is None else max(0, ended_ns - started_ns) / 1e9
