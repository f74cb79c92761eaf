"""`tidings.Operation`: the handle of one piece of work, as a block, as a decorator, or with explicit calls."""

import asyncio
import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar, Unpack, cast

from tidings.producer.lifecycle import OperationLifecycle
from tidings.producer.options import Options, Plan, Settings, check_hook, settings_of
from tidings.producer.outcome import Cancelled, Completed, Failed, State, failure_described, failure_of
from tidings.producer.progress_tree import ProgressNode, SharedState
from tidings.producer.sanitize import MAX_REASON_CHARS, redacted_text, text
from tidings.producer.tracking import ProgressTracker, current_work
from tidings.protocol.payloads import OperationProgressData

F = TypeVar("F", bound=Callable[..., Any])


class Operation(ProgressTracker):
    """One piece of work that people may be waiting for, made by `tidings.operation` or `tidings.start`.

    Use it as a block (`with` or `async with`), as a decorator, or with explicit calls. It begins with its block, with
    `begin` or with its first report; its block entered again after its end is the next attempt of the same operation.

    No method waits for the hub or raises anything but OperationCancelled. All methods may be called from any thread.
    Another process cannot report on it: pass `id` there, and report a part with `tidings.operation(…, parent=id)`. In a
    forked child, the copy of an operation reports nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._open_blocks = 0
        shared = SharedState()
        super().__init__(ProgressNode(shared, total=settings.total, steps=settings.steps))
        self._lifecycle = OperationLifecycle(settings, shared, self._node)

    def __repr__(self) -> str:
        percent = self.percent
        share = "" if percent is None else f" {percent:.0f} %"
        return f"<Operation {self.name!r} {self.state}{share} id={self.id}>"

    @property
    def settings(self) -> Settings:
        """Settings of the operation, from the arguments of `tidings.operation`."""
        return self._lifecycle.settings

    @property
    def id(self) -> str:
        """Id of the operation, as in lists, links and `tidings cancel`."""
        return self._lifecycle.id

    @property
    def name(self) -> str:
        """Name of the operation, for people."""
        return self._lifecycle.name

    @property
    def trace_id(self) -> str:
        """Trace of its events: 32 lowercase hex digits."""
        return self._lifecycle.trace_id

    @property
    def state(self) -> State:
        """State: `new`, `queued`, `running`, `complete`, `failed` or `cancelled`; `inherited` in a forked child."""
        return self._lifecycle.state

    @property
    def percent(self) -> float | None:
        """Progress, 0–100; None if it is unknown."""
        return self._lifecycle.percent

    @property
    def cancelled(self) -> bool:
        """Whether the operation was cancelled, or a cancel request is pending."""
        return self.state == "cancelled" or self._lifecycle.cancellation.requested is not None

    @property
    def cancel_reason(self) -> str:
        """Reason of the cancel request; "" if there is none."""
        requested = self._lifecycle.cancellation.requested
        return "" if requested is None else requested.reason

    @property
    def duration_s(self) -> float:
        """Time since the current attempt was queued or began, or its total time, in seconds; 0 before that."""
        return self._lifecycle.duration_s

    @property
    def last_words(self) -> str:
        """Message of the last outcome, or the reason of the cancellation; "" if there is none."""
        end = self._lifecycle.outcome
        if end is None:
            return ""
        return (end.reason if isinstance(end, Cancelled) else end.message) or ""

    def reading(self) -> OperationProgressData:
        """Return the current progress, as the payload of a progress event."""
        with self._shared.lock.guard():
            return self._lifecycle.reporter.read(time.monotonic())

    def begin(self) -> None:
        """Begin the operation, where a block does not fit; without effect if it has begun or ended.

        The first report begins it, too.
        """
        self._lifecycle.begin()

    def progress(self, percent: float | None = None, message: str | None = None, *, step: str | None = None) -> None:
        """Report the progress of the whole operation, a message, or both.

        Args:
            percent: 0–100; values outside are clipped. None keeps the last value.
            message: One line for people. None keeps the last one.
            step: Name of the current step, for code that does not use `step()`.

        Raises:
            OperationCancelled: The operation was cancelled; raised once in each thread.
        """
        if step is not None:
            self._node.last_step = text(step)
        super().progress(percent, message)

    def log(self, message: object, level: str | int = "info") -> None:
        """Add a line to the log of the operation.

        Args:
            message: The line; up to 16,000 characters.
            level: `debug`, `info`, `warning`, `error` or `critical`, or the number of a `logging` level.
        """
        self._lifecycle.log(message, level)

    def complete(self, result: Any = None, message: str | None = None) -> None:
        """Complete the operation.

        Args:
            result: Its result. Values that JSON cannot represent become text; a result over 48 KiB is omitted.
            message: One line for people.
        """
        self._lifecycle.end(Completed(result=result, message=None if message is None else text(message)))

    def fail(
        self,
        error: BaseException | str,
        message: str | None = None,
        *,
        details: str | None = None,
        recoverable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        """End the operation as failed.

        Args:
            error: An exception, an error code of your own (`no_prices`), or what happened, in one sentence.
            message: What happened, in one sentence. Default: the message of the exception.
            details: Further details, for a log. Default: the end of the exception's traceback.
            recoverable: Whether another attempt may succeed. Default: derived from the type of the exception.
            hint: What to do about it. Default: the `hint` or the notes of the exception.
        """
        known = failure_of(error) if isinstance(error, BaseException) else failure_described(error, message)
        self._lifecycle.end(
            Failed(
                code=known.code,
                message=known.message if message is None else redacted_text(message),
                details=known.details if details is None else redacted_text(details, 8_000),
                recoverable=known.recoverable if recoverable is None else bool(recoverable),
                hint=known.hint if hint is None else redacted_text(hint),
            )
        )

    def cancel(self, reason: str = "", *, cancelled_by: str | None = None) -> None:
        """End the operation as cancelled, from inside the job. To cancel the operation of another, see `Client.cancel`.

        Args:
            reason: Why it ends.
            cancelled_by: Who requested it, if that was not the job itself.
        """
        subject = None if cancelled_by is None else text(cancelled_by, MAX_REASON_CHARS)
        self._lifecycle.end(Cancelled(reason=text(reason, MAX_REASON_CHARS), cancelled_by=subject))

    def before_end(self, say: Callable[[], None]) -> None:
        """Call a function once when this attempt ends, while the operation can still report.

        It runs on the thread that ends the operation, perhaps in a signal handler, and must not wait. It does not
        change how the operation ends.

        Raises:
            TypeError: It is not a function without arguments.
        """
        check_hook("before_end", say)
        self._lifecycle.before_end(say)

    def child(self, name: str, steps: Plan = (), **options: Unpack[Options]) -> "Operation":
        """Return an operation that is a part of this one. When the part begins, so does this one.

        Args:
            name: Name of the part, for people.
            steps: Names of its steps, or (name, weight), if they are known in advance.
            **options: See `tidings.operation`.
        """
        options["parent"] = self
        return Operation(settings_of(name, steps, options))

    # Display in a notebook: IPython calls the first, other front ends the second.

    def _ipython_display_(self) -> None:
        from tidings.producer.notebook import show

        show(self)

    def _repr_html_(self) -> str:
        from tidings.producer.notebook import html

        return html(self)

    # Blocks and decorators.

    def __enter__(self) -> Self:
        self._open_blocks += 1
        try:
            if self.state == "queued":
                self._lifecycle.begin()
            else:
                self._lifecycle.start()
            self._enter_block()
            return self
        except BaseException as error:  # as KeyboardInterrupt: the block will not be left
            self.__exit__(type(error), error, None)
            raise

    def _leave(self, error: BaseException | None) -> None:
        try:
            self._leave_block()
        finally:
            self._open_blocks = max(0, self._open_blocks - 1)
            if not self._open_blocks:  # a block of the operation inside another one ends nothing
                self._lifecycle.leave(error)

    async def __aenter__(self) -> Self:
        self._lifecycle.cancellation.enter_task()
        return self.__enter__()

    def _leave_async(self, error: BaseException | None) -> BaseException | None:
        """See `ProgressTracker`: OperationCancelled, if the body was cancelled because the operation was.

        And for no other reason; compare the TimeoutError of `asyncio.timeout`. Else CancelledError passes.
        """
        ours_alone = self._lifecycle.cancellation.leave_task()
        self._leave(error)
        if not ours_alone or not isinstance(error, asyncio.CancelledError):
            return None
        cancelled = self._lifecycle.cancellation.exception()
        cancelled.__cause__ = error
        return cancelled

    def __call__(self, function: F) -> F:
        """Decorate `function`: each call is an operation with these arguments. See `tidings.operation`.

        Raises:
            TypeError: `function` is a generator function, whose body runs while the caller iterates, so that its end is
                unknown; or it is a class, or not callable.
        """
        return _decorate(lambda: Operation(self.settings), function)


def current_operation() -> Operation | None:
    """Return the operation of the innermost block or decorated function around this code.

    The block is that of an operation, `with tidings.operation(...)`, or of one of its steps, `with op.step(...)`.
    Tasks started in the block inherit it, as every context variable, and so do calls of `asyncio.to_thread`. Other new
    threads do not.
    """
    work = current_work()
    operation = None if work is None else work.whole
    return operation if isinstance(operation, Operation) else None


def lifecycle_of(operation: Operation) -> OperationLifecycle:
    """Return the lifecycle of an operation, for adapters: they start and end operations outside of a block."""
    return operation._lifecycle


def _decorate(make: Callable[[], Operation], function: F) -> F:
    if isinstance(function, staticmethod | classmethod):
        return cast(F, type(function)(_decorate(make, function.__func__)))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"an operation decorates a function, not {function!r}")
    called = function if inspect.isroutine(function) else function.__call__  # type: ignore[operator]
    if any(inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code) for code in (function, called)):
        raise TypeError(
            f"{getattr(function, '__qualname__', function)} is a generator function; use `with tidings.operation(...)` "
            "around the loop that iterates over it, or inside it"
        )
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):

        @functools.wraps(function)
        async def runs_async(*arguments: Any, **options: Any) -> Any:
            async with make():
                return await function(*arguments, **options)

        return cast(F, runs_async)

    @functools.wraps(function)
    def runs(*arguments: Any, **options: Any) -> Any:
        with make():
            return function(*arguments, **options)

    return cast(F, runs)
