"""Clients that return together to a real hub: `python -m benchmarks.capacity.real_storm`.

It prints what the simulation expects, and what the hub did.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from benchmarks.capacity.storm import Storm, simulate
from benchmarks.fanout.machine import describe_machine
from benchmarks.fanout.servers import Server, hub_command, running_server
from benchmarks.hostile.peer import handshake
from tidings.client.reconnect import Backoff, Reconnect

HANDSHAKE_S = 10.0
"""Time after which a client gives up a handshake."""


class _Clients:
    """Clients that connect after the delay of one that has lost its hub, until they are admitted."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = Random(seed)
        self._started = time.monotonic()
        self._open: list[asyncio.StreamWriter] = []
        self.attempts = 0
        self.refused = 0
        self.returned_s: list[float] = []

    async def connect(self) -> None:
        """Try until a handshake succeeds."""
        backoff = Backoff(Reconnect(), self._random.random)
        while True:
            await asyncio.sleep(backoff.next_delay())
            self.attempts += 1
            async with asyncio.timeout(HANDSHAKE_S):
                reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
                writer.write(handshake("/ws?channel=data&since=now"))
                head = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " in head.partition(b"\r\n")[0]:
                self._open.append(writer)
                self.returned_s.append(time.monotonic() - self._started)
                return
            self.refused += 1
            writer.close()

    async def close(self) -> None:
        for writer in self._open:
            writer.close()


async def run(server: Server, clients: int, seed: int = 1) -> Storm:
    """Let clients return to a hub; `most_waiting` is not known.

    Raises:
        OSError, TimeoutError, asyncio.IncompleteReadError: A handshake got no answer.
    """
    storm = _Clients(server, seed)
    try:
        await asyncio.gather(*(storm.connect() for _ in range(clients)))
    finally:
        await storm.close()
    back = sorted(storm.returned_s)
    return Storm(
        clients=clients,
        half_s=back[(clients - 1) // 2],
        all_s=back[-1],
        attempts=storm.attempts,
        refused=storm.refused,
        most_waiting=0,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the simulation and what a real hub did."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity.real_storm", description=__doc__)
    parser.add_argument("--clients", type=int, default=3_000, metavar="N", help="default: 3000")
    parser.add_argument("--reconnect-rate", type=float, default=200, metavar="N", help="of the hub; default: 200")
    chosen = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(describe_machine(network="loopback", pinning="free", program="benchmarks.capacity.real_storm"), flush=True)
    with tempfile.TemporaryDirectory(prefix="tidings-storm-") as folder:
        options = ["--reconnect-rate", f"{chosen.reconnect_rate:g}", "--connections-of-address", "0"]
        command = hub_command(Path(folder) / "data", options)
        with running_server(command, core=None, log=Path(folder) / "stderr") as server:
            real = asyncio.run(run(server, chosen.clients))
    for name, storm in (("simulated", simulate(chosen.clients, rate=chosen.reconnect_rate)), ("real hub", real)):
        print(
            f"{name:12}{storm.clients:,} clients, half within {storm.half_s:.1f} s, all within {storm.all_s:.1f} s, "
            f"{storm.attempts:,} attempts, {storm.refused:,} refused"
        )


if __name__ == "__main__":
    main()
