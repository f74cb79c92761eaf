"""What reporting costs a job: `python -m benchmarks.producer`.

First `advance()` and `log()` alone. Then a loop whose body takes 10 µs, bare and reported, with a hub, with none, and
with one that is killed half-way. Bare and reported pieces of the loop take turns, so that both meet the same machine;
the figure is the median of their ratios.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tidings
from benchmarks.fanout.servers import Server, running_server
from tidings.producer.runtime import RUNTIME

BODY_S = 10e-6
CLOSE_S = 0.2
"""For what a hub that is gone will never take."""
NOWHERE = "ws://127.0.0.1:9/ws"
"""The port of the discard service, which machines no longer run: the connection is refused immediately."""


def spin(rounds: int) -> None:
    """Compute for a while, holding the interpreter as Python code does."""
    for _ in range(rounds):
        pass


def calibrate() -> int:
    """Return the rounds of `spin` that take `BODY_S`."""
    rounds, best = 1_000, float("inf")
    for _ in range(200):
        start = time.perf_counter()
        spin(rounds)
        best = min(best, time.perf_counter() - start)
    return max(1, round(rounds * BODY_S / best))


def bare(iterations: int, rounds: int) -> float:
    """Return the seconds of the loop alone."""
    start = time.perf_counter()
    for _ in range(iterations):
        spin(rounds)
    return time.perf_counter() - start


def reported(op: tidings.Operation, iterations: int, rounds: int) -> float:
    """Return the seconds of the loop that reports each iteration."""
    start = time.perf_counter()
    for _ in range(iterations):
        spin(rounds)
        op.advance()
    return time.perf_counter() - start


def advance_us(op: tidings.Operation, iterations: int) -> float:
    """Return microseconds of one `advance()`, what its loop costs taken off; the best of several rounds."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(iterations):
            op.advance()
        middle = time.perf_counter()
        for _ in range(iterations):
            pass
        end = time.perf_counter()
        best = min(best, (middle - start) - (end - middle))
    return best / iterations * 1e6


def log_us(op: tidings.Operation, iterations: int) -> float:
    """Return microseconds that the job's own thread spends in one `log()`; the best of several rounds."""
    best = float("inf")
    for _ in range(25):
        start = time.thread_time()
        for _ in range(iterations // 25):
            op.log("a line of text")
        best = min(best, time.thread_time() - start)
    return best / (iterations // 25) * 1e6


def slowdown(url: str, iterations: int, pieces: int, halfway: Callable[[], None]) -> float:
    """Return how much longer the reported loop takes, as a share.

    Args:
        url: The hub's.
        iterations: Of the whole loop, reported.
        pieces: In how many it is cut.
        halfway: Called before the second half.
    """
    rounds = calibrate()
    ratios = []
    with tidings.operation("benchmark", total=iterations, url=url, quiet=True) as op:
        for piece in range(pieces):
            if piece == pieces // 2:
                halfway()
            # Which goes first changes, or a machine that grows slower would favour one.
            if piece % 2:
                alone, told = bare(iterations // pieces, rounds), reported(op, iterations // pieces, rounds)
            else:
                told, alone = reported(op, iterations // pieces, rounds), bare(iterations // pieces, rounds)
            ratios.append(told / alone)
    RUNTIME.close(CLOSE_S)
    return statistics.median(ratios) - 1


@contextmanager
def hub() -> Iterator[tuple[str, Server]]:
    """Run a hub that keeps no file, and return its address."""
    command = [str(Path(sys.executable).with_name("tidings")), "serve", "--port", "0", "--memory"]
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(command, core=None, log=Path(folder) / "hub.log") as server,
    ):
        yield f"ws://{server.host}:{server.port}/ws", server


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What reporting costs a job.")
    parser.add_argument("--iterations", type=int, default=1_000_000, help="of each loop")
    parser.add_argument("--pieces", type=int, default=40, help="that bare and reported loops are cut into")
    options = parser.parse_args(arguments)
    iterations, pieces = options.iterations, options.pieces
    print(f"python    {platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    with hub() as (url, _):
        with tidings.operation("benchmark", total=iterations, url=url, quiet=True) as op:
            print(f"{'advance()':<34} {advance_us(op, iterations):8.3f} µs")
        print(f"{'10 µs loop, with a hub':<34} {slowdown(url, iterations, pieces, lambda: None):+8.2%}")
    with tidings.operation("benchmark", url=NOWHERE, quiet=True) as op:
        print(f"{'log(), no hub anywhere':<34} {log_us(op, iterations // 10):8.3f} µs")
    RUNTIME.close(CLOSE_S)
    share = slowdown(NOWHERE, iterations, pieces, lambda: None)
    print(f"{'10 µs loop, no hub anywhere':<34} {share:+8.2%}")
    with hub() as (url, server):
        share = slowdown(url, iterations, pieces, lambda: os.kill(server.pid, 9))
    print(f"{'10 µs loop, hub killed half-way':<34} {share:+8.2%}")


if __name__ == "__main__":
    main()
