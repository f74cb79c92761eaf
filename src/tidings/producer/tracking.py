"""How a job reports progress: by calls on an operation or a step, by loops that are tracked, and by progress bars."""

import operator
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Generic, Never, Self, SupportsIndex, TypeVar, overload

from tidings.producer.counts import count_text
from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.options import Plan, number_of, plan_of, share_of, weight_of
from tidings.producer.progress_tree import ProgressNode, SharedState
from tidings.producer.sanitize import text

T = TypeVar("T")
R = TypeVar("R")
_Exit = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], R]

_BLOCKS: ContextVar[tuple["ProgressTracker", ...]] = ContextVar("tidings blocks", default=())
"""The operations and steps in whose blocks this code runs, the innermost last. A block may be left before those that
were entered after it, as by generators, and entered again inside itself."""


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


def _plain(n: Any) -> float:
    """Return a number of another type as a plain one: its code must not run where the count is read, under a lock."""
    return number_of(0 + n, "advance") or 0


class _Leaving(Exception):
    """The end of one block of an operation or step; the `__exit__` that `_BlockEnd` provides.

    An exception (that of Ctrl-C) may arrive before the first line of any function in Python, also of an `__exit__`. It
    does not arrive before `BaseException.__new__`, in C, has kept the arguments: the block is left when this object is
    freed, with the traceback of the exception that arrived.
    """

    def __init__(self, *arguments: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        tracker, _, error, _ = self.args
        tracker._leave(error)
        self.args = ()  # without them, nothing is left to do

    def __del__(self) -> None:
        if self.args:
            self._leave()

    def __bool__(self) -> bool:
        """Return False: the exception that left the block passes."""
        return False


class _AsyncLeaving(_Leaving):
    """The end of one asynchronous block; the `__aexit__` that `_BlockEnd` provides."""

    def _leave(self) -> None:
        tracker, _, error, _ = self.args
        self._raised = tracker._leave_async(error)
        self.args = ()

    def __await__(self) -> Generator[None, None, None]:
        if self._raised is not None:
            raise self._raised
        return
        yield


class _BlockEnd(Generic[R]):
    """An `__exit__` or `__aexit__` that leaves its block even if an exception arrives before its first line.

    Args:
        leaving: Class whose construction leaves the block.
    """

    def __init__(self, leaving: type[_Leaving]) -> None:
        self._leaving = leaving

    def __get__(self, tracker: "ProgressTracker | None", kind: object = None) -> _Exit[R]:
        leaving: Any = self._leaving
        return leaving if tracker is None else partial(leaving, tracker)


class ProgressTracker:
    """A piece of work that reports its progress: an operation or a step.

    Progress is known from the last `progress` call, from the count and its total, and from the planned steps and their
    weights; the furthest of the three counts. If none is known, progress is indeterminate rather than 0 %. All methods
    may be called from any thread.
    """

    __slots__ = ("_node", "_shared")

    def __init__(self, node: ProgressNode) -> None:
        self._node = node
        self._shared: SharedState = node.shared

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
            kind = type(n)
            self._node.count += n if kind is int or kind is float else _plain(n)
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
            self._node.report(share)
        if message is not None:
            self._node.message = text(message)
        self._shared.add_change()

    @log_errors
    def indeterminate(self, message: str | None = None) -> None:
        """Report that the remaining work is unknown, until the next `progress` or `track`.

        Args:
            message: One line for people. None keeps the last one.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        self._node.report_unknown()
        if message is not None:
            self._node.message = text(message)
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

    __exit__ = _BlockEnd[None](_Leaving)
    __aexit__ = _BlockEnd[Awaitable[None]](_AsyncLeaving)

    def _enter_block(self) -> None:
        _BLOCKS.set((*_BLOCKS.get(), self))

    def _leave_block(self) -> None:
        blocks = _BLOCKS.get()
        for index in range(len(blocks) - 1, -1, -1):
            if blocks[index] is self:
                _BLOCKS.set(blocks[:index] + blocks[index + 1 :])
                return
        # The block was left in another context, as by the finalizer of a generator.

    def _leave(self, error: BaseException | None) -> None:
        """End the block of this operation or step, which `error` has left; it may be called again for the same end."""
        raise NotImplementedError

    def _leave_async(self, error: BaseException | None) -> BaseException | None:
        """End the asynchronous block of this operation or step; return the exception to raise, if not `error`."""
        self._leave(error)
        return None


class Step(ProgressTracker):
    """A part of an operation or of another step, made by `step`.

    Use it as a block (`with`, `async with`), or call `begin` and `done`. A block that raises leaves the step
    unfinished: the work reported so far keeps counting, and the step may run again.
    """

    __slots__ = ("_parent",)

    def __init__(
        self, parent: ProgressTracker, name: str, *, weight: float | None, total: float | None, steps: Plan
    ) -> None:
        node = ProgressNode(
            parent._shared,
            total=total,
            steps=plan_of(steps),
            parent=parent._node,
            name=name,
            weight=None if weight is None else weight_of(weight),
        )
        super().__init__(node)
        self._parent = parent

    @property
    def name(self) -> str:
        """Name of the step."""
        return self._node.name

    @property
    def whole(self) -> ProgressTracker:
        """The operation that it is a step of."""
        return self._parent.whole

    @property
    def is_detail(self) -> bool:
        """Whether the step appears in the message only, because its weight is 0."""
        return self._node.is_detail

    def __enter__(self) -> Self:
        self.begin()
        try:
            self._enter_block()
        except BaseException:  # as at the limit of recursion: the block will not be left
            self._node.leave(finished=False)
            raise
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def _leave(self, error: BaseException | None) -> None:
        self._leave_block()
        self._node.leave(finished=error is None)

    def begin(self) -> None:
        """Begin the step, where a `with` block does not fit; without effect if it is running.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        self._node.begin()

    def done(self) -> None:
        """Complete the step, where a `with` block does not fit: all of its work counts as done."""
        self._node.leave(finished=True)


def current_work() -> ProgressTracker | None:
    """Return the operation or step in whose block this code runs; None outside of all."""
    blocks = _BLOCKS.get()
    return blocks[-1] if blocks else None


def _track(
    tracker: ProgressTracker, rows: Iterable[T], total: float | None, description: str | None, unit: str
) -> Iterator[T]:
    shared = tracker._shared
    counter = tracker._node.open_loop(length_of(rows) if total is None else total, description, unit)
    try:
        for row in rows:
            if shared.alert:
                shared.attend(True)
            yield row
            counter.count += 1
        if shared.alert:
            shared.attend(True)
    finally:
        tracker._node.close_loop(counter)


async def _track_async(
    tracker: ProgressTracker, rows: AsyncIterable[T], total: float | None, description: str | None, unit: str
) -> AsyncIterator[T]:
    shared = tracker._shared
    counter = tracker._node.open_loop(length_of(rows) if total is None else total, description, unit)
    try:
        async for row in rows:
            if shared.alert:
                shared.attend(True)
            yield row
            counter.count += 1
        if shared.alert:
            shared.attend(True)
    finally:
        tracker._node.close_loop(counter)


class LoopCounter:
    """The count of a progress bar, kept by an operation or a step.

    Args:
        node: The operation or step that counts.
        owner: The operation or step whose loop this is; None if `node` is a step made for it.
    """

    def __init__(self, node: ProgressNode, owner: ProgressNode | None) -> None:
        self._node = node
        self._owner = owner
        self._start = node.count
        self.shared = node.shared

    @classmethod
    def open(cls, work: ProgressTracker, total: float | None, description: str, unit: str) -> Self:
        """Return a counter for a new loop in the innermost active step of `work`.

        It counts there as `track` does, or as the planned step that is called `description`.
        """
        node = work._node
        while node.active:
            node = node.active[-1]
        if description in node.waiting:
            return cls(node.open_step_loop(total, description, unit, weight=None), None)
        return cls(node.open_loop(total, description, unit), node)

    def open_detail(self, total: float | None, description: str, unit: str) -> "LoopCounter":
        """Return a counter for a loop inside this one."""
        return LoopCounter(self._node.open_step_loop(total, description, unit, weight=0), None)

    def set(self, n: float) -> None:
        """Set the number of completed units.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        kind = type(n)
        self._node.count = self._start + (n if kind is int or kind is float else _plain(n))
        if self.shared.alert:
            self.shared.attend(False)

    def describe(self, total: float | None, note: str, title: str | None) -> None:
        """Set the total, unless the job gave one, and the texts before and after the count.

        Args:
            total: Number of units; None if unknown.
            note: Text after the count.
            title: Text before the count; None keeps it. A step made for the loop keeps its name instead.
        """
        self._node.describe(total, note, title if self._owner is self._node else None)

    def close(self, *, finished: bool) -> None:
        """End the loop; a step made for it is completed if the loop `finished`."""
        if self._owner is None:
            self._node.leave(finished=finished)
        else:
            self._owner.close_loop(self._node)

    @property
    def is_short(self) -> bool:
        """Whether the count has not reached the total, or the total is unknown."""
        return self._node.total is None or self._node.plain_count() < self._node.total

    def __str__(self) -> str:
        return count_text(self._node.plain_count(), self._node.total, self._node.unit, None)
