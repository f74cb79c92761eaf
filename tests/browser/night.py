"""A night of a small company in a real hub, within seconds: the hub's clocks follow the events that it receives.

    python -m tests.browser.night         play the night, print the hub's address, and serve until stdin ends

Screenshots and benchmarks use it. The night is the same each time: its randomness has a seed. libfaketime moves the
clocks of the hub to the moment of each event before it is published, so durations, estimates, stalls and leases are
those of a whole night. From its last event on, the clocks run on at their own speed.
"""

import heapq
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from websockets import Subprotocol
from websockets.sync.client import ClientConnection, connect

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
END = datetime(2035, 3, 14, 1, 15, tzinfo=UTC).timestamp()
"""The end of the night, which is when pages are looked at; in the future, because a steady clock cannot be negative."""
BEGIN = END - 13 * 3600
MINUTE = 60.0
HOUR = 3600.0

HELD = "copy-backup-611"
"""The operation of a producer that attaches, and whose connection is lost at the end."""

Report = tuple[float, str, dict[str, Any]]
"""A moment, the producer, and an event of it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that runs again and again.

    Args:
        name: Its name.
        id: Begin of the ids of its operations.
        producer: Where it runs.
        every_s: Time from one start to the next.
        takes_s: Its usual duration.
        steps: Its steps.
        spread: Deviation of the logarithm of its duration.
        fails: The failures of some runs, as share, code, message and hint.
        unit: What it counts.
    """

    name: str
    id: str
    producer: str
    every_s: float
    takes_s: float
    steps: Sequence[str] = ()
    spread: float = 0.15
    fails: tuple[float, str, str, str] | None = None
    unit: str = "rows"


TIMEOUT = (0.1, "UpstreamTimeout", "xetra did not answer within 30 s", "Try again after the exchange's maintenance.")
RED = (0.2, "TestsFailed", "3 of 380 tests failed", "Open the report: the three failed in the same fixture.")
HEALTH = (0.15, "HealthCheck", "web-2 answered 503 for 60 s", "The old version still serves. Look at web-2's log.")
JOBS = (
    Job(name="Import prices", id="import-prices", producer="worker-3", every_s=47 * MINUTE, takes_s=5 * MINUTE,
        steps=("fetch", "parse", "load"), fails=TIMEOUT),
    Job(name="Import calendars", id="import-cal", producer="worker-3", every_s=38 * MINUTE, takes_s=38.0, spread=0.4),
    Job(name="Integration tests", id="ci", producer="ci-2", every_s=29 * MINUTE, takes_s=5 * MINUTE, fails=RED,
        unit="tests"),
    Job(name="Rebuild search index", id="reindex", producer="worker-2", every_s=66 * MINUTE, takes_s=8 * MINUTE,
        steps=("read", "analyse", "write", "swap"), unit="documents"),
    Job(name="Export invoices", id="export-inv", producer="worker-1", every_s=71 * MINUTE, takes_s=4 * MINUTE),
    Job(name="Deploy web", id="deploy-web", producer="ci-7", every_s=83 * MINUTE, takes_s=3 * MINUTE,
        steps=("build", "push", "roll out", "check"), fails=HEALTH, unit="parts"),
    Job(name="Reconcile ledgers", id="reconcile", producer="worker-4", every_s=2.2 * HOUR, takes_s=21 * MINUTE,
        steps=("load", "match", "post", "review", "report", "archive"), spread=0.3),
    Job(name="Send digests", id="digests", producer="worker-1", every_s=1.9 * HOUR, takes_s=90.0, unit="mails"),
    Job(name="Copy backup", id="copy-backup", producer="worker-1", every_s=3.1 * HOUR, takes_s=24 * MINUTE,
        unit="files"),
)  # fmt: skip


