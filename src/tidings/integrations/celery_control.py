"""Celery's side of cancelling: tasks that run are asked, then terminated; tasks that are queued are revoked.

Asking the hub, over HTTP and in one moment, what became of an operation.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tidings.client.http import HTTPClient
from tidings.client.tokens import Token
from tidings.exceptions import CommandRefused, OperationCancelled, OperationUnknown, TidingsError
from tidings.operations.views import OperationDetail
from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.event_sink import EventSink
from tidings.producer.operation import Operation
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelAnswer, CancelPush
from tidings.protocol.payloads import OperationCancelledData


class TaskCanceller:
    """Stops the tasks of one app.

    Args:
        app: The `celery.Celery`.
        grace_s: Time that a task has to end by itself, in seconds.
    """

    def __init__(self, app: Any, grace_s: float) -> None:
        self._app = app
        self._grace_s = max(0.0, grace_s)
        self._blocked: dict[str, str] = {}
        """Reasons by id of the tasks that must not run."""
        self.terminates = False
        """Whether each task runs in a process of its own, which can be terminated, as in the prefork pool."""

    # Running tasks.

    def stop_running(self, run: Operation, push: CancelPush) -> None:
        """Stop a running task: its next report raises, and after the grace period its process is terminated.

        Returns None, which means as `on_cancel` that the task stops. Called on the thread of the outbox.
        """
        if self.terminates:
            timer = threading.Timer(self._grace_s, self._terminate, (run, push))
            timer.daemon = True
            timer.start()

    @log_errors
    def _terminate(self, run: Operation, push: CancelPush) -> None:
        # Not by a signal of our own: the pool would count the lost process as a failure.
        if run.state == "running":
            self._app.control.revoke(push.operation_id, terminate=True, signal="SIGTERM")

    # Queued tasks.

    def handle_queued(self, sink: EventSink) -> None:
        """Handle the requests to cancel queued tasks in this process, which sends the tasks."""
        sink.answer_unclaimed(partial(self._cancel_queued, sink))

    def _cancel_queued(self, sink: EventSink, push: CancelPush) -> CancelAnswer:
        """Cancel a queued task: workers that receive the revocation do not run it. Called on the thread of the outbox.

        A task that has just begun, before the hub received its start, is terminated.
        """
        # The broker of Celery may be slow, and the outbox must not wait for it.
        threading.Thread(target=self._revoke, args=(sink, push), daemon=True).start()
        return CancelAnswer(verdict="stopping")

    @log_errors
    def _revoke(self, sink: EventSink, push: CancelPush) -> None:
        try:
            # First: a client that receives the cancellation may free a worker for the task the next moment.
            self._app.control.revoke(push.operation_id, terminate=True, signal="SIGTERM")
        finally:
            cancelled = OperationCancelledData(
                operation_id=push.operation_id, attempt=push.attempt, reason=push.reason, cancelled_by=push.cancelled_by
            )
            sink.put_nowait(MessageType.OPERATION_CANCELLED, cancelled)

    # Tasks that were cancelled while no worker was listening.

    def guard_tasks(self) -> None:
        """Check every task of the app before it runs."""
        if self._app.finalized:
            self._guard_all()
        self._app.on_after_finalize.connect(self._guard_all, weak=False)

    def block(self, task_id: str, reason: str) -> None:
        """Prevent a task from running."""
        self._blocked[task_id] = reason

    def unblock(self, task_id: str) -> None:
        """Forget a task that has ended."""
        self._blocked.pop(task_id, None)

    def _guard_all(self, **_: Any) -> None:
        for task in list(self._app.tasks.values()):
            try:
                self._guard(type(task))
            except Exception as error:
                DIAGNOSTICS.log_fault("guarding a task", error)

    def _guard(self, task_class: Any) -> None:
        before_start: Callable[..., None] = task_class.before_start
        if getattr(before_start, "_tidings", None) is self:
            return
        # A cancellation is expected: Celery logs it in one line.
        task_class.throws = (*task_class.throws, OperationCancelled)
        blocked = self._blocked

        def guarded(task: Any, task_id: str, args: Any, kwargs: Any) -> None:
            reason = blocked.get(task_id)
            if reason is not None:
                _ignore(task, task_id, reason)
            before_start(task, task_id, args, kwargs)

        guarded._tidings = self  # type: ignore[attr-defined]
        task_class.before_start = guarded


def _ignore(task: Any, task_id: str, reason: str) -> None:
    """Skip a task.

    Raises:
        celery.exceptions.Ignore: Always; it makes Celery skip the task.
    """
    from celery.exceptions import Ignore

    task.backend.mark_as_revoked(
        task_id, reason or "cancelled", request=task.request, store_result=not task.ignore_result
    )
    raise Ignore(reason or "cancelled")


TIMEOUT_S = 2.0
"""Timeout of one lookup, in seconds: a worker waits for it, but a busy hub answers late."""
_PAUSE_S = 30.0
"""Time without lookups after one that got no answer, in seconds."""


class OperationLookup:
    """Looks up operations at one hub over HTTP. Never raises; after a failure it pauses for 30 seconds.

    Args:
        url: See `tidings.operation`.
        token: See `tidings.operation`.
    """

    def __init__(self, url: str | None, token: Token | None) -> None:
        self._url = url
        self._token = token
        self._paused_until_s = 0.0

    def find(self, operation_id: str) -> OperationDetail | None:
        """Return an operation, within `TIMEOUT_S`; None if the hub does not have it or does not answer."""
        if time.monotonic() < self._paused_until_s:
            return None
        try:
            with HTTPClient(self._url, token=self._token, timeout_s=TIMEOUT_S) as client:
                return client.operation(operation_id)
        except (OperationUnknown, CommandRefused):
            return None
        except TidingsError:
            self._paused_until_s = time.monotonic() + _PAUSE_S
            return None
