"""Two workers of uvicorn and one hub, each a process."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.examples.programs import EXAMPLES, of_trace, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e{:04x}"


class Workers:
    """`uvicorn --workers 2`, as in the example."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._log = folder / "uvicorn.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", str(EXAMPLES)),
                    *("--workers", "2", "--port", "0", "background_tasks:app"),
                ],
                stdout=log,
                stderr=log,
                env=environment(TIDINGS_URL=hub.url, TIDINGS_SPOOL=str(folder / "spool")),
                start_new_session=True,
            )
        try:
            wait_until(lambda: self.log_text().count("Application startup complete") == 2)
        except BaseException:
            self.kill()
            raise
        found = re.search(r"running on (http://\S+)", self.log_text())
        assert found is not None
        self.address = found[1]

    def log_text(self) -> str:
        return self._log.read_text()

    def order(self, number: int, pages: int) -> dict[str, Any]:
        """Order a report, in its own trace."""
        request = urllib.request.Request(
            f"{self.address}/reports?pages={pages}",
            method="POST",
            headers={"traceparent": f"00-{TRACE.format(number)}-00f067aa0ba902b7-01", "Connection": "close"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            assert answer.status == 202
            ordered: dict[str, Any] = json.load(answer)
        return ordered

    def stop(self) -> int:
        """Stop the workers as a service manager does; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """Kill all processes that still run."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("--log-level", "error", "--lease", "1s") as hub:
        yield hub


@pytest.fixture
def workers(hub: Hub) -> Iterator[Workers]:
    with tempfile.TemporaryDirectory() as folder:
        running = Workers(hub, Path(folder))
        try:
            yield running
        finally:
            running.kill()


def test_all_workers_report_every_event_to_one_hub(hub: Hub, workers: Workers) -> None:
    busy: set[int] = set()
    numbers = 0
    while len(busy) < 2 or numbers < 8:
        assert numbers < 200, "one worker does everything"
        busy.add(workers.order(numbers, pages=3)["worker"])
        numbers += 1
    workers.order(numbers, pages=20)
    numbers += 1
    workers.stop()  # waits for the last report, and ends right after it
    pids = set()
    for number in range(numbers):
        received = of_trace(hub, TRACE.format(number))
        kinds = [kind for kind, _ in received if kind != "progress"]
        assert kinds == ["start", "start", "complete"], received
        assert [data.get("queued", False) for kind, data in received if kind == "start"] == [True, False]
        pids.add(received[0][1]["pid"])
    assert pids == busy


def test_killed_worker_fails_its_operation(hub: Hub, workers: Workers) -> None:
    ordered = workers.order(1, pages=100_000)
    trace = TRACE.format(1)
    wait_until(lambda: any(kind == "progress" for kind, _ in of_trace(hub, trace)))
    os.kill(ordered["worker"], signal.SIGKILL)
    wait_until(lambda: of_trace(hub, trace)[-1][0] == "failed")
    kind, data = of_trace(hub, trace)[-1]
    assert (kind, data["code"], data["recoverable"]) == ("failed", "producer_lost", True)
