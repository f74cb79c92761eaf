"""What an operation and each of its steps have in common: progress, counting, and steps within.

Iterators that count: what `track` returns.

Counting: how many of how many, of what, and how fast.

What the parts of one operation share.
"""

import math
import operator
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.options import Plan, countable, plan_of, share_of, weight_of
from tidings.producer.sanitize import text

_WINDOW_S = 0.5
"""Over which a rate is taken: several looks of the pacer."""
_SMOOTHING = 0.3
"""The newest window's share in the rate, as tqdm has it by default."""


class Rate:
    """How fast a count grows, smoothed; the clock is an argument."""

    __slots__ = ("_at_s", "_count", "value")

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._count = 0.0
        self.value: float | None = None
        """Per second; None until there was a window to take it over."""

    def look(self, count: float, now_s: float) -> None:
        """Take the count as it is at `now_s`."""
        if self._at_s is None:
            self._at_s, self._count = now_s, count
            return
        passed_s = now_s - self._at_s
        if passed_s < _WINDOW_S:
            return
        newest = max(0.0, count - self._count) / passed_s
        self.value = newest if self.value is None else self.value + _SMOOTHING * (newest - self.value)
        self._at_s, self._count = now_s, count


def count_text(count: float, total: float | None, unit: str, rate: float | None) -> str:
    """Return a count as a person reads it: `1,234/10,000 rows, 56.1 rows/s`."""
    of = "" if total is None else f"/{number_text(total)}"
    speed = "" if rate is None else f", {rate_text(rate)} {unit}/s"
    return f"{number_text(count)}{of} {unit}{speed}"


def number_text(value: float) -> str:
    """Return a number with its thousands apart, and no more digits than it has."""
    if not math.isfinite(value):
        return "?"
    return f"{int(value):,}" if value == int(value) else f"{value:,.6g}"


