"""What a number of connections needs of nodes, and whether the plan keeps its limits: `python -m benchmarks.capacity`.

The figures are arithmetic on measured costs (`--measure` measures them on this machine), and a simulation of clients
that return after a loss. Nothing here opens a million connections.
"""

import argparse
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import fields

from benchmarks.capacity.costs import MEASURED, Costs, measure
from benchmarks.capacity.plan import Plan, Result, calculate
from benchmarks.capacity.storm import Storm
from benchmarks.fanout.machine import describe_machine


def describe_costs(costs: Costs) -> Iterator[str]:
    """Yield the lines about costs."""
    yield f"opening a connection     {costs.opening_us:8,.0f} µs of CPU time"
    yield f"heartbeat                {costs.heartbeat_us:8,.1f} µs"
    yield f"delivery of an event     {costs.delivery_us:8,.1f} µs"
    yield f"event of another node    {costs.event_us:8,.1f} µs"
    yield f"event published here     {costs.publishing_us:8,.1f} µs"
    yield f"entry of the journal     {costs.entry_us:8,.0f} µs"
    yield f"open connection          {costs.connection_kib:8,.1f} KiB"
    yield f"node without any         {costs.node_mib:8,.0f} MiB"


def describe_result(result: Result) -> Iterator[str]:
    """Yield the lines about a plan."""
    plan = result.plan
    yield (
        f"plan        {plan.connections:,} connections on {plan.nodes} nodes; {plan.events_per_s:,} events/s, "
        f"published at {plan.publishing_nodes} of them; {plan.events_per_client_s:g} events/s to each client"
    )
    yield f"{'':28}{'all nodes':>12}{'one is lost':>14}"
    rows: list[tuple[str, str, float, float]] = [
        ("connections of a node", "{:,.0f}", result.before.connections, result.after.connections),
        ("core: delivering", "{:.1%}", result.before.delivering, result.after.delivering),
        ("core: heartbeats", "{:.1%}", result.before.heartbeats, result.after.heartbeats),
        ("core: following the log", "{:.1%}", result.before.folding, result.after.folding),
        ("core: publishing", "{:.1%}", result.before.publishing, result.after.publishing),
        ("core: in all", "{:.1%}", result.before.busy, result.after.busy),
        ("sent to clients, Mbit/s", "{:,.0f}", result.before.out_mbit, result.after.out_mbit),
        ("memory, GiB", "{:.2f}", result.before.memory_gib, result.after.memory_gib),
    ]
    for name, form, before, after in rows:
        yield f"  {name:26}{form.format(before):>12}{form.format(after):>14}"
    yield f"journal     {result.entries_per_s:,.0f} entries/s, {result.journal_out_mbit:,.0f} Mbit/s to all nodes"
    yield f"one node is lost        {describe_storm(result.lost)} at each of the others"
    yield f"all connections break   {describe_storm(result.everyone)} at each node"
    yield f"while they return       {result.opening:.0%} of a core more"
    for fault in result.faults():
        yield f"NOT KEPT    {fault}"


def describe_storm(storm: Storm) -> str:
    """Return the course of a storm in words."""
    return (
        f"{storm.clients:,} clients, half within {storm.half_s:.0f} s, all within {storm.all_s:.0f} s, "
        f"{storm.refused / storm.attempts:.0%} of {storm.attempts:,} attempts refused,"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a plan; return 1 if it does not keep its limits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the costs on this machine first")
    parser.add_argument("--measured-connections", type=int, default=5_000, metavar="N", help="default: 5000")
    for field in fields(Plan):
        kind = type(field.default)
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=field.default, metavar="N", help=f"default: {field.default}")
    chosen = vars(parser.parse_args(arguments))
    costs = MEASURED
    if chosen.pop("measure"):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        print(describe_machine(network="loopback", pinning="free", program="benchmarks.capacity"), flush=True)
        with tempfile.TemporaryDirectory(prefix="tidings-capacity-") as folder:
            costs = measure(Path(folder), connections=chosen["measured_connections"])
    del chosen["measured_connections"]
    result = calculate(Plan(**chosen), costs)
    print("\n".join([*describe_costs(costs), "", *describe_result(result)]))
    return 1 if any(result.faults()) else 0


if __name__ == "__main__":
    sys.exit(main())
