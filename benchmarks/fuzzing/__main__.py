"""Runs targets with many inputs: with atheris where it is installed, else with hypothesis."""

import argparse
import importlib.util
import subprocess
import sys
import time

from benchmarks.fuzzing.targets import TARGETS, fuzz


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzzing", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--inputs", type=int, default=500_000, help="inputs of all targets together; default: 500,000")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="default: atheris where it is installed")
    options = parser.parse_args()
    installed = importlib.util.find_spec("atheris") is not None
    engine = options.engine or ("atheris" if installed else "hypothesis")
    chosen = options.targets or list(TARGETS)
    for name in chosen:
        began, each = time.monotonic(), options.inputs // len(chosen)
        if engine == "hypothesis":
            fuzz(name, each)
        else:
            command = [sys.executable, "-m", "benchmarks.fuzzing.coverage_guided", name, str(each)]
            subprocess.run(command, check=True)
        print(f"{name:<12}{each:>9,} inputs in {time.monotonic() - began:,.0f} s with {engine}")


if __name__ == "__main__":
    main()
