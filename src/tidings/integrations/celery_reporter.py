"""Reports Celery tasks from Celery's signals. See `tidings.integrations.celery`.

The headers of a task's message carry its trace, its parent and the time it was sent.
"""

import fnmatch
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from tidings.client.tokens import Token
from tidings.integrations.celery_control import OperationLookup, TaskCanceller
from tidings.producer.diagnostics import log_errors
from tidings.producer.emitter import OperationEmitter
from tidings.producer.operation import Operation, current_operation, lifecycle_of
from tidings.producer.options import Options, Redact, is_disabled, settings_of
from tidings.producer.runtime import RUNTIME
from tidings.producer.sanitize import jsonable, text
from tidings.producer.tracing import current_trace_id
from tidings.protocol.timestamps import to_nanoseconds
from tidings.redaction import redact_json

TRACE_HEADER = "tidings_trace_id"
PARENT_HEADER = "tidings_parent_id"
SENT_HEADER = "tidings_sent_at"
"""Header with the time at which the message was sent, in seconds since 1970."""
_MAX_ARGUMENTS_BYTES = 16 << 10
"""Largest positional and largest named arguments that are reported, in bytes each."""


def parent_of(request: Any) -> str | None:
    """Return the parent of a task: the operation that sent it, else the task that did.

    Args:
        request: The headers of a message, or the `request` of a task.
    """
    parent = request.get(PARENT_HEADER) or request.get("parent_id")
    return parent if isinstance(parent, str) else None


def trace_of(request: Any) -> str | None:
    """Return the trace of a task: its sender's, or its workflow's if the sender does not report."""
    trace_id = request.get(TRACE_HEADER) or str(request.get("root_id") or "").replace("-", "")
    return trace_id if isinstance(trace_id, str) and trace_id else None


def sent_at(request: Any) -> float | None:
    """Return when the message of a task was sent, in seconds since 1970; None if its sender does not report."""
    at_s = request.get(SENT_HEADER)
    return float(at_s) if isinstance(at_s, int | float) else None


def facts_of(request: Any, queue: object, arguments: tuple[Any, Any] | None) -> Mapping[str, Any] | None:
    """Return the metadata of a task's operation.

    Args:
        request: The headers of a message, or the `request` of a task.
        queue: Queue that the message is sent to.
        arguments: Positional and named arguments of the task; None if they are not reported.
    """
    facts = {"queue": queue or None, "retries": request.get("retries") or None, "eta": request.get("eta")}
    if arguments is not None:
        args, kwargs = arguments
        facts["arguments"] = {
            "args": redact_json(jsonable(list(args or ()), _MAX_ARGUMENTS_BYTES)),
            "kwargs": redact_json(jsonable(dict(kwargs or {}), _MAX_ARGUMENTS_BYTES)),
        }
    return {name: fact for name, fact in facts.items() if fact is not None} or None


_CLOSE_S = 2.0
"""Time that the end of a pool process may wait for the hub, in seconds."""
_MIN_QUEUED_S = 0.25
"""Time in the queue below which a task is not looked up, in seconds: a cancellation in that time is too unlikely to
spend a millisecond on."""

_connected: "list[TaskReporter]" = []


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReporting:
    """The options of `connect`: what is reported, and where."""

    url: str | None
    token: Token | None = field(repr=False)
    name: Callable[[str], str] | None
    ignore: Collection[str]
    arguments: bool
    results: bool
    redact: Redact | None
    lease_s: float | None


