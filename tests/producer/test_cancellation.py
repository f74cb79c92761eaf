"""Cancel requests from a real client of a real hub."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.client.hub_server import TIMEOUT_S
from tests.producer.reported import Reported, until

import tidings
from tidings.client import sync
from tidings.producer.operation import lifecycle_of
from tidings.producer.runtime import RUNTIME
from tidings.protocol.messages import CancelOutcome, CancelPush

Cancel = Callable[..., "Future[CancelOutcome]"]


@pytest.fixture
def cancel(reported: Reported) -> Iterator[Cancel]:
    """A function that requests the cancellation of an operation, and returns a future of the outcome."""
    with ThreadPoolExecutor(2) as pool, sync.connect(reported.hub.url) as client:

        def ask(op: tidings.Operation, reason: str | None = None) -> "Future[CancelOutcome]":
            assert RUNTIME.flush(TIMEOUT_S) == 0
            return pool.submit(client.cancel, op.id, reason=reason, timeout_s=TIMEOUT_S)

        yield ask


def test_cancel_raises_in_the_next_report_and_ends_as_cancelled(reported: Reported, cancel: Cancel) -> None:
    op = tidings.start("Count")

    def count() -> None:
        with op:
            while True:
                op.advance()

    outcome = cancel(op, "lunch")
    with pytest.raises(tidings.OperationCancelled, match="the operation was cancelled: lunch") as raised:
        count()
    assert raised.value.reason == "lunch"
    assert outcome.result(TIMEOUT_S).outcome == "cancelled"
    kind, data = reported.last(op.id)
    assert (kind, data["reason"]) == ("cancelled", "lunch")
    assert op.cancelled
    assert op.cancel_reason == "lunch"


def test_cancel_leaves_a_tracked_loop_that_catches_the_exception(reported: Reported, cancel: Cancel) -> None:
    caught = 0

    def follow() -> None:
        nonlocal caught
        with tidings.operation("Track") as op:
            for number in op.track(range(1 << 60)):
                if not number:
                    outcomes.append(cancel(op))
                try:
                    op.progress(message="at it")
                except tidings.OperationCancelled:
                    caught += 1

    outcomes: list[Future[CancelOutcome]] = []
    with pytest.raises(tidings.OperationCancelled):
        follow()
    assert caught <= 1
    assert outcomes[0].result(TIMEOUT_S).outcome == "cancelled"


def test_cancel_raises_once_per_thread_and_not_during_cleanup(reported: Reported, cancel: Cancel) -> None:
    received: list[str] = []
    cleaned: list[str] = []

    def work(name: str) -> None:
        try:
            while True:
                op.advance()
        except tidings.OperationCancelled:
            received.append(name)
            op.progress(message=f"{name} cleans up")
            op.advance(-1)
            cleaned.append(name)

    with tidings.operation("Threads") as op:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        outcome = cancel(op)
        for thread in threads:
            thread.join(TIMEOUT_S)
        op.cancel("as requested")
    assert sorted(received) == sorted(cleaned) == ["a", "b", "c"]
    assert outcome.result(TIMEOUT_S).outcome == "cancelled"


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (lambda op: op.step("detail", weight=0).__enter__(), "cleaned up"),
        (lambda op: next(op.track((row for row in "ab"), description="rows")), "rows"),
    ],
    ids=["step", "loop"],
)
def test_step_or_loop_that_a_cancel_prevents_does_not_stay_open(
    reported: Reported, cancel: Cancel, begin: Callable[[tidings.Operation], object], message: str
) -> None:
    with tidings.operation("Job") as op:
        op.progress(message="cleaned up")
        outcome = cancel(op)
        until(lambda: op.cancelled)
        with pytest.raises(tidings.OperationCancelled):
            begin(op)
        assert op.reading().message == message
        op.cancel()
    assert outcome.result(TIMEOUT_S).outcome == "cancelled"


def test_on_cancel_that_returns_a_reason_refuses(reported: Reported, cancel: Cancel) -> None:
    asked: list[CancelPush] = []

    def refuse(push: CancelPush) -> str | None:
        asked.append(push)
        return "half-way through a payment" if len(asked) == 1 else None

    with tidings.operation("Pay", on_cancel=refuse) as op:
        first = cancel(op, "hurry").result(TIMEOUT_S)
        op.advance()
        assert not op.cancelled
        second = cancel(op)
        until(lambda: op.cancelled)
        with pytest.raises(tidings.OperationCancelled):
            op.advance()
        op.cancel()
    assert (first.outcome, first.reason) == ("refused", "half-way through a payment")
    assert second.result(TIMEOUT_S).outcome == "cancelled"
    assert asked[0].reason == "hurry"


def test_on_cancel_that_raises_does_not_refuse(
    reported: Reported, cancel: Cancel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(push: CancelPush) -> str | None:
        raise ValueError("a fault of the job's")

    with tidings.operation("Faulty", on_cancel=fail) as op:
        outcome = cancel(op)
        until(lambda: op.cancelled)
    assert outcome.result(TIMEOUT_S).outcome == "finished_first", "the job finished although it was asked to stop"
    assert reported.last(op.id)[0] == "complete"


async def test_cancel_cancels_the_body_of_an_async_block(reported: Reported, cancel: Cancel) -> None:
    cleaned: list[bool] = []
    op = tidings.operation("Sleep")
    outcomes = []

    async def sleep() -> None:
        async with op:
            outcomes.append(await asyncio.to_thread(cancel, op, "enough"))
            try:
                await asyncio.sleep(TIMEOUT_S)
            finally:
                op.advance()
                await asyncio.sleep(0)
                op.progress(message="cleaned up")
                cleaned.append(True)

    with pytest.raises(tidings.OperationCancelled) as raised:
        await sleep()
    assert cleaned
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task itself goes on"
    await asyncio.sleep(0)
    assert (await asyncio.to_thread(outcomes[0].result, TIMEOUT_S)).outcome == "cancelled"
    assert (await asyncio.to_thread(reported.last, op.id))[1]["reason"] == "enough"


async def test_task_cancelled_by_its_owner_raises_cancelled_error(reported: Reported) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with tidings.operation("Sleep", id="the-task-s-own"):
            entered.set()
            await asyncio.sleep(TIMEOUT_S)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel("shutting down")
    with pytest.raises(asyncio.CancelledError):
        await task
    kind, data = await asyncio.to_thread(reported.last, "the-task-s-own")
    assert (kind, data["reason"]) == ("cancelled", "shutting down")


async def test_timeout_around_the_block_raises_timeout_error(reported: Reported, cancel: Cancel) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), tidings.operation("Sleep", id="timed-out"):
            await asyncio.sleep(TIMEOUT_S)
    assert (await asyncio.to_thread(reported.last, "timed-out"))[0] == "cancelled"


async def test_timeout_and_cancel_together_leave_no_pending_cancellation(reported: Reported) -> None:
    """Both cancel the task before it can stop: the outer one decides."""

    async def sleep() -> None:
        async with asyncio.timeout(None) as outer, tidings.operation("Sleep") as op:
            lifecycle_of(op).cancellation.request(CancelPush(operation_id=op.id, attempt=1))
            outer.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(TIMEOUT_S)

    with pytest.raises(TimeoutError):
        await sleep()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_cancel_cancels_a_task_group_inside_the_block(reported: Reported, cancel: Cancel) -> None:
    ended: list[int] = []

    async def part(number: int) -> None:
        try:
            while True:
                op.advance()
                await asyncio.sleep(0.001)
        finally:
            ended.append(number)

    op = tidings.operation("Group")

    async def work() -> None:
        async with op, asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(part(number))
            await asyncio.to_thread(cancel, op)

    with pytest.raises(tidings.OperationCancelled):
        await work()
    assert sorted(ended) == [0, 1, 2]


async def test_body_that_swallows_the_cancellation_completes(reported: Reported, cancel: Cancel) -> None:
    async with tidings.operation("Stubborn") as op:
        outcome = await asyncio.to_thread(cancel, op)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(TIMEOUT_S)
    assert (await asyncio.to_thread(outcome.result, TIMEOUT_S)).outcome == "finished_first"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_cancel_leaves_a_tracked_async_loop(reported: Reported, cancel: Cancel) -> None:
    async def rows() -> AsyncIterator[int]:
        for number in range(1 << 60):
            await asyncio.sleep(0)
            yield number

    op = tidings.operation("Rows")

    async def follow() -> None:
        async with op:
            asking.append(asyncio.create_task(asyncio.to_thread(cancel, op)))
            async for _ in op.track(rows(), total=1 << 60, unit="rows"):
                pass

    asking: list[asyncio.Task[Future[CancelOutcome]]] = []
    with pytest.raises(tidings.OperationCancelled):
        await follow()
    await asking[0]
    assert (await asyncio.to_thread(reported.last, op.id))[0] == "cancelled"


async def test_cancel_of_a_sync_block_in_a_running_loop_raises(reported: Reported, cancel: Cancel) -> None:
    op = tidings.operation("Sync in async")

    async def work() -> None:
        with op:
            await asyncio.to_thread(cancel, op)
            while True:
                op.advance()
                await asyncio.sleep(0)

    with pytest.raises(tidings.OperationCancelled):
        await work()
    assert (await asyncio.to_thread(reported.last, op.id))[0] == "cancelled"


async def test_cancel_cancels_a_decorated_coroutine_function(reported: Reported, cancel: Cancel) -> None:
    @tidings.operation("Decorated")
    async def work() -> None:
        op = tidings.current_operation()
        assert op is not None
        await asyncio.to_thread(cancel, op)
        await asyncio.sleep(TIMEOUT_S)

    with pytest.raises(tidings.OperationCancelled):
        await work()


def test_cancel_does_not_carry_over_to_the_next_attempt(reported: Reported, cancel: Cancel) -> None:
    op = tidings.operation("Again")
    with op:
        outcome = cancel(op)
        until(lambda: op.cancelled)
        op.cancel()
    assert outcome.result(TIMEOUT_S).outcome == "cancelled"
    with op:
        op.advance()
        assert not op.cancelled
    assert reported.kinds(op.id) == ["start", "cancelled", "start", "complete"]
