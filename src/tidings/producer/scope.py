"""What an operation and each of its steps have in common: progress, counting, and steps within."""

import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from tidings.producer.bounded import text
from tidings.producer.counting import Rate, count_text
from tidings.producer.plan import Plan, countable, plan_of, share_of, weight_of
from tidings.producer.pulse import Pulse
from tidings.producer.quietly import REMARKS, quietly
from tidings.producer.track import track, track_async

T = TypeVar("T")


class Scope:
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

    def __init__(self, pulse: Pulse, *, total: float | None, steps: Mapping[str, float]) -> None:
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
            REMARKS.fault("advance", error)
        if self._pulse.alert:
            self._pulse.attend(False)

    @quietly
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

    @quietly
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

    def _open_track(self, total: float | None, description: str | None, unit: str) -> "Scope":
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

    def _innermost(self) -> "Scope":
        """Return the step that is being done, or this where none is."""
        scope = self
        while scope._active:
            scope = scope._active[-1]
        return scope

    def _close_track(self, counter: "Scope") -> None:
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


class Step(Scope):
    """One part of an operation, or of another step. See `Scope.step`."""

    __slots__ = ("_parent", "_weight", "_weight_given", "name")

    def __init__(self, parent: Scope, name: str, *, weight: float | None, total: float | None, steps: Plan) -> None:
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

    @quietly
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

    @quietly
    def done(self) -> None:
        """End it, where no `with` does: all of it is done."""
        self._leave(well=True)

    @quietly
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

    def _weigh(self, parent: Scope) -> float:
        """Return what the step counts for; a planned one counts once, whatever it is called again for."""
        planned = parent._waiting.pop(self.name, None)
        if planned is None and self.name in parent._plan:
            return 0.0
        if self._weight_given is not None:
            return self._weight_given
        return 1.0 if planned is None else planned
