import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from tests.client.hub_server import HubServer
from tests.hub.watched_hub import CONFIG, ESTIMATE, MINUTE_S, Watched, get

from tidings.client import connect
from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN
from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.protocol.payloads import OperationEstimateData
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub
from tidings.testing.manual_hub import ManualHub

# Progress.


def test_estimate_gives_the_remaining_time() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(50)
    watched.pass_time(5)
    last = watched.estimates()[-1]
    assert last.rate == pytest.approx(0.1, rel=0.05)
    assert last.remaining_s == pytest.approx(500, rel=0.05)
    assert last.remaining_low_s is not None
    assert last.remaining_high_s is not None
    assert 300 < last.remaining_low_s < 480 < last.remaining_high_s < 800
    assert not any(estimate.stalled for estimate in watched.estimates())
    remaining = [estimate.remaining_s or 0 for estimate in watched.estimates() if estimate.at_s > 100]
    assert all(after < before * 1.02 for before, after in pairwise(remaining))


def test_estimate_has_the_operations_trace_and_is_in_the_snapshot() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(20)
    newcomer = watched.hub.connect("channel=operations&since=snapshot")
    watched.hub.settle()
    events = {event["type"]: event for event in newcomer.read_events()}
    assert events[ESTIMATE]["trace_id"] == events["operation:start"]["trace_id"]
    assert events[ESTIMATE]["data"]["remaining_s"] == watched.estimates()[-1].remaining_s


def test_no_basis_publishes_no_estimate() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.pass_time(3_600, step_s=60)
    assert all(estimate.remaining_s is None and estimate.rate is None for estimate in watched.estimates())
    assert get(watched).remaining_s is None


def test_estimate_is_published_every_five_seconds_if_changed() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    for progress in range(1, 801):
        watched.publish("progress", progress=progress / 10)
        watched.pass_time(0.25, step_s=0.25)
    at = [estimate.at_s for estimate in watched.estimates()]
    assert min(after - before for before, after in pairwise(at)) > 4.9
    assert len(at) <= 40


def test_long_job_publishes_few_estimates() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(40, each_s=360, step_s=20)
    tens_of_minutes = [estimate for estimate in watched.estimates() if estimate.at_s > 10_800]
    assert len(tens_of_minutes) < 30
    estimate, found = watched.estimates()[-1], get(watched)
    assert found.remaining_s == pytest.approx(estimate.remaining_s, rel=0.11)


def test_new_attempt_gets_a_new_estimator() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(30, each_s=5)
    watched.publish("failed", code="boom", message="it broke", recoverable=True)
    watched.hub.settle()
    assert get(watched) is None
    watched.publish("start", name="import")
    watched.hub.settle()
    assert get(watched) is None, "no update has run yet"
    watched.work(10, each_s=50, since=30)
    watched.pass_time(5)
    assert watched.estimates()[-1].rate == pytest.approx(0.02, rel=0.1)


def test_jumping_clock_changes_no_estimate() -> None:
    steady, jumping = Watched(), Watched()
    for watched in (steady, jumping):
        watched.publish("start", name="import")
        watched.work(30)
        if watched is jumping:
            watched.hub.clock.jump(7_200)
        watched.work(10, since=30)
        if watched is jumping:
            watched.hub.clock.jump(-30_000)
        watched.work(10, since=40)
        watched.pass_time(300)
    assert steady.estimates() == jumping.estimates()
    assert any(estimate.stalled for estimate in steady.estimates())


def test_restarted_hub_keeps_the_run_history() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(50, each_s=20)
    first = watched.hub
    first.hub.close()
    first.loop.advance(400)
    again = Watched(InMemoryHub(CONFIG, log=first.log, clock=first.clock, loop=first.loop))
    again.pass_time(10)
    assert not get(again).stalled, "progress during the hub's absence is not measured"
    assert get(again).remaining_s is not None
    again.work(5, each_s=20, since=70)
    assert get(again).remaining_s == pytest.approx(500, rel=0.1)


