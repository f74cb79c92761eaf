"""Hubs whose wall clock is wrong: real ones under libfaketime, and one in memory whose clock is set while it runs."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.hub.hub_process import HubProcess
from tests.hub.test_copied_folders import events, resume

from tidings.hub.clock import LASTING_S
from tidings.hub.config import HubConfig
from tidings.log.base import Retention
from tidings.protocol.timestamps import to_nanoseconds
from tidings.testing.in_memory_hub import InMemoryHub

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
needs_faketime = pytest.mark.skipif(
    FAKETIME is None and not os.environ.get("CI"), reason="libfaketime is not installed (Debian: libfaketime)"
)
DAY_S = 86_400.0


def clock(offset: str) -> Mapping[str, str]:
    """Return the environment of a process whose wall clock is wrong by `offset`; its steady clocks are right."""
    assert FAKETIME is not None, "install libfaketime"
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@needs_faketime
@pytest.mark.parametrize(("first", "then"), [("+0d", "+8d"), ("-50y", "+0d"), ("+1y", "+0d"), ("+1y", "+2y")])
def test_restarted_hub_with_another_clock_trims_nothing(tmp_path: Path, first: str, then: str) -> None:
    with HubProcess(tmp_path, variables=clock(first)) as hub:
        positions = hub.publish(events("a", 50))
    with HubProcess(tmp_path, variables=clock(then)) as hub:
        positions += hub.publish(events("a", 50))
        assert resume(hub, positions[0]) == ("complete", positions[1:])
    with HubProcess(tmp_path) as hub:
        assert resume(hub, positions[0]) == ("complete", positions[1:])
        assert hub.metrics()["tidings_log_durable_events"] >= len(positions)


def started(hub: InMemoryHub) -> None:
    client = hub.connect("channels=none")
    for action in ("start", "progress"):
        client.send(f"operation:{action}", {"operation_id": "op", "progress": 1})
    for version in range(10):
        client.send("data:update", {"dataset": "a", "version": version})
    hub.settle()


ADOPTED_S = LASTING_S + 40
"""Time after which a lasting difference is adopted: it is compared every 20 s."""
CONFIG = HubConfig(status_s=0, metrics_s=0, unattended_s=DAY_S, maintain_s=20.0, retention=Retention(age_s=7 * DAY_S))


@pytest.mark.parametrize("days", [-20_000.0, -1.0, 8.0, 365.0])
def test_clock_that_is_set_while_the_hub_runs_makes_nothing_old(days: float) -> None:
    hub = InMemoryHub(CONFIG)
    started(hub)
    hub.clock.jump(days * DAY_S)
    hub.loop.advance(ADOPTED_S)
    assert hub.hub.now_ns() == hub.clock.wall_ns(), "a lasting difference is adopted"
    hub.loop.advance(DAY_S / 2)
    assert hub.log.statistics().trimmed_events == 0
    status = hub.hub.operations.get("op")
    assert status is not None
    assert status.live
    assert hub.hub.silence_s(status) == pytest.approx(DAY_S / 2 + ADOPTED_S, abs=5)
    hub.loop.advance(DAY_S / 2)
    assert not status.live, "the silence itself counts"
    hub.loop.advance(7 * DAY_S)
    assert hub.log.statistics().trimmed_events == 12


def test_clock_that_is_set_for_a_moment_changes_nothing() -> None:
    hub = InMemoryHub(CONFIG)
    started(hub)
    before = hub.hub.now_ns()
    hub.clock.jump(365 * DAY_S)
    hub.loop.advance(LASTING_S)
    hub.clock.jump(-365 * DAY_S)
    hub.loop.advance(ADOPTED_S)
    assert hub.hub.now_ns() == before + int((LASTING_S + ADOPTED_S) * 1e9) == hub.clock.wall_ns()


def test_new_operation_after_a_suspended_night_began_now() -> None:
    """Where the steady clock stops with the machine, the difference shows the sleep."""
    hub = InMemoryHub(CONFIG)
    started(hub)
    hub.clock.jump(DAY_S / 3)
    hub.loop.advance(ADOPTED_S)
    client = hub.connect("channels=none")
    client.send("operation:start", {"operation_id": "new"})
    hub.settle()
    status = hub.hub.operations.get("new")
    assert status is not None
    assert status.started_ns == to_nanoseconds(hub.hub.timestamp())
