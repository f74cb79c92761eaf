"""Events per second that one node of a hub of several machines acknowledges: `python -m benchmarks.cluster`.

One WebSocket publishes with 900 events unacknowledged. The nodes and the servers of their journal share this machine
and its disk, with `sync_interval: always`, so on machines of their own all of them have more.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from tests.nats_server import NatsServer, start_cluster
from tests.postgres_server import new_postgres_server

from benchmarks.fanout.compiler import compile_binaries
from benchmarks.fanout.load import LoadResult, run_load
from benchmarks.fanout.machine import describe_machine
from benchmarks.fanout.measure import HUB_PATHS
from benchmarks.fanout.servers import hub_command, running_server

ENGINES = ("none", "nats", "nats-r3", "postgres")


@contextmanager
def _journal(engine: str, folder: Path) -> Iterator[str]:
    """Run an engine; yield the URL of a journal, or nothing for a hub of one machine."""
    if engine == "none":
        yield ""
    elif engine == "postgres":
        with new_postgres_server(durable=True) as database:
            yield database.url
    else:
        configuration = folder / "nats.conf"
        configuration.write_text('jetstream: {sync_interval: "always"}\n')
        arguments = ["-c", str(configuration)]
        servers = [NatsServer(folder / "nats", arguments=arguments)]
        if engine == "nats-r3":
            servers = start_cluster(folder, 3, arguments)
        else:
            servers[0].start()
        try:
            hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
            yield f"nats://{hosts}/hubs?replicas={len(servers)}"
        finally:
            for server in servers:
                server.stop()


def run(engine: str, nodes: int, seconds: float, in_flight: int, folder: Path) -> tuple[LoadResult, float]:
    """Publish at the first of some nodes; return the result, and the CPU time of that node.

    Raises:
        LoadError, ServerError, CompilerError: It did not run.
    """
    binaries = compile_binaries()
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(engine, folder))
        options = ["--log", journal, "--events-per-s", "0"] if journal else ["--events-per-s", "0"]
        servers = [
            stack.enter_context(
                running_server(
                    hub_command(folder / f"node-{number}", options), core=None, log=folder / f"stderr-{number}"
                )
            )
            for number in range(nodes if journal else 1)
        ]
        process = psutil.Process(servers[0].pid)
        before = sum(process.cpu_times()[:2])
        result = run_load(
            binaries.load,
            "publish",
            servers[0],
            {"seconds": seconds, "greeted": True, "commands": True, "in-flight": in_flight} | HUB_PATHS,
        )
        return result, sum(process.cpu_times()[:2]) - before


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if a run was not valid."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    add = parser.add_argument
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="engines (default: all)")
    add("--nodes", type=int, default=2, metavar="N", help="nodes, of which one is published at (default 2)")
    add("--seconds", type=float, default=10.0, metavar="S", help="length of each window (default 10)")
    add("--rounds", type=int, default=3, metavar="N", help="rounds; the best of each counts (default 3)")
    chosen = parser.parse_args(arguments)
    print(describe_machine(network="loopback", pinning="none", program="benchmarks.cluster"), flush=True)
    print("\n  engine      in flight    events/s   per CPU s of the node   p50 ms")
    valid = True
    for engine in chosen.engines:
        for in_flight in (900, 1):
            best: tuple[LoadResult, float] | None = None
            for _ in range(chosen.rounds):
                with tempfile.TemporaryDirectory(prefix="tidings-cluster-") as folder:
                    one = run(engine, chosen.nodes, chosen.seconds, in_flight, Path(folder))
                if one[0].fault is not None:
                    print(f"  {engine:10} not valid: {one[0].fault}")
                    valid = False
                elif best is None or one[0].events > best[0].events:
                    best = one
            if best is not None:
                result, cpu_s = best
                latency = result.latency_us
                print(
                    f"  {engine:10} {in_flight:10} {result.events / max(result.seconds, 1e-9):11,.0f}"
                    f" {result.events / max(cpu_s, 1e-9):23,.0f} {latency.p50 / 1000 if latency else 0.0:8.2f}",
                    flush=True,
                )
    return 0 if valid else 1


if __name__ == "__main__":
    sys.exit(main())
