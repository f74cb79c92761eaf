"""The examples as a reader runs them: each as a program, with a hub in another process."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.transcripts.markdown import ROOT

EXAMPLES = ROOT / "examples"
Envelope = dict[str, Any]


def run(name: str, hub: Hub, spool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment(TIDINGS_URL=hub.url, TIDINGS_SPOOL=str(spool)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def events(hub: Hub, query: str) -> list[Envelope]:
    """Return events from the hub, the oldest first."""
    with urllib.request.urlopen(f"{hub.http}v1/events?{query}", timeout=TIMEOUT_S) as answer:
        found: list[Envelope] = json.load(answer)["events"]
    return found


def of_operation(hub: Hub, name: str) -> list[tuple[str, Envelope]]:
    """Return kind and data of the events of the newest operation with this name."""
    every = events(hub, "channel=operations&limit=1000")
    *_, key = (event["data"]["operation_id"] for event in every if event["data"].get("name") == name)
    return [
        (event["type"].removeprefix("operation:"), event["data"])
        for event in every
        if event["data"]["operation_id"] == key
    ]


def of_trace(hub: Hub, trace_id: str) -> list[tuple[str, Envelope]]:
    """Return kind and data of the events of a trace."""
    found = events(hub, f"channel=operations&trace_id={trace_id}&limit=1000")
    return [(event["type"].removeprefix("operation:"), event["data"]) for event in found]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
