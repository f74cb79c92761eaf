"""What needs a person's attention is published on the channel of operations, within seconds of the hub's knowing."""

from collections import Counter
from typing import Any

import pytest
from msgspec import structs
from tests.hub.producers import Producer
from tests.hub.watched_hub import CONFIG, ESTIMATE, Watched

from tidings.hub.operations.estimator import AttemptEstimator
from tidings.operations.status import OperationStatus
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.protocol.timestamps import to_nanoseconds
from tidings.testing.in_memory_hub import InMemoryHub


def newest(watched: Watched, operation_id: str = "a") -> dict[str, Any]:
    """Return the data of the newest estimate of an operation; empty before the first."""
    watched.hub.settle()
    watched.read()
    found = [data for _, type, data in watched.events if type == ESTIMATE and data["operation_id"] == operation_id]
    return found[-1] if found else {}


def working(watched: Watched, operation_id: str = "a", lease_s: float = 30.0) -> Producer:
    """Return an attached producer that runs an operation."""
    producer = Producer(watched.hub, "p-1", lease_s=lease_s)
    producer.connect()
    producer.publish("start", operation_id, name="import")
    return producer


def wall_s(watched: Watched) -> float:
    return watched.hub.hub.now_ns() / 1e9


def test_lost_producer_is_published_within_three_seconds_with_its_age() -> None:
    watched = Watched()
    producer = working(watched)
    watched.pass_time(20)
    lost_s = wall_s(watched)
    producer.drop()
    watched.pass_time(3)
    assert abs(to_nanoseconds(newest(watched)["away_since"]) / 1e9 - lost_s) < 0.01
    published = len(watched.estimates())
    watched.pass_time(10)
    assert len(watched.estimates()) == published, "the same absence is not published again"
    producer.connect({"operation_id": "a"})
    assert "away_since" not in newest(watched)


def test_producer_that_reconnects_immediately_was_never_away() -> None:
    watched = Watched()
    producer = working(watched)
    producer.drop()
    watched.pass_time(1)
    producer.connect({"operation_id": "a"})
    watched.pass_time(4)
    assert all("away_since" not in data for _, type, data in watched.events if type == ESTIMATE)


def test_lost_producer_of_many_operations_is_published_in_slices() -> None:
    watched = Watched()
    producer = Producer(watched.hub, "p-1", lease_s=30.0)
    producer.connect()
    for number in range(250):
        producer.publish("start", f"op-{number}")
    producer.drop()
    watched.pass_time(3, step_s=0.05)
    assert all("away_since" in newest(watched, f"op-{number}") for number in range(250))
    ticks = [at_s for at_s, type, data in watched.events if type == ESTIMATE and "away_since" in data]
    assert max(ticks.count(at_s) for at_s in ticks) <= 100


def test_claims_and_returns_of_a_producer_do_not_multiply_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    producer = Producer(watched.hub, "p-1", lease_s=30.0)
    producer.connect()
    for number in range(250):
        producer.publish("start", f"op-{number}")
    watched.pass_time(10)
    updates = Counter[str]()
    update = AttemptEstimator.update

    def counted(estimator: AttemptEstimator, status: OperationStatus, *rest: Any, **named: Any) -> None:
        updates[status.operation_id] += 1
        update(estimator, status, *rest, **named)

    monkeypatch.setattr(AttemptEstimator, "update", counted)
    for number in range(100):
        producer.attach({"operation_id": f"op-{number}"})
    watched.pass_time(1, step_s=0.01)
    assert max(updates.values(), default=0) <= 1, "a claim changes nothing for the operations that are held already"
    updates.clear()
    for _ in range(100):
        producer.drop()
        producer.connect()
    watched.pass_time(3, step_s=0.01)
    assert sum(updates.values()) <= 100 * 3 / 0.05, "at most 100 in 0.05 s"


def test_cancelled_tree_is_published_in_slices() -> None:
    watched = Watched()
    producer = working(watched)
    for number in range(250):
        producer.publish("start", f"part-{number}", parent_id="a")
    watched.hub.hub.cancellations.request(Cancel(operation_id="a"), lambda outcome: None)
    watched.pass_time(1, step_s=0.0004)  # shorter than the pause after a slice of one operation
    assert all("cancel_requested_at" in newest(watched, f"part-{number}") for number in range(250))
    ticks = [at_s for at_s, type, data in watched.events if type == ESTIMATE]
    assert max(ticks.count(at_s) for at_s in ticks) <= 100


