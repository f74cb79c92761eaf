"""Programs that report, as real processes."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

TIMEOUT_S = 150.0
_HEAD = """
import os, signal, sys, threading, time
import tidings
from tidings.producer.runtime import RUNTIME


def emit(word):
    print(word, flush=True)


"""


class Program:
    """A running program, which prints words on stdout, one per line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def read_word(self) -> str:
        """Return the next word; "" at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the text on stderr."""
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors


@contextlib.contextmanager
def running(code: str, url: str, folder: Path, **variables: str) -> Iterator[Program]:
    """Run `code`, which reports to `url`; `tidings` is imported, and `emit(word)` is there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "COV_"))}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _HEAD + dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "TIDINGS_URL": url, "TIDINGS_SPOOL": str(folder / "spool"), **variables},
    )
    try:
        yield Program(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT_S)


def run(code: str, url: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Run `code` to its end; return the exit code and the text on stderr."""
    with running(code, url, folder, **variables) as program:
        return program.wait()
