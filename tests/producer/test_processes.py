"""Operations and several processes, threads, tasks and contexts."""

import asyncio
import contextvars
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import tidings as tidings_command
from tests.producer.programs import run
from tests.producer.reported import Reported, until

import tidings

POOLS = """
import multiprocessing, concurrent.futures
from tests.producer import pool_workers

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with tidings.operation("Whole", id="whole") as op:
        {body}
"""
PARTS = {
    "Pool": """
        with context.Pool(2) as pool:
            pool.map(pool_workers.report_part, [(op.id, rows) for rows in range(1, 6)])
    """,
    "ProcessPoolExecutor": """
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            list(pool.map(pool_workers.report_part, [(op.id, rows) for rows in range(1, 6)]))
    """,
    "Process": """
        workers = [context.Process(target=pool_workers.report_part, args=((op.id, rows),)) for rows in range(1, 6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    """,
}
METHODS = ["fork", "spawn", "forkserver"]


def program(method: str, body: str) -> str:
    return POOLS.format(method=method, body=body.strip())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", PARTS)
def test_parts_in_worker_processes_are_reported(reported: Reported, tmp_path: Path, method: str, pool: str) -> None:
    assert run(program(method, PARTS[pool]), reported.hub.url, tmp_path) == (0, "")
    check_parts(reported, tmp_path)


def check_parts(reported: Reported, folder: Path) -> None:
    """Check that the hub has all parts, also those of workers that a pool has terminated.

    These have a second to send their events. On a busy machine that is too short, and the events are on disk.
    """
    if reported.kinds().count("complete") < 6:
        done = tidings_command("flush", "--url", reported.hub.url, TIDINGS_SPOOL=str(folder / "spool"))
        assert done.returncode == 0, done.stderr
    until(lambda: reported.kinds().count("complete") == 6)
    received = reported.received()
    parts = [data for kind, data in received if kind == "start" and data["operation_id"] != "whole"]
    assert sorted(data["name"] for data in parts) == [f"Part {rows}" for rows in range(1, 6)]
    assert {data["parent_id"] for data in parts} == {"whole"}
    assert not [kind for kind, _ in received if kind in ("failed", "cancelled")]


def test_events_of_workers_that_are_terminated_early_are_on_disk(reported: Reported, tmp_path: Path) -> None:
    early = "import tidings.producer.runtime as runtime\nruntime._SIGNAL_CLOSE_S = 0.0\n"
    assert run(early + program("fork", PARTS["Pool"]), reported.hub.url, tmp_path) == (0, "")
    check_parts(reported, tmp_path)


SENT = {
    "Pool": """
        with context.Pool(1) as pool:
            pool.map(pool_workers.advance, [op])
    """,
    "ProcessPoolExecutor": """
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(pool_workers.advance, op).result()
    """,
}


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("pool", SENT)
def test_operation_sent_to_a_worker_raises_with_the_remedy(
    reported: Reported, tmp_path: Path, method: str, pool: str
) -> None:
    status, errors = run(program(method, SENT[pool]), reported.hub.url, tmp_path)
    assert status == 1
    assert "TypeError: an operation and its steps cannot be sent to another process: pass `op.id` there" in errors
    assert reported.last("whole")[1]["code"] == "type_error"


def test_inherited_operation_reports_its_remedy_once(reported: Reported, tmp_path: Path) -> None:
    body = """
        with context.Pool(1) as pool:
            pool.map(pool_workers.report_on_inherited, range(5))
    """
    status, errors = run(program("fork", body), reported.hub.url, tmp_path)
    assert status == 0
    lines = [line for line in errors.splitlines() if line.startswith("tidings:")]
    assert len(lines) == 1
    assert lines[0].startswith("tidings: Whole runs in another process, and reports on it from this one are not sent")
    assert "Pass op.id to this process" in lines[0]
    assert reported.kinds("whole") == ["start", "complete"]


@pytest.mark.parametrize("make", [lambda op: op, lambda op: op.step("a"), lambda op: op.advance])
def test_pickling_an_operation_raises_with_the_remedy(make: Callable[[tidings.Operation], Any]) -> None:
    with pytest.raises(TypeError, match=r"pass `op\.id` there, and use `tidings\.operation"):
        pickle.dumps(make(tidings.operation("Whole")))


def test_copy_of_an_operation_is_the_operation() -> None:
    op = tidings.operation("Whole")
    assert copy.copy(op) is op
    assert copy.deepcopy({"op": [op]})["op"][0] is op


def test_threads_and_tasks_report_on_the_operation_around_them(reported: Reported) -> None:
    async def count() -> None:
        op = tidings.current_operation()
        assert op is not None
        op.advance()
        await asyncio.to_thread(op.advance)

    async def main() -> None:
        async with tidings.operation("Tasks", total=10) as op:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(count())
            context = contextvars.copy_context()
            thread = threading.Thread(target=context.run, args=(lambda: tidings.current_operation() is op or 1 / 0,))
            thread.start()
            thread.join()
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(op.advance, [1] * 4))
            assert op.percent == 100

    asyncio.run(main())
    assert reported.kinds() == ["start", "complete"]
