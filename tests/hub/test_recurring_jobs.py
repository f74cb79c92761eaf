"""Recurring jobs run again whatever happens in them, and one that fails for three intervals is reported."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.hub.events import progress, publish_updates
from tests.hub.producers import Producer

from tidings.hub.config import HubConfig
from tidings.hub.connection import HubConnection
from tidings.hub.operations.cancellation import CancellationRegistry
from tidings.hub.operations.lease_checks import LeaseChecks
from tidings.hub.operations.leases import Leases
from tidings.hub.operations.rounds import Rounds
from tidings.hub.recurring_jobs import RecurringJobs
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.memory import MemoryLog
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub
from tidings.testing.loop import ManualLoop

EVERY_JOB = ["retention", "leases", "unattended", "cancellations", "status", "metrics", "heartbeats", "estimates"]


class Work:
    """A job that fails on request and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: BaseException | None = None
        self.delay_s: float | None = None

    def __call__(self) -> float | None:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return self.delay_s


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def loop(clock: ManualClock) -> ManualLoop:
    return ManualLoop(clock)


@pytest.fixture
def jobs(loop: ManualLoop, clock: ManualClock) -> RecurringJobs:
    return RecurringJobs(loop, clock)


def test_job_runs_at_its_interval_or_at_the_delay_that_it_returns(loop: ManualLoop, jobs: RecurringJobs) -> None:
    work = Work()
    jobs.start("work", 10.0, work)
    loop.advance(30)
    assert work.runs == 3
    work.delay_s = 0.5
    loop.advance(20)
    assert work.runs == 4 + 20
    jobs.close()
    loop.advance(100)
    assert work.runs == 24


@pytest.mark.parametrize("error", [ValueError("a defect"), MemoryError(), OverflowError("too large")], ids=repr)
def test_job_that_raises_runs_again_and_is_overdue_after_three_intervals(
    loop: ManualLoop, jobs: RecurringJobs, error: Exception
) -> None:
    work, other = Work(), Work()
    jobs.start("work", 10.0, work)
    jobs.start("other", 10.0, other)
    loop.advance(10)
    work.error = error
    loop.advance(30)
    assert (work.runs, other.runs, jobs.overdue()) == (4, 4, [])
    loop.advance(5)
    [overdue] = jobs.overdue()
    assert (overdue.job, overdue.code) == ("work", "job_overdue")
    assert str(overdue) == "the job 'work' has not run for 35 s; its interval is 10 s"
    work.error = None
    loop.advance(5)
    assert (work.runs, jobs.overdue()) == (5, [])


def test_job_that_is_interrupted_runs_again(loop: ManualLoop, jobs: RecurringJobs) -> None:
    work = Work()
    work.error = KeyboardInterrupt()
    jobs.start("work", 10.0, work)
    with pytest.raises(KeyboardInterrupt):
        loop.advance(10)
    work.error = None
    loop.advance(10)
    assert work.runs == 2


def test_failures_are_logged_less_and_less_often(loop: ManualLoop, jobs: RecurringJobs) -> None:
    structlog.reset_defaults()
    work = Work()
    work.error = ValueError("a defect")
    jobs.start("work", 1.0, work)
    with capture_logs() as logs:
        loop.advance(100)
        work.error = None
        loop.advance(1)
    assert [entry["failures"] for entry in logs] == [1, 2, 4, 8, 16, 32, 64, 100]
    assert logs[-1]["event"] == "a recurring job runs again"


def start_publishing(hub: InMemoryHub) -> None:
    SystemStatusPublisher(hub.hub, hub.connections).start()
    hub.hub.estimates.start()


def full_hub() -> InMemoryHub:
    """Return a hub with every recurring job that a hub has."""
    hub = InMemoryHub(HubConfig(maintain_s=1.0), log=MemoryLog(EPOCH))
    start_publishing(hub)
    hub.connect("channel=data")
    hub.settle()
    return hub


@pytest.mark.parametrize("name", EVERY_JOB)
def test_every_job_of_a_hub_survives_an_error(name: str) -> None:
    hub = full_hub()
    assert sorted(job.name for job in hub.hub.jobs) == sorted(EVERY_JOB)
    [job] = [job for job in hub.hub.jobs if job.name == name]
    work, run = Work(), job.run
    work.error = OverflowError("int too big to convert")
    job.run = work
    hub.loop.advance(3.5 * job.interval_s)
    assert [error.job for error in hub.hub.jobs.overdue()] == [name]
    job.run = run
    hub.loop.advance(job.interval_s)
    assert hub.hub.jobs.overdue() == []
    assert job.failures == work.runs >= 3


def test_hub_with_an_overdue_job_is_degraded() -> None:
    hub = InMemoryHub()
    start_publishing(hub)
    client = hub.connect("channel=system")
    hub.settle()
    [job] = [job for job in hub.hub.jobs if job.name == "retention"]
    job.run = Work()
    job.run.error = OverflowError("int too big to convert")
    hub.loop.advance(10)
    statuses = [event["data"]["status"] for event in client.read_events() if event["type"] == "system:status"]
    assert statuses == ["healthy", "degraded"]


