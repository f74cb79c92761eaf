"""Tasks of a real Celery, run by a real worker over a real broker, as a hub reports them."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.celery_stage import LEASE_S, Sender, Stage, Worker, until

pytestmark = pytest.mark.alone

NAME = "tests.integrations.celery_app"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("celery")) as stage:
        yield stage


@pytest.fixture(scope="module")
def served(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """A sender whose queue is served by a worker with one process."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with Worker(stage, "served", log=log), Sender(stage, "served") as sender:
        yield sender


def states(operation: dict[str, Any]) -> list[tuple[str, int]]:
    return [(moment["state"], moment["attempt"]) for moment in operation["timeline"]]


class TestLife:
    def test_task_is_queued_then_running_then_complete(self, stage: Stage, served: Sender) -> None:
        task_id = served.send("add", 1, 2)
        operation = stage.wait_for(task_id, "complete")
        assert states(operation) == [("queued", 1), ("running", 1), ("complete", 1)]
        assert operation["name"] == f"{NAME}.add"
        assert (operation["message"], operation["result"]) == ("adding", 3)
        assert operation["metadata"] == {"queue": "served", "arguments": {"args": [1, 2], "kwargs": {}}}
        assert operation["lease_s"] == LEASE_S

    def test_task_that_raises_fails(self, stage: Stage, served: Sender) -> None:
        error = stage.wait_for(served.send("divide", 1, 0), "failed")["error"]
        assert (error["code"], error["message"]) == ("zero_division_error", "division by zero")
        assert "return a / b" in error["details"]

    def test_retry_is_the_next_attempt(self, stage: Stage, served: Sender) -> None:
        task_id = served.send("flaky", 2)
        operation = stage.wait_for(task_id, "complete", attempt=3)
        attempts = [attempt for state, attempt in states(operation) if state == "failed"]
        assert attempts == [1, 2]
        assert operation["result"] == 2
        assert operation["metadata"]["retries"] == 2

    def test_task_sent_by_a_task_is_its_child_in_its_trace(self, stage: Stage, served: Sender) -> None:
        operation = stage.wait_for(served.send("outer"), "complete")
        child = stage.wait_for(operation["result"], "complete")
        assert child["parent_id"] == operation["operation_id"]
        assert child["trace_id"] == operation["trace_id"]

    def test_ignored_and_rejected_tasks_end(self, stage: Stage, served: Sender) -> None:
        assert stage.wait_for(served.send("ignoring"), "cancelled")["reason"] == "the task asked to be ignored"
        assert stage.wait_for(served.send("rejecting"), "failed")["error"]["code"] == "rejected"


