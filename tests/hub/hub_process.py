"""`tidings serve` in a process of its own, and its `/metrics`."""

import signal
import subprocess
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import msgspec
from tests.cli.processes import TIDINGS, TIMEOUT_S, environment


class HubProcess:
    """A hub on a free port.

    Args:
        folder: Folder of its log and of its stderr.
        options: Options of `tidings serve`.
        open_files: Number of files that it may open; None for the limit of this process.
        variables: Environment variables in addition to those of every test.
    """

    def __init__(
        self, folder: Path, *options: str, open_files: int | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        limit = [] if open_files is None else ["prlimit", f"--nofile={open_files}"]
        # A file, because no one reads a pipe while thousands connect, and a hub that cannot write its log lines blocks.
        with (folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [*limit, *TIDINGS, "serve", "--port", "0", "--data", str(folder / "log"), *options],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment(**(variables or {})),
            )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready, f"the hub did not start: exit code {self.process.wait(TIMEOUT_S)}"
        self.port = int(ready.split("/")[2].rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(TIMEOUT_S) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def publish(self, bodies: list[bytes]) -> list[str]:
        """Publish encoded envelopes, none of which may be refused, and return their positions."""
        answer = self._request("POST", "/v1/events", b"\n".join(bodies), {"Content-Type": "application/x-ndjson"})
        return [result["position"] for result in msgspec.json.decode(answer)["results"]]

    def metrics(self) -> dict[str, float]:
        """Return the current metrics by name (with labels)."""
        lines = self._request("GET", "/metrics").decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def wait_for(self, name: str, value: float) -> None:
        """Wait until a metric is at least `value`."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.metrics()[name] < value:
            assert time.monotonic() < deadline, f"{name} is {self.metrics()[name]}"

    def _request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        assert response.status == 200, answer
        return answer
