import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.examples.programs import EXAMPLES, events, of_operation, wait_until
from tests.integrations.broker import broker

pytestmark = pytest.mark.alone


def test_example_reports_the_task(shared_hub: Hub, tmp_path: Path) -> None:
    with broker(tmp_path) as address:
        _watch_a_task(shared_hub, address, tmp_path)


def _watch_a_task(hub: Hub, address: str, tmp_path: Path) -> None:
    variables = environment(BROKER_URL=address, TIDINGS_URL=hub.url, TIDINGS_SPOOL=str(tmp_path))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "--app", "celery_tasks", "worker", "--concurrency", "1", "--without-mingle"],
        env=variables,
        cwd=EXAMPLES,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        sent = subprocess.run(
            [sys.executable, "celery_tasks.py"],
            env=variables,
            cwd=EXAMPLES,
            timeout=TIMEOUT_S,
            check=True,
            capture_output=True,
            text=True,
        )
        task_id = sent.stdout.strip()
        wait_until(lambda: len(events(hub, f"channel=operations&key={task_id}&type=operation:complete")) == 1)
    finally:
        worker.terminate()
        worker.wait(TIMEOUT_S)
    found = of_operation(hub, "Import prices")
    assert found[0][1]["operation_id"] == task_id
    assert [kind for kind, _ in found if kind not in ("progress", "log", "estimate")] == [
        "start",
        "start",
        "complete",
    ]
    assert [data["message"] for kind, data in found if kind == "log"] == [f"page {page} is in" for page in range(10)]