# Earlier runs.


def test_estimate_blends_progress_and_earlier_runs() -> None:
    watched = Watched()
    for index, minutes in enumerate((12, 11.8, 12.2, 12, 12.1)):
        watched.run("import", f"run-{index}", minutes * MINUTE_S)
    watched.publish("start", name="import")
    watched.pass_time(9 * MINUTE_S, step_s=5)
    assert get(watched).remaining_s == pytest.approx(3 * MINUTE_S, rel=0.2)
    assert get(watched).rate is None
    estimates = watched.estimates()
    assert estimates[0].remaining_s == pytest.approx(12 * MINUTE_S, rel=0.1)
    assert len(estimates) < 25, "only time has passed"
    watched.pass_time(20 * MINUTE_S, step_s=5)
    last = watched.estimates()[-1]
    assert (last.remaining_s, last.remaining_high_s, last.stalled) == (None, None, False), "it has outlasted the others"


def test_estimate_without_progress_uses_earlier_runs() -> None:
    watched = Watched()
    for index in range(5):
        watched.run("import", f"run-{index}", 100)
    watched.publish("start", name="import")
    watched.work(40, each_s=0.5, step_s=0.5)
    watched.pass_time(5)
    assert get(watched).remaining_s < 65, "by progress it would be 30, by earlier runs 77"
    assert get(watched).rate is not None
    watched.publish("progress", progress=0, indeterminate=True)
    watched.pass_time(5)
    assert get(watched).remaining_s == pytest.approx(70, rel=0.2)
    assert get(watched).rate is None


@pytest.mark.parametrize("slow_s", [0, 30, 86_400])
def test_estimate_from_earlier_runs_does_not_follow_a_slow_clock(slow_s: float) -> None:
    watched = Watched()
    watched.slow_s = slow_s
    for index in range(5):
        watched.run("import", f"run-{index}", 12 * MINUTE_S)
    watched.publish("start", name="import")
    watched.pass_time(4 * MINUTE_S, step_s=5)
    assert get(watched).remaining_s == pytest.approx(8 * MINUTE_S, rel=0.1)


@pytest.mark.parametrize("slow_s", [0, 86_400])
def test_estimate_by_progress_does_not_follow_a_slow_clock(slow_s: float) -> None:
    watched = Watched()
    watched.slow_s = slow_s
    watched.publish("start", name="import")
    watched.work(50)
    watched.pass_time(5)
    assert get(watched).remaining_s == pytest.approx(500, rel=0.05)


@pytest.mark.parametrize("slow_s", [0, 86_400])
def test_start_that_was_kept_counts_from_when_it_happened(slow_s: float) -> None:
    """The newest event tells a start that was kept from one of a slow clock."""
    watched = Watched()
    for index in range(5):
        watched.run("import", f"run-{index}", 12 * MINUTE_S)
    watched.slow_s = slow_s + 4 * MINUTE_S
    watched.publish("start", name="import")
    watched.slow_s = slow_s
    watched.publish("log", message="the hub is back")
    watched.pass_time(5)
    assert get(watched).remaining_s == pytest.approx(8 * MINUTE_S, rel=0.1)


# No estimates.


def test_no_estimate_after_the_end() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(CONFIG, log=log))
    watched.publish("start", name="import")
    watched.work(20)
    log.hold_appends()
    watched.publish("progress", progress=90)
    watched.publish("complete")
    watched.pass_time(20)
    log.release_appends()
    watched.pass_time(20)
    types = [type for _, type, _ in watched.events]
    assert types[-1] == "operation:complete"
    assert get(watched) is None


def test_estimator_is_dropped_with_its_operation() -> None:
    watched = Watched(config=msgspec.structs.replace(CONFIG, unattended_s=600.0))
    watched.run("import", "earlier", 300)
    watched.publish("start", name="import")
    watched.hub.settle()
    status = watched.hub.hub.operations.get("a")
    assert status is not None
    heard_ns = status.heard_ns
    watched.pass_time(590, step_s=5)
    assert len(watched.estimates()) > 3
    assert status.live
    assert status.heard_ns == heard_ns
    watched.pass_time(80, step_s=5)
    assert status.error is not None
    assert status.error.code == "unattended"


