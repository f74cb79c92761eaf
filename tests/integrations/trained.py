"""Programs that train with a real package, and a hub through which one of the trainings is cancelled."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.processes import Hub, environment
from tests.examples.programs import of_operation, wait_until
from tests.transcripts.markdown import ROOT

from tidings.client import sync

_TIMEOUT_S = 60.0
"""Timeout of a program, in seconds: such packages take long to import."""


@contextmanager
def run_trainings(program: str, spool: Path) -> Iterator[Hub]:
    """Run a program, cancel its training "Is cancelled", the last one, and return the hub that it reported to.

    Args:
        program: Module of the program.
        spool: Folder of the spool.
    """
    with Hub() as hub:
        process = subprocess.Popen(
            [sys.executable, "-m", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(TIDINGS_URL=hub.url, TIDINGS_SPOOL=str(spool)),
            cwd=ROOT,
            text=True,
        )
        try:
            with sync.connect(hub.url) as client:
                for event in client.watch("operations"):
                    if getattr(event.payload, "name", "") == "Is cancelled":
                        assert event.key is not None
                        wait_until(lambda: "progress" in [kind for kind, _ in of_operation(hub, "Is cancelled")])
                        assert client.cancel(event.key, reason="enough", timeout_s=20).outcome == "cancelled"
                        break
            stdout, stderr = process.communicate(timeout=_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        assert stdout.endswith("trained\n"), stderr
        yield hub
