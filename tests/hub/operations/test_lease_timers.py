"""Leases end when they are due, whatever happened before, and the hub's own pauses do not count."""

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.hub.operations.test_leases import CONFIG
from tests.hub.producers import Producer

from tidings.hub.clock import MAX_BEAT_S, MIN_BEAT_S, SETTLE_S, RunningTime
from tidings.hub.operations.rounds import MAX_STEPS_PER_ROUND
from tidings.log.memory import MemoryLog
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import Envelope
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

LEASES_S = (1.0, 2.5, 30.0, 600.0)
TOLERANCE_S = 0.01


def ended_at(hub: InMemoryHub) -> dict[str, float]:
    """Return the times at which the hub failed operations, filled as it does."""
    ends: dict[str, float] = {}

    def note(status: OperationStatus) -> None:
        if not status.live:
            ends.setdefault(status.operation_id, hub.clock.now)

    hub.hub.on_operation.append(note)
    return ends


@dataclass(frozen=True)
class Begin:
    """Begin an operation over the producer's connection, or by a post."""

    lease_s: float
    posts: bool


@dataclass(frozen=True)
class Wait:
    """Let time pass, then post, or lose the connection and attach again."""

    seconds: float
    posts: bool


steps = st.one_of(
    st.builds(Begin, st.sampled_from(LEASES_S), st.booleans()),
    st.builds(Wait, st.floats(0, 40, allow_nan=False), st.booleans()),
)


@given(st.lists(steps, min_size=1, max_size=12))
@example([Begin(86_400.0, False), Begin(30.0, True)])  # the timer of the long lease was the only one
@example([Begin(86_400.0, True), Begin(30.0, True)])
@example([Begin(600.0, True), Wait(1.0, True), Begin(2.5, True)])
@settings(max_examples=25, deadline=None)
def test_every_lease_ends_when_it_is_due(plan: list[Begin | Wait]) -> None:
    hub = InMemoryHub(CONFIG)
    ends = ended_at(hub)
    producer = Producer(hub, "p-1")
    due: dict[str, float] = {}
    leases: dict[str, float] = {}

    def see() -> None:
        now = hub.clock.now
        for operation_id, lease_s in leases.items():
            if operation_id not in ends:
                due[operation_id] = now + lease_s

    for number, step in enumerate(plan):
        operation_id = f"op-{number}"
        if isinstance(step, Begin) and not step.posts:
            producer.connect()
            producer.attach({"operation_id": operation_id, "lease_s": step.lease_s})
            producer.publish("start", operation_id)
            leases[operation_id] = step.lease_s
            producer.drop()
        elif isinstance(step, Begin):
            hub.hub.leases.post("p-1", step.lease_s)
            poster = hub.connect("channels=none")
            poster.connection.producer_id = "p-1"  # as an edge does for the header
            poster.send("operation:start", {"operation_id": operation_id})
            hub.settle()
            leases[operation_id] = step.lease_s
        else:
            hub.loop.advance(step.seconds)
            if step.posts:
                hub.hub.leases.post("p-1")
            else:
                producer.connect()
                producer.drop()
        see()
    hub.loop.advance(max(leases.values(), default=0.0) + 1)
    assert ends.keys() == due.keys()
    for operation_id, at in due.items():
        assert at - TOLERANCE_S <= ends[operation_id] <= at + TOLERANCE_S, operation_id


@pytest.mark.parametrize("pause_s", [2 * MAX_BEAT_S, 40.0, 100_000.0])
def test_pause_of_the_hub_does_not_count(pause_s: float) -> None:
    hub = InMemoryHub(CONFIG)
    ends = ended_at(hub)
    producer = Producer(hub, "p-1")
    producer.connect()
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(29.0)
    hub.clock.advance(pause_s)  # the loop does not run
    hub.loop.advance(SETTLE_S + 0.5)
    assert ends == {}
    hub.loop.advance(1.0)
    assert list(ends) == ["op"]


