"""The echo server in a process of its own, for tests of signals, exit codes and ports."""

import subprocess
import sys
from typing import Self

TIMEOUT_S = 60.0


class ServerProcess:
    """`python -m tests.server.echo` with the given options, from its start to its end."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.server.echo", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        if not ready:
            _, errors = self.process.communicate(timeout=TIMEOUT_S)
            raise RuntimeError(f"the server did not start: {errors}")
        self.port = int(ready[2])
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=TIMEOUT_S)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_drain(self) -> None:
        """Wait until the server reports that it drains."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "draining\n"

    def wait(self) -> tuple[int, str]:
        """Wait for the end and return the exit code and stderr."""
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors
