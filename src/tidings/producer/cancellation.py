"""How somebody's wish that an operation ends reaches the code that does it."""

import asyncio
import threading
from contextlib import suppress

from tidings.exceptions import OperationCancelled
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.options import RefuseCancel
from tidings.producer.outcome import Cancelled
from tidings.producer.sanitize import text
from tidings.protocol.messages import CancelAnswer, CancelPush

_MAX_REASON = 1_000
"""Characters, as the contract has it."""


class CancellationState:
    """One operation's state of being cancelled.

    Threads are told by an exception, each once: an exception at every report would cut the cleaning up short that the
    first one began. The task of an `async with` is cancelled, as `asyncio.timeout` does it.

    Args:
        refuse: The job's own `on_cancel`.
    """

    def __init__(self, refuse: RefuseCancel | None) -> None:
        self._refuse = refuse
        self._task: asyncio.Task[object] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._requests_before = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be at the beginning of an attempt that nobody has cancelled."""
        self._told: set[int] = set()
        self._interrupted = False
        self.wish: Cancelled | None = None
        """What somebody wants, once somebody does."""

    def ask(self, push: CancelPush) -> CancelAnswer:
        """Ask the job whether it will stop, and note that it should. Called on the outbox's thread."""
        refusal = None
        if self._refuse is not None:
            try:
                refusal = self._refuse(push)
            except Exception as error:
                DIAGNOSTICS.fault("on_cancel", error)
        if refusal:
            return CancelAnswer(verdict="refused", reason=text(refusal, _MAX_REASON))
        self.wish = Cancelled(reason=push.reason or "", cancelled_by=push.cancelled_by)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the body with it
                self._loop.call_soon_threadsafe(self._interrupt)
        return CancelAnswer(verdict="stopping")

    def exception(self) -> OperationCancelled:
        """Return what tells the job."""
        wish = self.wish or Cancelled(reason="")
        message = f"the operation was cancelled: {wish.reason}" if wish.reason else "the operation was cancelled"
        return OperationCancelled(message, reason=wish.reason, cancelled_by=wish.cancelled_by or "")

    def tell(self, at_loop: bool) -> None:
        """Raise what tells the job, if this thread is to be told now.

        Args:
            at_loop: The report is the head of a loop, which must be left whatever its body made of the exception.
        """
        thread = threading.get_ident()
        if self._task is not None and thread == self._loop_thread:
            # The body is told by its task's cancellation, unless it has not let the loop come to that.
            if self._interrupted or asyncio.current_task(self._loop) is not self._task:
                return
        elif thread in self._told and at_loop:
            raise self.exception()
        if thread not in self._told:
            self._told.add(thread)
            raise self.exception()

    # The task of an `async with`.

    def enter_task(self) -> None:
        """Remember the running task as the operation's body."""
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._requests_before = 0 if self._task is None else self._task.cancelling()

    def leave_task(self) -> bool:
        """Forget the task; return whether the cancellation that leaves the block is ours alone."""
        task, self._task, self._loop = self._task, None, None
        return self._interrupted and task is not None and task.uncancel() <= self._requests_before

    def _interrupt(self) -> None:
        if self._task is not None and not self._interrupted and self._loop_thread not in self._told:
            self._interrupted = True
            self._task.cancel(self.exception().message)
