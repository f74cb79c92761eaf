"""Celery: each task of an app is an operation, from when it is sent until it has ended.

::

    from celery import Celery
    import tidings.integrations.celery

    app = Celery("shop", broker="redis://127.0.0.1")
    tidings.integrations.celery.connect(app)

The operation's id is the task's. It is `queued` when the task is sent, and runs when a worker runs it; a retry is its
next attempt. Within a task, `tidings.current_operation()` is its operation. Celery's own tasks are left out.
"""

from collections.abc import Callable, Collection
from typing import Any

from tidings.integrations.celery_control import Control
from tidings.integrations.celery_reporter import Reporting, TaskReporter
from tidings.producer.options import Redact


def connect(
    app: Any,
    *,
    url: str | None = None,
    token: str | None = None,
    name: Callable[[str], str] | None = None,
    ignore: Collection[str] = ("celery.*",),
    arguments: bool = False,
    results: bool = False,
    redact: Redact | None = None,
    lease_s: float | None = None,
    grace_s: float = 5.0,
) -> "TaskReporter":
    """Report the tasks of a Celery app, both where they are sent and where they run. Nothing is sent before a task is.

    Args:
        app: The `celery.Celery`; any number of them, each once.
        url: Where the hub is; by default the variable TIDINGS_URL, else this machine.
        token: What the hub knows us by; by default the variable TIDINGS_TOKEN.
        name: Makes the operation's name of the task's; by default they are the same.
        ignore: Tasks that are not reported: names, or patterns as of `fnmatch`.
        arguments: Whether the tasks' arguments are told, as the operation's metadata.
        results: Whether what tasks return is told.
        redact: Sees every payload first; see `tidings.operation`.
        lease_s: How long the hub waits for a worker process that is gone; see `tidings.operation`.
        grace_s: How long a task that is cancelled may take to end by itself before its process is terminated.
    """
    reporter = TaskReporter(
        app,
        Reporting(
            url=url,
            token=token,
            name=name,
            ignore=tuple(ignore),
            arguments=arguments,
            results=results,
            redact=redact,
            lease_s=lease_s,
        ),
        Control(app, grace_s),
    )
    reporter.connect()
    return reporter