def test_refused_estimate_is_published_again() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(CONFIG, log=log))
    watched.run("import", "earlier", 3_600)
    watched.publish("start", name="import")
    watched.hub.settle()
    log.fail_append(LogFull("no room"))
    watched.pass_time(6)
    assert watched.estimates() == []
    watched.pass_time(6)
    assert len(watched.estimates()) == 1


def test_busy_or_draining_hub_publishes_no_estimates() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(msgspec.structs.replace(CONFIG, staged_events=8), log=log))
    watched.run("import", "earlier", 3_600)
    watched.publish("start", name="import")
    watched.hub.settle()
    log.hold_appends()
    for progress in range(3):
        watched.publish("progress", "b", progress=progress)
    watched.pass_time(20)
    log.release_appends()
    watched.read()
    assert watched.estimates() == []
    watched.hub.hub.draining = True
    watched.pass_time(20)
    assert watched.estimates() == []
    watched.hub.hub.draining = False
    watched.pass_time(6)
    assert len(watched.estimates()) == 1


def test_estimates_stop_with_the_hub() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(20)
    watched.hub.hub.close()
    head = watched.hub.log.head
    watched.hub.loop.advance(100)
    assert watched.hub.log.head == head


def test_estimates_stop_with_the_hub_between_two_slices() -> None:
    watched = many(300)
    watched.hub.loop.advance(5)
    advance_all(watched, range(300), 50)
    watched.hub.loop.advance(5)
    head = watched.hub.log.head
    assert head > 600, "only the operations of one slice"
    watched.hub.hub.close()
    watched.hub.loop.advance(100)
    assert watched.hub.log.head == head


def test_contract_without_estimates_publishes_none() -> None:
    contract = Contract(event for event in BUILTIN if event.type != ESTIMATE)
    watched = Watched(InMemoryHub(CONFIG, contract=contract))
    watched.publish("start", name="import")
    watched.work(20)
    watched.pass_time(100)
    assert watched.estimates() == []
    assert get(watched).stalled


def test_names_beyond_the_cache_keep_their_own_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.hub.operations.estimator.MAX_NAMES", 2)
    watched = Watched()
    for index in range(5):
        watched.run(f"import {index}", f"run-{index}", 100 * (index + 1))
    for index in range(5):
        watched.publish("start", f"op-{index}", name=f"import {index}")
    watched.pass_time(20)
    for index in range(5):
        assert get(watched, f"op-{index}").remaining_s == pytest.approx(100 * (index + 1), abs=30)


def test_interval_of_zero_disables_estimates() -> None:
    watched = Watched(config=msgspec.structs.replace(CONFIG, estimate_s=0.0))
    watched.publish("start", name="import")
    watched.work(20)
    watched.pass_time(400)
    assert watched.estimates() == []
    assert get(watched) is None


# Many operations.


def many(count: int) -> Watched:
    watched = Watched()
    for index in range(count):
        watched.publish("start", f"op-{index}", name="import")
        if index % 1_000 == 999:
            watched.hub.settle()
    watched.hub.settle()
    return watched


def advance_all(watched: Watched, indexes: range, progress: float) -> None:
    for index in indexes:
        watched.publish("progress", f"op-{index}", progress=progress)
        if index % 1_000 == 999:
            watched.hub.settle()
    watched.hub.settle()


def test_many_operations_publish_once_per_interval() -> None:
    """Also when others end, so that its turn comes sooner."""
    watched = many(1_000)
    watched.pass_time(5)
    for round in range(1, 11):
        advance_all(watched, range(100 * (round - 1), 1_000), round * 5)
        watched.pass_time(5, step_s=0.25)
        for index in range(100 * (round - 1), 100 * round):
            watched.publish("complete", f"op-{index}")
    at = [estimate.at_s for estimate in watched.estimates("op-899")]
    assert len(at) >= 4
    assert min(after - before for before, after in pairwise(at)) >= 4.7