def rate_text(value: float) -> str:
    """Return a rate with three digits where it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class SharedState:
    """A lock, a count of changes, and a flag that asks the job's next report to look up.

    A report of the kind that comes a million times (`advance`) adds to a number, looks at `alert`, and is done: the
    pacer reads the number ten times a second. `alert` is set while nobody reads, and while somebody wants the job to
    stop; then the report calls `attend`.

    Args:
        attend: Called by a report that saw `alert`, with whether it is one at the head of a loop; may raise
            OperationCancelled.
        hurry: Called when something changed that should be seen even if the next change follows at once.
    """

    __slots__ = ("alert", "attend", "changes", "hurry", "lock")

    def __init__(self, attend: Callable[[bool], None], hurry: Callable[[], None]) -> None:
        self.alert = True
        self.attend = attend
        self.hurry = hurry
        self.changes = 0
        """Everything that was said otherwise than by counting."""
        # A signal's handler may end the operation in the middle of a report of the same thread.
        self.lock = threading.RLock()

    def changed(self) -> None:
        """Note a change; see that somebody reads it."""
        self.changes += 1
        if self.alert:
            self.attend(False)


T = TypeVar("T")


class ProgressTracker:
    """A piece of work that says how far it is.

    Of what is known of its share done (what `progress` said, the count against its total, its planned steps by weight)
    the furthest is taken; where nothing is known, it is unknown, not 0 %. Safe to use from many threads.
    """

    __slots__ = (
        "_active",
        "_count",
        "_done_weight",
        "_message",
        "_note",
        "_plan",
        "_pulse",
        "_rate",
        "_said",
        "_title",
        "_total",
        "_total_given",
        "_tracking",
        "_tracks",
        "_unit",
        "_waiting",
    )

    def __init__(self, pulse: SharedState, *, total: float | None, steps: Mapping[str, float]) -> None:
        self._pulse = pulse
        self._plan = dict(steps)
        self._total_given = countable(total)
        self._reset()

    def _reset(self) -> None:
        self._total = self._total_given
        self._count: float = 0
        self._said: float | None = None
        self._message: str | None = None
        self._title = self._note = ""
        self._unit = "it"
        self._rate = Rate()
        self._active: list[Step] = []
        self._waiting = dict(self._plan)
        self._done_weight = 0.0
        self._tracking = False
        self._tracks = 0

    # What the job says.

    def advance(self, n: float = 1) -> None:
        """Count `n` more as done; a negative `n` takes back.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        # Under the GIL one addition of a plain number is not interrupted; a lock would cost four times as much.
        try:
            self._count += n
        except TypeError as error:
            DIAGNOSTICS.fault("advance", error)
        if self._pulse.alert:
            self._pulse.attend(False)

    @log_errors
    def progress(self, percent: float | None = None, message: str | None = None) -> None:
        """Say how far this is, and what it is at.

        Args:
            percent: 0–100, of this operation or step; what is outside is cut off. None leaves it as it was.
            message: A line for people; None leaves it as it was.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        share = share_of(percent)
        with self._pulse.lock:
            if share is not None:
                self._said = share
            if message is not None:
                self._message = text(message)
        self._pulse.changed()

    @log_errors
    def indeterminate(self, message: str | None = None) -> None:
        """Say that nobody knows how much is left, until the next `progress` or `track`.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        with self._pulse.lock:
            self._said = math.nan
            if message is not None:
                self._message = text(message)
        self._pulse.changed()

    def step(self, name: str, *, weight: float | None = None, total: float | None = None, steps: Plan = ()) -> "Step":
        """Return a step of this; enter it with `with` or `async with`, or by `begin()` and `done()`.

        Args:
            name: One of the planned names, or another.
            weight: Its share of the whole, compared with its neighbours'; by default the planned one, else 1.
                With 0 it is a detail: shown in the message while it runs, and not counted.
            total: See `advance`.
            steps: Its own steps, where they are known beforehand.
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
        """Iterate over `rows`, counting them.

        Where this has no total and no planned steps, the rows are the whole of it. Within another `track` of the same
        operation or step, this is a detail of it; after one, nobody knows how many more there will be: indeterminate.

        Args:
            rows: What to iterate over; an asynchronous iterable is for `async for`.
            total: How many there are; by default their `len()`.
            description: What is done with them.
            unit: What one is called.

        Raises:
            OperationCancelled: Somebody cancels the operation; at each step, until the loop is left.
        """
        follow = track_async if isinstance(rows, AsyncIterable) else track
        return follow(self, rows, total=total, description=description, unit=unit)

    # What the iterators need.

    def _open_track(self, total: float | None, description: str | None, unit: str) -> "ProgressTracker":
        """Return what a loop that begins now counts on: this, or a detail of it where this is counting already."""
        title, unit = text(description or ""), text(unit, 32)
        with self._pulse.lock:
            if self._tracking or self._active:
                detail = self.step(title, weight=0)
                detail._count_afresh(total, "", unit)
                detail.begin()
                return detail
            self._count_afresh(total, title, unit)
            self._pulse.changed()
            return self

    def _count_afresh(self, total: float | None, title: str, unit: str) -> None:
        self._tracking = True
        self._tracks += 1
        self._title, self._unit, self._message = title, unit, None
        if self._said is not None and math.isnan(self._said):
            self._said = None
        if self._total_given is None:
            self._count, self._rate = 0, Rate()
            self._set_total(total)

    def _set_total(self, total: float | None) -> None:
        self._total = countable(total)

    def _innermost(self) -> "ProgressTracker":
        """Return the step that is being done, or this where none is."""
        scope = self
        while scope._active:
            scope = scope._active[-1]
        return scope

    def _close_track(self, counter: "ProgressTracker") -> None:
        with self._pulse.lock:
            counter._tracking = False
            if counter is not self and isinstance(counter, Step):
                counter.done()

    # What is told of it; called with the lock held.

    def _fraction(self) -> float | None:
        if self._said is not None and math.isnan(self._said):
            return None
        known = [share for share in (self._said, self._counted(), self._weighted()) if share is not None]
        return max(known) if known else None

    def _counted(self) -> float | None:
        # Of several loops, one after the other, none is the whole.
        if self._total is None or (self._tracks > 1 and self._total_given is None):
            return None
        return min(1.0, max(0.0, self._count / self._total)) if self._total > 0 else 1.0

    def _weighted(self) -> float | None:
        if not self._plan:
            return None
        weighed = [step for step in self._active if step._weight > 0]
        whole = self._done_weight + sum(self._waiting.values()) + sum(step._weight for step in weighed)
        done = self._done_weight + sum(step._weight * (step._fraction() or 0.0) for step in weighed)
        return min(1.0, done / whole) if whole > 0 else 1.0

    def _counts(self) -> tuple[float, ...]:
        """Return all the counts that may have grown since somebody looked."""
        if not self._active:
            return (self._count,)
        return (self._count, *(count for step in self._active for count in step._counts()))

    def _text(self, now_s: float) -> str:
        if self._message is not None:
            return self._message
        if not self._count and not self._tracking and not self._total:
            return self._title
        self._rate.look(self._count, now_s)
        counted = count_text(self._count, self._total, self._unit, self._rate.value)
        counted = f"{counted}, {self._note}" if self._note else counted
        return f"{self._title}: {counted}" if self._title else counted


class Step(ProgressTracker):
    """One part of an operation, or of another step. See `ProgressTracker.step`."""

    __slots__ = ("_parent", "_weight", "_weight_given", "name")

    def __init__(
        self, parent: ProgressTracker, name: str, *, weight: float | None, total: float | None, steps: Plan
    ) -> None:
        super().__init__(parent._pulse, total=total, steps=plan_of(steps))
        self.name = name
        self._parent = parent
        self._weight_given = None if weight is None else weight_of(weight)
        self._weight = 0.0

    @property
    def is_detail(self) -> bool:
        """Whether it is shown in the message only."""
        return self._weight_given == 0

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(well=error is None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @log_errors
    def begin(self) -> None:
        """Begin it, where no `with` does.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        parent = self._parent
        with self._pulse.lock:
            if self in parent._active:
                return
            self._weight = self._weigh(parent)
            parent._active.append(self)
        self._pulse.changed()
        if self._weight:
            self._pulse.hurry()

    @log_errors
    def done(self) -> None:
        """End it, where no `with` does: all of it is done."""
        self._leave(well=True)

    @log_errors
    def _leave(self, *, well: bool) -> None:
        parent = self._parent
        with self._pulse.lock:
            if self not in parent._active:
                return
            parent._active.remove(self)
            # What a step that failed had done stays done: progress does not fall.
            parent._done_weight += self._weight * (1.0 if well else self._fraction() or 0.0)
            if not well and self.name in parent._plan:
                parent._waiting[self.name] = self._weight * (1.0 - (self._fraction() or 0.0))
            self._pulse.changes += 1

    def _weigh(self, parent: ProgressTracker) -> float:
        """Return what the step counts for; a planned one counts once, whatever it is called again for."""
        planned = parent._waiting.pop(self.name, None)
        if planned is None and self.name in parent._plan:
            return 0.0
        if self._weight_given is not None:
            return self._weight_given
        return 1.0 if planned is None else planned