def run_of(
    job: Job, run_id: str, began: float, *, until: float = END, ends: bool = True, **start: Any
) -> Iterator[Report]:
    """Yield the events of one run, up to a moment: a run that has not ended by then goes on."""
    chance = random.Random(f"{job.name} {run_id}")
    takes = job.takes_s * chance.lognormvariate(0, job.spread)
    share, code, message, hint = job.fails or (0.0, "", "", "")
    stops = chance.uniform(0.3, 0.9) if ends and chance.random() < share else None
    total = chance.randrange(400, 4000)
    steps = {"steps": list(job.steps), "total_steps": len(job.steps)} if job.steps else {}
    about = {"operation_id": run_id}
    yield (
        began,
        "start",
        {**about, "name": job.name, "host": job.producer, "user": "nightly", **steps, **start},
    )
    parts = max(6, min(40, int(takes / 8)))
    for part in range(1, parts):
        done = part / parts
        moment = began + takes * min(0.99, done * chance.uniform(0.985, 1.015))
        if moment >= until:
            return
        step = job.steps[int(done * len(job.steps))] if job.steps else ""
        progress = {"progress": round(100 * done, 1), "current_step": step, "total_steps": len(job.steps)}
        if stops is not None and done > stops:
            yield moment, "log", {**about, "level": "error", "message": message}
            yield moment + 1, "failed", {**about, "code": code, "message": message, "recoverable": True, "hint": hint}
            return
        yield moment, "progress", {**about, **progress, "message": f"{int(done * total):,} of {total:,} {job.unit}"}
        if part % 3 == 0:
            level = "warning" if chance.random() < 0.06 else "info"
            said = "slow answer, trying again" if level == "warning" else f"{int(done * total):,} {job.unit} done"
            yield moment + 0.5, "log", {**about, "level": level, "message": said}
    if began + takes < until and ends:
        result = {"result": {job.unit: total}, "message": f"{total:,} {job.unit}", "duration_ms": round(takes * 1000)}
        yield began + takes, "complete", {**about, **result}


def regular_runs(job: Job) -> Iterator[Iterable[Report]]:
    """Yield the runs of a job over the night, the last of which may go on."""
    chance = random.Random(job.id)
    began = BEGIN + chance.uniform(0, job.every_s)
    for number in itertools.count(chance.randrange(200, 900)):
        if began > END - (40 * MINUTE if job.name == "Copy backup" else 0.0):
            return
        yield run_of(job, f"{job.id}-{number}", began)
        began += job.every_s * chance.uniform(0.9, 1.1)


def special_runs() -> Iterator[Iterable[Report]]:
    """Yield the runs that a person at night has to look at, and those of unusual kinds."""
    train = Job(
        name="Train forecast", id="train-forecast", producer="gpu-1", every_s=0, takes_s=80 * MINUTE, unit="epochs"
    )
    yield run_of(train, "train-forecast-88", END - 48 * MINUTE, until=END - 19 * MINUTE, ends=False)
    rank = Job(
        name="Train ranking model", id="train-rank", producer="gpu-2", every_s=0, takes_s=4.5 * HOUR, unit="epochs"
    )
    yield run_of(rank, "train-rank-17", END - 2 * HOUR, ends=False)
    backup = next(job for job in JOBS if job.id == "copy-backup")
    yield run_of(backup, HELD, END - 17 * MINUTE, until=END - 22, ends=False)
    yield [(END - 20, "drop", {"operation_id": HELD})]
    yield [
        (END - 14 * MINUTE, "start", {"operation_id": "export-inv-77b", "name": "Export invoices", "host": "worker-1"}),
        (END - 12 * MINUTE, "progress", {"operation_id": "export-inv-77b", "progress": 44, "message": "page 12"}),
        (END - 11 * MINUTE, "cancelled",
         {"operation_id": "export-inv-77b", "reason": "wrong file", "cancelled_by": "ops"}),
    ]  # fmt: skip
    for id, name, ago in (("deploy-docs-902", "Deploy docs", 4 * MINUTE), ("vacuum-1129", "Nightly vacuum", 40.0)):
        yield [(END - ago, "start", {"operation_id": id, "name": name, "queued": True})]
    crawl = {"operation_id": "crawl-9"}
    yield [
        (END - 52 * MINUTE, "start", {**crawl, "name": "Crawl partner feeds", "host": "worker-2"}),
        *(
            (END - ago, "progress", {**crawl, "progress": 0, "indeterminate": True,
                                     "message": f"{int(38_412 - 12 * ago):,} pages so far"})
            for ago in range(3100, 0, -20)
        ),
    ]  # fmt: skip
    close = "close-2035-03"
    yield [(END - 31 * MINUTE, "start", {"operation_id": close, "name": "Month-end close", "host": "worker-4"})]
    for part, (name, began, takes) in enumerate(
        [("accruals", 30, 8), ("payroll", 30, 11), ("inventory", 22, 9), ("currencies", 19, 12),
         ("taxes", 13, 15), ("intercompany", 10, 20), ("receivables", 7, 18)]
    ):  # fmt: skip
        job = Job(name=f"Close {name}", id=close, producer="worker-4", every_s=0, takes_s=takes * MINUTE, spread=0.05)
        yield run_of(job, f"{close}-{part + 1}", END - began * MINUTE, parent_id=close)


