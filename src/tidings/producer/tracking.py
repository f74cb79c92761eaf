"""Progress of an operation and its steps: tracking, counting, and what a progress event reports.

An operation and each of its steps is a `ProgressTracker`; together they form a tree. Everything that reads or changes
the fields of a tracker is in this module. `ProgressReporter` turns the tree into the payload of a progress event.
"""

import math
import operator
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Never, Self, SupportsIndex, TypeVar, overload

from tidings.client.deferring_lock import BoundedLock
from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.options import Plan, countable, number_of, plan_of, share_of, weight_of
from tidings.producer.sanitize import text
from tidings.protocol.payloads import OperationProgressData

T = TypeVar("T")

_BLOCKS: ContextVar[tuple["ProgressTracker", ...]] = ContextVar("tidings blocks", default=())
"""The operations and steps in whose blocks this code runs, the innermost last. A block may be left before those that
were entered after it, as by generators, and entered again inside itself."""

_RATE_WINDOW_S = 0.5
"""Time over which a rate is measured, in seconds: several intervals of the sampler."""
_RATE_SMOOTHING = 0.3
"""Weight of the newest window in a rate, the default of tqdm."""
_PATH_SEPARATOR = " › "


class SharedState:
    """State shared by an operation and its steps: a lock, a change counter, and a flag that requests the slow path.

    `advance`, which a job may call a million times, adds to a number, checks `alert` and returns; the sampler reads the
    number a few times a second. `alert` is set while nothing samples the operation, and while a cancel request is
    pending; then the call continues with `attend`.
    """

    __slots__ = ("alert", "attend", "changes", "lock", "publish_soon")

    def __init__(self) -> None:
        self.alert = False
        self.attend: Callable[[bool], None] = _ignore
        self.publish_soon: Callable[[], None] = _ignore
        self.changes = 0
        """Number of changes other than counts."""
        # Reentrant: a signal handler may end the operation in the middle of a call of the same thread.
        self.lock = BoundedLock()

    def connect(self, attend: Callable[[bool], None], publish_soon: Callable[[], None]) -> None:
        """Set the two callbacks.

        Args:
            attend: Called by a method that found `alert` set, with whether the call is the head of a loop. May raise
                OperationCancelled.
            publish_soon: Called after a change that should be visible even if the next one follows immediately.
        """
        self.attend, self.publish_soon = attend, publish_soon
        self.alert = True

    def add_change(self) -> None:
        """Count a change, and make sure that the sampler reads it."""
        self.changes += 1
        if self.alert:
            self.attend(False)


def _ignore(*arguments: Any) -> None:
    """Stand in for a callback that is not connected yet."""


class Rate:
    """Smoothed growth of a count. The clock is an argument."""

    __slots__ = ("_count", "_measured_at_s", "value")

    def __init__(self) -> None:
        self._measured_at_s: float | None = None
        self._count = 0.0
        self.value: float | None = None
        """Units per second; None until the first window is complete."""

    def update(self, count: float, now_s: float) -> None:
        """Use the count at `now_s`."""
        if self._measured_at_s is None:
            self._measured_at_s, self._count = now_s, count
            return
        elapsed_s = now_s - self._measured_at_s
        if elapsed_s < _RATE_WINDOW_S:
            return
        newest = max(0.0, count - self._count) / elapsed_s
        self.value = newest if self.value is None else self.value + _RATE_SMOOTHING * (newest - self.value)
        self._measured_at_s, self._count = now_s, count


def count_text(count: float, total: float | None, unit: str, rate: float | None) -> str:
    """Return a count for people: `1,234/10,000 rows, 56.1 rows/s`."""
    of = "" if total is None else f"/{number_text(total)}"
    speed = "" if rate is None else f", {rate_text(rate)} {unit}/s"
    return f"{number_text(count)}{of} {unit}{speed}"


def number_text(value: float) -> str:
    """Return a number with thousands separators and at most six significant digits of a fraction."""
    if not math.isfinite(value):
        return "?"
    return f"{int(value):,}" if value == int(value) else f"{value:,.6g}"