def track(
    scope: "ProgressTracker", rows: Iterable[T], *, total: float | None, description: str | None, unit: str
) -> Iterator[T]:
    """Yield `rows`, counting each when the loop comes back for the next; see `ProgressTracker.track`."""
    pulse = scope._pulse
    counter = scope._open_track(length_of(rows) if total is None else total, description, unit)
    try:
        for row in rows:
            if pulse.alert:
                pulse.attend(True)
            yield row
            counter._count += 1
        if pulse.alert:
            pulse.attend(True)
    finally:
        scope._close_track(counter)


async def track_async(
    scope: "ProgressTracker", rows: AsyncIterable[T], *, total: float | None, description: str | None, unit: str
) -> AsyncIterator[T]:
    """Do the same for `async for`."""
    pulse = scope._pulse
    counter = scope._open_track(length_of(rows) if total is None else total, description, unit)
    try:
        async for row in rows:
            if pulse.alert:
                pulse.attend(True)
            yield row
            counter._count += 1
        if pulse.alert:
            pulse.attend(True)
    finally:
        scope._close_track(counter)


def length_of(rows: object) -> float | None:
    """Return how many there are, where `rows` knows: its `len()`, or what it says it has left (PEP 424)."""
    try:
        return len(rows)  # type: ignore[arg-type]
    except Exception:  # not only TypeError: lengths of lazy data may need a database
        pass
    try:
        return operator.length_hint(rows) or None
    except Exception:  # likewise
        return None
