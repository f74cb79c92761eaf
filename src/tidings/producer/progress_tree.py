"""The progress of an operation and its steps, as a tree: what they count, what that means, and what is reported of it.

Each operation and each step has a `ProgressNode`. `ProgressReporter` turns the tree into the payload of a progress
event.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tidings.client.deferring_lock import BoundedLock
from tidings.producer.counts import Rate, count_text
from tidings.producer.diagnostics import log_errors
from tidings.producer.options import MAX_INTEGER, countable
from tidings.producer.sanitize import text
from tidings.protocol.payloads import OperationProgressData

_PATH_SEPARATOR = " › "


class SharedState:
    """State shared by an operation and its steps: a lock, a change counter, and a flag that requests the slow path.

    `advance`, which a job may call a million times, adds to a number, checks `alert` and returns; the sampler reads the
    number a few times a second. `alert` is set while nothing samples the operation, and while a cancel request is
    pending; then the call continues with `attend`.
    """

    __slots__ = ("alert", "attend", "changes", "left", "lock", "publish_soon", "watch")

    def __init__(self) -> None:
        self.alert = False
        self.attend: Callable[[bool], None] = _ignore
        self.publish_soon: Callable[[], None] = _ignore
        self.watch: Callable[[], None] = _ignore
        self.changes = 0
        """Number of changes other than counts."""
        self.left: deque[tuple[ProgressNode, bool]] = deque()
        """Steps that were left and have not ended yet, with whether they are finished."""
        # Reentrant: a signal handler may end the operation in the middle of a call of the same thread.
        self.lock = BoundedLock()

    def connect(
        self, attend: Callable[[bool], None], publish_soon: Callable[[], None], watch: Callable[[], None]
    ) -> None:
        """Set the callbacks.

        Args:
            attend: Called by a method that found `alert` set, with whether the call is the head of a loop. May raise
                OperationCancelled.
            publish_soon: Called after a change that should be visible even if the next one follows immediately.
            watch: Called after a change at the end of a block or loop that found `alert` set. Raises nothing.
        """
        self.attend, self.publish_soon, self.watch = attend, publish_soon, watch
        self.alert = True

    def end_left_steps(self) -> None:
        """End the steps that were left. At the limit of recursion, it fails and changes nothing."""
        with self.lock.guard():
            while self.left:
                node, finished = self.left.popleft()
                try:
                    node.end(finished=finished)
                except BaseException:
                    self.left.appendleft((node, finished))
                    raise
                self.changes += 1

    def add_change(self) -> None:
        """Count a change, and make sure that the sampler reads it."""
        self.changes += 1
        if self.alert:
            self.attend(False)

    def add_quiet_change(self) -> None:
        """Count a change where OperationCancelled must not be raised, and make sure that the sampler reads it."""
        self.changes += 1
        if self.alert:
            self.watch()


def _ignore(*arguments: Any) -> None:
    """Stand in for a callback that is not connected yet."""


class ProgressNode:
    """The progress of an operation or a step; a step's is part of its `parent`'s. Readings require the lock.

    Args:
        shared: State that the operation shares with its steps.
        total: Number of units, if the job gave it.
        steps: Planned steps, with their weights.
        parent: The node of which this is a step.
        name: Name of the step.
        weight: Weight of the step, if the job gave it.
    """

    __slots__ = (
        "_done_weight",
        "_loops",
        "_rate",
        "_runs_again",
        "_total_given",
        "_weight",
        "_weight_given",
        "active",
        "count",
        "furthest",
        "last_step",
        "message",
        "name",
        "note",
        "parent",
        "plan",
        "reported",
        "shared",
        "title",
        "total",
        "tracking",
        "unit",
        "waiting",
    )

    def __init__(
        self,
        shared: SharedState,
        *,
        total: float | None,
        steps: Mapping[str, float],
        parent: "ProgressNode | None" = None,
        name: str = "",
        weight: float | None = None,
    ) -> None:
        self.shared = shared
        self.parent = parent
        self.name = name
        self.plan = dict(steps)
        self._total_given = countable(total)
        self._weight_given = weight
        self._weight = 0.0
        self._runs_again = False
        """Whether the step has run, and begins with nothing done when it begins the next time."""
        self.reset()

    def reset(self) -> None:
        """Begin with nothing done."""
        self.total = self._total_given
        """Number of units; None if unknown."""
        self.count: float = 0
        """Number of completed units: an int, perhaps a large one, or a float, perhaps NaN. See `plain_count`."""
        self.reported: float | None = None
        """Share that the job reported; NaN after `indeterminate`."""
        self.message: str | None = None
        self.title = self.note = ""
        """Texts before and after the count."""
        self.unit = "it"
        self._rate = Rate()
        self.active: list[ProgressNode] = []
        """Steps that have begun and not ended."""
        self.last_step = ""
        """Name of the step that was current last, for `current_step` while none is active."""
        self.furthest = 0.0
        """Percentage below which the progress of the operation does not fall, unless the job reports a lower one."""
        self.waiting = dict(self.plan)
        """Planned steps that have not begun, with their weights."""
        self._done_weight = 0.0
        self.tracking = False
        """Whether a loop counts here at the moment."""
        self._loops = 0

    @property
    def is_detail(self) -> bool:
        """Whether the step appears in the message only, because its weight is 0."""
        return self._weight_given == 0

    # Changes. They take the lock.

    @log_errors
    def begin(self) -> None:
        """Begin the step; without effect if it is running.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        parent = self.parent
        assert parent is not None
        with self.shared.lock.guard():
            self.shared.end_left_steps()
            if self in parent.active:
                return
            if self._runs_again:
                self.reset()
            self._runs_again = True
            self._weight = self._weigh(parent)
            parent.active.append(self)
        try:
            self.shared.add_change()
            if self._weight:
                self.shared.publish_soon()
        except BaseException:  # the block of the step is not entered, and will not be left
            self.leave(finished=False)
            raise

    def leave(self, *, finished: bool) -> None:
        """End the step; without effect if it is not running.

        A job may leave it at the limit of recursion, too deep for what follows: the next step or reading then ends it.
        """
        self.shared.left.append((self, finished))
        self._end_left_steps()

    @log_errors
    def _end_left_steps(self) -> None:
        self.shared.end_left_steps()
        self.shared.add_quiet_change()

    def end(self, *, finished: bool) -> None:
        """End the step, for `SharedState.end_left_steps`, which has the lock. Changes everything or nothing."""
        parent = self.parent
        assert parent is not None
        if self not in parent.active:
            return
        # The completed part of a failed step stays completed: progress does not fall.
        done = 1.0 if finished else self.share() or 0.0
        is_detail = self.is_detail
        # From here on no function is called that the limit of recursion could refuse.
        parent.active.remove(self)
        if not is_detail:
            parent.last_step = self.name
        parent._done_weight += self._weight * done
        if not finished and self.name in parent.plan:
            parent.waiting[self.name] = self._weight * (1.0 - done)

    def _weigh(self, parent: "ProgressNode") -> float:
        """Return the weight of this run of the step; a planned step counts once, however often it runs."""
        planned = parent.waiting.get(self.name)
        if planned is None and self.name in parent.plan:
            return 0.0
        usual = 1.0 if planned is None else planned
        weight = usual if self._weight_given is None else self._weight_given
        if parent.plan and weight != planned:
            self._keep_percent()
        parent.waiting.pop(self.name, None)
        return weight

    def open_loop(self, total: float | None, description: str | None, unit: str) -> "ProgressNode":
        """Return the node for a new loop: this one, or a new detail of it if something counts here already."""
        title, unit, total = text(description or ""), text(unit, 32), countable(total)
        with self.shared.lock.guard():
            nested = self.tracking or bool(self.active)
            if not nested:
                self._start_count(total, title, unit)
        if nested:
            return self.open_step_loop(total, title, unit, weight=0)
        try:
            self.shared.add_change()
        except BaseException:  # the loop does not begin, and will not be closed
            self.close_loop(self)
            raise
        return self

    def open_step_loop(self, total: float | None, name: str, unit: str, *, weight: float | None) -> "ProgressNode":
        """Return the node for a new loop: a new step."""
        step = ProgressNode(self.shared, total=None, steps={}, parent=self, name=text(name), weight=weight)
        step._start_count(countable(total), "", unit)
        step.begin()
        return step

    def close_loop(self, counter: "ProgressNode") -> None:
        """End the loop that counts on `counter`: this node, or a detail of it."""
        counter.tracking = False  # one assignment, which needs no lock
        if counter is self:
            self.shared.add_quiet_change()
        else:
            counter.leave(finished=True)

    def _start_count(self, total: float | None, title: str, unit: str) -> None:
        self._keep_percent()
        self.tracking = True
        self._loops += 1
        self.title, self.unit, self.message = title, unit, None
        if self.reported is not None and math.isnan(self.reported):
            self.reported = None
        if self._total_given is None:
            self.count, self._rate = 0, Rate()
            self.total = total

    def describe(self, total: float | None, note: str, title: str | None) -> None:
        """Set the total, unless the job gave one, and the texts before (None keeps it) and after the count."""
        total, note, title = countable(total), text(note), None if title is None else text(title)
        with self.shared.lock.guard():
            before = self.total, self.note, self.title
            if self._total_given is None and self.total != total:
                self._keep_percent()
                self.total = total
            self.note = note
            if title is not None:
                self.title = title
            changed = (self.total, self.note, self.title) != before
        if changed:
            self.shared.add_quiet_change()

    def report(self, share: float) -> None:
        """Set the share that the job reports. Takes no lock."""
        self.reported = share
        self.furthest = 0.0

    def report_unknown(self) -> None:
        """Make the share unknown, until the next report of it."""
        with self.shared.lock.guard():
            self._keep_percent()
            self.reported = math.nan

    def _keep_percent(self) -> None:
        """Keep the progress of the operation from falling by the change that follows.

        It is a matter of changes, not of readings: what is reported last must not depend on when the sampler has read.
        """
        work = self
        while work.parent is not None:
            work = work.parent
        work.furthest = work.percent() or work.furthest

    # Readings; the caller holds the lock.

    def percent(self) -> float | None:
        """Return the progress of the operation whose node this is, 0–100; None if unknown."""
        share = self.share()
        return None if share is None else max(share * 100, self.furthest)

    def share(self) -> float | None:
        """Return the completed share, 0–1; None if unknown."""
        if not self.plan:
            return self._share_of_all({})
        shares: dict[ProgressNode, float | None] = {}
        waiting = [self]
        while waiting:  # without recursion: plans may nest as deep as steps
            node = waiting[-1]
            missing = [step for step in node._weighed_steps() if step not in shares]
            if missing:
                waiting += missing
            else:
                shares[waiting.pop()] = node._share_of_all(shares)
        return shares[self]

    def _weighed_steps(self) -> list["ProgressNode"]:
        return [step for step in self.active if step._weight > 0] if self.plan else []

    def _share_of_all(self, shares: "Mapping[ProgressNode, float | None]") -> float | None:
        """Return the share, where `shares` has those of the active steps that have a weight."""
        if self.reported is not None and math.isnan(self.reported):
            return None
        known = (self.reported, self._counted_share(), self._weighted_share(shares))
        return max((share for share in known if share is not None), default=None)

    def _counted_share(self) -> float | None:
        # One of several consecutive loops is not the whole.
        if self.total is None or (self._loops > 1 and self._total_given is None):
            return None
        return min(1.0, max(0.0, self.plain_count() / self.total)) if self.total > 0 else 1.0

    def _weighted_share(self, shares: "Mapping[ProgressNode, float | None]") -> float | None:
        if not self.plan:
            return None
        weighed = self._weighed_steps()
        whole = self._done_weight + sum(self.waiting.values()) + sum(step._weight for step in weighed)
        done = self._done_weight + sum(step._weight * (shares[step] or 0.0) for step in weighed)
        return min(1.0, done / whole) if whole > 0 else None  # all that is planned are details

    def counts(self) -> tuple[float, ...]:
        """Return the counts of this node and its active steps, which change without notice."""
        if not self.active:
            return (self.plain_count(),)
        counts: list[float] = []
        waiting = [self]
        while waiting:  # without recursion: steps may nest as deep as the functions of the job
            node = waiting.pop()
            counts.append(node.plain_count())
            waiting.extend(node.active)
        return tuple(counts)

    def plain_count(self) -> float:
        """Return the count as a number that quotients do not overflow; 0 for one beyond all floats."""
        count = self.count
        if type(count) is int and abs(count) >= MAX_INTEGER:
            try:
                return float(count)
            except OverflowError:
                return 0
        return count

    def text(self, now_s: float) -> str:
        """Return the message, or the count, at `now_s` on a monotonic clock."""
        if self.message is not None:
            return self.message
        count = self.plain_count()
        if not count and not self.tracking and not self.total:
            return self.title
        self._rate.update(count, now_s)
        counted = count_text(count, self.total, self.unit, self._rate.value)
        counted = f"{counted}, {self.note}" if self.note else counted
        return f"{self.title}: {counted}" if self.title else counted


