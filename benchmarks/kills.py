"""A hub that is killed again and again under publishing load: `python -m benchmarks.kills --kills 500`.

Publishers send numbered events with event ids of their own, many in flight, and send again what a kill left unanswered.
The hub gets SIGKILL after a random number of acknowledgements and starts again on the same port and data. At the end,
each acknowledged event must be in the log at its position, each event once, and those of a publisher in order.
Producers with leases run operations at the same time, some of which are cancelled (`benchmarks.operation_load`): each
attempt must have one end, the one that its producer or who cancelled it was told.

With `--workers N`, a kill hits one of the workers, and after four of these their parent, alone or together with all
workers: more deaths of workers within a minute would end the hub. At the end, the logs of all workers must be equal.
"""

import argparse
import asyncio
import itertools
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import tidings
from benchmarks.fanout.machine import describe_machine
from benchmarks.operation_load import (
    OPERATION_TYPES,
    OperationProducer,
    Reported,
    cancel_again_and_again,
    find_operation_faults,
)
from tidings.log.journal.shared_folder import find_replicas
from tidings.log.sqlite.database import FILE, connect_read_only
from tidings.log.sqlite.inspect import verify
from tidings.server.workers.supervisor import MAX_DEATHS

PUBLISHERS = 3
PRODUCERS = 4
"""Producers of operations, each with a connection of its own: with two workers, both have some."""
IN_FLIGHT = 40
"""Events that a publisher has unanswered at a time."""
MAX_LIFE_EVENTS = 400
"""Most acknowledgements between two kills: counted, so that a slow machine tests the same."""
MAX_OPERATION_EVENTS = 30
"""Most acknowledgements of operations, in addition."""
MAX_DELAY_S = 0.02
"""Longest time from the last of these acknowledgements to the kill, so that it comes at any moment of a batch."""
READY_S = 120.0
_UPDATE = "data:update"
_TYPES = (_UPDATE, *OPERATION_TYPES)


@dataclass(slots=True)
class Published:
    """What one publisher knows about its events."""

    offsets: dict[int, int] = field(default_factory=dict)
    """The offset of each acknowledged event, by its number."""
    repeated: int = 0
    """Acknowledgements of events that were in the log before: a kill came between the commit and the answer."""


class Publisher:
    """Publishes to one dataset until it is stopped.

    Args:
        name: Its dataset.
        url: URL of the hub.
        acknowledged: Released for each acknowledgement.
    """

    def __init__(self, name: str, url: str, acknowledged: asyncio.Semaphore) -> None:
        self._name = name
        self._url = url
        self._acknowledged = acknowledged
        self._numbers = itertools.count()
        self._stopping = False
        self.published = Published()

    async def run(self) -> None:
        """Publish on one connection after the other, until `stop`."""
        async with tidings.connect(self._url, wait_for_hub=True) as client:
            await asyncio.gather(*(self._publish(client) for _ in range(IN_FLIGHT)))

    def stop(self) -> None:
        """Begin no further event; those under way are sent until they are acknowledged."""
        self._stopping = True

    async def _publish(self, client: tidings.Client) -> None:
        while not self._stopping:
            number = next(self._numbers)
            accepted = await client.publish(
                _UPDATE,
                {"dataset": self._name, "version": number},
                event_id=f"{self._name}-{number:012}",
                timeout_s=None,
            )
            self.published.offsets[number] = int(accepted.position.rpartition(":")[2])
            self.published.repeated += accepted.duplicate
            self._acknowledged.release()