def test_ten_thousand_operations_are_updated_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = many(10_000)
    estimates = watched.hub.hub.estimates
    updated: list[int] = []
    [job] = [job for job in watched.hub.hub.jobs if job.name == "estimates"]
    update, run = estimates._update, job.run

    def counted(*args: Any) -> None:
        updated[-1] += 1
        update(*args)

    def sliced() -> float | None:
        updated.append(0)
        return run()

    monkeypatch.setattr(estimates, "_update", counted)
    monkeypatch.setattr(job, "run", sliced)
    watched.hub.loop.advance(5)
    for progress in (10, 20):
        advance_all(watched, range(10_000), progress)
        updated.clear()
        accepted = watched.hub.hub.counters.accepted
        watched.hub.loop.advance(5)
        assert sum(updated) in range(9_900, 10_101)
        assert max(updated) == 100
    assert watched.hub.hub.counters.accepted - accepted >= 9_900, "all estimates were published"


# Estimates at clients: over a real socket, and in a manual hub.


async def test_served_hub_publishes_estimates() -> None:
    config = HubConfig(status_s=0, metrics_s=0, estimate_s=0.02)
    with HubServer(config=config) as hub:
        async with asyncio.timeout(60), connect(hub.url) as client, client.watch("operations") as watch:
            await client.publish("operation:start", {"operation_id": "a", "name": "import"})
            progress = 0.0
            estimate = None
            async for event in watch:
                if isinstance(event.payload, OperationEstimateData) and event.payload.remaining_s is not None:
                    estimate = event.payload
                    break
                progress += 1
                await client.publish("operation:progress", {"operation_id": "a", "progress": min(99, progress)})
        assert estimate is not None
        assert estimate.operation_id == "a"
        assert estimate.rate is not None
        assert estimate.rate > 0


def test_manual_hub_publishes_estimates_when_time_advances() -> None:
    with ManualHub() as hub:
        hub.publish("operation:start", {"operation_id": "a", "name": "import"})
        for progress in range(1, 11):
            hub.advance(10)
            hub.publish("operation:progress", {"operation_id": "a", "progress": progress})
        hub.advance(5)
        estimates = [event.payload for event in hub.events("operations/a") if event.type == "operation:estimate"]
    last = estimates[-1]
    assert isinstance(last, OperationEstimateData)
    assert last.remaining_s is not None
    assert 700 < last.remaining_s < 1_000


# Absurd values.


def test_absurd_durations_of_one_name_leave_all_estimates_finite() -> None:
    watched = Watched()
    for index, duration_ms in enumerate((1e308, 0, 0.001)):
        watched.publish("start", f"run-{index}", name="import")
        watched.publish("complete", f"run-{index}", duration_ms=duration_ms)
    watched.publish("start", "same", name="import")
    watched.publish("start", "other", name="export")
    for percent in range(1, 20):
        for operation_id in ("same", "other"):
            watched.publish("progress", operation_id, progress=percent)
        watched.pass_time(5)
    for operation_id in ("same", "other"):
        last = watched.estimates(operation_id)[-1]
        assert last.remaining_s == pytest.approx(5 * 81, rel=0.2)
        assert last.remaining_high_s is not None
        assert last.remaining_high_s < 1e5
    assert watched.hub.hub.jobs.overdue() == []


def test_run_that_took_longer_than_a_life_is_not_usual() -> None:
    watched = Watched()
    for index, duration_ms in enumerate((60_000, 1e16, 62_000)):  # one job reports nanoseconds
        watched.publish("complete", f"run-{index}", duration_ms=duration_ms)
        watched.publish("start", f"run-{index}", name="import")
        watched.publish("complete", f"run-{index}", duration_ms=duration_ms)
    watched.hub.settle()
    assert watched.hub.hub.operations.names["import"].durations_s == [60, 62]
