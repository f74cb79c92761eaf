"""A restart under publishing load, with many clients: `python -m benchmarks.restart`.

Watchers in several processes follow datasets whose versions count up, while a publisher goes on. The hub gets SIGTERM
and is started again on the same port and data. The report shows how fast clients returned, in comparison with
`--reconnect-rate`, and whether each watcher read every version once.

With `--workers N`, the hub keeps running, and its workers get SIGTERM one after the other.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import msgspec
import psutil

import tidings
from benchmarks.fanout.machine import describe_machine

GROUP = 10
"""Watchers of one dataset."""
POLL_S = 0.1
STEADY_S = 3.0
"""Seconds of publishing before the restart, and after the last client is back."""
TIMEOUT_S = 600.0


class Watcher(asyncio.Protocol):
    """One subscriber of a dataset, on one connection after the other: as little work per client as possible.

    Args:
        port: Port of the hub.
        dataset: Number of the dataset.
        done: Called when the event that ends the dataset has arrived.
    """

    def __init__(self, port: int, dataset: int, done: Callable[[], None]) -> None:
        self._port = port
        self._path = f"/ws?channel=data%2Fset-{dataset}"
        self._done = done
        self._since = "first"
        self._retry_ms = 0
        self._failures = 0
        self._buffer = b""
        self._is_open = self._is_done = False
        self._transport: asyncio.Transport
        self.versions: list[int] = []

    async def connect(self) -> None:
        """Open the next connection, after failures with the backoff of `tidings.connect`."""
        self._buffer, self._is_open = b"", False
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(self._next_delay_s())
            else:
                return

    def _next_delay_s(self) -> float:
        window_s = min(15.0, 0.5 * (1 << min(self._failures, 8)))
        self._failures += 1
        asked_ms, self._retry_ms = self._retry_ms, 0
        return asked_ms / 1_000 + random.random() * window_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            f"GET {self._path}&since={self._since} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: tidings.v1\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Read the answer to the handshake, and then frames."""
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._buffer = rest
            self._is_open = head.startswith(b"HTTP/1.1 101 ")
            if not self._is_open:
                self._transport.close()
                return
        place = 0
        while (found := _frame(self._buffer, place)) is not None:
            opcode, payload, place = found
            if opcode == _TEXT:
                self._read(payload)
            elif opcode == _CLOSE:
                self._transport.write(_MASKED_CLOSE + payload[:2])
                self._transport.close()
        self._buffer = self._buffer[place:]

    def _read(self, body: bytes) -> None:
        message = _decode(body)
        if message.type == "data:update":
            self._since = message.position
            if message.data.version is None:
                self._is_done = True
                self._done()
            else:
                self.versions.append(message.data.version)
        elif message.type == "connection:established":
            self._failures = 0
        elif message.type == "connection:closed":
            self._retry_ms = message.data.retry_after_ms

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again, when the hub asked for it."""
        if not self._is_done:
            loop = asyncio.get_running_loop()
            loop.call_later(self._next_delay_s(), lambda: loop.create_task(self.connect()))


class _Data(msgspec.Struct):
    version: int | None = None
    retry_after_ms: int = 0


class _Message(msgspec.Struct):
    type: str
    data: _Data
    position: str = ""


_decode = msgspec.json.Decoder(_Message).decode
_TEXT, _CLOSE = 1, 8
_MASKED_CLOSE = b"\x88\x82\0\0\0\0"
"""Head of a Close with a code, masked with zeros."""


def _frame(data: bytes, place: int) -> tuple[int, bytes, int] | None:
    """Return opcode, payload and end of the frame of a server at `place`; None if it is not complete."""
    if len(data) < place + 2:
        return None
    size, start = data[place + 1], place + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        size, start = int.from_bytes(data[start : start + width]), start + width
    if len(data) < start + size:
        return None
    return data[place] & 0xF, data[start : start + size], start + size


async def _watch_all(port: int, numbers: Sequence[int], interval_s: float) -> dict[int, list[int]]:
    waiting = len(numbers)
    finished = asyncio.Event()

    def done() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            finished.set()

    watchers = {number: Watcher(port, number // GROUP, done) for number in numbers}
    for watcher in watchers.values():
        await watcher.connect()
        await asyncio.sleep(interval_s)  # a process that opens thousands together serves none of them
    await finished.wait()
    return {number: watcher.versions for number, watcher in watchers.items()}


def run_watchers(port: int, numbers: Sequence[int], interval_s: float, results: Connection) -> None:
    """Follow datasets in this process, and send what each watcher has read."""
    results.send(asyncio.run(_watch_all(port, numbers, interval_s)))


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

    def __init__(self, port: int, folder: Path, name: str, rate: int, workers: int = 1) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "tidings", "serve", "--port", str(port), "--data", str(folder / "data")]
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


async def measure(
    clients: int, rate: int, processes: int, events_per_s: float, folder: Path, hub_workers: int = 1
) -> bool:
    """Run one restart, print what was seen, and return whether nothing was lost or repeated."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    hub = HubProcess(port, folder, "first", rate, hub_workers)
    workers = []
    try:
        for index in range(processes):
            receiving, sending = context.Pipe(duplex=False)
            numbers = range(index, clients, processes)
            arguments = (port, numbers, 1.5 * processes / rate, sending)
            worker = context.Process(target=run_watchers, args=arguments)
            worker.start()
            workers.append((worker, receiving))
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
        read: dict[int, list[int]] = {}
        for _, receiving in workers:
            read.update(await asyncio.to_thread(receiving.recv))
        faults = sum(versions != list(range(publisher.published[number // GROUP])) for number, versions in read.items())
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
    print(f"events                         {sum(publisher.published):,}, read {sum(map(len, read.values())):,} times")
    print(f"watchers with a fault          {faults:,} of {len(read):,}")
    return not faults and len(read) == clients and (code, code_again) == (0, 0)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return 1 if an event was lost or repeated, or a hub did not exit with 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restart", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="--reconnect-rate of the hub")
    parser.add_argument("--processes", type=int, default=max(2, (os.cpu_count() or 2) // 2))
    parser.add_argument("--events-per-s", type=float, default=200.0)
    parser.add_argument("--workers", type=int, default=1, help="workers of the hub, which restart one after the other")
    chosen = parser.parse_args(arguments)
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(describe_machine(network="loopback", pinning="none", program="benchmarks.restart"), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        given = (chosen.clients, chosen.rate, chosen.processes, chosen.events_per_s, Path(folder), chosen.workers)
        fine = asyncio.run(measure(*given))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