class HubProcess:
    """A hub on a fixed port and folder, which is killed and started again.

    Args:
        folder: Folder for its data and its stderr.
        workers: Number of its workers.
    """

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self._workers = workers
        self._killed_workers = 0
        """Number of workers of this parent that were killed."""
        self._parents = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.data = folder / "data"
        self._log = folder / "stderr"
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("tidings")), "serve", "--port", str(self.port)]
        with self._log.open("ab") as stderr:
            process = subprocess.Popen(
                [
                    *command,
                    "--data",
                    str(self.data),
                    "--workers",
                    str(self._workers),
                    "--reconnect-rate",
                    "100000",
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the hub did not start: {self._log.read_text()[-2000:]}")
        return process

    def restart(self) -> int:
        """Kill it, and start the next one; or kill one of its workers, which its parent replaces.

        Returns:
            The number of kills: of each worker, or of the process that is the whole hub.
        """
        workers = []
        if self._workers > 1:
            parent = psutil.Process(self._process.pid)
            while not (workers := parent.children()):
                time.sleep(MAX_DELAY_S)  # all are dead, and the parent waits before it starts the next ones
            if self._killed_workers < MAX_DEATHS - 1:
                self._killed_workers += 1
                return _kill(random.choice(workers))
        self._killed_workers = 0
        self._parents += 1
        self._process.kill()
        # Workers that are left end by themselves, and the next parent waits for them.
        killed = sum(map(_kill, workers)) if self._parents % 2 else 0
        self._wait()
        self._process = self._start()
        return killed or int(self._workers == 1)

    def stop(self) -> int:
        """End it with SIGTERM, and return its exit code."""
        self._process.terminate()
        return self._wait()

    def _wait(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(READY_S)

    def kill(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._wait()


def _kill(worker: psutil.Process) -> int:
    """Kill one worker; return the number of processes killed."""
    try:
        worker.kill()
    except psutil.NoSuchProcess:
        return 0
    return 1


def find_faults(data: Path, published: dict[str, Published], reported: Reported | None = None) -> list[str]:
    """Compare the logs in `data` with what the publishers and the producers know; return the differences."""
    faults = [f"{folder.name}: {fault}" for folder in find_replicas(data) or [data] for fault in verify(folder).faults]
    logs = [read_rows(folder) for folder in find_replicas(data) or [data]]
    all_rows = max(logs, key=len)
    faults += [f"log {number} differs" for number, other in enumerate(logs, 1) if other != all_rows[: len(other)]]
    if reported is not None:
        operations = [(offset, type, key) for offset, type, key, _ in all_rows if type != _UPDATE]
        faults += find_operation_faults(operations, reported)
    rows = [(offset, text) for offset, type, _, text in all_rows if type == _UPDATE]
    stored: dict[str, list[tuple[int, int]]] = {name: [] for name in published}
    for offset, text in rows:
        payload = json.loads(text)
        stored[payload["dataset"]].append((payload["version"], offset))
    for name, known in published.items():
        numbers = [number for number, _ in stored[name]]
        offsets = dict(stored[name])
        if len(offsets) != len(numbers):
            faults.append(f"{name}: {len(numbers) - len(offsets)} events are stored twice")
        if numbers != sorted(numbers):
            faults.append(f"{name}: events are not in order")
        for number, offset in known.offsets.items():
            if offsets.get(number) != offset:
                faults.append(f"{name}: event {number} was acknowledged at {offset}, and is at {offsets.get(number)}")
    return faults


def read_rows(folder: Path) -> list[tuple[int, str, str, bytes]]:
    """Return the offset, type, key and data of each event that is not about the hub itself, in order."""
    with closing(connect_read_only(folder / FILE)) as connection:
        return connection.execute(
            f"SELECT offset, type, key, data FROM events WHERE type IN ({','.join('?' * len(_TYPES))}) ORDER BY offset",
            _TYPES,
        ).fetchall()


async def measure(
    kills: int,
    folder: Path,
    workers: int = 1,
    *,
    life_events: int = MAX_LIFE_EVENTS,
    operation_events: int = MAX_OPERATION_EVENTS,
) -> bool:
    """Kill a hub, or its workers, `kills` times, print what was seen, and return whether all is as it was told.

    Args:
        kills: Number of kills; with the last one, a few more workers may be killed.
        folder: Folder for the data and stderr of the hub.
        workers: Number of workers.
        life_events: Most acknowledgements between two kills.
        operation_events: Most acknowledgements of operations, in addition.
    """
    hub = HubProcess(folder, workers)
    acknowledged = asyncio.Semaphore(0)
    url = f"ws://127.0.0.1:{hub.port}/ws"
    publishers = {f"set-{index}": Publisher(f"set-{index}", url, acknowledged) for index in range(PUBLISHERS)}
    reported = Reported()
    producers = [OperationProducer(f"producer-{index}", url, reported) for index in range(PRODUCERS)]
    load: list[Publisher | OperationProducer] = [*publishers.values(), *producers]
    running = asyncio.gather(*(each.run() for each in load))
    cancelling = [asyncio.create_task(cancel_again_and_again(url, producer, reported)) for producer in producers]
    try:
        killed = 0
        while killed < kills:
            for _ in range(random.randint(1, life_events)):
                await acknowledged.acquire()
            for _ in range(random.randint(0, operation_events)):
                await reported.acknowledged.acquire()
            await asyncio.sleep(random.uniform(0.0, MAX_DELAY_S))
            before, killed = killed, killed + await asyncio.to_thread(hub.restart)
            if before // 50 < killed // 50:
                print(f"  {killed} kills", flush=True)
        for task in cancelling:
            task.cancel()
        ended = await asyncio.gather(*cancelling, return_exceptions=True)
        reported.faults += [repr(each) for each in ended if not isinstance(each, asyncio.CancelledError)]
        for each in load:
            each.stop()
        await running
        code = await asyncio.to_thread(hub.stop)
    finally:
        running.cancel()
        hub.kill()
    published = {name: publisher.published for name, publisher in publishers.items()}
    faults = find_faults(hub.data, published, reported)
    print(f"kills                          {killed:,}")
    print(f"acknowledged                   {sum(len(each.offsets) for each in published.values()):,}")
    print(f"stored before a lost answer    {sum(each.repeated for each in published.values()):,}")
    print(f"acknowledged of operations     {len(reported.accepted):,} ({reported.repeated:,} before a lost answer)")
    print(f"requests to cancel             {reported.outcomes}")
    print(f"exit code of the last hub      {code}")
    print(f"faults                         {len(faults)}")
    for fault in faults[:20]:
        print(f"  {fault}")
    return not faults and code == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if an event was lost, stored twice or moved."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, metavar="N", help="number of kills (default 500)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="number of workers (default 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the hub's data and stderr there")
    chosen = parser.parse_args(arguments)
    print(describe_machine(network="loopback", pinning="none", program="benchmarks.kills"), flush=True)
    with tempfile.TemporaryDirectory(prefix="tidings-kills-") as temporary:
        folder = chosen.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if asyncio.run(measure(chosen.kills, folder, chosen.workers)) else 1


if __name__ == "__main__":
    sys.exit(main())
