from itertools import pairwise
from statistics import median
from sys import gettrace
from time import process_time
from typing import Any

import msgspec
import pytest
from tests.hub.watched_hub import CONFIG, ESTIMATE, MINUTE_S, Watched, get

from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN
from tidings.exceptions import LogFull
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

# Progress.


def test_it_tells_how_long_an_operation_will_still_take() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(50)
    watched.pass_time(5)
    last = watched.told()[-1]
    assert last.rate == pytest.approx(0.1, rel=0.05)
    assert last.remaining_s == pytest.approx(500, rel=0.05)
    assert last.remaining_low_s is not None
    assert last.remaining_high_s is not None
    assert 300 < last.remaining_low_s < 480 < last.remaining_high_s < 800
    assert not any(told.stalled for told in watched.told())
    remaining = [told.remaining_s or 0 for told in watched.told() if told.at_s > 100]
    assert all(after < before * 1.02 for before, after in pairwise(remaining))


def test_it_belongs_to_the_operation_s_trace_and_is_its_newest_in_the_snapshot() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(20)
    newcomer = watched.hub.connect("channel=operations&since=snapshot")
    watched.hub.settle()
    events = {event["type"]: event for event in newcomer.read_events()}
    assert events[ESTIMATE]["trace_id"] == events["operation:start"]["trace_id"]
    assert events[ESTIMATE]["data"]["remaining_s"] == watched.told()[-1].remaining_s


def test_where_nothing_is_known_nothing_is_told() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.pass_time(3_600, step_s=60)
    assert watched.told() == []
    assert get(watched).remaining_s is None


def test_there_is_one_in_five_seconds_at_most_and_only_if_something_changed() -> None:
    watched = Watched()
    watched.say("start", name="import")
    for progress in range(1, 801):
        watched.say("progress", progress=progress / 10)
        watched.pass_time(0.25, step_s=0.25)
    at = [told.at_s for told in watched.told()]
    assert min(after - before for before, after in pairwise(at)) > 4.9
    assert len(at) <= 40


def test_of_a_long_job_not_every_second_is_told() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(40, each_s=360, step_s=20)
    tens_of_minutes = [told for told in watched.told() if told.at_s > 10_800]
    assert len(tens_of_minutes) < 30
    told, found = watched.told()[-1], get(watched)
    assert found.remaining_s == pytest.approx(told.remaining_s, rel=0.11)


def test_who_goes_on_to_another_attempt_is_watched_anew() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(30, each_s=5)
    watched.say("failed", code="boom", message="it broke", recoverable=True)
    watched.hub.settle()
    assert get(watched) is None
    watched.say("start", name="import")
    watched.hub.settle()
    assert get(watched) is None, "nobody has looked at it yet"
    watched.work(10, each_s=50, since=30)
    watched.pass_time(5)
    assert watched.told()[-1].rate == pytest.approx(0.02, rel=0.1)


def test_a_clock_that_jumps_changes_nothing() -> None:
    steady, jumping = Watched(), Watched()
    for watched in (steady, jumping):
        watched.say("start", name="import")
        watched.work(30)
        if watched is jumping:
            watched.hub.clock.jump(7_200)
        watched.work(10, since=30)
        if watched is jumping:
            watched.hub.clock.jump(-30_000)
        watched.work(10, since=40)
        watched.pass_time(300)
    assert steady.told() == jumping.told()
    assert any(told.stalled for told in steady.told())


def test_after_a_restart_of_the_hub_the_past_is_not_lost() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(50, each_s=20)
    first = watched.hub
    first.hub.close()
    first.loop.advance(400)
    again = Watched(InMemoryHub(CONFIG, log=first.log, clock=first.clock, loop=first.loop))
    again.pass_time(10)
    assert not get(again).stalled, "what was done while the hub was away nobody could tell"
    assert get(again).remaining_s is not None
    again.work(5, each_s=20, since=70)
    assert get(again).remaining_s == pytest.approx(500, rel=0.1)


# Earlier runs.


def test_usually_12_minutes_now_9() -> None:
    watched = Watched()
    for index, minutes in enumerate((12, 11.8, 12.2, 12, 12.1)):
        watched.run("import", f"run-{index}", minutes * MINUTE_S)
    watched.say("start", name="import")
    watched.pass_time(9 * MINUTE_S, step_s=5)
    assert get(watched).remaining_s == pytest.approx(3 * MINUTE_S, rel=0.2)
    assert get(watched).rate is None
    told = watched.told()
    assert told[0].remaining_s == pytest.approx(12 * MINUTE_S, rel=0.1)
    assert len(told) < 25, "only time has passed"
    watched.pass_time(20 * MINUTE_S, step_s=5)
    last = watched.told()[-1]
    assert (last.remaining_s, last.remaining_high_s, last.stalled) == (None, None, False), "it has outlasted the others"


def test_what_has_no_progress_any_more_is_told_by_earlier_runs() -> None:
    watched = Watched()
    for index in range(5):
        watched.run("import", f"run-{index}", 100)
    watched.say("start", name="import")
    watched.work(40, each_s=0.5, step_s=0.5)
    watched.pass_time(5)
    assert get(watched).remaining_s < 65, "by progress it would be 30, by earlier runs 77"
    assert get(watched).rate is not None
    watched.say("progress", progress=0, indeterminate=True)
    watched.pass_time(5)
    assert get(watched).remaining_s == pytest.approx(70, rel=0.2)
    assert get(watched).rate is None


# What estimates are not.


def test_nothing_is_told_after_the_end() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(CONFIG, log=log))
    watched.say("start", name="import")
    watched.work(20)
    log.hold_appends()
    watched.say("progress", progress=90)
    watched.say("complete")
    watched.pass_time(20)
    log.release_appends()
    watched.pass_time(20)
    types = [type for _, type, _ in watched.events]
    assert types[-1] == "operation:complete"
    assert get(watched) is None