class TaskReporter:
    """Reports the tasks of one app from its signals. Made by `connect`."""

    def __init__(self, app: Any, options: TaskReporting, canceller: TaskCanceller) -> None:
        self.app = app
        self._options = options
        self.canceller = canceller
        self._lookup = OperationLookup(options.url, options.token)
        self._runs: dict[str, Operation] = {}
        self._handlers: dict[str, Callable[..., None]] = {
            "before_task_publish": self._before_send,
            "task_prerun": self._before_run,
            "task_success": self._succeeded,
            "task_failure": self._failed,
            "task_retry": self._retried,
            "task_postrun": self._after_run,
            "task_revoked": self._revoked,
            "worker_process_init": self._process_started,
            "worker_process_shutdown": self._process_ends,
        }

    def connect(self) -> None:
        """Connect to Celery's signals."""
        from celery import signals

        for name, handler in self._handlers.items():
            getattr(signals, name).connect(handler, weak=False, dispatch_uid=self._uid(name))
        self.canceller.guard_tasks()
        _connected.append(self)

    def disconnect(self) -> None:
        """Disconnect from Celery's signals."""
        from celery import signals

        for name in self._handlers:
            getattr(signals, name).disconnect(dispatch_uid=self._uid(name))
        if self in _connected:
            _connected.remove(self)

    def _uid(self, name: str) -> str:
        return f"tidings {name} {id(self)}"

    # The sender of a task.

    @log_errors
    def _before_send(
        self, sender: str = "", headers: dict[str, Any] | None = None, routing_key: str = "", body: Any = None, **_: Any
    ) -> None:
        task_id = (headers or {}).get("id")
        if headers is None or not isinstance(task_id, str) or not self._is_reported(sender):
            return  # without an id it is a message of Celery 3
        run = self._runs.get(task_id)
        around = current_operation()
        if run is None and around is not None:
            headers[PARENT_HEADER] = around.id
        trace_id = around.trace_id if around is not None else headers.get(TRACE_HEADER) or current_trace_id()
        headers[TRACE_HEADER], headers[SENT_HEADER] = trace_id, time.time()
        retry = headers.get("retries") or 0
        if run is not None:
            self._end_resent(run, sender, retry)
        # With a number, a start that arrives late, after the end of the task, does not start its next attempt.
        attempt = None if run is not None else retry + 1
        has_arguments = self._options.arguments and isinstance(body, list | tuple)
        facts = facts_of(headers, routing_key, (body[0], body[1]) if has_arguments else None)
        self._send_queued(sender, task_id, headers, facts, attempt)

    def _end_resent(self, run: Operation, name: str, retry: int) -> None:
        """End a run whose task has sent itself again: the new run may begin at any moment."""
        if retry > _retries(run):
            error = sys.exc_info()[1]
            hint = f"Celery runs it again: retry {retry}."
            run.fail(error or "retry", None if error else "the task asked for a retry", recoverable=True, hint=hint)
        else:  # Task.replace()
            run.complete(message=f"replaced by {name}")

    def _send_queued(
        self, name: str, task_id: str, headers: Mapping[str, Any], facts: Mapping[str, Any] | None, attempt: int | None
    ) -> None:
        settings = settings_of(
            self._name_of(name),
            (),
            {"parent": parent_of(headers), "metadata": facts, "redact": self._options.redact},
        )
        sink, _ = RUNTIME.sink(self._options.url, self._options.token)
        emitter = OperationEmitter(task_id, self._options.redact, sink, headers[TRACE_HEADER])
        self.canceller.handle_queued(sink)
        emitter.send(emitter.start(settings, queued=True, steps=[], attempt=attempt))
        emitter.release()

    # The worker process that runs a task.

    @log_errors
    def _before_run(self, task_id: str = "", task: Any = None, args: Any = (), kwargs: Any = None, **_: Any) -> None:
        if not self._is_ours(task) or not self._is_reported(task.name):
            return
        request = task.request
        if self._was_cancelled(task_id, sent_at(request)):
            return
        queue = (request.delivery_info or {}).get("routing_key")
        operation = self._operation(
            task.name,
            request,
            metadata=facts_of(request, queue, (args, kwargs) if self._options.arguments else None),
            on_cancel=lambda push: self.canceller.stop_running(operation, push),
        )
        self._runs[task_id] = operation
        operation.__enter__()

    def _was_cancelled(self, task_id: str, sent_at_s: float | None) -> bool:
        """Return whether a task was cancelled while it was queued; if so, block it."""
        if sent_at_s is None or time.time() - sent_at_s < _MIN_QUEUED_S or is_disabled():
            return False
        found = self._lookup.find(task_id)
        # A cancellation before this message was sent belongs to an earlier task with the same id.
        if found is None or found.state != "cancelled" or found.ended_at is None:
            return False
        if to_nanoseconds(found.ended_at) / 1e9 < sent_at_s:
            return False
        self.canceller.block(task_id, found.reason or "")
        return True

    @log_errors
    def _succeeded(self, sender: Any = None, result: Any = None, **_: Any) -> None:
        run = self._runs.get(sender.request.id)
        if run is not None:
            run.complete(result if self._options.results else None)

    @log_errors
    def _failed(self, task_id: str = "", exception: Any = None, **_: Any) -> None:
        run = self._runs.get(task_id)  # None if the parent process of the pool reports a lost process
        if run is not None:
            # The exception in the signal is one that can be pickled; the original, which may not be, is being handled.
            error = sys.exc_info()[1] or exception
            run.__exit__(type(error), error, None)

    @log_errors
    def _retried(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        run = self._runs.get(request.id)
        if run is not None:  # still running if the retry runs immediately, without a message
            run.fail(reason.exc if isinstance(reason.exc, BaseException) else "retry", recoverable=True)

    @log_errors
    def _after_run(self, task_id: str = "", state: str | None = None, **_: Any) -> None:
        self.canceller.unblock(task_id)
        run = self._runs.pop(task_id, None)
        if run is None:
            return
        if state == "FAILURE":  # and its exception was not reported
            run.fail("failure", "the task failed")
        elif state == "REJECTED":
            run.fail("rejected", "the task rejected its message", recoverable=True)
        elif state == "IGNORED":
            run.cancel("the task asked to be ignored")
        error = sys.exc_info()[1] if state is None else None  # an exception that not even Celery catches
        run.__exit__(None if error is None else type(error), error, None)

    # The main process of a worker.

    @log_errors
    def _revoked(self, sender: Any = None, request: Any = None, terminated: Any = None, **facts: Any) -> None:
        """Report a task that was revoked before it ran; a running one reports it when its process is terminated."""
        if terminated or not self._is_ours(sender) or not self._is_reported(sender.name):
            return
        reason = "it expired in the queue" if facts.get("expired") else "revoked"
        thread = threading.Thread(target=self._send_revoked, args=(sender.name, request, reason), daemon=True)
        thread.start()  # the loop of the worker must not wait for the hub

    @log_errors
    def _send_revoked(self, name: str, request: Any, reason: str) -> None:
        if is_disabled():
            return
        found = self._lookup.find(request.id)
        if found is not None and found.state != "queued":
            return  # it was revoked because it was cancelled through the hub
        operation = self._operation(name, request, queued=True)
        lifecycle_of(operation).start(queued=True)
        operation.cancel(reason)

    @log_errors
    def _process_started(self, **_: Any) -> None:
        self.canceller.terminates = True

    @log_errors
    def _process_ends(self, **_: Any) -> None:
        RUNTIME.close(_CLOSE_S)

    # Which tasks are reported, and how.

    def _operation(self, name: str, request: Any, **more: Unpack[Options]) -> Operation:
        """Return a new operation for a task, not begun."""
        options: Options = {
            "id": request.id,
            "parent": parent_of(request),
            "trace_id": trace_of(request),
            "url": self._options.url,
            "token": self._options.token,
            "lease_s": self._options.lease_s,
            "redact": self._options.redact,
            "quiet": True,
            **more,
        }
        return Operation(settings_of(self._name_of(name), (), options))

    def _is_ours(self, task: Any) -> bool:
        return len(_connected) == 1 or getattr(task, "app", None) is self.app

    def _is_reported(self, name: str) -> bool:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._options.ignore):
            return False
        return len(_connected) == 1 or name in self.app.tasks

    def _name_of(self, name: str) -> str:
        return text(name if self._options.name is None else self._options.name(name))


def _retries(run: Operation) -> int:
    return int((run.settings.metadata or {}).get("retries") or 0)
