"""Autobahn's conformance cases, run against the echo server on the edge."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.server.server_process import ServerProcess

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, and 10.1; 9 measures.
GROUPS = (1, 2, 3, 4, 5, 6, 7, 10)
# Compression: two sizes and two kinds of 12, and one size of 13 with each of its seven lists of offers. A case has
# 1,000 messages; all 216 take a quarter of an hour.
COMPRESSED = ("12.1.1", "12.1.4", "12.2.4", *(f"13.{offers}.3" for offers in range(1, 8)))
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
RUN_S = 150.0
"""Time for one run of the suite, in seconds; it takes a tenth on a quiet machine."""


def run_cases(folder: Path, server: ServerProcess, *cases: str) -> dict[str, dict[str, str]]:
    """Run cases against the echo server, and return what each found."""
    # In a process of its own, because its threads sometimes crash the process after the report is written.
    kosoku = Path(sys.executable).with_name("kosoku")
    command: list[str | Path] = [kosoku, "--parallelism", "16", "--outdir", folder]
    for case in cases:
        command += ["--include", case]
    url = f"ws://127.0.0.1:{server.port}/"
    subprocess.run([*command, url], timeout=RUN_S, check=False, capture_output=True)
    [found] = json.loads((folder / "index.json").read_text()).values()
    assert isinstance(found, dict)
    return found


def failures(cases: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {name: case for name, case in cases.items() if not {case["behavior"], case["behaviorClose"]} <= PASSED}


def test_conformance_suite_passes(tmp_path: Path) -> None:
    with ServerProcess() as server:
        cases = run_cases(tmp_path, server, *(f"{group}.*" for group in GROUPS))
    per_group = Counter(int(name.split(".")[0]) for name in cases)
    assert per_group == {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 10: 1}
    assert failures(cases) == {}


def test_conformance_suite_passes_with_compression(tmp_path: Path) -> None:
    with ServerProcess("--compression-bytes", "0") as server:
        cases = run_cases(tmp_path, server, *COMPRESSED)
    assert cases.keys() == set(COMPRESSED)
    assert failures(cases) == {}
