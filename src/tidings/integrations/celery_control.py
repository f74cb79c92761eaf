"""Celery's side of cancelling: tasks that run are asked, then terminated; tasks that are queued are revoked.

Asking the hub, over HTTP and in one moment, what became of an operation.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tidings.client.http import HTTPClient
from tidings.exceptions import CommandRefused, OperationCancelled, OperationUnknown, TidingsError
from tidings.operations.views import OperationDetail
from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.event_sink import EventSink
from tidings.producer.operation import Operation
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelAnswer, CancelPush
from tidings.protocol.payloads import OperationCancelledData


class Control:
    """How the tasks of one app are stopped.

    Args:
        app: The `celery.Celery`.
        grace_s: How long a task may take to end by itself.
    """

    def __init__(self, app: Any, grace_s: float) -> None:
        self._app = app
        self._grace_s = max(0.0, grace_s)
        self._doomed: dict[str, str] = {}
        self.terminates = False
        """Whether tasks run in a process of their own here, which can be terminated: the prefork pool's."""

    # Tasks that run.

    def asked(self, run: Operation, push: CancelPush) -> None:
        """Note that a running task is to end: its next report raises, and after the grace its process is terminated.

        Returns None, which is a promise to stop; called on the outbox's thread.
        """
        if self.terminates:
            timer = threading.Timer(self._grace_s, self._terminate, (run, push))
            timer.daemon = True
            timer.start()

    @log_errors
    def _terminate(self, run: Operation, push: CancelPush) -> None:
        # Not by a signal of our own: the pool would take a process that is gone for one that has failed.
        if run.state == "running":
            self._app.control.revoke(push.operation_id, terminate=True, signal="SIGTERM")

    # Tasks that are queued.

    def answer(self, transport: EventSink) -> None:
        """Have wishes to cancel queued tasks answered by this process, which sends them."""
        transport.answer_strays(partial(self._cancel_queued, transport))

    def _cancel_queued(self, transport: EventSink, push: CancelPush) -> CancelAnswer:
        """Cancel a queued task: no worker that hears of it runs it. Called on the outbox's thread.

        One that has just begun, of which the hub has not heard yet, is terminated.
        """
        # Celery's broker may be slow, and the outbox must not wait for it.
        threading.Thread(target=self._revoke, args=(transport, push), daemon=True).start()
        return CancelAnswer(verdict="stopping")

    @log_errors
    def _revoke(self, transport: EventSink, push: CancelPush) -> None:
        try:
            # First: who is told that it is cancelled may free a worker for it the next moment.
            self._app.control.revoke(push.operation_id, terminate=True, signal="SIGTERM")
        finally:
            cancelled = OperationCancelledData(
                operation_id=push.operation_id, attempt=push.attempt, reason=push.reason, cancelled_by=push.cancelled_by
            )
            transport.put_nowait(MessageType.OPERATION_CANCELLED, cancelled)

    # Tasks that were cancelled while no worker heard of it.

    def guard_tasks(self) -> None:
        """Have every task of the app asked for before it runs."""
        if self._app.finalized:
            self._guard_all()
        self._app.on_after_finalize.connect(self._guard_all, weak=False)

    def doom(self, task_id: str, reason: str) -> None:
        """Note that a task must not run."""
        self._doomed[task_id] = reason

    def spare(self, task_id: str) -> None:
        """Note that a task has ended."""
        self._doomed.pop(task_id, None)

    def _guard_all(self, **_: Any) -> None:
        for task in list(self._app.tasks.values()):
            try:
                self._guard(type(task))
            except Exception as error:
                DIAGNOSTICS.log_fault(f"guarding {task!r}", error)

    def _guard(self, task_class: Any) -> None:
        before_start: Callable[..., None] = task_class.before_start
        if getattr(before_start, "_tidings", None) is self:
            return
        # To be cancelled is nothing unexpected: it is logged in one line.
        task_class.throws = (*task_class.throws, OperationCancelled)
        doomed = self._doomed

        def guarded(task: Any, task_id: str, args: Any, kwargs: Any) -> None:
            reason = doomed.get(task_id)
            if reason is not None:
                _give_up(task, task_id, reason)
            before_start(task, task_id, args, kwargs)

        guarded._tidings = self  # type: ignore[attr-defined]
        task_class.before_start = guarded


def _give_up(task: Any, task_id: str, reason: str) -> None:
    """Have a task not run.

    Raises:
        celery.exceptions.Ignore: Celery's own sign for that.
    """
    from celery.exceptions import Ignore

    task.backend.mark_as_revoked(
        task_id, reason or "cancelled", request=task.request, store_result=not task.ignore_result
    )
    raise Ignore(reason or "cancelled")


TIMEOUT_S = 2.0
"""How long a question may take: whoever asks has something to do, but a busy hub answers late."""
_PAUSE_S = 30.0
"""How long nothing is asked after a question without an answer."""


class OperationLookup:
    """A way to ask one hub. Never raises; a hub that is away is left alone for a while.

    Args:
        url: See `tidings.operation`.
        token: See `tidings.operation`.
    """

    def __init__(self, url: str | None, token: str | None) -> None:
        self._url = url
        self._token = token
        self._silent_until = 0.0

    def ask(self, operation_id: str) -> OperationDetail | None:
        """Return the operation within `TIMEOUT_S`; None if the hub has no such operation, or does not answer."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            with HTTPClient(self._url, token=self._token, timeout_s=TIMEOUT_S) as client:
                return client.operation(operation_id)
        except (OperationUnknown, CommandRefused):
            return None
        except TidingsError:
            self._silent_until = time.monotonic() + _PAUSE_S
            return None