def test_failing_heartbeat_does_not_keep_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    clients = [hub.connect("channel=data") for _ in range(3)]
    hub.settle()
    for client in clients:
        client.read()
    send = HubConnection.send_heartbeat

    def fail_once(connection: HubConnection, *arguments: Any) -> None:
        if connection is clients[0].connection:
            raise MemoryError
        send(connection, *arguments)

    monkeypatch.setattr(HubConnection, "send_heartbeat", fail_once)
    hub.loop.advance(30)
    assert [client.read_types() for client in clients[1:]] == [["connection:position"]] * 2


def test_failing_turn_does_not_stop_other_subscribers_from_catching_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    publish_updates(hub.connect("channels=none"), 3)
    hub.settle()
    catchup = hub.hub.delivery.catchup
    advance = catchup._advance
    failed: list[object] = []

    def fail_once(subscriber: object) -> None:
        if not failed:
            failed.append(subscriber)
            raise MemoryError
        advance(subscriber)  # type: ignore[arg-type]

    monkeypatch.setattr(catchup, "_advance", fail_once)
    _, other = hub.connect("channel=data&since=first"), hub.connect("channel=data&since=first")
    hub.settle()
    assert len(failed) == 1
    assert len(other.read_events()) == 3


def test_failed_estimate_of_one_operation_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    start_publishing(hub)
    client = hub.connect("channel=operations")
    for name in ("bad", "good"):
        client.send("operation:start", {"operation_id": name, "name": name})
    hub.settle()
    estimates = hub.hub.estimates
    history_of = estimates._history_of

    def fail_for_one_name(name: str) -> object:
        if name == "bad":
            raise OverflowError("math range error")
        return history_of(name)

    monkeypatch.setattr(estimates, "_history_of", fail_for_one_name)
    for percent in range(10, 60, 10):
        for name in ("bad", "good"):
            client.send("operation:progress", progress(name, percent))
        hub.loop.advance(5)
    found = {event["data"]["operation_id"] for event in client.read_events() if event["type"] == "operation:estimate"}
    assert found == {"good"}
    assert hub.hub.jobs.overdue() == []


# Leases.


def two_lost_producers() -> InMemoryHub:
    hub = InMemoryHub(HubConfig(lease_s=30.0))
    for name in ("bad", "good"):
        producer = Producer(hub, name)
        producer.connect()
        producer.publish("start", name)
        producer.drop()
    hub.settle()
    return hub


def state_of(hub: InMemoryHub, operation_id: str) -> str:
    status = hub.hub.operations.get(operation_id)
    return "" if status is None else str(status.state)


def test_failed_judgement_of_one_producer_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = two_lost_producers()
    leased = Leases._leased

    def fail_for_one(leases: Leases, producer: Any) -> Any:
        if producer.producer_id == "bad":
            raise MemoryError
        return leased(leases, producer)

    with monkeypatch.context() as patched:
        patched.setattr(Leases, "_leased", fail_for_one)
        hub.loop.advance(40)
        assert (state_of(hub, "bad"), state_of(hub, "good")) == ("running", "failed")
    hub.loop.advance(10)
    assert state_of(hub, "bad") == "failed"


def test_stopped_timer_of_the_leases_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = two_lost_producers()
    with monkeypatch.context() as patched:
        patched.setattr(LeaseChecks, "_beat", lambda *arguments: None)
        hub.loop.advance(9)
    hub.loop.advance(60)
    assert state_of(hub, "good") == "failed"
    [job] = [job for job in hub.hub.jobs if job.name == "leases"]
    assert job.failures >= 1


def test_failing_work_on_operations_does_not_stop_what_follows() -> None:
    hub = InMemoryHub()
    steps: list[str] = []

    def work(name: str, *, fails: bool) -> Iterator[None]:
        for number in range(3):
            steps.append(f"{name}{number}")
            if fails:
                raise MemoryError
            yield

    rounds = Rounds(hub.hub)
    rounds.add(work("a", fails=True))
    rounds.add(work("b", fails=False))
    hub.settle()
    assert steps == ["a0", "b0", "b1", "b2"]


def test_cancellation_whose_timer_failed_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    producer = Producer(hub, "p")
    producer.connect()
    producer.publish("start", "op")
    client = hub.connect("channels=none")
    hub.settle()
    client.read()
    with monkeypatch.context() as patched:
        patched.setattr(CancellationRegistry, "_time_out", lambda *arguments: None)
        client.send("operation:cancel", {"operation_id": "op", "timeout_s": 3})
        hub.loop.advance(9)
    assert client.read() == []
    hub.loop.advance(21)
    (outcome,) = [message["data"]["outcome"] for message in client.read() if message.get("reply_to") == "1"]
    assert outcome == "unreachable"
    [job] = [job for job in hub.hub.jobs if job.name == "cancellations"]
    assert job.failures == 1
