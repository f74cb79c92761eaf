"""Writers of a log, one after the other, that a test kills at any moment; they are forked by one process."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_DELAY_S = 0.002
"""Longest time between the last line that a writer may print and its end, so that it ends at any moment."""
MAX_WAIT_S = 30.0


def report(line: str) -> None:
    """Print a line for the test, in one write."""
    os.write(1, f"{line}\n".encode())


def serve_writers(write: Callable[[], None]) -> None:
    """Fork a process that calls `write` for each line of stdin, and report when it has started and died."""
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            random.seed()
            try:
                write()
            except BaseException as error:
                report(f"failed {error!r}")
            finally:
                os._exit(1)
        report(f"started {child}")
        os.waitpid(child, 0)
        report("dead")


@contextmanager
def writer_processes(module: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the program `module`, which calls `serve_writers`, for the data in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(MAX_WAIT_S)


def start_writer(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Start a writer; return its process id, and the lines that it printed before that arrived."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    lines: list[str] = []
    while True:
        line = process.stdout.readline()
        assert line
        if line.startswith("started"):
            return int(line.split()[1]), lines
        lines.append(line)


def run_and_kill_writer(process: "subprocess.Popen[str]", max_lines: int) -> tuple[int, list[str]]:
    """Start a writer, kill it when it has printed up to `max_lines`, and return its process id and its lines."""
    pid, lines = start_writer(process)
    assert process.stdout is not None
    life = random.randrange(max_lines)
    while len(lines) < life:
        line = process.stdout.readline()
        assert line
        assert not line.startswith("failed"), line
        lines.append(line)
    time.sleep(random.uniform(0.0, MAX_DELAY_S))  # waits for nothing: the writer is killed between two lines as well
    os.kill(pid, signal.SIGKILL)
    lines += iter(process.stdout.readline, "dead\n")
    return pid, lines
