"""The command: `python -m benchmarks.hostile [NAME…]`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.fanout.measure import tell
from benchmarks.hostile.innocents import percentile
from benchmarks.hostile.measure import Outcome, measure
from benchmarks.hostile.registry import all_attacks

MAX_P99_S = 0.25
MAX_TURN_S = 0.1
"""Longest turn of the hub's loop, in CPU time: unlike a p99, it does not depend on what else the machine runs."""
MAX_PEAK_BYTES = 300 << 20

_HEAD = ("attack", "quiet p99", "ack p99", "event p99", "turn CPU", "worst post", "peak over idle", "left", "lost", "")
_LINE = "{:<26} {:>9} {:>9} {:>9} {:>8} {:>10} {:>14} {:>9} {:>5}  {}"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="attacks or families (default: all)")
    add("--list", action="store_true", help="list the attacks")
    add("--seconds", type=float, default=8.0, metavar="S", help="length of each attack (default 8)")
    add("--scale", type=float, default=1.0, metavar="X", help="factor for the numbers of each attack (default 1)")
    add(
        "--runs", type=int, default=1, metavar="N", help="runs of an attack until one is within the targets (default 1)"
    )
    add("--keep", type=Path, metavar="DIR", help="keep the hub's data and stderr there")
    add("--hub-argument", action="append", default=[], metavar="ARG", help="added to `tidings serve`; repeatable")
    return parser.parse_args(arguments)


def within_targets(outcome: Outcome) -> bool:
    """Return whether an attack hurt no one."""
    bounded = outcome.p99_s <= MAX_P99_S and outcome.longest_turn_s <= MAX_TURN_S
    bounded = bounded and outcome.peak_over_idle_bytes <= MAX_PEAK_BYTES
    return bounded and not outcome.waits.lost and not outcome.hub_ended


def describe(outcome: Outcome) -> str:
    """Return the line of an attack."""
    waits = outcome.waits
    verdict = "the hub ended" if outcome.hub_ended else "" if within_targets(outcome) else "HURT"
    return _LINE.format(
        outcome.attack.name,
        _milliseconds(outcome.baseline_p99_s),
        _milliseconds(percentile(waits.accepted, 0.99)),
        _milliseconds(percentile(waits.delivered, 0.99)),
        _milliseconds(outcome.longest_turn_s),
        _milliseconds(max(waits.posted, default=float("inf"))),
        f"{outcome.peak_over_idle_bytes / (1 << 20):.1f} MiB",
        f"{outcome.left_bytes / (1 << 20):.1f}",
        waits.lost,
        verdict,
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def main(arguments: list[str]) -> int:
    """Run the attacks in turn, print a line for each run, and return 1 if one of them hurt in all of its runs."""
    chosen = parse_arguments(arguments)
    attacks = [
        each for each in all_attacks().values() if not chosen.names or {each.name, each.family} & set(chosen.names)
    ]
    if unknown := set(chosen.names) - {name for each in attacks for name in (each.name, each.family)}:
        tell(f"no such attack: {', '.join(sorted(unknown))} (see --list)")
        return 2
    if chosen.list:
        for each in attacks:
            print(f"{each.family:<12} {each.name:<28} {each.about}")
        return 0
    cores = sorted(os.sched_getaffinity(0))
    hub_core = cores[0] if len(cores) > 1 else None
    if hub_core is not None:
        os.sched_setaffinity(0, {cores[1]})
    print(_LINE.format(*_HEAD), flush=True)
    good = True
    for each in attacks:
        outcomes = []
        for number in range(chosen.runs):
            with tempfile.TemporaryDirectory(prefix="tidings-hostile-") as temporary:
                folder = Path(temporary) if chosen.keep is None else chosen.keep / f"{each.name}-{number}"
                folder.mkdir(parents=True, exist_ok=True)
                outcome = measure(
                    each,
                    folder,
                    seconds=chosen.seconds,
                    scale=chosen.scale,
                    hub_core=hub_core,
                    hub_arguments=chosen.hub_argument,
                )
            outcomes.append(outcome)
            print(describe(outcome), flush=True)
            if within_targets(outcome):
                break
        good = good and any(map(within_targets, outcomes))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
