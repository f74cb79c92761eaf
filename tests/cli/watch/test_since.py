"""`tidings watch` and `tidings record` from a time in the log of a hub that has run for a day."""

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.cli.processes import Hub, Process, tidings
from tests.log.sqlite_harness import SqliteHarness

from tidings.protocol.timestamps import from_nanoseconds
from tidings.testing.log_conformance.harness import EventFactory

HOUR_NS = 3_600_000_000_000
NOW_NS = time.time_ns()
_HISTORY: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (24, "operation:start", "done", {"name": "old import"}),
    (23, "operation:complete", "done", {}),
    (12, "operation:start", "long", {"name": "long import"}),
    (12, "operation:start", "queued", {"name": "queued import", "queued": True}),
    (11, "operation:start", "failing", {"name": "nightly import"}),
    (2, "operation:progress", "long", {"progress": 40}),
    (1, "operation:failed", "failing", {"code": "c", "message": "m", "recoverable": False}),
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("aged")
    harness = SqliteHarness()
    with harness:
        log, make = harness.open_at(folder / "data"), EventFactory()
        for hours, type, id, data in _HISTORY:
            make.now_ns = NOW_NS - hours * HOUR_NS
            harness.append(log, make(type, id, data=msgspec.json.encode({"operation_id": id, **data})))
        log.close()
    with Hub("--data", str(folder / "data"), "--log-level", "error", memory=False) as running:
        yield running


def watched(hub: Hub, last: str, *arguments: str) -> str:
    """Return what a watch shows up to the line with `last`."""
    with Process("watch", "operations", *arguments, "--url", hub.url) as watch:
        return "".join(watch.read_until(last))


@pytest.mark.parametrize("since", ["6h", from_nanoseconds(NOW_NS - 6 * HOUR_NS)], ids=["age", "time"])
def test_watch_reads_from_a_time_and_names_what_began_before(hub: Hub, since: str) -> None:
    shown = watched(hub, "nightly import failed after 10:00:00", "--since", since)
    assert "old import" not in shown
    assert "long import" in shown
    lines = watched(hub, "operation:failed", "--since", since, "--json").splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["operation:progress", "operation:failed"]


def test_watch_selects_by_names_of_operations_that_began_before(hub: Hub) -> None:
    shown = watched(hub, "nightly import failed", "--since", "6h", "--name", "nightly*", "--failed")
    assert "long import" not in shown


def test_watch_until_done_waits_for_operations_that_are_silent(hub: Hub) -> None:
    arguments = ("--since", "30m", "--exit-when-done", "--timeout", "2s")
    done = tidings("watch", "operations", *arguments, "--url", hub.url)
    assert done.returncode == 124, done.stderr
    assert "nightly import" not in done.stdout


def test_record_starts_at_a_time(hub: Hub) -> None:
    for since in ("6h", from_nanoseconds(NOW_NS - 6 * HOUR_NS)):
        with Process("record", "operations", "--since", since, "--url", hub.url) as record:
            header, *events = map(json.loads, record.read_until("operation:failed"))
        assert header["data"]["since"].endswith("Z")
        assert [event["type"] for event in events if event["type"].startswith("operation:")] == [
            "operation:progress",
            "operation:failed",
        ]
