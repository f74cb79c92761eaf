"""The README's first screen: its three commands, and a real job after them."""

import os
import re
import select
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.processes import environment
from tests.nats_server import free_port

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 60


def commands() -> list[list[str]]:
    """Return the commands of the README's first block, without their comments."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


@contextmanager
def running(command: list[str], env: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, start_new_session=True, bufsize=0)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)


def read_until(process: "subprocess.Popen[bytes]", *texts: str) -> str:
    """Return the first line of stdout that holds each of `texts`."""
    assert process.stdout is not None
    while select.select([process.stdout], [], [], TIMEOUT_S)[0]:
        line = process.stdout.readline().decode()  # unbuffered, or `select` would not see what waits
        if all(text in line for text in texts) or not line:
            return line
    pytest.fail(f"{process.args!r} did not say {texts!r}")


@pytest.mark.timeout(180)
@pytest.mark.skipif(not (ROOT / ".venv/bin/tidings").exists(), reason="not installed by `make install`")
def test_three_terminals_of_the_readme_show_the_demo_and_a_real_job(tmp_path: Path) -> None:
    run, watch, demo = commands()
    assert run == ["make", "run"]
    job = [".venv/bin/tidings", "run", "--", ".venv/bin/pytest", "tests/protocol"]
    port = free_port()
    env = environment(
        TIDINGS_PORT=str(port), TIDINGS_DATA=str(tmp_path / "data"), TIDINGS_URL=f"ws://127.0.0.1:{port}/ws"
    )
    # The environment is installed already; make would look at the registry again.
    with running([*run, "-o", ".venv/.hub"], env) as hub:
        assert f"ws://127.0.0.1:{port}/ws" in read_until(hub, "ws://")
        with running(watch, env) as watcher:
            with running([*demo, "--speed", "20"], env) as replay:
                assert read_until(watcher, "start", "Import prices")
                assert read_until(watcher, "complete", "Import prices")
                assert replay.wait(TIMEOUT_S) == 0
            with running(job, env) as pytest_run:
                assert read_until(watcher, "start", "pytest tests/protocol")
                output, _ = pytest_run.communicate(timeout=TIMEOUT_S * 2)
                assert b" passed" in output
                assert pytest_run.returncode == 0
                assert read_until(watcher, "complete", "pytest tests/protocol")
            watcher.send_signal(signal.SIGINT)
            watcher.wait(TIMEOUT_S)
        os.killpg(hub.pid, signal.SIGTERM)
        hub.wait(TIMEOUT_S)
    assert (tmp_path / "data" / "log.db").exists()
