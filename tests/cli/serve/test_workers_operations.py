"""Operations of a hub of several processes: their producers are at one worker, and others ask at another."""

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import psutil
from tests.cli.processes import TIMEOUT_S, Process
from tests.cli.serve.worker_processes import WorkersHub, has_connection, is_ready, kill, wait_until


def find_operation(hub: WorkersHub, client: httpx.Client, name: str) -> dict[str, object]:
    """Return the status of the operation with a name; empty if the worker does not know it yet."""
    operations = client.get(f"{hub.http}v1/operations?name={name}").json()["operations"]
    return dict(operations[0]) if operations else {}


def has_state(hub: WorkersHub, client: httpx.Client, name: str, state: str) -> bool:
    return find_operation(hub, client, name).get("state") == state


def worker_of_process(hub: WorkersHub, process: psutil.Process) -> int | None:
    """Return the process id of the worker that a command is connected to, if it is."""
    ports = {each.laddr.port for each in process.net_connections("tcp")}
    return next((worker.pid for worker in hub.workers() if has_connection(worker, ports)), None)


def test_operation_is_cancelled_from_the_other_worker(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub, ExitStack() as stack:
        clients = hub.connect_to_each(stack)
        program = "import time; print('begun', flush=True); time.sleep(600)"
        run = Process("run", "--name", "long", "--url", hub.url, "--", "python", "-c", program)
        with run:
            wait_until(lambda: all(find_operation(hub, client, "long") for client in clients.values()))
            here = worker_of_process(hub, psutil.Process(run.process.pid))
            (other,) = [client for pid, client in clients.items() if pid != here]
            id = find_operation(hub, other, "long")["operation_id"]
            asked = other.post(f"{hub.http}v1/operations/{id}/cancel", json={"reason": "enough"}, timeout=TIMEOUT_S)
            assert asked.status_code in (200, 202), asked.text
            run.wait()
            for client in clients.values():
                wait_until(partial(has_state, hub, client, "long", "cancelled"))
        assert hub.stop()[0] == 0


def test_producer_of_a_killed_worker_goes_on_at_another(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2, "--lease", "20s") as hub, ExitStack() as stack:
        go = tmp_path / "go"
        program = (
            "import pathlib, time\n"
            f"while not pathlib.Path({str(go)!r}).exists():\n"
            "    print('working', flush=True); time.sleep(0.2)\n"
        )
        run = Process("run", "--name", "steady", "--url", hub.url, "--", "python", "-c", program)
        with run:
            with httpx.Client() as client:
                wait_until(lambda: find_operation(hub, client, "steady"))
            process = psutil.Process(run.process.pid)
            before = worker_of_process(hub, process)
            kill(next(worker for worker in hub.workers() if worker.pid == before))
            wait_until(lambda: worker_of_process(hub, process) not in (None, before))
            go.touch()
            code = run.wait()[0]
        assert code == 0
        for client in hub.connect_to_each(stack).values():
            wait_until(partial(is_ready, hub, client))
            wait_until(partial(has_state, hub, client, "steady", "complete"))
            assert find_operation(hub, client, "steady")["attempt"] == 1
        code, _, stderr = hub.stop()
    assert code == 0
    assert not re.search("producer_lost", stderr)
