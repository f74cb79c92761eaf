"""Background tasks of Starlette, and of FastAPI, as operations.

::

    async def order_report(request: Request) -> Response:
        task = OperationTask(request, "Make report", make_report, year=2026)
        return JSONResponse({"operation_id": task.operation.id}, status_code=202, background=task)

    app = Starlette(routes=[Route("/reports", order_report, methods=["POST"])], lifespan=lifespan)
"""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, ParamSpec

import anyio.from_thread
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from tidings.exceptions import OperationCancelled
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.operation import Operation, lifecycle_of
from tidings.producer.options import Settings
from tidings.producer.runtime import RUNTIME
from tidings.producer.tracing import VARIABLE, current_trace_id
from tidings.protocol.messages import CancelPush

P = ParamSpec("P")
FLUSH_S = 2.0
"""How long a server's end may wait for the hub."""


class OperationTask(BackgroundTask):
    """A background task that is an operation: queued from now on, running while the task does, ended with it.

    Return it as a response's `background`; in FastAPI, `background_tasks.add_task(task)` is as good. The function finds
    its operation as `tidings.current_operation()`. Where somebody cancels it, an `async def` is cancelled at its next
    `await`, and an ordinary function, which runs on a thread, at its next report; one that still waits never runs. What
    the function raises is the operation's failure, and goes to the server as ever.

    A task that no response carries, because the handler failed after making it, ends as `never_run`.

    Args:
        request: What it is done for; the operation belongs to the trace in its `traceparent` (W3C Trace Context).
        operation: The operation's name; or a `tidings.operation(…)`, which is not begun, but taken as a pattern.
        function: What to call, with the arguments that follow.
    """

    def __init__(
        self,
        request: HTTPConnection,
        operation: Operation | str,
        function: Callable[P, Any],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        super().__init__(function, *args, **kwargs)
        settings = operation.settings if isinstance(operation, Operation) else Settings(name=operation)
        self._turn = _Turn(settings, trace_id_of(request))
        loop = _loop()
        if loop is not None:
            # A collector's call, perhaps in the middle of anything: it must not wait for a lock.
            weakref.finalize(self, _later, loop, self._turn.give_up).atexit = False

    @property
    def operation(self) -> Operation:
        """The operation."""
        return self._turn.operation

    async def __call__(self) -> None:
        """Run the task, unless it was cancelled before its turn came."""
        if not self._turn.take():
            return
        operation = self.operation
        try:
            if self.is_async:
                async with operation:
                    await super().__call__()
            else:
                # Cancelling the wait for a thread would not stop the thread; the thread's own report does.
                with operation:
                    await super().__call__()
        except OperationCancelled:
            if operation.state != "cancelled":
                raise


@asynccontextmanager
async def lifespan(app: object = None) -> AsyncIterator[None]:
    """Wait, at the server's end, up to two seconds until the hub knows how its tasks ended.

    Servers die of the signal that ended them, once they are done: nothing that runs at a program's end runs then.
    Give it to the application as its `lifespan`, or enter it within one of your own.
    """
    yield
    await asyncio.to_thread(RUNTIME.flush, FLUSH_S)


def trace_id_of(request: HTTPConnection) -> str:
    """Return the trace that a request belongs to: OpenTelemetry's span's, else its `traceparent`'s, else a new one."""
    return current_trace_id({VARIABLE: request.headers.get("traceparent", "")})


class _Turn:
    """A queued operation, of which one thing becomes first: it runs, is cancelled, or is given up."""

    def __init__(self, settings: Settings, trace_id: str) -> None:
        self._refuse = settings.on_cancel
        self._lock = threading.Lock()
        self._taken = False
        self.operation = Operation(
            replace(settings, queued=True, trace_id=settings.trace_id or trace_id, on_cancel=self._asked_to_cancel)
        )
        lifecycle_of(self.operation).start()

    def take(self) -> bool:
        """Return whether the operation may begin: nothing else has become of it."""
        return self._take() and self.operation.state not in ("complete", "failed", "cancelled")

    def give_up(self) -> None:
        """End the operation, if its turn never came and will not come."""
        if self.take():
            self.operation.fail(
                "never_run",
                "no response carried the task, so it never ran",
                recoverable=True,
                hint="Return a response with `background=task`; a handler that fails after making the task does not.",
            )

    def _take(self) -> bool:
        with self._lock:
            taken, self._taken = self._taken, True
            return not taken

    def _asked_to_cancel(self, push: CancelPush) -> str | None:
        refusal = None
        if self._refuse is not None:
            try:
                refusal = self._refuse(push)
            except Exception as error:
                DIAGNOSTICS.log_fault("on_cancel", error)
        if not refusal and self._take():
            # This is the thread that sends, which must not wait for the operation's lock.
            end = threading.Thread(target=self._cancel, args=(push,), name="tidings cancel", daemon=True)
            end.start()
        return refusal

    def _cancel(self, push: CancelPush) -> None:
        self.operation.cancel(push.reason or "", cancelled_by=push.cancelled_by)


def _loop() -> asyncio.AbstractEventLoop | None:
    """Return the server's loop: this thread's, or the one that lent this thread to an ordinary handler."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    try:
        return anyio.from_thread.run_sync(asyncio.get_running_loop)
    except RuntimeError:
        return None


def _later(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and with it ends the process, which ends its operations
        loop.call_soon_threadsafe(action)
