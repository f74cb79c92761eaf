from collections.abc import Callable

import pytest
from tests.hub.producers import Producer
from tests.hub.watched_hub import Watched, get, stalls


def test_stall_is_published_at_its_start_and_end() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(30)
    stopped_s = watched.hub.loop.now
    watched.pass_time(200)
    [(begun_s, _)] = stalls(watched)
    assert stopped_s + 60 <= begun_s <= stopped_s + 66
    assert get(watched).stalled
    watched.publish("log", message="trying again", level="info")
    watched.pass_time(20)
    assert get(watched).stalled, "it has sent an event, and not advanced"
    went_on_s = watched.hub.loop.now
    watched.work(1, each_s=0.1, since=30)
    watched.pass_time(10)
    assert [stalled for _, stalled in stalls(watched)] == [True, False]
    assert stalls(watched)[-1][0] <= went_on_s + 7
    assert not get(watched).stalled


def test_new_step_counts_as_an_advance() -> None:
    watched = Watched()
    watched.publish("start", name="import", steps=["fetch", "parse", "load"])
    watched.work(10)
    for step in range(20):
        watched.publish("progress", progress=10, current_step=f"part {step}")
        watched.pass_time(40)
    assert stalls(watched) == []


def test_slow_job_is_not_stalled() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.work(20, each_s=240, step_s=20)
    watched.pass_time(1_100, step_s=20)
    assert stalls(watched) == []
    watched.pass_time(200, step_s=20)
    assert get(watched).stalled


def test_indeterminate_job_with_events_is_not_stalled() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.publish("progress", progress=0, indeterminate=True)
    for _ in range(60):
        watched.pass_time(20)
        watched.publish("log", message="still here", level="info")
    assert stalls(watched) == []
    watched.pass_time(110)
    assert get(watched).stalled
    watched.publish("log", message="still here", level="info")
    watched.pass_time(10)
    assert not get(watched).stalled


Begin = Callable[[Watched], None]


def _queue(watched: Watched) -> None:
    watched.publish("start", name="import", queued=True, total_steps=3)


def _begin_silently(watched: Watched) -> None:
    watched.publish("start", name="import")


@pytest.mark.parametrize("begin", [_queue, _begin_silently])
def test_silent_job_without_steps_is_never_stalled(begin: Begin) -> None:
    watched = Watched()
    begin(watched)
    watched.pass_time(7_200, step_s=60)
    assert stalls(watched) == []


def test_job_that_announced_steps_and_makes_none_is_stalled() -> None:
    watched = Watched()
    watched.publish("start", name="import", total_steps=10)
    watched.pass_time(290)
    assert stalls(watched) == []
    watched.pass_time(20)
    assert get(watched).stalled


def test_absent_producer_pauses_the_stall_timeout() -> None:
    watched = Watched()
    producer = Producer(watched.hub, "p-1", lease_s=3_600.0)
    producer.connect()
    producer.publish("start", "a", name="import")
    for progress in range(1, 11):
        watched.pass_time(5)
        producer.publish("progress", "a", progress=progress)
    producer.drop()
    watched.pass_time(600)
    assert stalls(watched) == []
    producer.connect({"operation_id": "a"})
    watched.pass_time(50)
    assert stalls(watched) == []
    watched.pass_time(30)
    assert get(watched).stalled, "it is attached, and sends nothing"
    producer.drop()
    watched.pass_time(600)
    assert not get(watched).stalled
    producer.connect({"operation_id": "a"})
    for progress in range(11, 15):
        producer.publish("progress", "a", progress=progress)
        watched.pass_time(5)
    watched.pass_time(65)
    assert get(watched).stalled, "its absence does not lengthen the stall timeout"