def data_updates() -> Iterator[Report]:
    """Yield what other services report: new data."""
    chance = random.Random("data")
    for number in range(150):
        dataset = chance.choice(["prices/lse", "prices/nyse", "calendars", "ledgers", "search"])
        moment = BEGIN + (END - BEGIN) * number / 150
        yield moment, "data:update", {"dataset": dataset, "version": number, "records": chance.randrange(100, 9000)}


def night() -> Iterator[Report]:
    """Yield all events of the night, in order."""
    runs = [run for job in JOBS for run in regular_runs(job)]
    return heapq.merge(*(sorted(run, key=lambda report: report[0]) for run in (*runs, *special_runs(), data_updates())),
                       key=lambda report: report[0])  # fmt: skip


class NightHub:
    """A hub whose clocks stand at the beginning of the night, and go where `move_to` puts them.

    Args:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self._clock = folder / "clock"
        self.move_to(BEGIN)
        variables = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_NO_CACHE": "1",
            "XDG_DATA_HOME": str(folder),
            "XDG_STATE_HOME": str(folder),
        }
        command = [sys.executable, "-m", "tidings", "serve", "--port", "0", "--memory", "--log-level", "error"]
        self.process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[1]
        self._exits = ExitStack()
        self._producer: ClientConnection | None = None

    def move_to(self, moment: float) -> None:
        """Set the clocks."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{moment - time.time():+.6f}")
        new.replace(self._clock)

    def publish(self, moment: float, kind: str, data: dict[str, Any]) -> None:
        """Publish an event at its moment."""
        self.move_to(moment)
        event = {
            "type": kind if ":" in kind else f"operation:{kind}",
            "timestamp": datetime.fromtimestamp(moment, UTC).isoformat(),
            "data": data,
        }
        if data.get("operation_id") == HELD:
            self._publish_held(event, is_last=kind == "drop")
            return
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}v1/events", json.dumps(event).encode(), headers)
        urllib.request.urlopen(request, timeout=60).close()

    def _publish_held(self, event: dict[str, Any], *, is_last: bool) -> None:
        if self._producer is None:
            url = self.url.replace("http", "ws", 1) + "ws?channels=none"
            connection = connect(url, subprotocols=[Subprotocol("tidings.v1")])
            self._producer = self._exits.enter_context(connection)
            self._command({"type": "producer:attach", "data": {"producer_id": "worker-1", "lease_s": 120}})
        if is_last:
            self._exits.close()
        else:
            self._command(event)

    def _command(self, envelope: dict[str, Any]) -> None:
        """Send a command, and wait for its reply."""
        assert self._producer is not None
        self._producer.send(json.dumps({"id": "1", **envelope}))
        while "reply_to" not in (reply := json.loads(self._producer.recv(60))):
            pass
        assert reply["type"] != "connection:error", reply


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hub = NightHub(Path(folder))
        try:
            for moment, kind, data in night():
                hub.publish(moment, kind, data)
            for ago in range(15, -1, -1):  # a jump of the clocks wakes no hub that sleeps
                hub.move_to(END - ago)
                urllib.request.urlopen(f"{hub.url}healthz", timeout=60).close()
            sys.stdout.write(f"{hub.url}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            hub.process.kill()
            hub.process.wait()


if __name__ == "__main__":
    main()
