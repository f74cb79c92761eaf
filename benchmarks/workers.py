"""Deliveries and events per second of a hub with 1, 2 and 4 workers: `python -m benchmarks.workers`.

One worker is the embedded hub. The load generator of `benchmarks.fanout` has one core's worth of work itself, so the
rate of many workers shows the hub's limit only where the generator is not always busy: `generator` is its share of one
core. Deliveries per worker-CPU-second do not depend on that, and neither do rates with `--core-share`: each worker may
then use only a part of a core, such as a quarter, so that the generator is not the limit on a machine of two cores.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
from msgspec import Struct

from benchmarks.core_shares import limited_to
from benchmarks.fanout.compiler import compile_binaries
from benchmarks.fanout.load import LoadResult, OptionValue, run_load
from benchmarks.fanout.machine import describe_machine
from benchmarks.fanout.measure import HUB_PATHS
from benchmarks.fanout.servers import Server, hub_command, running_server

SCENARIOS: dict[str, tuple[str, dict[str, OptionValue]]] = {
    "fan-out, 200 in flight": ("fanout", {"in-flight": 200}),
    "fan-out, 32 in flight": ("fanout", {"in-flight": 32}),
    "publishing, one WebSocket, 900 in flight": ("publish", {"in-flight": 900}),
    "publishing, one event at a time": ("publish", {"in-flight": 1}),
}


class Run(Struct, frozen=True):
    """One run of one scenario."""

    workers: int
    result: LoadResult
    cpu_s: float
    """CPU time of all workers, from the first connection to the end of the window."""

    @property
    def rate(self) -> float:
        """Deliveries per second; events, where there are no subscribers."""
        return self._count / max(self.result.seconds, 1e-9)

    @property
    def per_cpu_s(self) -> float:
        """Deliveries, or events, per second of the workers' CPU time."""
        return self._count / max(self.cpu_s, 1e-9)

    @property
    def _count(self) -> int:
        return self.result.deliveries or self.result.events


def _processes(server: Server) -> list[psutil.Process]:
    """Return the processes that serve: the workers, or the one process of a hub without them."""
    parent = psutil.Process(server.pid)
    return parent.children() or [parent]


def _cpu_s(server: Server) -> float:
    return float(sum(sum(each.cpu_times()[:2]) for each in _processes(server)))


def run(workers: int, mode: str, options: dict[str, OptionValue], folder: Path, core_share: float | None = None) -> Run:
    """Run one scenario against a new hub, each worker of which may use a share of a core; all of it by default.

    Raises:
        LoadError, ServerError, CompilerError: It did not run.
        NoControlGroups: Processes cannot be limited here.
    """
    binaries = compile_binaries()
    command = hub_command(folder / "data", ["--workers", str(workers), "--events-per-s", "0"])
    with running_server(command, core=None, log=folder / "stderr") as server, ExitStack() as stack:
        if core_share is not None:
            stack.enter_context(limited_to(core_share, [process.pid for process in _processes(server)]))
        before = _cpu_s(server)
        result = run_load(binaries.load, mode, server, options)
        return Run(workers, result, _cpu_s(server) - before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if a run was not valid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    add = parser.add_argument
    add("--workers", nargs="+", type=int, default=[1, 2, 4], metavar="N", help="numbers of workers (default 1 2 4)")
    add("--subscribers", type=int, default=1_000, metavar="N", help="of the fan-out (default 1000)")
    add("--seconds", type=float, default=10.0, metavar="S", help="length of each window (default 10)")
    add("--rounds", type=int, default=3, metavar="N", help="rounds; the best of each counts (default 3)")
    add("--core-share", type=float, metavar="PART", help="part of a core that each worker may use (default all)")
    chosen = parser.parse_args(arguments)
    print(describe_machine(network="loopback", pinning="none", program="benchmarks.workers"), flush=True)
    valid = True
    for title, (mode, options) in SCENARIOS.items():
        sized: dict[str, OptionValue] = {"seconds": chosen.seconds, "greeted": True, "commands": True}
        sized |= HUB_PATHS | options
        if mode == "fanout":
            sized["subscribers"] = chosen.subscribers
        print(f"\n{title}\n  workers        per s   per CPU s   × one worker   × per CPU s   p50 ms   generator")
        first: Run | None = None
        for workers in chosen.workers:
            best: Run | None = None
            for _ in range(chosen.rounds):
                with tempfile.TemporaryDirectory(prefix="tidings-workers-") as temporary:
                    one = run(workers, mode, sized, Path(temporary), chosen.core_share)
                if one.result.fault is not None:
                    print(f"  {workers:7}  not valid: {one.result.fault}")
                    valid = False
                elif best is None or one.rate > best.rate:
                    best = one
            if best is None:
                continue
            first = first or best
            latency = best.result.latency_us
            print(
                f"  {workers:7} {best.rate:12,.0f} {best.per_cpu_s:11,.0f} {best.rate / first.rate:14.2f}"
                f" {best.per_cpu_s / first.per_cpu_s:13.2f} {latency.p50 / 1000 if latency else 0.0:8.2f}"
                f" {best.result.load_cpu_s / max(best.result.seconds, 1e-9):11.0%}",
                flush=True,
            )
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
