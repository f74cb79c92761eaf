"""A broker, a hub, senders and workers, each a real process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from celery import Celery
from celery.result import AsyncResult
from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.integrations.broker import broker

LEASE_S = 1.0
APP = "tests.integrations.celery_app"
ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


class Stage:
    """The broker and the hub.

    Args:
        folder: Folder for all files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hub = Hub("--lease", f"{LEASE_S:g}s")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._address = opened.enter_context(broker(self._folder))
            opened.enter_context(self._hub)
            self._close = opened.pop_all().close
        self.http = self._hub.http.rstrip("/")
        self._app = Celery(broker=self._address, backend=self._address)
        return self

    def __exit__(self, *_: object) -> None:
        self._app.close()
        self._close()

    def environment(self, queue: str, **variables: str) -> dict[str, str]:
        """Return the environment of a process that sends or runs the tasks of a queue."""
        variables = {"TIDINGS_URL": self._hub.url, **variables}
        return environment(
            BROKER=self._address,
            QUEUE=queue,
            TIDINGS_SPOOL=str(self._folder / "spool"),
            **variables,
        )

    def result(self, task_id: str) -> Any:
        """Return the result of a task."""
        return AsyncResult(task_id, app=self._app)

    def revoke(self, task_id: str) -> None:
        """Revoke a task by Celery, and wait until a worker has taken note of it."""
        assert self._app.control.revoke(task_id, reply=True, limit=1, timeout=TIMEOUT_S)

    def operation(self, operation_id: str) -> dict[str, Any]:
        """Return an operation from the hub; an empty dictionary if the hub does not have it."""
        try:
            with urlopen(f"{self.http}/v1/operations/{operation_id}", timeout=TIMEOUT_S) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            if error.code != 404:
                raise
            return {}

    def wait_for(self, operation_id: str, state: str, attempt: int = 1) -> dict[str, Any]:
        """Wait until an attempt is in a state, and return the operation."""
        found: dict[str, Any] = {}

        def arrived() -> bool:
            nonlocal found
            found = self.operation(operation_id)
            return (found.get("state"), found.get("attempt")) == (state, attempt)

        try:
            until(arrived)
        except AssertionError:
            raise AssertionError(f"the operation was never {state} in attempt {attempt}: {found}") from None
        return found

    def cancel(self, operation_id: str) -> str:
        """Request the cancellation of an operation, and return the outcome."""
        body = json.dumps({"reason": "too slow", "timeout_s": 10}).encode()
        url = f"{self.http}/v1/operations/{operation_id}/cancel"
        request = Request(url, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return str(json.load(answer)["outcome"])


class Sender:
    """A process that sends tasks; see `celery_sender`."""

    def __init__(self, stage: Stage, queue: str, **variables: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integrations.celery_sender"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=stage.environment(queue, **variables),
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()

    def send(self, task: str, *args: object, **options: object) -> str:
        """Send a task and return its id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"task": task, "args": args, **options}) + "\n")
        self._process.stdin.flush()
        task_id = self._process.stdout.readline().strip()
        assert task_id
        return task_id


class Worker:
    """A Celery worker of one queue."""

    def __init__(self, stage: Stage, queue: str, *, pool: str = "prefork", log: Path, **variables: str) -> None:
        self._log = log.open("a")
        options = ["-P", pool, "-c", "1", "-Q", queue, "-n", f"{queue}@%h", "-l", "info"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", APP, "worker", "--without-mingle", "--without-gossip", *options],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=stage.environment(queue, **variables),
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(TIMEOUT_S)
        finally:
            self.kill()
            self._log.close()

    def kill(self) -> None:
        """Kill the worker; its pool dies with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)
