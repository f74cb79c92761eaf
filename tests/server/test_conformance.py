"""Autobahn's conformance cases, run against the echo server on the edge."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.server.server_process import ServerProcess

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, and 10.1; 9 measures and 12, 13 are compression.
GROUPS = (1, 2, 3, 4, 5, 6, 7, 10)
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


def test_conformance_suite_passes(tmp_path: Path) -> None:
    # In a process of its own, because its threads sometimes crash the process after the report is written.
    kosoku = Path(sys.executable).with_name("kosoku")
    with ServerProcess() as server:
        command: list[str | Path] = [kosoku, "--parallelism", "16", "--outdir", tmp_path]
        for group in GROUPS:
            command += ["--include", f"{group}.*"]
        subprocess.run([*command, f"ws://127.0.0.1:{server.port}/"], timeout=60, check=False, capture_output=True)
    [cases] = json.loads((tmp_path / "index.json").read_text()).values()
    per_group = Counter(int(name.split(".")[0]) for name in cases)
    assert per_group == {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 10: 1}
    failed = {name: case for name, case in cases.items() if not {case["behavior"], case["behaviorClose"]} <= PASSED}
    assert failed == {}
