"""The process of one attack: `python -m benchmarks.hostile.attacker NAME HOST PORT SECONDS SCALE HOLD`."""

import contextlib
import os
import resource
import sys

from benchmarks.hostile.registry import Target, all_attacks


def main(arguments: list[str]) -> None:
    """Run the attack once a line arrives on stdin, and print a line when it is over."""
    name, host, port, seconds, scale, hold_s = arguments
    attack = all_attacks()[name]
    # The innocent clients share the attacker's core, and are not to be measured waiting for it.
    os.nice(10)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("ready", flush=True)
    sys.stdin.readline()
    target = Target(host=host, port=int(port), seconds=float(seconds), scale=float(scale), hold_s=float(hold_s))
    with contextlib.suppress(ConnectionError):  # the hub may defend itself
        attack.run(target)
    target.hold()
    print("over", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
