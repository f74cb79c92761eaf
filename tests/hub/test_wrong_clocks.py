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
from tidings.operations.views import OperationDetail
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds
from tidings.server.http.operation_views import OperationViewBuilder
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


HOUR_NS = 3_600_000_000_000


def view(hub: InMemoryHub, operation_id: str) -> OperationDetail:
    status = hub.hub.operations.get(operation_id)
    assert status is not None
    return OperationViewBuilder(hub.hub).detail(status, [])


def age_s(hub: InMemoryHub, at: str | None) -> float:
    """Return the age of a time in a view, by the clock that the hub's messages show."""
    assert at is not None
    return (to_nanoseconds(hub.hub.timestamp()) - to_nanoseconds(at)) / 1e9


@pytest.mark.parametrize("hours", [-24.0, -1.0, 1.0, 24.0 * 365])
def test_ages_in_views_count_the_time_that_passed(hours: float) -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect("channels=none")

    def report(verb: str, operation_id: str, **data: object) -> None:
        client.send(f"operation:{verb}", {"operation_id": operation_id, **data})
        hub.settle()

    report("start", "long")
    report("progress", "long", progress=10, current_step="read")
    report("start", "ended")
    hub.loop.advance(100)
    report("complete", "ended")
    hub.clock.jump(hours * 3_600)
    report("start", "between")  # the jump is not adopted yet
    assert age_s(hub, view(hub, "long").started_at) == pytest.approx(100, abs=1)
    hub.loop.advance(ADOPTED_S)
    assert hub.hub.now_ns() == hub.clock.wall_ns(), "the jump is adopted"
    report("progress", "long", progress=60, current_step="write")
    report("progress", "between", progress=50)
    hub.loop.advance(10)
    long, between, ended = view(hub, "long"), view(hub, "between"), view(hub, "ended")
    assert age_s(hub, long.started_at) == pytest.approx(110 + ADOPTED_S, abs=1)
    assert [age_s(hub, step.started_at) for step in long.steps] == pytest.approx([110 + ADOPTED_S, 10], abs=1)
    assert age_s(hub, long.steps[0].ended_at) == age_s(hub, long.advanced_at) == pytest.approx(10, abs=1)
    assert age_s(hub, long.heard_at) == pytest.approx(10, abs=1)
    assert age_s(hub, between.started_at) == pytest.approx(10 + ADOPTED_S, abs=1)
    assert age_s(hub, between.timeline[0].at) == pytest.approx(10 + ADOPTED_S, abs=1)
    assert age_s(hub, ended.ended_at) == pytest.approx(10 + ADOPTED_S, abs=1)
    assert ended.duration_s == pytest.approx(100, abs=1)
    report("complete", "long")
    assert view(hub, "long").duration_s == pytest.approx(110 + ADOPTED_S, abs=1)
    hub.clock.jump(-hours * 3_600)
    hub.loop.advance(ADOPTED_S)
    assert age_s(hub, view(hub, "between").started_at) == pytest.approx(10 + 2 * ADOPTED_S, abs=1)


def test_time_of_a_right_producer_stays_when_a_hub_that_was_ahead_is_set_right() -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect("channels=none")
    right_ns = to_nanoseconds(hub.hub.timestamp()) - HOUR_NS
    client.send("operation:start", {"operation_id": "op"}, timestamp=from_nanoseconds(right_ns))
    hub.settle()
    hub.clock.jump(-3_600)
    hub.loop.advance(ADOPTED_S)
    assert age_s(hub, view(hub, "op").started_at) == pytest.approx(ADOPTED_S, abs=1)
    client.send("operation:progress", {"operation_id": "op", "progress": 1}, timestamp=hub.hub.timestamp())
    hub.settle()
    assert age_s(hub, view(hub, "op").started_at) == pytest.approx(ADOPTED_S, abs=1)
