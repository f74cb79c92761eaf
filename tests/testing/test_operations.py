"""Operations on a hub in memory, as the test of a job sees them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

import tidings
from tidings.operations.lifecycle import OperationState
from tidings.producer.runtime import RUNTIME
from tidings.testing import ABSENT, Cut, FullDisk, ManualHub, Unreachable, any_order, assert_events, event, none_of


@pytest.fixture
def hub() -> Iterator[ManualHub]:
    with ManualHub() as hub, hub.as_default():
        yield hub


def state(hub: ManualHub, operation: tidings.Operation) -> OperationState | None:
    status = hub.operation(operation.id)
    return None if status is None else status.state


def test_progress_is_published_when_the_test_settles(hub: ManualHub) -> None:
    with tidings.operation("Import prices") as op:
        for percent in (20, 40, 60):
            op.progress(percent, f"at {percent}")
            hub.settle()
    assert_events(
        hub,
        [
            event("operation:start", name="Import prices", operation_id=op.id),
            *(event("operation:progress", progress=percent, message=f"at {percent}") for percent in (20, 40, 60)),
            event("operation:complete", operation_id=op.id),
        ],
    )


def test_settle_follows_a_job_on_another_thread(hub: ManualHub) -> None:
    counted, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with tidings.operation("Count", total=4) as op:
            op.advance(3)
            counted.set()
            go_on.wait(60)

    job = threading.Thread(target=work)
    job.start()
    assert counted.wait(60)
    assert_events(hub, ["operation:start", event("operation:progress", progress=75)])
    go_on.set()
    job.join(60)
    assert_events(hub, ["operation:start", "operation:complete"])


def test_failure_is_published_with_its_exception(hub: ManualHub) -> None:
    with pytest.raises(ZeroDivisionError), tidings.operation("Divide"):
        raise ZeroDivisionError("by nothing")
    assert_events(
        hub,
        [
            "operation:start",
            none_of("operation:complete"),
            event("operation:failed", code="zero_division_error", message="by nothing", hint=ABSENT),
            none_of("operation:complete"),
        ],
    )


async def test_asynchronous_jobs_are_published(hub: ManualHub) -> None:
    async def job(name: str) -> None:
        async with tidings.operation(name) as op:
            await asyncio.sleep(0)
            op.progress(50)

    await asyncio.gather(job("a"), job("b"))
    starts = any_order(*(event("operation:start", name=name) for name in "ab"))
    assert_events(hub, [starts, any_order("operation:complete", "operation:complete")])


def test_job_continues_while_the_hub_is_stopped(hub: ManualHub) -> None:
    hub.stop()
    with tidings.operation("Import prices") as op:
        op.log("sent while the hub is stopped")
        hub.advance(300)
    assert state(hub, op) is None
    hub.start()
    hub.settle()
    assert state(hub, op) is OperationState.COMPLETE
    assert_events(hub, ["operation:start", "operation:log", "operation:complete"])


def test_cut_connection_repeats_no_event(hub: ManualHub) -> None:
    hub.inject(Cut(after="operation:start"))
    hub.inject(Cut(before="operation:log"))
    hub.inject(Cut(after="operation:complete"))
    with tidings.operation("Import prices") as op:
        hub.settle()
        op.log("one")
        hub.settle()
        op.log("two")
    assert_events(
        hub,
        [
            "operation:start",
            event("operation:log", message="one"),
            event("operation:log", message="two"),
            "operation:complete",
        ],
        exactly=True,
    )


def test_full_disk_delays_the_events_of_a_job(hub: ManualHub) -> None:
    with hub.inject(FullDisk()), tidings.operation("Import prices") as op:
        op.log("one")
        hub.settle()
        op.log("two")
        hub.advance(10)
        assert hub.events() == []
    hub.advance(10)
    assert_events(
        hub,
        [
            "operation:start",
            event("operation:log", message="one"),
            event("operation:log", message="two"),
            "operation:complete",
        ],
    )


def test_lease_of_a_lost_producer_ends_by_the_clock(hub: ManualHub) -> None:
    op = tidings.start("Import prices")
    hub.settle()
    with hub.inject(Unreachable()):
        hub.cut()
        hub.advance(29.9)
        away = event("system:alert", code="producer_away", operation_id=op.id)
        assert_events(hub, [away, none_of("operation:failed")])
        hub.advance(0.1)
        assert_events(hub, [event("operation:failed", code="producer_lost", operation_id=op.id)])
    op.cancel()


def test_producer_that_reconnects_in_time_keeps_its_operations(hub: ManualHub) -> None:
    with tidings.operation("Import prices"):
        hub.settle()
        with hub.inject(Unreachable()):
            hub.cut()
            hub.advance(20)
        hub.settle()
        hub.advance(3_600)
    assert_events(hub, [none_of("operation:failed"), "operation:complete"])


def test_cancel_request_reaches_the_job_and_returns_its_outcome(hub: ManualHub) -> None:
    op = tidings.start("Import prices")
    hub.settle()
    request = hub.cancel(op.id, reason="wrong file")
    assert request.outcome is None
    hub.settle()
    assert (op.cancelled, op.cancel_reason) == (True, "wrong file")
    with pytest.raises(tidings.OperationCancelled), op:
        op.advance()
    hub.settle()
    assert request.outcome is not None
    assert request.outcome.outcome == "cancelled"
    assert_events(hub, [event("operation:cancelled", reason="wrong file")])


def test_job_that_refuses_a_cancel_gives_a_reason(hub: ManualHub) -> None:
    with tidings.operation("Import prices", on_cancel=lambda push: "almost done") as op:
        hub.settle()
        request = hub.cancel(op.id)
        hub.settle()
    assert request.outcome is not None
    assert (request.outcome.outcome, request.outcome.reason) == ("refused", "almost done")


def test_ignored_cancel_request_stays_open_until_its_timeout(hub: ManualHub) -> None:
    op = tidings.start("Import prices")
    hub.settle()
    request = hub.cancel(op.id, timeout_s=5)
    hub.advance(4.9)
    assert request.outcome is None
    hub.advance(0.1)
    assert request.outcome is not None
    assert request.outcome.outcome == "pending"
    op.cancel()


async def test_asynchronous_job_is_cancelled_at_its_await(hub: ManualHub) -> None:
    async def job() -> None:
        async with tidings.operation("Wait", id="op-1"):
            await asyncio.Event().wait()

    waiting = asyncio.ensure_future(job())
    await hub.asettle()
    hub.cancel("op-1")
    await hub.asettle()
    with pytest.raises(tidings.OperationCancelled):
        await waiting


def test_unknown_operation_cannot_be_cancelled(hub: ManualHub) -> None:
    with pytest.raises(tidings.OperationUnknown):
        hub.cancel("op-9")
    assert hub.operation("op-9") is None


def test_as_default_leaves_no_producer_behind() -> None:
    with ManualHub() as hub, hub.as_default():
        op = tidings.start("Import prices")
        hub.stop()
        op.complete()
    assert RUNTIME._sinks == {}
    assert_events(hub, ["operation:start", "operation:complete"])
    assert [thread.name for thread in threading.enumerate() if thread.name == "tidings outbox"] == []
