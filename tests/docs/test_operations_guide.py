"""The shell script of docs/operations.md, run against a hub."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.hub_log import read_log, until
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, environment
from tests.transcripts.markdown import Document

from tidings.client.http import HTTPClient
from tidings.operations.views import OperationSummary

(SCRIPT,) = [block.text for block in Document("docs/operations.md").blocks_in("sh") if block.text.startswith("#!")]
SCRIPT_TIMEOUT_S = 2.5 * TIMEOUT_S
"""Time for half a dozen commands, one after the other, on a busy machine."""
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
            timeout=SCRIPT_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, done.stderr
        operation = _only(hub)
    assert operation.state == end
    assert (operation.name, operation.current_step, operation.lease_s) == ("Nightly import", "load", 600)


SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
ENDS = {"operation:complete", "operation:failed", "operation:cancelled"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_script_of_the_guide_reports_one_end_on_a_signal(tmp_path: Path, shell: str, number: int, code: int) -> None:
    program(tmp_path, "tidings", f'exec {" ".join(TIDINGS)} "$@"')
    program(tmp_path, "extract", "echo 1,2")
    program(tmp_path, "load", "echo > ready; exec sleep 60")
    with Hub("--log-level", "error") as hub:
        script = subprocess.Popen(
            [shell, "-c", SCRIPT],
            cwd=tmp_path,
            env=environment(TIDINGS_URL=hub.url, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}"),
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        try:
            until((tmp_path / "ready").exists)
            # To the whole group, as a terminal and a service manager do.
            os.killpg(script.pid, number)
            _, stderr = script.communicate(timeout=SCRIPT_TIMEOUT_S)
        finally:
            script.kill()
        assert script.returncode == code
        assert b"tidings" not in stderr
        ends = [event["type"] for event in read_log(hub, channel="operations") if event["type"] in ENDS]
    assert ends == ["operation:cancelled"]


def test_script_of_the_guide_reports_its_run_when_the_hub_comes_back(tmp_path: Path) -> None:
    program(tmp_path, "tidings", f'exec {" ".join(TIDINGS)} "$@"')
    program(tmp_path, "extract", "echo 1,2")
    program(tmp_path, "load", "exit 3")
    with Hub() as gone:
        variables = environment(
            TIDINGS_URL=gone.url,
            TIDINGS_SPOOL=str(tmp_path / "spool"),
            PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        )
    script = SCRIPT.replace("report start", "report start --timeout 200ms").replace(
        "report fail", "report fail --timeout 200ms"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=variables, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 3, done.stderr
    with Hub("--port", str(gone.port)) as hub:
        flushed = subprocess.run([*TIDINGS, "flush"], env=variables, capture_output=True, check=False)
        assert flushed.returncode == 0, flushed.stderr
        operation = _only(hub)
    assert (operation.state, operation.name, operation.attempt) == ("failed", "Nightly import", 1)


def _only(hub: Hub) -> OperationSummary:
    with HTTPClient(hub.url) as api:
        (operation,) = api.operations([], 10)
    return operation
