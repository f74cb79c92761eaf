"""The shell script of docs/operations.md, run against a hub."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, environment
from tests.transcripts.markdown import Document

from tidings.client.http import HTTPClient
from tidings.operations.views import OperationSummary

(SCRIPT,) = [block.text for block in Document("docs/operations.md").blocks_in("sh") if block.text.startswith("#!")]
LOADS = {
    "complete": "exit 0",
    "failed": "exit 3",
    "cancelled": 'tidings cancel "$(tidings ls --running | cut -f1)" --timeout 0; exit 0',
}


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(("end", "code"), [("complete", 0), ("failed", 3), ("cancelled", 75)])
def test_script_of_the_guide_reports_its_end(tmp_path: Path, end: str, code: int) -> None:
    program(tmp_path, "tidings", f'exec {" ".join(TIDINGS)} "$@"')
    program(tmp_path, "extract", "echo 1,2; echo 3,4")
    program(tmp_path, "load", LOADS[end])
    with Hub("--log-level", "error") as hub:
        done = subprocess.run(
            ["sh", "-c", SCRIPT],
            cwd=tmp_path,
            env=environment(TIDINGS_URL=hub.url, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}"),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, done.stderr
        operation = _only(hub)
    assert operation.state == end
    assert (operation.name, operation.current_step, operation.lease_s) == ("Nightly import", "load", 600)


def _only(hub: Hub) -> OperationSummary:
    with HTTPClient(hub.url) as api:
        (operation,) = api.operations([], 10)
    return operation
