"""Leases with real processes: a killed producer is detected in time, and a busy one is not mistaken for it."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.hub_server import HubServer

from tidings.client.events import ReceivedEvent
from tidings.client.sync import SyncWatch, connect
from tidings.protocol.payloads import OperationFailedData

pytestmark = pytest.mark.alone

LEASE_S = 1.0
ENDS = ("operation:complete", "operation:failed", "operation:cancelled")


class Nursery:
    """See `tests.producer.job_nursery`."""

    def __init__(self, folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.producer.job_nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "TIDINGS_SPOOL": str(folder)},
            text=True,
        )
        self._pids: list[int] = []

    def begin(self, *order: object) -> int:
        """Begin a job and return its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, order)) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self._pids.append(pid)
        return pid

    def close(self) -> None:
        for pid in self._pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.communicate(timeout=60)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path / "spool")
    yield nursery
    nursery.close()


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def wait_for_progress(watch: SyncWatch[ReceivedEvent], ids: set[str]) -> None:
    missing = set(ids)
    for event in watch:
        if event.type == "operation:progress":
            missing.discard(event.key or "")
        if not missing:
            return


@pytest.mark.timeout(150)
def test_killed_producer_fails_within_its_lease_plus_a_second(nursery: Nursery, server: HubServer) -> None:
    chance = random.Random(7)
    late: dict[str, float] = {}
    with connect(server.ws) as client, client.watch("operations", since="now") as watch:
        watch.wait_until_live()
        for wave in range(10):
            jobs = {f"job-{wave}-{number}": 0 for number in range(10)}
            for id in jobs:
                jobs[id] = nursery.begin("work", server.ws, LEASE_S, id)
            wait_for_progress(watch, set(jobs))
            killed: dict[str, float] = {}
            for id in chance.sample(sorted(jobs), len(jobs)):
                os.kill(jobs[id], signal.SIGKILL)
                killed[id] = time.monotonic()
            ended: dict[str, float] = {}
            for event in watch:
                if event.type in ENDS:
                    assert event.key is not None
                    assert event.key not in ended
                    assert isinstance(event.payload, OperationFailedData)
                    assert event.payload.code == "producer_lost"
                    ended[event.key] = time.monotonic()
                if ended.keys() == killed.keys():
                    break
            late |= {id: ended[id] - killed[id] for id in killed}
    assert len(late) == 100
    assert min(late.values()) >= LEASE_S - 0.05
    assert max(late.values()) <= LEASE_S + 1.0


def test_job_that_holds_the_gil_for_eight_leases_keeps_its_operation(nursery: Nursery, server: HubServer) -> None:
    with connect(server.ws) as client, client.watch("operations", "system", since="now") as watch:
        watch.wait_until_live()
        nursery.begin("hog", server.ws, LEASE_S, "hog", int(8 * LEASE_S))
        began = time.monotonic()
        seen = []
        for event in watch:
            seen.append(event.type)
            if event.type in ENDS:
                break
        assert time.monotonic() - began >= 8 * LEASE_S
    assert seen[-1] == "operation:complete"
    assert "operation:failed" not in seen
    assert "system:alert" not in seen
