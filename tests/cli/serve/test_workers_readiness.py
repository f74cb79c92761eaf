"""A worker that cannot use the log is not ready, sends its clients to the others, and comes back."""

import json
import os
import resource
import shutil
import sqlite3
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.cli.processes import TIMEOUT_S
from tests.cli.serve.worker_processes import (
    EVENT,
    WorkersHub,
    has_connection,
    has_history,
    history,
    is_ready,
    kill,
    wait_until,
)
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tidings.log.journal.controls import Begin, Heartbeat
from tidings.log.journal.entries import RULES, NodeBatch, encode_batch
from tidings.log.journal.replica_state import ReplicaState

DIVERGING = """
import os
if "_TIDINGS_WORKER" in os.environ:
    for name in ("first", "second", "third"):
        try:
            with open(os.path.join({folder!r}, name), "x") as file:
                file.write(str(os.getpid()))
            break
        except FileExistsError:
            continue
    if name == "second":
        import tidings.log.judge as module
        from tidings.exceptions import InternalError
        apply = module._Overlay.apply
        def changed(self, entry):
            if b"diverge" in entry.event.data:
                raise InternalError("another decision")
            return apply(self, entry)
        module._Overlay.apply = changed
"""
"""A module that Python imports at its start: the second worker rejects some events. Each one leaves its process id."""


def diverging(folder: Path) -> dict[str, str]:
    """Return variables under which the second worker of a hub decides differently."""
    (folder / "sitecustomize.py").write_text(DIVERGING.format(folder=str(folder)))
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def same_history(hub: WorkersHub, clients: list[httpx.Client], count: int) -> bool:
    first, *others = [history(hub, client) for client in clients]
    return len(first) == count and all(other == first for other in others)


def connect_to(hub: WorkersHub, stack: ExitStack, worker: psutil.Process) -> ClientConnection:
    """Return a WebSocket of one worker."""

    def is_at_worker(opened: ClientConnection) -> bool:
        port = opened.local_address[1]
        return has_connection(worker, {port})

    while True:
        opened = stack.enter_context(connect(hub.url, subprotocols=[Subprotocol("tidings.v1")]))
        opened.recv(timeout=TIMEOUT_S)
        if is_at_worker(opened):
            return opened


def read_close(client: ClientConnection) -> dict[str, Any]:
    """Return the notice before the close."""
    while True:
        message = json.loads(client.recv(timeout=TIMEOUT_S))
        if message["type"] == "connection:closed":
            return dict(message["data"])


