import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidings.cli.run.piped_child import ProcessTree

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="descendants are found in /proc")
_PARENT = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"


def test_a_process_and_what_it_has_started_are_ended_and_nobody_else() -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as bystander,
        subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent,
    ):
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        kin = ProcessTree(parent.pid)
        assert not kin.send(0), "nobody was looked for yet"
        kin.look()
        assert kin.send(0)
        assert kin.send(signal.SIGKILL)
        assert parent.wait() == -signal.SIGKILL
        while kin.send(0):  # the child's end is init's to fetch
            continue
        assert _state(child) in ("", "Z", "X")
        assert bystander.poll() is None
        bystander.kill()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except FileNotFoundError:
        return ""
