"""Operations in greenlets of the real gevent, in a process of their own."""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.examples.programs import Envelope, events
from tests.transcripts.markdown import ROOT

from tidings.client import sync

JOBS = 50


def run_greenlets(hub: Hub, spool: Path) -> Counter[str]:
    """Run the program, cancel its last job on the way, and count how its jobs say that they ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "gevent.monkey", "tests/integrations/greenlet_program.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(TIDINGS_URL=hub.url, TIDINGS_SPOOL=str(spool)),
        cwd=ROOT,
    ) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "waiting\n"
            with sync.connect(hub.url) as client:
                assert client.cancel(f"job-{JOBS - 1}", timeout_s=TIMEOUT_S).outcome == "cancelled"
            output, errors = program.communicate(timeout=TIMEOUT_S)
        finally:
            program.kill()
    assert program.returncode == 0, errors
    return Counter(output.split())


def test_each_greenlet_of_a_pool_reports_its_own_operation(tmp_path: Path) -> None:
    with Hub() as hub:
        assert run_greenlets(hub, tmp_path) == {"complete": 44, "LookupError": 5, "OperationCancelled": 1}
        found = [
            event for number in range(JOBS) for event in events(hub, f"channel=operations&key=job-{number}&limit=1000")
        ]
    assert list(tmp_path.glob("*.ndjson")) == []
    received: defaultdict[str, list[Envelope]] = defaultdict(list)
    for event in found:
        received[event["type"].removeprefix("operation:")].append(event["data"])
    ends = {kind: len(received[kind]) for kind in ("start", "complete", "failed", "cancelled")}
    assert ends == {"start": 50, "complete": 44, "failed": 5, "cancelled": 1}
    assert len(received["log"]) == 3 * JOBS
    for event in found:
        data = event["data"]
        text = f"{data.get('current_step') or ''} {data.get('message') or ''}"
        others = set(re.findall(r"(?:first|second|line \d of) (\d+)", text)) - {
            data["operation_id"].removeprefix("job-")
        }
        assert not others, event
    assert any("second" in (data.get("message") or "") for data in received["progress"]), received["progress"]
