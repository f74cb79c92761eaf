"""`tidings.operation`: a job says what it does, and is neither held up nor broken by saying it.

The operation whose block the running code is in.

`@tidings.operation("Import prices")`: each call of the function is an operation.
"""

import asyncio
import functools
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from importlib import import_module
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

from tidings.producer.diagnostics import log_errors
from tidings.producer.emitter import Completed
from tidings.producer.lifecycle import OperationLifecycle
from tidings.producer.options import Options, Plan, settings_of
from tidings.producer.outcome import Cancelled, Failed, failure_of
from tidings.producer.sanitize import text
from tidings.protocol.payloads import OperationProgressData

F = TypeVar("F", bound=Callable[..., Any])


def decorate(make: Callable[[], Any], function: F) -> F:
    """Return `function` so that each call runs in the block of an operation of its own.

    Args:
        make: Returns a new operation, not begun.
        function: An ordinary function, or one defined with `async def`.

    Raises:
        TypeError: It is a generator function: its body runs while its caller iterates, and nobody can say when it ends.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator function; use `with tidings.operation(...)` around the loop that "
            "iterates over it, or inside it"
        )
    if inspect.iscoroutinefunction(function):

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


_DISPLAY = "tidings.integrations.jupyter"
"""By name, because adapters are above this package; imported when a notebook asks."""


class Operation(OperationLifecycle):
    """One piece of work that somebody may be waiting for. Made by `tidings.operation` and `tidings.start`.

    Use it as a block (`with`, `async with`), as a decorator, or without either. It begins when its block does; entered
    again after its end, it is the next attempt of the same operation. Nothing here raises but OperationCancelled, and
    nothing waits for the hub. Safe to use from many threads; a forked child's copy is silent.
    """

    _outer: Token[Any] | None = None

    def __repr__(self) -> str:
        percent = self.percent
        share = "" if percent is None else f" {percent:.0f} %"
        return f"<Operation {self.name!r} {self._state}{share} id={self._id}>"

    # What it is.

    @property
    def percent(self) -> float | None:
        """How far it is, 0–100; None where nobody knows."""
        with self._pulse.lock:
            return 100.0 if self._state == "complete" else self._gauge.percent

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, or somebody asks the job to stop."""
        return self._state == "cancelled" or self._cancelling.wish is not None

    @property
    def cancel_reason(self) -> str:
        """Why somebody asks the job to stop, or ""."""
        wish = self._cancelling.wish
        return "" if wish is None else wish.reason

    @property
    def duration_s(self) -> float:
        """How long the attempt has been queued, or has run, or ran in all; 0 before it began."""
        live = self._state in ("queued", "running")
        return time.monotonic() - self._began_s if live else self._lasted_s

    @property
    def last_words(self) -> str:
        """What was said of its end: why it failed or was cancelled; "" before it, or where nothing was said."""
        end = self._said_at_end
        if end is None:
            return ""
        return (end.reason if isinstance(end, Cancelled) else end.message) or ""

    def reading(self) -> OperationProgressData:
        """Return how far it is, as a progress event would say it now."""
        with self._pulse.lock:
            return self._gauge.read(time.monotonic())

    # What it says, beside what every scope does.

    def progress(self, percent: float | None = None, message: str | None = None, *, step: str | None = None) -> None:
        """Say how far the whole is, and what it is at.

        Args:
            percent: 0–100; what is outside is cut off. None leaves it as it was.
            message: A line for people; None leaves it as it was.
            step: The name of the step it is at, where no `step()` says so.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        if step is not None:
            self._gauge.step = text(step)
        super().progress(percent, message)

    @log_errors
    def log(self, message: object, level: str | int = "info") -> None:
        """Add a line to the operation's log.

        Args:
            message: The line.
            level: `debug`, `info`, `warning`, `error` or `critical`, or the number that `logging` has for it.
        """
        self.begin()
        with self._pulse.lock:
            if self._is_live("log"):
                self._voice.log(message, level)

    def complete(self, result: Any = None, message: str | None = None) -> None:
        """End it well. What JSON cannot hold of `result` becomes text, and what is over 48 KiB is left out."""
        self._end(Completed(result=result, message=None if message is None else text(message)))

    def fail(
        self,
        error: BaseException | str,
        message: str | None = None,
        *,
        details: str | None = None,
        recoverable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        """End it badly.

        Args:
            error: What happened, as an exception or as a code of your own.
            message: In a sentence; by default the exception's.
            details: More for a log; by default the end of the exception's traceback.
            recoverable: Whether trying again may help.
            hint: What to do about it.
        """
        if isinstance(error, BaseException):
            known = failure_of(error)
        else:
            known = Failed(code=text(error, 128) or "error", message=text(message or error))
        self._end(
            Failed(
                code=known.code,
                message=known.message if message is None else text(message),
                details=known.details if details is None else text(details, 8_000),
                recoverable=known.recoverable if recoverable is None else bool(recoverable),
                hint=known.hint if hint is None else text(hint),
            )
        )

    def cancel(self, reason: str = "", *, cancelled_by: str | None = None) -> None:
        """End it because the job itself, or who started it, wants that. To stop another's, see `Client.cancel`.

        Args:
            reason: Why.
            cancelled_by: Who wanted it, where that was somebody else.
        """
        who = None if cancelled_by is None else text(cancelled_by, 1_000)
        self._end(Cancelled(reason=text(reason, 1_000), cancelled_by=who))

    def before_end(self, say: Callable[[], None]) -> None:
        """Have `say` called once, when this attempt ends, while it can still report.

        It is called on whichever thread ends the operation, perhaps by a signal's handler, and must not wait.
        """
        self._last_words.append(say)

    def child(self, name: str, steps: Plan = (), **options: Unpack[Options]) -> "Operation":
        """Return an operation that is a part of this one; see `tidings.operation` for the options."""
        options["parent"] = self
        return Operation(settings_of(name, steps, options))

    # In a notebook: IPython asks an object how it is displayed.

    def _ipython_display_(self) -> None:
        import_module(_DISPLAY).show(self)

    def _repr_html_(self) -> str:
        html: str = import_module(_DISPLAY).html(self)
        return html

    # As a block, and as a decorator.

    def __enter__(self) -> Self:
        if self._state == "queued":
            self.begin()
        else:
            self._begin()
        self._outer = CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._outer is not None:
            with suppress(ValueError):  # the block was left in another context, as by a generator's finalizer
                CURRENT.reset(self._outer)
            self._outer = None
        self._leave(error)

    async def __aenter__(self) -> Self:
        self._cancelling.enter_task()
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the block.

        Raises:
            OperationCancelled: The body was cancelled because somebody cancelled the operation, and for no other
                reason: as `asyncio.timeout` raises TimeoutError then. Otherwise CancelledError passes.
        """
        ours_alone = self._cancelling.leave_task()
        self.__exit__(kind, error, traceback)
        if ours_alone and isinstance(error, asyncio.CancelledError):
            raise self._cancelling.exception() from error

    def __call__(self, function: F) -> F:
        """Return `function` so that each call is an operation with these arguments; for `@tidings.operation(…)`."""
        return decorate(lambda: Operation(self.settings), function)


CURRENT: ContextVar["Operation | None"] = ContextVar("tidings operation", default=None)


def current_operation() -> "Operation | None":
    """Return the operation of the innermost `with tidings.operation(...)`, or decorated function, that runs this code.

    As with every context variable, tasks begun in the block have it, and so does `asyncio.to_thread`; other new threads
    have not.
    """
    return CURRENT.get()
