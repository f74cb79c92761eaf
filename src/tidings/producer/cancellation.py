"""Cancelling: how a request to cancel an operation reaches the code that does its work."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

from tidings.exceptions import OperationCancelled
from tidings.producer.diagnostics import call_hook
from tidings.producer.options import RefuseCancel
from tidings.producer.outcome import Cancelled
from tidings.producer.sanitize import MAX_REASON_CHARS, text
from tidings.protocol.messages import CancelAnswer, CancelPush


def _no_task() -> None:
    """Stand in for the reference to a task."""


class CancellationState:
    """Cancellation of one operation.

    Each thread receives one exception: an exception at every report would interrupt the cleanup that the first one
    started. The task of an `async with` block is cancelled instead, as `asyncio.timeout` does it.

    Args:
        refuse: The `on_cancel` callback of the job.
    """

    def __init__(self, refuse: RefuseCancel | None) -> None:
        self._refuse = refuse
        # Weak: a task that has ended holds its exception, and that the block which it interrupted.
        self._task: Callable[[], asyncio.Task[object] | None] = _no_task
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._requests_before = 0
        self.reset()

    def reset(self) -> None:
        """Forget all requests, for the next attempt."""
        self._interrupted_threads: set[int] = set()
        self._task_interrupted = False
        self.requested: Cancelled | None = None
        """The accepted cancel request; None if there is none."""

    def request(self, push: CancelPush) -> CancelAnswer:
        """Ask the job whether it stops, record the request if so, and return the answer for the hub.

        Called on the thread of the outbox.
        """
        refusal = None
        if self._refuse is not None:
            refusal = call_hook("on_cancel", self._refuse, push)
        if refusal:
            return CancelAnswer(verdict="refused", reason=text(refusal, MAX_REASON_CHARS))
        self.requested = Cancelled(reason=push.reason or "", cancelled_by=push.cancelled_by)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the body has ended with it
                self._loop.call_soon_threadsafe(self._cancel_task)
        return CancelAnswer(verdict="stopping")

    def exception(self) -> OperationCancelled:
        """Return the exception to raise in the job."""
        request = self.requested or Cancelled(reason="")
        message = f"the operation was cancelled: {request.reason}" if request.reason else "the operation was cancelled"
        return OperationCancelled(message, reason=request.reason, cancelled_by=request.cancelled_by or "")

    def raise_if_due(self, at_loop: bool) -> None:
        """Raise the exception, unless this thread or task has been interrupted before.

        Args:
            at_loop: Whether the call is the head of a loop, which is left even if its body swallowed the exception.

        Raises:
            OperationCancelled: This thread is to stop.
        """
        thread = threading.get_ident()
        task = self._task()
        if task is not None and thread == self._loop_thread:
            # Cancelling the task interrupts the body, unless the body has not yielded to the loop since.
            if self._task_interrupted or asyncio.current_task(self._loop) is not task:
                return
        elif thread in self._interrupted_threads and at_loop:
            raise self.exception()
        if thread not in self._interrupted_threads:
            self._interrupted_threads.add(thread)
            raise self.exception()

    # The task of an `async with` block.

    def enter_task(self) -> None:
        """Record the running task as the body of the operation."""
        task = asyncio.current_task()
        self._task = _no_task if task is None else weakref.ref(task)
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._requests_before = 0 if task is None else task.cancelling()

    def leave_task(self) -> bool:
        """Forget the task; return whether its cancellation is due to this operation alone."""
        task, self._task, self._loop = self._task(), _no_task, None
        return self._task_interrupted and task is not None and task.uncancel() <= self._requests_before

    def _cancel_task(self) -> None:
        task = self._task()
        if task is not None and not self._task_interrupted and self._loop_thread not in self._interrupted_threads:
            self._task_interrupted = True
            task.cancel(self.exception().message)
