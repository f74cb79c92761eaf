"""When an operation is told to be stalled, and when not."""

from collections.abc import Callable

import pytest
from tests.hub.producers import Producer
from tests.hub.watched_hub import Watched, get, stalls


def test_a_stall_is_told_when_it_begins_and_when_it_ends() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(30)
    stopped_s = watched.hub.loop.now
    watched.pass_time(200)
    [(begun_s, _)] = stalls(watched)
    assert stopped_s + 60 <= begun_s <= stopped_s + 66
    assert get(watched).stalled
    watched.say("log", message="trying again", level="info")
    watched.pass_time(20)
    assert get(watched).stalled, "it has said something, and not advanced"
    went_on_s = watched.hub.loop.now
    watched.work(1, each_s=0.1, since=30)
    watched.pass_time(10)
    assert [stalled for _, stalled in stalls(watched)] == [True, False]
    assert stalls(watched)[-1][0] <= went_on_s + 7
    assert not get(watched).stalled


def test_another_step_is_an_advance() -> None:
    watched = Watched()
    watched.say("start", name="import", steps=["fetch", "parse", "load"])
    watched.work(10)
    for step in range(20):
        watched.say("progress", progress=10, current_step=f"part {step}")
        watched.pass_time(40)
    assert stalls(watched) == []


def test_a_slow_job_is_not_a_stalled_one() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.work(20, each_s=240, step_s=20)
    watched.pass_time(1_100, step_s=20)
    assert stalls(watched) == []
    watched.pass_time(200, step_s=20)
    assert get(watched).stalled


def test_an_indeterminate_job_that_says_something_is_not_stalled() -> None:
    watched = Watched()
    watched.say("start", name="import")
    watched.say("progress", progress=0, indeterminate=True)
    for _ in range(60):
        watched.pass_time(20)
        watched.say("log", message="still here", level="info")
    assert stalls(watched) == []
    watched.pass_time(110)
    assert get(watched).stalled
    watched.say("log", message="still here", level="info")
    watched.pass_time(10)
    assert not get(watched).stalled


Begin = Callable[[Watched], None]


def _queue(watched: Watched) -> None:
    watched.say("start", name="import", queued=True, total_steps=3)


def _begin_silently(watched: Watched) -> None:
    watched.say("start", name="import")


@pytest.mark.parametrize("begin", [_queue, _begin_silently])
def test_of_whom_nothing_is_expected_is_never_stalled(begin: Begin) -> None:
    watched = Watched()
    begin(watched)
    watched.pass_time(7_200, step_s=60)
    assert watched.told() == []


def test_who_has_announced_steps_and_comes_to_none_is_stalled() -> None:
    watched = Watched()
    watched.say("start", name="import", total_steps=10)
    watched.pass_time(290)
    assert stalls(watched) == []
    watched.pass_time(20)
    assert get(watched).stalled


def test_whose_producer_is_away_is_not_stalled_and_has_time_to_speak_when_it_is_back() -> None:
    watched = Watched()
    producer = Producer(watched.hub, "p-1", lease_s=3_600.0)
    producer.connect()
    producer.say("start", "a", name="import")
    for progress in range(1, 11):
        watched.pass_time(5)
        producer.say("progress", "a", progress=progress)
    producer.drop()
    watched.pass_time(600)
    assert stalls(watched) == []
    producer.connect({"operation_id": "a"})
    watched.pass_time(50)
    assert stalls(watched) == []
    watched.pass_time(30)
    assert get(watched).stalled, "it is attached, and says nothing"
    producer.drop()
    watched.pass_time(600)
    assert not get(watched).stalled
    producer.connect({"operation_id": "a"})
    for progress in range(11, 15):
        producer.say("progress", "a", progress=progress)
        watched.pass_time(5)
    watched.pass_time(65)
    assert get(watched).stalled, "that it was away makes nobody more patient"
