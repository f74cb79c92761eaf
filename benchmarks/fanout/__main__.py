"""The command: `python -m benchmarks.fanout`."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fanout.compiler import CompilerError, compile_binaries
from benchmarks.fanout.machine import describe_machine
from benchmarks.fanout.measure import Bench, Plan, tell, valid
from benchmarks.fanout.network import enter_private_network
from benchmarks.fanout.report import render, to_json
from benchmarks.fanout.scenarios import IDLE_CONNECTIONS, Contender, Scenario, all_scenarios

FULL = {"subscribers": [1000, 10000], "seconds": 4.0, "warm_up": 1.0, "rounds": 3, "prefill": 1_000_000}
QUICK = {"subscribers": [1000], "seconds": 1.0, "warm_up": 0.5, "rounds": 1, "prefill": 20_000}
# Beside the connections: standard streams, the log's files, epoll, timers.
SPARE_FILES = 200


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line, with what `--quick` changes filled in."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    add = parser.add_argument
    names = sorted({scenario.name for scenario in all_scenarios([1])})
    add("--quick", action="store_true", help="one short round, 1,000 subscribers, a small log: to see that it works")
    add("--scenario", nargs="+", metavar="NAME", choices=names, help=f"only these: {', '.join(names)}")
    add("--subscribers", nargs="+", type=int, metavar="N", help="of the fan-out scenarios (default 1000 10000)")
    add("--idle-connections", type=int, default=IDLE_CONNECTIONS, metavar="N")
    add("--seconds", type=float, metavar="S", help="length of each measured window (default 4)")
    add("--warm-up", type=float, metavar="S", help="load before each window (default 1)")
    add("--rounds", type=int, metavar="N", help="number of rounds; the figures are medians over them (default 3)")
    add("--prefill", type=int, metavar="ROWS", help="rows of the log that is published to (default 1000000)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--baseline-only", action="store_true", help="measure the C server alone")
    only.add_argument("--hub-only", action="store_true", help="measure the hub alone; no ratios")
    add("--authenticate", action="store_true", help="let the hub identify its clients by an API key")
    add("--hub-argument", action="append", default=[], metavar="ARG", help="added to `tidings serve`; repeatable")
    add("--profile", type=Path, metavar="DIR", help="profile the hub (py-spy or perf) into DIR")
    add("--json", type=Path, metavar="FILE", help="write medians and every single run there")
    add("--host-network", action="store_true", help="do not make a network namespace")
    chosen = parser.parse_args(arguments)
    for name, value in (QUICK if chosen.quick else FULL).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def _contenders(chosen: argparse.Namespace) -> list[Contender]:
    if chosen.baseline_only:
        return [Contender.BASELINE]
    return [Contender.HUB] if chosen.hub_only else list(Contender)


def _cores() -> tuple[int, int] | None:
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else None


def _raise_file_limit(connections: int) -> None:
    """Raise the limit of open files of a process and its children, as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + SPARE_FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, hard), max(needed, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < needed:
            tell(f"only {hard:,} open files are allowed here, {connections:,} connections need {needed:,}: ulimit -n")


def _use_key(folder: Path) -> list[str]:
    """Make an API key that the load generator sends, and return the arguments with which the hub accepts it."""
    keys = str(folder / "keys.jsonl")
    grants = [f"--grant={grant}" for grant in ("read *", "publish *")]
    command = [str(Path(sys.executable).with_name("tidings")), "key", "add", "benchmark", *grants, "--keys", keys]
    key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    os.environ["TIDINGS_TOKEN"] = key
    return ["--auth", "keys", "--keys", keys]


def _chosen_scenarios(chosen: argparse.Namespace) -> list[Scenario]:
    scenarios = all_scenarios(chosen.subscribers, idle_connections=chosen.idle_connections)
    return [scenario for scenario in scenarios if not chosen.scenario or scenario.name in chosen.scenario]


def main(arguments: Sequence[str]) -> int:
    """Measure, print the report, and return the exit code: 1 if any run lost something."""
    chosen = parse_arguments(arguments)
    try:
        binaries = compile_binaries()
    except CompilerError as error:
        tell(str(error))
        return 2
    network = "the host's own, as asked" if chosen.host_network else enter_private_network()
    cores = _cores()
    _raise_file_limit(max(*chosen.subscribers, chosen.idle_connections))
    pinning = f"server on {cores[0]}, load generator on {cores[1]}" if cores else "only one: nothing is pinned"
    print(describe_machine(network=network, pinning=pinning), flush=True)
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder:
        plan = Plan(
            binaries=binaries,
            folder=Path(folder),
            seconds=chosen.seconds,
            warm_up=chosen.warm_up,
            rounds=chosen.rounds,
            prefill_rows=chosen.prefill,
            contenders=_contenders(chosen),
            server_core=cores[0] if cores else None,
            load_core=cores[1] if cores else None,
            hub_arguments=[*chosen.hub_argument, *(_use_key(Path(folder)) if chosen.authenticate else ())],
            profiles=chosen.profile,
        )
        if cores:
            os.sched_setaffinity(0, {cores[1]})  # what this program does is not to disturb the server
        rows = Bench(plan).run(_chosen_scenarios(chosen))
    print(f"windows   {chosen.seconds:g} s after {chosen.warm_up:g} s of warm-up, medians of {chosen.rounds}")
    print(render(rows))
    if chosen.json is not None:
        chosen.json.write_bytes(to_json(rows))
    return 0 if valid(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
