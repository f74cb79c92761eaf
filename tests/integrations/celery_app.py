"""A Celery app whose tasks are reported: a worker runs it, and `celery_sender` sends its tasks."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from celery import Celery
from celery.exceptions import Ignore, Reject

import tidings
import tidings.integrations.celery

app = Celery("shop", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 2},
    result_expires=60,
    task_default_queue=os.environ.get("QUEUE", "celery"),
    worker_prefetch_multiplier=1,
)
tidings.integrations.celery.connect(app, arguments=True, results=True, grace_s=0.2)


F = TypeVar("F", bound=Callable[..., Any])


def task(**options: Any) -> Callable[[F], F]:
    """See `Celery.task`, which has no types."""
    decorate: Callable[[F], F] = app.task(**options)
    return decorate


def wait_for(gate: str) -> None:
    """Wait until the test creates the file `gate`."""
    while not Path(gate).exists():
        time.sleep(0.01)


@task()
def add(a: int, b: int) -> int:
    operation = tidings.current_operation()
    assert operation is not None
    operation.progress(50, "adding")
    return a + b


@task()
def divide(a: int, b: int) -> float:
    return a / b


@task(bind=True, max_retries=2, default_retry_delay=0)
def flaky(self: Any, succeeds_at: int) -> int:
    if self.request.retries < succeeds_at:
        try:
            raise ConnectionError("no route to the warehouse")
        except ConnectionError as error:
            raise self.retry(exc=error) from error
    return int(self.request.retries)


@task()
def outer() -> str:
    return str(app.tasks[f"{__name__}.add"].delay(1, 2).id)


@task()
def polite(began: str) -> None:
    """Report endlessly, and stop when a report raises."""
    Path(began).touch()
    operation = tidings.current_operation()
    assert operation is not None
    for _ in operation.track(iter(int, 1)):
        time.sleep(0.01)


@task()
def stubborn(began: str) -> None:
    """Never report, and never stop."""
    Path(began).touch()
    while True:
        time.sleep(0.05)


@task()
def waiting(began: str, gate: str) -> None:
    Path(began).touch()
    wait_for(gate)


@task(acks_late=True, reject_on_worker_lost=True)
def precious(began: str, gate: str) -> int:
    """Write the process id, and wait for the gate, in each delivery."""
    with Path(began).open("a") as file:
        file.write(f"{os.getpid()}\n")
    wait_for(gate)
    return os.getpid()


@task()
def touch(path: str) -> None:
    Path(path).touch()


@task()
def ignoring() -> None:
    raise Ignore("not today")


@task(acks_late=True)
def rejecting() -> None:
    raise Reject("broken", requeue=False)
