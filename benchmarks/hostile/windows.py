"""Publishers that keep their windows full; as a command, the events per second of 5 and of 100 of them.

`python -m benchmarks.hostile.windows` prints a row per number of publishers. 100 are to reach 80 % of the rate of 5.
"""

import os
import select
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fanout.servers import hub_command, running_server
from benchmarks.hostile.peer import Peer, message

WINDOW = 1_000
MIN_SHARE = 0.8
SECONDS = 5.0
PUBLISHERS = (5, 100)

_ACCEPTED = b'"event:accepted"'
_REFUSED = b'"connection:error"'
_TAIL_BYTES = len(_REFUSED) - 1


def publish_windows(peers: list[Peer], over: Callable[[], bool]) -> tuple[list[int], int]:
    """Keep `WINDOW` events of each connection unacknowledged until `over()`.

    Returns:
        The number of events of each connection that were accepted, and of all that were refused.
    """
    event = message("data:update", {"dataset": "greedy", "version": 1, "metadata": {"text": "x" * 100}}, id="1")
    size = len(event)
    window = event * WINDOW
    due = dict.fromkeys(peers, WINDOW * size)
    accepted = dict.fromkeys(peers, 0)
    tails = dict.fromkeys(peers, b"")
    refused = 0
    while due and not over():
        readable, writable, _ = select.select(list(due), [peer for peer in due if due[peer]], [], 0.1)
        for peer in readable:
            taken = peer.take()
            if taken is None:
                due.pop(peer)
                continue
            # Counted without reading the frames: an answer that is split between two segments ends in the second.
            whole = tails[peer] + taken
            answered, rejected = whole.count(_ACCEPTED), whole.count(_REFUSED)
            tails[peer] = whole[max(whole.rfind(_ACCEPTED), whole.rfind(_REFUSED)) + 1 :][-_TAIL_BYTES:]
            accepted[peer] += answered
            refused += rejected
            due[peer] += (answered + rejected) * size
        for peer in writable:
            if peer not in due:
                continue
            place = -due[peer] % size
            sent = peer.send_some(memoryview(window)[place : min(len(window), place + due[peer])])
            if sent < 0:
                del due[peer]
            else:
                due[peer] -= sent
    return list(accepted.values()), refused


def _measure(publishers: int, hub_core: int | None) -> float:
    with tempfile.TemporaryDirectory(prefix="tidings-windows-") as folder:
        command = hub_command(Path(folder) / "data")
        with running_server(command, core=hub_core, log=Path(folder) / "stderr") as server:
            peers = [Peer(server.host, server.port) for _ in range(publishers)]
            began = time.monotonic()
            accepted, refused = publish_windows(peers, lambda: time.monotonic() - began >= SECONDS)
            rate = sum(accepted) / (time.monotonic() - began)
            least, most = min(accepted), max(accepted)
            print(f"{publishers:>4} publishers  {rate:>8,.0f} events/s  {refused:>6,} refused  each {least:,}–{most:,}")
            for peer in peers:
                peer.close()
            return rate


def main() -> int:
    """Print the rates, and return 1 if many publishers are slower than few."""
    cores = sorted(os.sched_getaffinity(0))
    hub_core = cores[0] if len(cores) > 1 else None
    if hub_core is not None:
        os.sched_setaffinity(0, {cores[1]})
    few, many = (_measure(publishers, hub_core) for publishers in PUBLISHERS)
    print(f"{many / few:.2f} of the rate (target ≥ {MIN_SHARE})")
    return 0 if many >= MIN_SHARE * few else 1


if __name__ == "__main__":
    sys.exit(main())
