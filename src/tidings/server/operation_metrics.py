"""Figures of operations by name, for `/metrics`: counted in this process, the names bounded."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tidings.hub.hub import Hub
from tidings.operations.lifecycle import LIVE_STATES, OperationState
from tidings.operations.status import OperationStatus

MAX_NAMES: Final = 100
"""Names with figures of their own, those that were heard of last; each costs up to thirty lines of an answer."""
OTHER: Final = "other"
"""The name under which all others are counted."""
BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
"""From what a person waits for to what runs all day."""
_LONGEST_NAME: Final = 200
"""Characters of a name that tell it from others here: labels are repeated on every line."""
_SLACK: Final = 1_000
"""Operations remembered beside twice as many as are known."""


class Histogram:
    """How often something took how long."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        """By bucket, the one without end last."""
        self.sum_s = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def observe(self, duration_s: float) -> None:
        """Count one duration, in seconds."""
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    def add(self, other: "Histogram") -> None:
        """Count what `other` has counted, too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s


class NameMetrics:
    """The figures of one name."""

    __slots__ = ("duration", "ended", "last_success_ns", "queued")

    def __init__(self) -> None:
        self.ended = {state: 0 for state in OperationState if state not in LIVE_STATES}
        self.last_success_ns = 0
        """When one last ended well, nanoseconds since 1970; 0 is never."""
        self.duration = Histogram()
        """Of attempts that ended well."""
        self.queued = Histogram()
        """Of attempts that were queued and have begun."""

    def add(self, other: "NameMetrics") -> None:
        """Count what `other` has counted, too."""
        for state, count in other.ended.items():
            self.ended[state] += count
        self.last_success_ns = max(self.last_success_ns, other.last_success_ns)
        self.duration.add(other.duration)
        self.queued.add(other.queued)


class OperationMetrics:
    """The figures of one hub's operations, since it started.

    Args:
        hub: Which tells what begins and ends. What has ended before is not counted; when a name last went well is
            known from before.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._names: dict[str, NameMetrics] = {}
        """In the order in which they were last heard of."""
        self._other = NameMetrics()
        self._told: dict[str, int] = {}
        """By operation: what of its life is counted. See `_rank`."""
        for status in hub.operations.before(None, hub.operations.known):
            self._told[status.operation_id] = _rank(status.life.attempt, status.state)
        for name, history in hub.operations.names.items():
            if history.last_success_ns is not None:
                self._of(name).last_success_ns = history.last_success_ns
        hub.on_operation.append(self._turned)

    def by_name(self) -> Iterator[tuple[str, NameMetrics]]:
        """Yield the figures of each name, and those of all others together, if there are any."""
        yield from self._names.items()
        if self._other.last_success_ns or any(self._other.ended.values()) or self._other.queued.count:
            yield OTHER, self._other

    def live(self) -> dict[OperationState, int]:
        """Return how many operations are in each state that is not an end."""
        counts = dict.fromkeys((state for state in OperationState if state in LIVE_STATES), 0)
        for status in self._hub.operations.live:
            counts[status.state] += 1
        return counts

    def _turned(self, status: OperationStatus) -> None:
        """Count what of an operation's timeline is not counted: it tells a batch that holds several turns as one."""
        told = self._told.get(status.operation_id, -1)
        times: dict[tuple[int, OperationState], int] = {}
        for moment in status.timeline:
            times[moment.attempt, moment.state] = moment.at_ns
            rank = _rank(moment.attempt, moment.state)
            if rank > told:
                told = rank
                self._count(status, moment.attempt, moment.state, times)
        self._told[status.operation_id] = told
        operations = self._hub.operations
        if len(self._told) > 2 * operations.known + _SLACK:
            self._told = {key: rank for key, rank in self._told.items() if operations.get(key) is not None}

    def _count(
        self, status: OperationStatus, attempt: int, state: OperationState, times: dict[tuple[int, OperationState], int]
    ) -> None:
        figures = self._of(status.name)
        at_ns = times[attempt, state]
        if state is OperationState.RUNNING:
            queued_ns = times.get((attempt, OperationState.QUEUED))
            if queued_ns is not None:
                figures.queued.observe(max(0, at_ns - queued_ns) / 1e9)
        elif state in figures.ended:
            figures.ended[state] += 1
            if state is OperationState.COMPLETE:
                figures.last_success_ns = max(figures.last_success_ns, at_ns)
                duration_s = _duration_s(status, attempt, at_ns, times)
                if duration_s is not None:
                    figures.duration.observe(duration_s)

    def _of(self, name: str) -> NameMetrics:
        """Return the figures of a name, which is the newest of all now."""
        name = name[:_LONGEST_NAME]
        if name == OTHER:
            return self._other
        figures = self._names.pop(name, None) or NameMetrics()
        self._names[name] = figures
        if len(self._names) > MAX_NAMES:
            oldest = next(iter(self._names))
            self._other.add(self._names.pop(oldest))
        return figures


def _rank(attempt: int, state: OperationState) -> int:
    """Return a number that grows with an operation's life: attempt by attempt, queued, running, ended."""
    within = {OperationState.QUEUED: 0, OperationState.RUNNING: 1}.get(state, 2)
    return 3 * attempt + within


def _duration_s(
    status: OperationStatus, attempt: int, ended_ns: int, times: dict[tuple[int, OperationState], int]
) -> float | None:
    if attempt == status.life.attempt and not status.live:
        return status.duration_s
    started_ns = times.get((attempt, OperationState.RUNNING))
    return None if started_ns is None else max(0, ended_ns - started_ns) / 1e9