def test_it_keeps_nothing_alive() -> None:
    watched = Watched(config=msgspec.structs.replace(CONFIG, unattended_s=600.0))
    watched.run("import", "earlier", 300)
    watched.say("start", name="import")
    watched.hub.settle()
    status = watched.hub.hub.operations.get("a")
    assert status is not None
    heard_ns = status.heard_ns
    watched.pass_time(590, step_s=5)
    assert len(watched.told()) > 3
    assert status.live
    assert status.heard_ns == heard_ns
    watched.pass_time(80, step_s=5)
    assert status.error is not None
    assert status.error.code == "unattended"


def test_what_the_log_did_not_take_is_told_again() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(CONFIG, log=log))
    watched.run("import", "earlier", 3_600)
    watched.say("start", name="import")
    watched.hub.settle()
    log.fail_append(LogFull("no room"))
    watched.pass_time(6)
    assert watched.told() == []
    watched.pass_time(6)
    assert len(watched.told()) == 1


def test_a_hub_that_is_busy_or_ends_has_other_cares() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    watched = Watched(InMemoryHub(msgspec.structs.replace(CONFIG, staged_events=8), log=log))
    watched.run("import", "earlier", 3_600)
    watched.say("start", name="import")
    watched.hub.settle()
    log.hold_appends()
    for progress in range(3):
        watched.say("progress", "b", progress=progress)
    watched.pass_time(20)
    log.release_appends()
    watched.read()
    assert watched.told() == []
    watched.hub.hub.draining = True
    watched.pass_time(20)
    assert watched.told() == []
    watched.hub.hub.draining = False
    watched.pass_time(6)
    assert len(watched.told()) == 1


def test_they_end_with_the_hub() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(20)
    watched.hub.hub.close()
    head = watched.hub.log.head
    watched.hub.loop.advance(100)
    assert watched.hub.log.head == head


def test_they_end_with_the_hub_between_two_turns() -> None:
    watched = many(300)
    watched.hub.loop.advance(5)
    advance_all(watched, range(300), 50)
    watched.hub.loop.advance(5)
    head = watched.hub.log.head
    assert head > 600, "those whose turn it was"
    watched.hub.hub.close()
    watched.hub.loop.advance(100)
    assert watched.hub.log.head == head


def test_a_contract_without_estimates_has_none() -> None:
    contract = Contract(event for event in BUILTIN if event.type != ESTIMATE)
    watched = Watched(InMemoryHub(CONFIG, contract=contract))
    watched.say("start", name="import")
    watched.work(20)
    watched.pass_time(100)
    assert watched.told() == []
    assert get(watched).stalled


def test_of_more_names_than_are_remembered_each_has_its_own_earlier_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.hub.operations.estimator.MAX_NAMES", 2)
    watched = Watched()
    for index in range(5):
        watched.run(f"import {index}", f"run-{index}", 100 * (index + 1))
    for index in range(5):
        watched.say("start", f"op-{index}", name=f"import {index}")
    watched.pass_time(20)
    for index in range(5):
        assert get(watched, f"op-{index}").remaining_s == pytest.approx(100 * (index + 1), abs=30)


def test_there_are_none_where_none_are_wanted() -> None:
    watched = Watched(config=msgspec.structs.replace(CONFIG, estimate_s=0.0))
    watched.say("start", name="import")
    watched.work(20)
    watched.pass_time(400)
    assert watched.told() == []
    assert get(watched) is None


# Many.


def many(count: int) -> Watched:
    watched = Watched()
    for index in range(count):
        watched.say("start", f"op-{index}", name="import")
        if index % 1_000 == 999:
            watched.hub.settle()
    watched.hub.settle()
    return watched


def advance_all(watched: Watched, indexes: range, progress: float) -> None:
    for index in indexes:
        watched.say("progress", f"op-{index}", progress=progress)
        if index % 1_000 == 999:
            watched.hub.settle()
    watched.hub.settle()


def test_of_many_each_is_told_once_in_five_seconds_at_most() -> None:
    """Even where others end, so that its turn comes sooner."""
    watched = many(1_000)
    watched.pass_time(5)
    for round in range(1, 11):
        advance_all(watched, range(100 * (round - 1), 1_000), round * 5)
        watched.pass_time(5, step_s=0.25)
        for index in range(100 * (round - 1), 100 * round):
            watched.say("complete", f"op-{index}")
    at = [told.at_s for told in watched.told("op-899")]
    assert len(at) >= 4
    assert min(after - before for before, after in pairwise(at)) >= 4.7


def test_ten_thousand_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = many(10_000)
    estimates = watched.hub.hub.estimates
    updated: list[int] = []
    costs_s: list[float] = []
    update, next_slice = estimates._update, estimates._next_slice

    def counted(*args: Any) -> None:
        updated[-1] += 1
        update(*args)

    def timed(*args: Any) -> None:
        updated.append(0)
        begin_s = process_time()
        next_slice(*args)
        costs_s.append(process_time() - begin_s)

    monkeypatch.setattr(estimates, "_update", counted)
    monkeypatch.setattr(estimates, "_next_slice", timed)
    watched.hub.loop.advance(5)
    for progress in (10, 20):
        advance_all(watched, range(10_000), progress)
        updated.clear()
        costs_s.clear()
        accepted = watched.hub.hub.counters.accepted
        watched.hub.loop.advance(5)
        assert sum(updated) in range(9_900, 10_101)
        assert max(updated) == 100
    assert watched.hub.hub.counters.accepted - accepted >= 9_900, "all were told"
    if gettrace() is None:  # measuring coverage takes longer than what is measured
        assert median(costs_s) < 0.010
