"""Background tasks of Starlette and FastAPI as operations.

::

    async def order_report(request: Request) -> Response:
        task = OperationTask(request, "Make report", make_report, year=2026)
        return JSONResponse({"operation_id": task.operation.id}, status_code=202, background=task)

    app = Starlette(routes=[Route("/reports", order_report, methods=["POST"])], lifespan=lifespan)
"""

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec

import anyio.from_thread
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from tidings.exceptions import OperationCancelled
from tidings.producer.diagnostics import call_hook
from tidings.producer.operation import Operation, lifecycle_of
from tidings.producer.options import Settings
from tidings.producer.runtime import RUNTIME
from tidings.producer.tracing import TRACEPARENT_VARIABLE, current_trace_id
from tidings.protocol.messages import CancelPush

P = ParamSpec("P")
_YOUNG_S, _OLD_S = 1.0, 15.0
"""Times after which a task that has not begun is looked for among the young objects, and among all, in seconds."""
FLUSH_S = 2.0
"""Time that the end of a server may wait for the hub, in seconds."""


class OperationTask(BackgroundTask):
    """A background task that is an operation: queued when it is made, running and ended with the task.

    Return it as the `background` of a response; in FastAPI, `background_tasks.add_task(task)` works, too. In the
    function, `tidings.current_operation()` is its operation. A cancel request cancels an `async def` at its next
    `await`, and an ordinary function, which runs on a thread, at its next report; a task that is still queued never
    runs. An exception of the function fails the operation and reaches the server as usual.

    A task that no response carries, because the handler failed after making it, fails with `never_run`.

    Args:
        request: The request. The operation belongs to the trace in its `traceparent` (W3C Trace Context).
        operation: Name of the operation; or a `tidings.operation(…)` whose settings are used and which is not begun.
        function: Function to call.
        *args: Positional arguments of the function.
        **kwargs: Named arguments of the function.
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
        self._queued = _QueuedOperation(settings, trace_id_of(request))
        loop = _loop()
        if loop is not None:
            # The garbage collector may run at any point: the finalizer must not wait for a lock.
            weakref.finalize(self, _call_soon, loop, self._queued.abandon).atexit = False
            _call_soon(loop, partial(_LOST_TASKS.watch, loop, self._queued))

    @property
    def operation(self) -> Operation:
        """The operation of the task."""
        return self._queued.operation

    async def __call__(self) -> None:
        """Run the task, unless it was cancelled while it was queued."""
        if not self._queued.take():
            return
        operation = self.operation
        try:
            if self.is_async:
                async with operation:
                    await super().__call__()
            else:
                # Cancelling the wait for a thread would not stop the thread; its next report does.
                with operation:
                    await super().__call__()
        except OperationCancelled:
            if operation.state != "cancelled":
                raise


@asynccontextmanager
async def lifespan(app: object = None) -> AsyncIterator[None]:
    """Wait at the end of the server, up to two seconds, until the hub has received how the tasks ended.

    Servers end by raising the signal that stopped them, which skips the exit handlers of the program.
    Pass it to the application as its `lifespan`, or enter it in a lifespan of your own.
    """
    yield
    await asyncio.to_thread(RUNTIME.flush, FLUSH_S)


def trace_id_of(request: HTTPConnection) -> str:
    """Return the trace of a request: of the OpenTelemetry span, else of its `traceparent`, else a new one."""
    return current_trace_id({TRACEPARENT_VARIABLE: request.headers.get("traceparent", "")})


class _QueuedOperation:
    """A queued operation that is run, cancelled or abandoned, whichever comes first."""

    def __init__(self, settings: Settings, trace_id: str) -> None:
        self._refuse = settings.on_cancel
        self._untaken = [None]
        """Empty once the operation is taken; `pop` is atomic, and needs no lock."""
        self.operation = Operation(
            replace(settings, queued=True, trace_id=settings.trace_id or trace_id, on_cancel=self._request_cancel)
        )
        lifecycle_of(self.operation).start(queued=True)

    def take(self) -> bool:
        """Return whether the operation may begin: it was not taken, cancelled or ended before."""
        return self._take() and self.operation.state not in ("complete", "failed", "cancelled")

    @property
    def is_waiting(self) -> bool:
        """Whether the operation has neither been run nor cancelled nor abandoned."""
        return bool(self._untaken)

    def abandon(self) -> None:
        """Fail the operation if it has not been taken."""
        if self.take():
            self.operation.fail(
                "never_run",
                "no response carried the task, so it never ran",
                recoverable=True,
                hint="Return a response with `background=task`; a handler that fails after making the task does not.",
            )

    def _take(self) -> bool:
        try:
            self._untaken.pop()
        except IndexError:
            return False
        return True

    def _request_cancel(self, push: CancelPush) -> str | None:
        refusal = None
        if self._refuse is not None:
            refusal = call_hook("on_cancel", self._refuse, push)
        if not refusal and self._take():
            # This is the sending thread, which must not wait for the lock of the operation.
            end = threading.Thread(target=self._cancel, args=(push,), name="tidings cancel", daemon=True)
            end.start()
        return refusal

    def _cancel(self, push: CancelPush) -> None:
        self.operation.cancel(push.reason or "", cancelled_by=push.cancelled_by)


def _loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of the server: that of this thread, or the one that runs an ordinary handler on this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    try:
        return anyio.from_thread.run_sync(asyncio.get_running_loop)
    except RuntimeError:
        return None


class _LostTasks:
    """Collects tasks that nothing refers to but the traceback of a failed handler.

    An error may refer to its own traceback for as long as the garbage collector does not run, which may be long. Behind
    a BaseHTTPMiddleware of Starlette each one does.
    """

    def __init__(self) -> None:
        self._collected_all_s = -math.inf

    def watch(self, loop: asyncio.AbstractEventLoop, queued: _QueuedOperation) -> None:
        """Look for a task that has not begun after a while: among the young objects first, then among all."""

        def collect_young() -> None:
            if queued.is_waiting:
                gc.collect(1)
                loop.call_later(_OLD_S, collect_all)

        def collect_all() -> None:
            if queued.is_waiting and loop.time() - self._collected_all_s >= _OLD_S:
                self._collected_all_s = loop.time()
                gc.collect()

        loop.call_later(_YOUNG_S, collect_young)


_LOST_TASKS = _LostTasks()


def _call_soon(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the process is ending, and ends its operations
        loop.call_soon_threadsafe(action)