class TestCancelling:
    def test_cancelled_task_that_reports_stops_by_itself(self, stage: Stage, served: Sender, tmp_path: Path) -> None:
        task_id = served.send("polite", str(tmp_path / "began"))
        pid = stage.wait_for(task_id, "running")["pid"]
        until((tmp_path / "began").exists)
        assert stage.cancel(task_id) == "cancelled"
        assert stage.operation(task_id)["reason"] == "too slow"
        assert stage.wait_for(served.send("add", 1, 1), "complete")["pid"] == pid

    def test_cancelled_task_that_does_not_report_is_terminated(
        self, stage: Stage, served: Sender, tmp_path: Path
    ) -> None:
        task_id = served.send("stubborn", str(tmp_path / "began"))
        pid = stage.wait_for(task_id, "running")["pid"]
        until((tmp_path / "began").exists)
        assert stage.cancel(task_id) == "cancelled"
        assert stage.operation(task_id)["reason"] == "too slow"
        until(lambda: stage.result(task_id).state == "REVOKED")
        assert stage.wait_for(served.send("add", 1, 1), "complete")["pid"] != pid

    def test_cancelled_task_in_the_queue_never_runs(self, stage: Stage, served: Sender, tmp_path: Path) -> None:
        gate, ran = tmp_path / "gate", tmp_path / "ran"
        busy = served.send("waiting", str(tmp_path / "began"), str(gate))
        until((tmp_path / "began").exists)
        task_id = served.send("touch", str(ran))
        stage.wait_for(task_id, "queued")
        assert stage.cancel(task_id) == "cancelled"
        gate.touch()
        stage.wait_for(busy, "complete")
        until(lambda: stage.result(task_id).state == "REVOKED")
        stage.wait_for(served.send("add", 1, 1), "complete")
        assert not ran.exists()
        assert states(stage.operation(task_id)) == [("queued", 1), ("cancelled", 1)]

    def test_cancelled_task_without_sender_and_worker_never_runs(self, stage: Stage, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        with Sender(stage, "unserved") as sender:
            task_id = sender.send("touch", str(ran))
            sent_at = time.monotonic()
            after = sender.send("add", 1, 1)
        assert stage.cancel(task_id) == "cancelled"
        until(lambda: time.monotonic() - sent_at > 0.3)  # a worker looks up only tasks that waited longer
        with Worker(stage, "unserved", log=tmp_path / "log"):
            stage.wait_for(after, "complete")
            until(lambda: stage.result(task_id).state == "REVOKED")
        assert not ran.exists()
        assert states(stage.operation(task_id)) == [("queued", 1), ("cancelled", 1)]

    def test_task_revoked_by_celery_is_cancelled(self, stage: Stage, served: Sender, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        busy = served.send("waiting", str(tmp_path / "began"), str(gate))
        until((tmp_path / "began").exists)
        task_id = served.send("touch", str(tmp_path / "ran"))
        stage.revoke(task_id)
        expired = served.send("touch", str(tmp_path / "ran"), expires=0)  # before a worker can receive it
        gate.touch()
        stage.wait_for(busy, "complete")
        assert stage.wait_for(task_id, "cancelled")["reason"] == "revoked"
        assert stage.wait_for(expired, "cancelled")["reason"] == "it expired in the queue"
        assert not (tmp_path / "ran").exists()

    def test_cancelled_task_on_a_thread_stops_at_its_next_report(self, stage: Stage, tmp_path: Path) -> None:
        with Worker(stage, "threads", pool="threads", log=tmp_path / "log"), Sender(stage, "threads") as sender:
            task_id = sender.send("polite", str(tmp_path / "began"))
            stage.wait_for(task_id, "running")
            assert stage.cancel(task_id) == "cancelled"
            stage.wait_for(sender.send("add", 1, 1), "complete")


class TestDeath:
    def test_killed_pool_process_fails_its_task(self, stage: Stage, served: Sender, tmp_path: Path) -> None:
        task_id = served.send("stubborn", str(tmp_path / "began"))
        pid = stage.wait_for(task_id, "running")["pid"]
        os.kill(pid, signal.SIGKILL)
        error = stage.wait_for(task_id, "failed")["error"]
        assert error["code"] == "producer_lost"
        stage.wait_for(served.send("add", 1, 1), "complete")

    def test_redelivered_task_is_the_next_attempt(self, stage: Stage, served: Sender, tmp_path: Path) -> None:
        began, gate = tmp_path / "began", tmp_path / "gate"
        task_id = served.send("precious", str(began), str(gate))
        until(began.exists)
        os.kill(stage.wait_for(task_id, "running")["pid"], signal.SIGKILL)
        until(lambda: len(began.read_text().split()) == 2)  # immediately; usually the lease of the dead one still runs
        gate.touch()
        operation = stage.wait_for(task_id, "complete", attempt=2)
        assert states(operation)[1:] == [("running", 1), ("failed", 1), ("running", 2), ("complete", 2)]
        assert operation["result"] == int(began.read_text().split()[1])

    def test_killed_worker_fails_its_task(self, stage: Stage, tmp_path: Path) -> None:
        began, gate = tmp_path / "began", tmp_path / "gate"
        with Sender(stage, "dying") as sender, Worker(stage, "dying", log=tmp_path / "log") as worker:
            task_id = sender.send("precious", str(began), str(gate))
            stage.wait_for(task_id, "running")
            killed_at = time.monotonic()
            worker.kill()
            assert stage.wait_for(task_id, "failed")["error"]["code"] == "producer_lost"
            until(lambda: time.monotonic() - killed_at > 2.5)  # the visibility timeout of the broker
            gate.touch()
            with Worker(stage, "dying", log=tmp_path / "log"):
                stage.wait_for(task_id, "complete", attempt=2)


def test_tasks_run_without_a_hub(stage: Stage, unused_port: int, tmp_path: Path) -> None:
    nowhere = f"ws://127.0.0.1:{unused_port}/ws"
    with (
        Sender(stage, "hubless", TIDINGS_URL=nowhere) as sender,
        Worker(stage, "hubless", log=tmp_path / "log", TIDINGS_URL=nowhere),
    ):
        ids = [sender.send("add", number, 1) for number in range(5)]
        assert [stage.result(task_id).get(timeout=60) for task_id in ids] == [1, 2, 3, 4, 5]
