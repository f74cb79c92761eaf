"""A hub as a process of its own whose log opens when a test says so."""

import socket
import sys
import time
from pathlib import Path
from typing import Self

import httpx
from tests.cli.processes import TIMEOUT_S, Process


class SlowHub(Process):
    """A hub whose log opens when `release` is called."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.http = f"http://127.0.0.1:{port}"
        self.url = f"ws://127.0.0.1:{port}/ws"
        self._gate = folder / "gate"
        super().__init__(
            *("serve", "--port", str(port), "--data", str(folder / "data"), *options),
            env={"GATE": str(self._gate)},
            program=(sys.executable, "-W", "error", "-m", "tests.cli.serve.slow_tidings"),
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.ready = httpx.get(f"{self.http}/readyz", timeout=TIMEOUT_S)
                return self
            except httpx.ConnectError:
                assert self.process.poll() is None, self.wait()[2]
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def release(self) -> None:
        """Let the log open."""
        self._gate.touch()