def test_post_that_waited_in_the_socket_is_read_before_leases_are_judged() -> None:
    hub = InMemoryHub(CONFIG)
    ends = ended_at(hub)
    hub.hub.leases.post("script", 30.0)
    poster = hub.connect("channels=none")
    poster.connection.producer_id = "script"
    poster.send("operation:start", {"operation_id": "op"})
    hub.settle()
    for _ in range(20):
        hub.loop.advance(29.99)
        hub.clock.advance(0.02)  # due now, and the loop runs timers before it reads sockets
        hub.loop.call_soon(lambda: hub.loop.call_soon(lambda: hub.hub.leases.post("script")))
        hub.loop.run_round()
        hub.settle()
        assert ends == {}


def test_running_time_stands_still_during_and_after_a_pause() -> None:
    clock = ManualClock()
    time = RunningTime(clock)
    beat_s = time.beat(1.0)
    assert beat_s == MIN_BEAT_S
    clock.advance(beat_s)
    assert time.now() == beat_s
    clock.advance(2 * beat_s + 0.01)
    assert time.now() == beat_s
    for _ in range(8):
        clock.advance(beat_s)
        assert time.now() == beat_s, "sockets are read first"
    clock.advance(beat_s)
    assert time.now() == 2 * beat_s
    clock.advance(1000.0)
    time.resume()
    assert time.now() == 2 * beat_s


def test_running_time_is_read_often_before_a_deadline_and_rarely_long_before() -> None:
    time = RunningTime(ManualClock())
    assert [time.beat(due_s) for due_s in (0.0, 0.1, 8.0, 43_200.0)] == [0.001, 0.1, 0.5, MAX_BEAT_S]


def test_many_producers_lost_together_are_failed_in_slices() -> None:
    hub = InMemoryHub(CONFIG)
    producers = 3_000
    for number in range(producers):
        hub.hub.leases.post(f"p-{number}", 10.0)
        hub.hub.publish(
            Envelope(type="operation:start", data=b'{"operation_id":"op-%d"}' % number),  # type: ignore[arg-type]
            lambda result: None,
            producer_id=f"p-{number}",
        )
    hub.settle()
    published: dict[int, int] = {}
    publish = hub.hub.publish

    def counting(envelope: Envelope, *arguments: object, **named: object) -> object:
        published[hub.loop.rounds] = published.get(hub.loop.rounds, 0) + 1
        return publish(envelope, *arguments, **named)  # type: ignore[arg-type]

    hub.hub.publish = counting  # type: ignore[method-assign, assignment]
    hub.loop.advance(11)
    assert len(hub.hub.operations) == 0
    # An alert, an end, and the end of the alert for each. The alerts' ends follow the tick in which operations end.
    assert sum(published.values()) == 3 * producers
    assert max(published.values()) <= 2 * MAX_STEPS_PER_ROUND
    assert hub.hub.event_keys("system:alert") == []  # type: ignore[arg-type]


def test_check_of_many_different_leases_does_linear_work() -> None:
    log = MemoryLog(EPOCH)
    hub = InMemoryHub(CONFIG, log=log)
    producer = Producer(hub, "p-1")
    producer.connect()
    operations = 1_000
    for number in range(operations):
        producer.client.send(
            "producer:attach",
            {"producer_id": "p-1", "operations": [{"operation_id": f"op-{number}", "lease_s": 10 + number / 1e3}]},
        )
        producer.client.send("operation:start", {"operation_id": f"op-{number}"})
    hub.settle()
    examined = 0
    of_producer = log.operations.of_producer

    def counting(producer_id: str) -> object:
        nonlocal examined
        found = of_producer(producer_id)
        examined += len(found)
        return found

    log.operations.of_producer = counting  # type: ignore[method-assign, assignment]
    producer.client.drop()
    hub.loop.advance(15)
    assert len(hub.hub.operations) == 0
    # A second is divided into intervals of 20 ms for a thousand operations: 2 × 50 checks, with every operation each.
    assert examined <= 160 * operations