def rate_text(value: float) -> str:
    """Return a rate, with three significant digits below 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def length_of(rows: object) -> float | None:
    """Return the number of `rows`, from `len()` or their length hint (PEP 424); None if they have neither."""
    try:
        return len(rows)  # type: ignore[arg-type]
    except Exception:  # not only TypeError: the length of lazy data may need a database
        pass
    try:
        return operator.length_hint(rows) or None
    except Exception:  # for the same reason
        return None


class ProgressTracker:
    """A piece of work that reports its progress: an operation or a step.

    Progress is known from the last `progress` call, from the count and its total, and from the planned steps and their
    weights; the furthest of the three counts. If none is known, progress is indeterminate rather than 0 %. All methods
    may be called from any thread.
    """

    __slots__ = (
        "_active",
        "_count",
        "_done_weight",
        "_loops",
        "_message",
        "_note",
        "_plan",
        "_rate",
        "_reported",
        "_shared",
        "_title",
        "_total",
        "_total_given",
        "_tracking",
        "_unit",
        "_waiting",
    )

    def __init__(self, shared: SharedState, *, total: float | None, steps: Mapping[str, float]) -> None:
        self._shared = shared
        self._plan = dict(steps)
        self._total_given = countable(total)
        self._reset()

    def _reset(self) -> None:
        self._total = self._total_given
        self._count: float = 0
        self._reported: float | None = None
        """Share that the job reported; NaN after `indeterminate`."""
        self._message: str | None = None
        self._title = self._note = ""
        self._unit = "it"
        self._rate = Rate()
        self._active: list[Step] = []
        self._waiting = dict(self._plan)
        """Planned steps that have not begun, with their weights."""
        self._done_weight = 0.0
        self._tracking = False
        """Whether a loop counts here at the moment."""
        self._loops = 0

    def advance(self, n: float = 1) -> None:
        """Add `n` to the count of completed units; a negative `n` subtracts.

        Cheap enough for the innermost loop: well below a microsecond, and without a system call.

        Args:
            n: Number of units; may be a fraction.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        # Under the GIL one addition of a plain number is not interrupted; a lock would cost four times as much.
        try:
            self._count += n
        except Exception as error:
            DIAGNOSTICS.log_fault("advance", error)
        if self._shared.alert:
            self._shared.attend(False)

    @log_errors
    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        """Report the progress of this operation or step, a message, or both.

        Args:
            percent: 0–100; values outside are clipped. None keeps the last value.
            message: One line for people. None keeps the last one.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        # Without the lock: a sample between the two reads the second later, because `add_change` follows both.
        share = share_of(percent)
        if share is not None:
            self._reported = share
        if message is not None:
            self._message = text(message)
        self._shared.add_change()

    @log_errors
    def indeterminate(self, message: str | None = None) -> None:
        """Report that the remaining work is unknown, until the next `progress` or `track`.

        Args:
            message: One line for people. None keeps the last one.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        self._reported = math.nan
        if message is not None:
            self._message = text(message)
        self._shared.add_change()

    def step(self, name: str, *, weight: float | None = None, total: float | None = None, steps: Plan = ()) -> "Step":
        """Return a step of this operation or step. Enter it with `with` or `async with`, or call `begin` and `done`.

        Args:
            name: A planned name, or a new one.
            weight: Share of the whole, relative to the other steps. Default: the planned weight, else 1. A step of
                weight 0 is a detail: it appears in the message while it runs and does not count.
            total: Number of units that `advance` counts in this step.
            steps: Names of its own steps, or (name, weight), if they are known in advance.
        """
        return Step(self, text(name), weight=weight, total=total, steps=steps)

    @overload
    def track(
        self, rows: Iterable[T], total: float | None = None, description: str | None = None, unit: str = "it"
    ) -> Iterator[T]: ...

    @overload
    def track(
        self, rows: AsyncIterable[T], total: float | None = None, description: str | None = None, unit: str = "it"
    ) -> AsyncIterator[T]: ...

    def track(self, rows: Any, total: float | None = None, description: str | None = None, unit: str = "it") -> Any:
        """Iterate over `rows` and count each one when its iteration is complete.

        Without a total and planned steps of its own, the operation or step takes its progress from the loop. A loop
        inside another is a detail of it. A second loop after the first makes the progress indeterminate, because the
        number of loops to come is unknown.

        Args:
            rows: An iterable, or an asynchronous iterable for `async for`.
            total: Number of rows. Default: their `len()` or length hint.
            description: What the loop does, for the message.
            unit: Name of one row. Default: `it`.

        Raises:
            OperationCancelled: The operation was cancelled; raised in each iteration until the loop is left.
        """
        follow = _track_async if isinstance(rows, AsyncIterable) else _track
        return follow(self, rows, total, description, unit)

    @property
    def whole(self) -> "ProgressTracker":
        """The operation that this is, or is a step of."""
        return self

    # It is one of a kind: a copy is the same, and another process cannot have it.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, copies: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        raise TypeError(
            "an operation and its steps cannot be sent to another process: pass `op.id` there, and use "
            "`tidings.operation(…, parent=id)`"
        )

    # Blocks.

    def _enter_block(self) -> None:
        _BLOCKS.set((*_BLOCKS.get(), self))

    def _leave_block(self) -> None:
        blocks = _BLOCKS.get()
        for index in range(len(blocks) - 1, -1, -1):
            if blocks[index] is self:
                _BLOCKS.set(blocks[:index] + blocks[index + 1 :])
                return
        # The block was left in another context, as by the finalizer of a generator.

    # Loops. `_track`, `_track_async` and `LoopCounter` count on the tracker that `_open_loop` returns.

    def _open_loop(self, total: float | None, description: str | None, unit: str) -> "ProgressTracker":
        """Return the tracker for a new loop: this one, or a new detail of it if something counts here already."""
        title, unit, total = text(description or ""), text(unit, 32), countable(total)
        with self._shared.lock.guard():
            nested = self._tracking or bool(self._active)
            if not nested:
                self._start_count(total, title, unit)
        if nested:
            return self._open_step_loop(total, title, unit, weight=0)
        self._shared.add_change()
        return self

    def _open_step_loop(self, total: float | None, name: str, unit: str, *, weight: float | None) -> "Step":
        step = self.step(name, weight=weight)
        step._start_count(countable(total), "", unit)
        step.begin()
        return step

    def _close_loop(self, counter: "ProgressTracker") -> None:
        with self._shared.lock.guard():
            counter._tracking = False
            if counter is not self and isinstance(counter, Step):
                counter.done()

    def _start_count(self, total: float | None, title: str, unit: str) -> None:
        self._tracking = True
        self._loops += 1
        self._title, self._unit, self._message = title, unit, None
        if self._reported is not None and math.isnan(self._reported):
            self._reported = None
        if self._total_given is None:
            self._count, self._rate = 0, Rate()
            self._total = total

    # Readings; the caller holds the lock.

    def _share(self) -> float | None:
        if self._reported is not None and math.isnan(self._reported):
            return None
        shares = (self._reported, self._counted_share(), self._weighted_share())
        return max((share for share in shares if share is not None), default=None)

    def _counted_share(self) -> float | None:
        # One of several consecutive loops is not the whole.
        if self._total is None or (self._loops > 1 and self._total_given is None):
            return None
        return min(1.0, max(0.0, self._plain_count() / self._total)) if self._total > 0 else 1.0

    def _weighted_share(self) -> float | None:
        if not self._plan:
            return None
        weighed = [step for step in self._active if step._weight > 0]
        whole = self._done_weight + sum(self._waiting.values()) + sum(step._weight for step in weighed)
        done = self._done_weight + sum(step._weight * (step._share() or 0.0) for step in weighed)
        return min(1.0, done / whole) if whole > 0 else 1.0

    def _counts(self) -> tuple[float, ...]:
        """Return the counts of this tracker and its active steps, which change without notice."""
        if not self._active:
            return (self._plain_count(),)
        return (self._plain_count(), *(count for step in self._active for count in step._counts()))

    def _plain_count(self) -> float:
        """Return the count as a plain number: `advance` adds anything, and an array counts nothing."""
        count = number_of(self._count, "reading a count")
        if count is None:
            count = self._count = 0
        return count

    def _text(self, now_s: float) -> str:
        if self._message is not None:
            return self._message
        count = self._plain_count()
        if not count and not self._tracking and not self._total:
            return self._title
        self._rate.update(count, now_s)
        counted = count_text(count, self._total, self._unit, self._rate.value)
        counted = f"{counted}, {self._note}" if self._note else counted
        return f"{self._title}: {counted}" if self._title else counted


