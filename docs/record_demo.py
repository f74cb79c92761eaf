"""Records docs/demo.ndjson: half a minute of a small company's night, for `tidings replay docs/demo.ndjson`.

    python -m docs.record_demo            record again: a hub, `tidings record`, and a few jobs that report to the hub

The jobs only take time. Their events are reported, delivered and recorded like those of any job.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tidings

HERE = Path(__file__).parent
RECORDING = HERE / "demo.ndjson"
TIME = float(os.environ.get("DEMO_TIME", "1"))
"""Factor on every duration; a test uses a small one."""
ENDS = 6
"""Number of ends of operations, including those of parts and attempts."""
_END = re.compile(r'"type":"operation:(?:complete|failed|cancelled)"')


def rest(seconds: float) -> None:
    """Sleep for `seconds`, scaled by `TIME`."""
    time.sleep(seconds * TIME)


def import_prices() -> None:
    """Three steps, of which the second is most of the work; the third has a part of its own."""
    with tidings.operation("Import prices", id="import-prices", steps=["fetch", ("parse", 4), "load"]) as op:
        with op.step("fetch"):
            for source in op.track(["lse", "nyse", "xetra"], description="Fetching", unit="exchanges"):
                rest(0.8)
                op.log(f"{source}: 1,200 rows")
        with op.step("parse") as step:
            for _ in step.track(range(3_600), description="Parsing", unit="rows"):
                rest(0.0035)
        with op.step("load"), op.child("Refresh indexes", id="refresh-indexes") as part:
            for _ in part.track(range(8), unit="indexes"):
                rest(0.4)
        op.complete(result={"rows": 3600})


def train_model() -> None:
    """A loop of epochs with a falling loss."""
    with tidings.operation("Train forecast", id="train-forecast", total=12) as op:
        for epoch in range(1, 13):
            rest(1.6)
            op.progress(message=f"epoch {epoch}, loss {1.2 / epoch:.3f}")
            op.advance()


def send_newsletter() -> None:
    """A job that fails in the middle with a hint, and succeeds in its second attempt."""
    with contextlib.suppress(ConnectionError), tidings.operation("Send newsletter", id="newsletter", total=400) as op:
        for count in range(170):
            rest(0.03)
            op.advance()
            if count == 150:
                op.log("the mail server answers slowly", level="warning")
        error = ConnectionError("smtp.example.org closed the connection")
        error.add_note("Look at the mail server, then start it again: what was sent is not sent twice.")
        raise error
    rest(6)
    with tidings.operation("Send newsletter", id="newsletter", total=230) as op:
        for _ in op.track(range(230), unit="mails"):
            rest(0.03)


def copy_backup() -> None:
    """A job without a percentage that is cancelled."""
    op = tidings.start("Copy backup", id="copy-backup")
    op.indeterminate("looking for changes")
    rest(6)
    op.indeterminate("copying, 12 GB so far")
    rest(4)
    op.cancel("the office needs the line", cancelled_by="grace")


async def publish_other_events(url: str) -> None:
    """Publish the events of the night that belong to no operation."""
    alert = {"alert_id": "disk", "code": "disk_nearly_full", "recoverable": True}
    full = {"message": "/var is 91 % full", "hint": "Delete old backups.", "severity": "warning", "state": "raised"}
    free = {"message": "/var is 62 % full", "severity": "info", "state": "cleared"}
    async with tidings.connect(url) as hub:

        async def publish(after_s: float, type: str, data: dict[str, Any]) -> None:
            await asyncio.sleep(after_s * TIME)
            await hub.publish(type, data)

        await publish(3, "data:update", {"dataset": "rates", "version": "2025-07-30", "records": 32})
        await publish(4, "system:alert", {**alert, **full})
        await publish(5, "data:processed", {"dataset": "orders", "records": 18_204, "duration_ms": 5210})
        await publish(4, "system:alert", {**alert, **free})
        await publish(4, "report:ready", {"report_id": "daily", "name": "Daily sales", "url": "/reports/daily.pdf"})


def run_night(url: str) -> None:
    """Run all jobs against the hub at `url`; the process ends when the hub has every event."""
    os.environ.update(TIDINGS_URL=url, TIDINGS_QUIET="1")
    night: list[tuple[float, Callable[[], None]]] = [
        (0, import_prices),
        (1, train_model),
        (2.5, copy_backup),
        (4, send_newsletter),
        (0, lambda: asyncio.run(publish_other_events(url))),
    ]

    def later(delay_s: float, job: Callable[[], None]) -> None:
        rest(delay_s)
        job()

    threads = [threading.Thread(target=later, args=each) for each in night]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def record(path: Path) -> None:
    """Run a night and record it to `path`."""
    with _process("serve", "--memory", "--port", "0", "--log-level", "error", stdout=subprocess.PIPE) as hub:
        assert hub.stdout is not None
        url = hub.stdout.readline().decode().split()[0]
        with _process("record", "operations", "data", "system/disk", "--url", url, "-o", str(path)) as recorder:
            while not path.exists() or b"channel:live" not in path.read_bytes():
                time.sleep(0.05)
            # In a separate process, with its own outbox and signals.
            subprocess.run([sys.executable, "-m", "docs.record_demo", "--night", url], check=True, cwd=HERE.parent)
            while recorder.poll() is None and len(_END.findall(path.read_text())) < ENDS:
                time.sleep(0.05)
            recorder.send_signal(signal.SIGINT)
            recorder.wait(20)


def anonymous(line: str) -> str:
    """Return a line without the facts of the machine that recorded it."""
    envelope = json.loads(line)
    data = envelope["data"]
    for name, value in (("host", "laptop"), ("user", "ada"), ("pid", 4242), ("command", "python nightly.py")):
        if name in data:
            data[name] = value
    if "url" in data and envelope["type"] == "tidings:recording":
        data["url"] = "ws://127.0.0.1:8765/ws"
    if data.get("details"):
        data["details"] = re.sub(r'File "[^"]*/', 'File "', data["details"])
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")) + "\n"


@contextlib.contextmanager
def _process(*arguments: str, stdout: int = subprocess.DEVNULL) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tidings", *arguments], stdout=stdout, stderr=subprocess.DEVNULL, cwd=HERE.parent
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def main() -> None:
    """Record the demo; with `--night URL`, only run the jobs."""
    if sys.argv[1:2] == ["--night"]:
        run_night(sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.ndjson"
        record(path)
        lines = [anonymous(line) for line in path.read_text().splitlines()]
    RECORDING.write_text("".join(lines))
    sys.stdout.write(f"{RECORDING.name}: {len(lines)} lines, {RECORDING.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