class ProgressReporter:
    """Reads the progress of an operation and reports what changed. The caller holds the operation's lock.

    Args:
        work: The operation as a whole.
        operation_id: Id of the operation.
    """

    def __init__(self, work: ProgressNode, operation_id: str) -> None:
        self._work = work
        self._id = operation_id
        self._read = self._fingerprint()

    def restart(self) -> None:
        """Reset all progress for the next attempt."""
        self._work.reset()
        self._read = self._fingerprint()

    @property
    def percent(self) -> float | None:
        """Progress, 0–100; None if unknown."""
        self._work.shared.end_left_steps()
        return self._work.percent()

    def has_changed(self) -> bool:
        """Return whether anything changed since the last `take`."""
        return self._fingerprint() != self._read

    def take(self, now_s: float) -> OperationProgressData | None:
        """Return the progress at `now_s` on a monotonic clock; None if nothing changed since the last call."""
        fingerprint = self._fingerprint()
        if fingerprint == self._read:
            return None
        self._read = fingerprint
        return self.read(now_s)

    def read(self, now_s: float) -> OperationProgressData:
        """Return the progress at `now_s`, whether it changed or not."""
        percent = self.percent
        current = next((step for step in reversed(self._work.active) if not step.is_detail), None)
        return OperationProgressData(
            operation_id=self._id,
            progress=round(self._work.furthest if percent is None else percent, 2),
            current_step=self._work.last_step if current is None else current.name,
            total_steps=len(self._work.plan),
            message=self._message(current, percent is None, now_s) or None,
            indeterminate=percent is None,
        )

    def _fingerprint(self) -> tuple[int, tuple[float, ...]]:
        self._work.shared.end_left_steps()
        return self._work.shared.changes, self._work.counts()

    def _message(self, current: ProgressNode | None, unknown: bool, now_s: float) -> str:
        """Return the innermost message, after the names of the steps that `current_step` does not contain."""
        chain: list[ProgressNode] = [self._work]
        names: list[str] = []
        while chain[-1].active:
            step = chain[-1].active[-1]
            chain.append(step)
            if step is not current and step.name:
                names.append(step.name)
        message = next((message for node in reversed(chain) if (message := node.text(now_s))), "")
        share = chain[-1].share()
        if not message and unknown and share is not None:
            message = f"{share * 100:.0f} %"
        path = _PATH_SEPARATOR.join(names)
        return text(f"{path}: {message}" if path and message else path or message)