def test_requested_cancel_is_published_until_it_is_refused() -> None:
    watched = Watched()
    producer = working(watched)
    outcomes: list[CancelOutcome] = []
    cancel = Cancel(operation_id="a", reason="wrong file", cancelled_by="ada@laptop")
    watched.hub.hub.cancellations.request(cancel, outcomes.append)
    [push] = producer.pushes()
    assert push["data"]["cancelled_by"] == "ada@laptop"
    data = newest(watched)
    assert data["cancelled_by"] == "ada@laptop"
    assert abs(to_nanoseconds(data["cancel_requested_at"]) / 1e9 - wall_s(watched)) < 0.01
    producer.answer(push, "refused")
    watched.pass_time(0.01, step_s=0.001)
    assert "cancel_requested_at" not in newest(watched)


def test_silence_is_published_after_a_minute_and_its_end() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.hub.settle()
    heard_s = wall_s(watched)
    watched.pass_time(59)
    assert newest(watched) == {}
    watched.pass_time(7)
    assert abs(to_nanoseconds(newest(watched)["silent_since"]) / 1e9 - heard_s) < 0.01
    watched.publish("log", message="still here", level="info")
    watched.pass_time(6)
    assert "silent_since" not in newest(watched)


def test_slow_clock_of_a_producer_changes_no_silence() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    client = watched.hub.connect("channels=none")
    client.send("operation:progress", {"operation_id": "a", "progress": 3}, timestamp="2020-01-01T00:00:00Z")
    watched.pass_time(30)
    assert newest(watched) == {}


def test_beginning_by_the_hubs_clock_is_published_for_a_slow_producer() -> None:
    watched = Watched()
    watched.slow_s = 3_600
    began_s = wall_s(watched)
    watched.publish("start", name="import")
    watched.pass_time(6)
    assert abs(to_nanoseconds(newest(watched)["began_at"]) / 1e9 - began_s) <= 1
    watched.slow_s = 0  # its first event was late; its clock is right
    watched.publish("log", message="line", level="info")
    watched.pass_time(6)
    assert "began_at" not in newest(watched)


@pytest.mark.parametrize("hours", [-24, 1, 24 * 365])
def test_jump_of_the_clock_makes_no_operation_silent_or_stalled(hours: int) -> None:
    watched = Watched(config=structs.replace(CONFIG, maintain_s=20.0))
    watched.publish("start", name="import")
    watched.work(5)
    watched.hub.clock.jump(hours * 3_600.0)
    for progress in range(6, 16):
        watched.publish("progress", progress=progress)
        watched.pass_time(10)
    assert watched.hub.hub.now_ns() == watched.hub.clock.wall_ns(), "the clock was adopted"
    assert [
        data for _, type, data in watched.events if type == ESTIMATE and (data["stalled"] or "silent_since" in data)
    ] == []
    heard_s = wall_s(watched) - 10
    watched.pass_time(100)
    assert abs(to_nanoseconds(newest(watched)["silent_since"]) / 1e9 - heard_s) < 1
    watched.hub.clock.jump(hours * -3_600.0)
    watched.pass_time(100)
    assert abs(to_nanoseconds(newest(watched)["silent_since"]) / 1e9 - (heard_s - hours * 3_600)) < 1


def test_job_that_hangs_in_its_first_seconds_is_stalled_after_the_minimum() -> None:
    watched = Watched()
    watched.publish("start", name="import")
    watched.hub.loop.advance(1)
    watched.publish("progress", progress=3)
    watched.pass_time(60)
    assert not newest(watched).get("stalled")
    watched.pass_time(10)
    assert newest(watched)["stalled"]
    age_s = wall_s(watched) - to_nanoseconds(newest(watched)["stalled_since"]) / 1e9
    assert 69 < age_s < 71


def test_restarted_hub_withdraws_what_no_longer_holds() -> None:
    watched = Watched()
    producer = working(watched, lease_s=600.0)
    producer.drop()
    watched.pass_time(3)
    assert "away_since" in newest(watched)
    first = watched.hub
    first.hub.close()
    again = Watched(InMemoryHub(CONFIG, log=first.log, clock=first.clock, loop=first.loop))
    producer.hub = again.hub
    producer.connect({"operation_id": "a"})
    again.pass_time(6)
    assert newest(again) != {}
    assert "away_since" not in newest(again)
