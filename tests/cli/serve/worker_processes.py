"""Hubs of several processes, with the processes of their workers."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
from tests.cli.processes import TIMEOUT_S, Hub

EVENT = {"type": "data:update", "data": {"dataset": "d"}}


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until other processes have done something."""
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.02)


def has_connection(process: psutil.Process, ports: Set[int]) -> bool:
    """Return whether a process is connected to one of `ports`; one that was killed just now is not."""
    with suppress(psutil.NoSuchProcess):
        return any(each.raddr and each.raddr.port in ports for each in process.net_connections("tcp"))
    return False


class WorkersHub(Hub):
    """`tidings serve --workers N` with a data folder."""

    def __init__(
        self, folder: Path, workers: int = 2, *options: str, port: int = 0, env: Mapping[str, str] | None = None
    ) -> None:
        chosen = ("--data", str(folder), "--workers", str(workers), "--grace", "2s", *options)
        if port:
            chosen += ("--port", str(port))
        super().__init__(*chosen, memory=False, env=env)
        self._workers = workers
        self.parent = psutil.Process(self.process.pid)

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the workers that live."""
        return [child for child in self.parent.children() if is_running(child.pid)]

    def worker_of(self, client: httpx.Client) -> int | None:
        """Return the process id of the worker that a client's kept connection belongs to."""
        answer = client.get(f"{self.http}healthz")
        port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
        return next((worker.pid for worker in self.workers() if has_connection(worker, {port})), None)

    def connect_to_each(self, stack: ExitStack) -> dict[int, httpx.Client]:
        """Return one client for each worker, by the worker's process id, with a connection that is kept open."""
        clients: dict[int, httpx.Client] = {}

        def connect() -> bool:
            client = httpx.Client(timeout=TIMEOUT_S)
            worker = None
            with suppress(httpx.TransportError):  # a worker that is killed resets the connections that it has accepted
                worker = self.worker_of(client)
            if worker is None or worker in clients:
                client.close()
            else:
                clients[worker] = client
                stack.callback(client.close)
            return len(clients) == self._workers

        wait_until(connect)
        return clients


def is_ready(hub: Hub, client: httpx.Client) -> bool:
    return client.get(f"{hub.http}readyz").status_code == 200


def history(hub: Hub, client: httpx.Client) -> list[str]:
    """Return the positions of all events on `data`."""
    events = client.get(f"{hub.http}v1/events?channel=data").json()["events"]
    return [event["position"] for event in events]


def has_history(hub: Hub, client: httpx.Client, positions: list[str]) -> bool:
    return history(hub, client) == positions


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(worker: psutil.Process) -> None:
    """Kill one worker, which this test's hub has started."""
    os.kill(worker.pid, signal.SIGKILL)
