"""Celery: reports each task of an app as an operation, from when it is sent until it has ended.

::

    from celery import Celery
    import tidings.integrations.celery

    app = Celery("shop", broker="redis://127.0.0.1")
    tidings.integrations.celery.connect(app)

The id of the operation is that of the task. It is `queued` when the task is sent, and running while a worker runs it; a
retry is its next attempt. Inside a task, `tidings.current_operation()` is its operation. Celery's own tasks are not
reported.
"""

from collections.abc import Callable, Collection
from typing import Any

from tidings.client.tokens import Token
from tidings.integrations.celery_control import TaskCanceller
from tidings.integrations.celery_reporter import TaskReporter, TaskReporting
from tidings.producer.options import REDACT_ARGUMENT, Redact, check_hook


def connect(
    app: Any,
    *,
    url: str | None = None,
    token: Token | None = None,
    name: Callable[[str], str] | None = None,
    ignore: Collection[str] = ("celery.*",),
    arguments: bool = False,
    results: bool = False,
    redact: Redact | None = None,
    lease_s: float | None = None,
    grace_s: float = 5.0,
) -> TaskReporter:
    """Report the tasks of a Celery app, in the processes that send them and in those that run them.

    No connection to the hub is opened before the first task.

    Args:
        app: The `celery.Celery`. Several apps may be connected, each once.
        url: URL of the hub. Default: TIDINGS_URL, else ws://127.0.0.1:8765/ws.
        token: See `tidings.operation`.
        name: Function that returns the name of the operation for the name of a task. Default: the same name.
        ignore: Tasks that are not reported: names, or patterns as for `fnmatch`.
        arguments: Report the arguments of tasks, as metadata of the operation.
        results: Report the return values of tasks.
        redact: Function that receives every payload before it is sent; see `tidings.operation`.
        lease_s: Time that the hub waits for a lost worker process, in seconds; see `tidings.operation`.
        grace_s: Time that a cancelled task has to end by itself before its process is terminated, in seconds.

    Raises:
        TypeError: `name` or `redact` is not a function of one argument.
    """
    check_hook("name", name, "the name of the task")
    check_hook("redact", redact, REDACT_ARGUMENT)
    reporter = TaskReporter(
        app,
        TaskReporting(
            url=url,
            token=token,
            name=name,
            ignore=tuple(ignore),
            arguments=arguments,
            results=results,
            redact=redact,
            lease_s=lease_s,
        ),
        TaskCanceller(app, grace_s),
    )
    reporter.connect()
    return reporter
