"""What is in a hub's log, read over HTTP."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx
from tests.cli.processes import TIMEOUT_S


class HTTPHub(Protocol):
    """A hub, wherever it runs."""

    @property
    def http(self) -> str:
        """URL of its HTTP API."""


def read_log(hub: HTTPHub, **parameters: str) -> list[dict[str, Any]]:
    """Return all events of a hub's log, but what it says of itself."""
    found: list[dict[str, Any]] = []
    since = "first"
    with httpx.Client(base_url=hub.http, timeout=TIMEOUT_S, trust_env=False) as client:
        while True:
            answer = client.get("/v1/events", params={"since": since, "limit": "1000", **parameters}).raise_for_status()
            page = answer.json()
            found += [event for event in page["events"] if event["data"].get("source") != "tidings"]
            if not page["events"]:
                return found
            since = page["next"]


def datasets(hub: HTTPHub) -> list[str]:
    """Return the datasets that were updated, in the log's order."""
    return [event["data"]["dataset"] for event in read_log(hub, channel="data") if event["type"] == "data:update"]


def until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until `condition` is true, of whatever other process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