def test_worker_with_a_full_disk_is_not_ready_and_the_others_go_on(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub, ExitStack() as stack:
        clients = hub.connect_to_each(stack)
        limited, other = hub.workers()
        watching = connect_to(hub, stack, limited)
        before = limited.rlimit(resource.RLIMIT_FSIZE)
        limited.rlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
        wait_until(lambda: clients[limited.pid].get(f"{hub.http}readyz").status_code == 503)
        for _ in range(5):
            assert clients[other.pid].post(f"{hub.http}v1/events", json=EVENT).status_code == 200
        assert is_ready(hub, clients[other.pid])
        closed = read_close(watching)
        assert (closed["code"], closed["reconnect"]) == (4100, True)
        limited.rlimit(resource.RLIMIT_FSIZE, before)
        wait_until(lambda: {client.get(f"{hub.http}readyz").status_code for client in clients.values()} == {200})
        wait_until(partial(same_history, hub, list(clients.values()), 5))
        assert hub.stop()[0] == 0


def test_worker_whose_judge_differs_stops_and_gets_the_log_of_the_others(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2, env=diverging(tmp_path)) as hub, ExitStack() as stack:
        before = {worker.pid for worker in hub.workers()}
        clients = list(hub.connect_to_each(stack).values())
        for number in range(3):
            event = {"type": "data:update", "data": {"dataset": "diverge" if number == 1 else "d"}}
            with suppress(httpx.TransportError):  # it is the worker that stops
                assert clients[0].post(f"{hub.http}v1/events", json=event).status_code in (200, 500, 503)
        wait_until(lambda: {worker.pid for worker in hub.workers()} - before)
        wait_until(lambda: len(hub.workers()) == 2)
        clients = list(hub.connect_to_each(stack).values())
        for client in clients:
            wait_until(partial(is_ready, hub, client))
        positions = history(hub, clients[0])
        assert clients[1].post(f"{hub.http}v1/events", json=EVENT).status_code == 200
        wait_until(partial(same_history, hub, clients, len(positions) + 1))
        code, _, stderr = hub.stop()
    assert code == 0
    assert "has another log than" in stderr
    assert (tmp_path / "data" / "set-aside").is_dir()


def test_worker_whose_log_is_damaged_gets_the_log_of_another(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2) as hub, ExitStack() as stack:
        before = {worker.pid for worker in hub.workers()}
        positions = [httpx.post(f"{hub.http}v1/events", json=EVENT, timeout=TIMEOUT_S).json()["position"]]
        clients = hub.connect_to_each(stack)
        for client in clients.values():
            wait_until(partial(has_history, hub, client, positions))
        path = tmp_path / "data" / "worker-2" / "log.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4_096)
            file.write(b"\xa5" * (path.stat().st_size - 4_096))
        wait_until(lambda: len({worker.pid for worker in hub.workers()} - before) == 1)
        for client in hub.connect_to_each(stack).values():
            wait_until(partial(is_ready, hub, client))
            wait_until(partial(has_history, hub, client, positions))
        code, _, stderr = hub.stop()
    assert code == 0
    assert "is set aside, and built again" in stderr


def takes_events(hub: WorkersHub, client: httpx.Client) -> bool:
    """Return whether a worker takes an event; one that just became ready may lose that again on a busy machine."""
    return client.post(f"{hub.http}v1/events", json=EVENT).status_code == 200


def test_worker_that_is_killed_before_it_notices_that_its_log_differs_gets_another(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2, env=diverging(tmp_path)) as hub, ExitStack() as stack:
        clients = hub.connect_to_each(stack)
        differing = psutil.Process(int((tmp_path / "second").read_text()))
        (other,) = [client for pid, client in clients.items() if pid != differing.pid]
        event = {"type": "data:update", "data": {"dataset": "diverge"}}
        assert other.post(f"{hub.http}v1/events", json=EVENT).status_code == 200
        assert clients[differing.pid].post(f"{hub.http}v1/events", json=event).status_code == 500, "it is stored"
        kill(differing)
        wait_until(lambda: (tmp_path / "third").exists())
        clients = hub.connect_to_each(stack)
        for client in clients.values():
            wait_until(partial(takes_events, hub, client))
        wait_until(partial(same_history, hub, list(clients.values()), 4))
        code, _, stderr = hub.stop()
    assert code == 0
    assert stderr.count("a worker died") == 1, "the one that was killed"


def test_only_log_that_is_left_opens_although_it_differs(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with WorkersHub(folder, 2) as hub:
        position = httpx.post(f"{hub.http}v1/events", json=EVENT).json()["position"]
        assert hub.stop()[0] == 0
    shutil.rmtree(folder / "worker-2")
    with closing(sqlite3.connect(folder / "worker-1" / "log.db")) as connection:
        ((stored,),) = connection.execute("SELECT state FROM stored_state")
    fold = ReplicaState.decode(stored).fold
    with closing(sqlite3.connect(folder / "journal.db")) as connection, connection:
        for number in (2, 3):  # most of the workers that there were had another log
            begin = Begin(node=f"worker-{number}", after=fold.mark.seq, rules=RULES, version="1")
            heartbeat = Heartbeat(seq=fold.mark.seq, crc=fold.crc ^ 1)
            batch = NodeBatch(rules=RULES, session=f"s-{number}", number=1, events=[], controls=[begin, heartbeat])
            row = fold.mark.at_ns, encode_batch(batch)
            connection.execute("INSERT INTO entries (at_ns, body) VALUES (?, ?)", row)
    with WorkersHub(folder, 2) as hub:
        with httpx.Client() as client:
            assert history(hub, client) == [position]
        code, _, stderr = hub.stop()
    assert code == 0
    assert "stays in use" in stderr