class Step(ProgressTracker):
    """A part of an operation or of another step, made by `step`.

    Use it as a block (`with`, `async with`), or call `begin` and `done`. A block that raises leaves the step
    unfinished: the work reported so far keeps counting, and the step may run again.
    """

    __slots__ = ("_parent", "_weight", "_weight_given", "name")

    def __init__(
        self, parent: ProgressTracker, name: str, *, weight: float | None, total: float | None, steps: Plan
    ) -> None:
        super().__init__(parent._shared, total=total, steps=plan_of(steps))
        self.name = name
        self._parent = parent
        self._weight_given = None if weight is None else weight_of(weight)
        self._weight = 0.0

    @property
    def whole(self) -> ProgressTracker:
        """The operation that it is a step of."""
        return self._parent.whole

    @property
    def is_detail(self) -> bool:
        """Whether the step appears in the message only, because its weight is 0."""
        return self._weight_given == 0

    def __enter__(self) -> Self:
        self.begin()
        self._enter_block()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave_block()
        self._leave(finished=error is None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @log_errors
    def begin(self) -> None:
        """Begin the step, where a `with` block does not fit; without effect if it is running.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        parent = self._parent
        with self._shared.lock.guard():
            if self in parent._active:
                return
            self._weight = self._weigh(parent)
            parent._active.append(self)
        self._shared.add_change()
        if self._weight:
            self._shared.publish_soon()

    @log_errors
    def done(self) -> None:
        """Complete the step, where a `with` block does not fit: all of its work counts as done."""
        self._leave(finished=True)

    @log_errors
    def _leave(self, *, finished: bool) -> None:
        parent = self._parent
        with self._shared.lock.guard():
            if self not in parent._active:
                return
            parent._active.remove(self)
            # The completed part of a failed step stays completed: progress does not fall.
            parent._done_weight += self._weight * (1.0 if finished else self._share() or 0.0)
            if not finished and self.name in parent._plan:
                parent._waiting[self.name] = self._weight * (1.0 - (self._share() or 0.0))
            self._shared.changes += 1

    def _weigh(self, parent: ProgressTracker) -> float:
        """Return the weight of this run of the step; a planned step counts once, however often it runs."""
        planned = parent._waiting.pop(self.name, None)
        if planned is None and self.name in parent._plan:
            return 0.0
        if self._weight_given is not None:
            return self._weight_given
        return 1.0 if planned is None else planned


def current_work() -> ProgressTracker | None:
    """Return the operation or step in whose block this code runs; None outside of all."""
    blocks = _BLOCKS.get()
    return blocks[-1] if blocks else None


def _track(
    tracker: ProgressTracker, rows: Iterable[T], total: float | None, description: str | None, unit: str
) -> Iterator[T]:
    shared = tracker._shared
    counter = tracker._open_loop(length_of(rows) if total is None else total, description, unit)
    try:
        for row in rows:
            if shared.alert:
                shared.attend(True)
            yield row
            counter._count += 1
        if shared.alert:
            shared.attend(True)
    finally:
        tracker._close_loop(counter)


async def _track_async(
    tracker: ProgressTracker, rows: AsyncIterable[T], total: float | None, description: str | None, unit: str
) -> AsyncIterator[T]:
    shared = tracker._shared
    counter = tracker._open_loop(length_of(rows) if total is None else total, description, unit)
    try:
        async for row in rows:
            if shared.alert:
                shared.attend(True)
            yield row
            counter._count += 1
        if shared.alert:
            shared.attend(True)
    finally:
        tracker._close_loop(counter)


class LoopCounter:
    """The count of a progress bar, kept by an operation or a step.

    Args:
        tracker: The operation or step that counts.
        owner: The operation or step whose loop this is; None if `tracker` is a step made for it.
    """

    def __init__(self, tracker: ProgressTracker, owner: ProgressTracker | None) -> None:
        self._tracker = tracker
        self._owner = owner
        self._start = tracker._count
        self.shared = tracker._shared

    @classmethod
    def open(cls, work: ProgressTracker, total: float | None, description: str, unit: str) -> Self:
        """Return a counter for a new loop in the innermost active step of `work`.

        It counts there as `track` does, or as the planned step that is called `description`.
        """
        while work._active:
            work = work._active[-1]
        if description in work._waiting:
            return cls(work._open_step_loop(total, description, unit, weight=None), None)
        return cls(work._open_loop(total, description, unit), work)

    def open_detail(self, total: float | None, description: str, unit: str) -> "LoopCounter":
        """Return a counter for a loop inside this one."""
        return LoopCounter(self._tracker._open_step_loop(total, description, unit, weight=0), None)

    def set(self, n: float) -> None:
        """Set the number of completed units.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        self._tracker._count = self._start + n
        if self.shared.alert:
            self.shared.attend(False)

    def describe(self, total: float | None, note: str, title: str | None) -> None:
        """Set the total, unless the job gave one, and the texts before and after the count.

        Args:
            total: Number of units; None if unknown.
            note: Text after the count.
            title: Text before the count; None keeps it. A step made for the loop keeps its name instead.
        """
        tracker = self._tracker
        total, note, title = countable(total), text(note), None if title is None else text(title)
        with self.shared.lock.guard():
            before = tracker._total, tracker._note, tracker._title
            if tracker._total_given is None:
                tracker._total = total
            tracker._note = note
            if title is not None and self._owner is tracker:
                tracker._title = title
            if (tracker._total, tracker._note, tracker._title) != before:
                self.shared.changes += 1

    def close(self, *, finished: bool) -> None:
        """End the loop; a step made for it is completed if the loop `finished`."""
        if self._owner is not None:
            self._owner._close_loop(self._tracker)
        elif isinstance(self._tracker, Step):
            self._tracker._leave(finished=finished)

    @property
    def is_short(self) -> bool:
        """Whether the count has not reached the total, or the total is unknown."""
        return self._tracker._total is None or self._tracker._plain_count() < self._tracker._total

    def __str__(self) -> str:
        return count_text(self._tracker._plain_count(), self._tracker._total, self._tracker._unit, None)


class ProgressReporter:
    """Reads the progress of an operation and reports what changed. The caller holds the operation's lock.

    Args:
        work: The operation as a whole.
        operation_id: Id of the operation.
    """

    def __init__(self, work: ProgressTracker, operation_id: str) -> None:
        self._work = work
        self._id = operation_id
        self._read = self._fingerprint()
        self._furthest = 0.0
        self.step = ""
        """Current or last step, for `current_step`; `progress(…, step=…)` sets it, too."""

    def restart(self) -> None:
        """Reset all progress for the next attempt."""
        self._work._reset()
        self._read, self._furthest, self.step = self._fingerprint(), 0.0, ""

    @property
    def percent(self) -> float | None:
        """Progress, 0–100; None if unknown."""
        share = self._work._share()
        if share is None:
            return None
        # A value that the job reported may fall; one derived from growing steps and counts must not.
        return share * 100 if self._work._reported is not None else max(share * 100, self._furthest)

    def has_changed(self) -> bool:
        """Return whether anything changed since the last `take`."""
        return self._fingerprint() != self._read

    def take(self, now_s: float) -> OperationProgressData | None:
        """Return the progress at `now_s` on a monotonic clock; None if nothing changed since the last call."""
        fingerprint = self._fingerprint()
        if fingerprint == self._read:
            return None
        self._read = fingerprint
        percent = self.percent
        self._furthest = self._furthest if percent is None else max(self._furthest, percent)
        return self.read(now_s)

    def read(self, now_s: float) -> OperationProgressData:
        """Return the progress at `now_s`, whether it changed or not."""
        percent = self.percent
        current = next((step for step in reversed(self._work._active) if not step.is_detail), None)
        self.step = self.step if current is None else current.name
        return OperationProgressData(
            operation_id=self._id,
            progress=round(self._furthest if percent is None else percent, 2),
            current_step=self.step,
            total_steps=len(self._work._plan),
            message=self._message(current, percent is None, now_s) or None,
            indeterminate=percent is None,
        )

    def _fingerprint(self) -> tuple[int, tuple[float, ...]]:
        return self._work._shared.changes, self._work._counts()

    def _message(self, current: Step | None, unknown: bool, now_s: float) -> str:
        """Return the innermost message, after the names of the steps that `current_step` does not contain."""
        chain: list[ProgressTracker] = [self._work]
        names: list[str] = []
        while chain[-1]._active:
            step = chain[-1]._active[-1]
            chain.append(step)
            if step is not current and step.name:
                names.append(step.name)
        message = next((message for tracker in reversed(chain) if (message := tracker._text(now_s))), "")
        share = chain[-1]._share()
        if not message and unknown and share is not None:
            message = f"{share * 100:.0f} %"
        path = _PATH_SEPARATOR.join(names)
        return text(f"{path}: {message}" if path and message else path or message)
