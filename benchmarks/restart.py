"""A restart under publishing load, with many clients: `python -m benchmarks.restart`.

Watchers in several processes follow datasets whose versions count up, while a publisher goes on. The hub gets SIGTERM
and is started again on the same port and data. The report shows how fast clients returned, in comparison with
`--reconnect-rate`, and whether each watcher read every version once.

With `--workers N`, the hub keeps running, and its workers get SIGTERM one after the other. With `--nodes N`, there are
N hubs that share one log through a nats-server, and each is started again in turn; watchers go to the next node when
theirs ends.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from urllib.request import urlopen

import psutil
from tests.nats_server import NatsServer

import tidings
from benchmarks.fanout.machine import describe_machine
from benchmarks.restart_watchers import GROUP, start_watchers

POLL_S = 0.1
STEADY_S = 3.0
"""Seconds of publishing before the restart, and after the last client is back."""
TIMEOUT_S = 600.0


class Publisher:
    """Publishes versions of all datasets in turn."""

    def __init__(self, client: tidings.Client, datasets: int, events_per_s: float) -> None:
        self._client = client
        self._interval_s = datasets / events_per_s
        self._stop = asyncio.Event()
        self.published = [0] * datasets

    async def run(self) -> None:
        """Publish until `stop`, and then the end of each dataset."""
        await asyncio.gather(*map(self._publish, range(len(self.published))))

    def stop(self) -> None:
        self._stop.set()

    async def _publish(self, dataset: int) -> None:
        name = f"set-{dataset}"
        pause_s = self._interval_s * dataset / len(self.published)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()
            if self._stop.is_set():
                break
            pause_s = self._interval_s
            data = {"dataset": name, "version": self.published[dataset]}
            await self._client.publish("data:update", data, timeout_s=None)
            self.published[dataset] += 1
        await self._client.publish("data:update", {"dataset": name, "state": "complete"}, timeout_s=None)


class HubProcess:
    """`tidings serve` with its log lines in a file."""

    def __init__(self, port: int, folder: Path, name: str, rate: int, workers: int = 1, journal: str = "") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "tidings", "serve", "--port", str(port), "--data", str(folder / "data")]
        if journal:
            command = [*command[:-1], str(folder / f"data-{port}"), "--log", journal]
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    *command,
                    "--workers",
                    str(workers),
                    "--reconnect-rate",
                    str(rate),
                    "--grace",
                    "60s",
                    "--log-format",
                    "json",
                ],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def connections(self) -> int:
        """Return the number of open connections."""
        try:
            with urlopen(f"{self.url}/metrics", timeout=TIMEOUT_S) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0
        # One line for each worker, which a label names.
        return int(sum(float(line.split()[1]) for line in lines if re.match(r"tidings_connections[ {]", line)))

    async def wait_connections(self, count: int) -> None:
        """Wait until `count` clients are connected."""
        deadline = time.monotonic() + TIMEOUT_S
        while await asyncio.to_thread(self.connections) < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the clients did not connect; see {self.log}")
            await asyncio.sleep(POLL_S)

    async def roll(self, count: int) -> None:
        """End each worker in order, and wait until `count` clients are connected again."""
        parent = psutil.Process(self._process.pid)
        workers = parent.children()
        for worker in workers:
            worker.terminate()
            await asyncio.to_thread(worker.wait, TIMEOUT_S)
            while len(parent.children()) < len(workers):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(POLL_S)
            await self.wait_connections(count)

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def opened_at(self) -> list[float]:
        """Return when connections were opened, in seconds."""
        times = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "connection opened":
                    times.append(datetime.fromisoformat(entry["timestamp"]).timestamp())
        return sorted(times)


def most_per_second(times: Sequence[float]) -> int:
    """Return the greatest number of `times`, which are sorted, within any second."""
    most = first = 0
    for number, at in enumerate(times):
        while times[first] <= at - 1:
            first += 1
        most = max(most, number + 1 - first)
    return most


class Nodes:
    """Hubs on several ports that share one log.

    Args:
        count: Number of nodes.
        folder: Where they have their data and the server of the journal its.
        rate: `--reconnect-rate` of each.
    """

    def __init__(self, count: int, folder: Path, rate: int) -> None:
        self.ports = [_free_port() for _ in range(count)]
        self._folder = folder
        self._rate = rate
        self._server = NatsServer(folder / "nats")
        self._server.start()
        self._hubs = [self._start(port, "first") for port in self.ports]
        self.logs = [hub.log for hub in self._hubs]

    def _start(self, port: int, name: str) -> HubProcess:
        return HubProcess(port, self._folder, f"{port}-{name}", self._rate, journal=f"{self._server.url}/hubs")

    async def wait_connections(self, count: int) -> None:
        """Wait until `count` clients are connected to all nodes together."""
        deadline = time.monotonic() + TIMEOUT_S
        while sum(await asyncio.gather(*[asyncio.to_thread(hub.connections) for hub in self._hubs])) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the clients did not connect; see {self.logs}")
            await asyncio.sleep(POLL_S)

    async def wait_ready(self) -> None:
        """Wait until all nodes answer that they are ready."""
        for port in self.ports:
            while not await asyncio.to_thread(_is_ready, port):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(POLL_S)

    async def roll(self, count: int) -> list[int]:
        """Start each node again in order, and wait until `count` clients are connected; return the exit codes."""
        codes = []
        for number, port in enumerate(self.ports):
            codes.append(await asyncio.to_thread(self._hubs[number].stop))
            self._hubs[number] = self._start(port, "second")
            self.logs.append(self._hubs[number].log)
            await self.wait_ready()
            await self.wait_connections(count)
        return codes

    def stop(self) -> list[int]:
        """Send SIGTERM to all, and return the exit codes."""
        return [hub.stop() for hub in self._hubs]

    def kill(self) -> None:
        """End all processes that still run."""
        for hub in self._hubs:
            hub.kill()
        self._server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Results:
    """What the watchers read of what was published."""

    published: int
    read: int
    watchers: int
    faults: int
    """Watchers that missed an event, or read one twice or out of order."""

    def report(self, clients: int) -> bool:
        """Print them, and return whether all clients read everything once."""
        print(f"events                         {self.published:,}, read {self.read:,} times")
        print(f"watchers with a fault          {self.faults:,} of {self.watchers:,}")
        return not self.faults and self.watchers == clients


async def _read_results(workers: Sequence[tuple[SpawnProcess, Connection]], publisher: Publisher) -> Results:
    read: dict[int, list[int]] = {}
    for _, receiving in workers:
        read.update(await asyncio.to_thread(receiving.recv))
    faults = sum(versions != list(range(publisher.published[number // GROUP])) for number, versions in read.items())
    return Results(sum(publisher.published), sum(map(len, read.values())), len(read), faults)


async def measure_nodes(clients: int, rate: int, processes: int, events_per_s: float, folder: Path, count: int) -> bool:
    """Start each of some nodes again, print what was seen, and return whether nothing was lost or repeated."""
    nodes = Nodes(count, folder, rate)
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        await nodes.wait_ready()
        workers += start_watchers(nodes.ports, clients, rate, processes)
        hubs = [f"ws://127.0.0.1:{port}/ws" for port in nodes.ports]
        async with tidings.connect(hubs[-1], wait_for_hub=True) as client:
            await nodes.wait_connections(clients + 1)
            print(f"connected                      {clients:,} clients in {processes} processes", flush=True)
            publisher = Publisher(client, -(-clients // GROUP), events_per_s)
            publishing = asyncio.create_task(publisher.run())
            await asyncio.sleep(STEADY_S)
            began = time.monotonic()
            codes = await nodes.roll(clients + 1)
            rolled_s = time.monotonic() - began
            await asyncio.sleep(STEADY_S)
            publisher.stop()
            await publishing
        watched = await _read_results(workers, publisher)
        codes += await asyncio.to_thread(nodes.stop)
    finally:
        nodes.kill()
        for worker, _ in workers:
            worker.terminate()
            worker.join()
    by_force = sum("by force" in log.read_text() for log in nodes.logs)
    print(f"exit codes                     {codes} ({by_force} ended connections by force)")
    print(f"all {count} nodes are started again   after {rolled_s:.1f} s, with all clients")
    return watched.report(clients) and not any(codes)


async def measure(
    clients: int, rate: int, processes: int, events_per_s: float, folder: Path, hub_workers: int = 1
) -> bool:
    """Run one restart, print what was seen, and return whether nothing was lost or repeated."""
    port = _free_port()
    hub = HubProcess(port, folder, "first", rate, hub_workers)
    workers: list[tuple[SpawnProcess, Connection]] = []
    try:
        workers += start_watchers([port], clients, rate, processes)
        async with tidings.connect(f"ws://127.0.0.1:{port}/ws", wait_for_hub=True) as client:
            await hub.wait_connections(clients + 1)
            print(f"connected                      {clients:,} clients in {processes} processes", flush=True)
            publisher = Publisher(client, -(-clients // GROUP), events_per_s)
            publishing = asyncio.create_task(publisher.run())
            await asyncio.sleep(STEADY_S)
            began, code, since = time.monotonic(), 0, time.time()
            if hub_workers > 1:
                await hub.roll(clients + 1)
            else:
                code = await asyncio.to_thread(hub.stop)
            drained_s = time.monotonic() - began
            by_force = "by force" in hub.log.read_text()
            if hub_workers == 1:
                hub = HubProcess(port, folder, "second", rate)
                await hub.wait_connections(clients + 1)
            returned_s = time.monotonic() - began
            await asyncio.sleep(STEADY_S)
            publisher.stop()
            await publishing
        watched = await _read_results(workers, publisher)
        opened = [at for at in hub.opened_at() if at >= since]
        code_again = await asyncio.to_thread(hub.stop)
    finally:
        hub.kill()
        for worker, _ in workers:
            worker.terminate()
            worker.join()
    print(f"exit codes                     {code}, {code_again}{' (connections ended by force)' if by_force else ''}")
    print(f"drain                          {drained_s:.1f} s")
    print(f"all {clients:,} clients are back      after {returned_s:.1f} s ({len(opened):,} connections)")
    print(f"most connections in a second   {most_per_second(opened):,} (--reconnect-rate {rate:,})")
    return watched.report(clients) and (code, code_again) == (0, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return 1 if an event was lost or repeated, or a hub did not exit with 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="--reconnect-rate of the hub")
    parser.add_argument("--processes", type=int, default=max(2, (os.cpu_count() or 2) // 2))
    parser.add_argument("--events-per-s", type=float, default=200.0)
    parser.add_argument("--workers", type=int, default=1, help="workers of the hub, which restart one after the other")
    parser.add_argument("--nodes", type=int, default=1, help="hubs of one log, which restart one after the other")
    chosen = parser.parse_args(arguments)
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(describe_machine(network="loopback", pinning="none", program="benchmarks.restart"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        given = (chosen.clients, chosen.rate, chosen.processes, chosen.events_per_s, Path(folder))
        if chosen.nodes > 1:
            fine = asyncio.run(measure_nodes(*given, chosen.nodes))
        else:
            fine = asyncio.run(measure(*given, chosen.workers))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
