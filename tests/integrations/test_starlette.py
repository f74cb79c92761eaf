import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks as FastAPIBackgroundTasks
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.background import BackgroundTasks
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.client.waiting import until
from tests.producer.reported import Reported

import tidings
from tidings.client.client import Client
from tidings.integrations.starlette import OperationTask, lifespan
from tidings.protocol.messages import CancelOutcome

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
Handler = Callable[[Request], Any]


@pytest.fixture
async def watcher(reported: Reported) -> AsyncIterator[Client]:
    async with tidings.connect(reported.hub.url) as client:
        yield client


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test", headers=HEADERS)


def application(handler: Handler) -> Starlette:
    return Starlette(routes=[Route("/", handler, methods=["POST"])])


def answer(task: OperationTask) -> Response:
    return JSONResponse({"operation_id": task.operation.id}, status_code=202, background=task)


async def cancel(op: tidings.Operation, reported: Reported, watcher: Client, reason: str = "") -> CancelOutcome:
    """Request the cancellation of an operation that the hub has received."""
    assert reported.received(op.id)
    return await watcher.cancel(op.id, reason=reason)


async def test_task_is_queued_then_running_then_complete(reported: Reported) -> None:
    seen: list[tidings.Operation | None] = []

    async def work(rows: int, *, unit: str) -> None:
        op = tidings.current_operation()
        seen.append(op)
        assert op is not None
        async for _ in op.track(numbers(rows), unit=unit):
            await asyncio.sleep(0)

    async def handler(request: Request) -> Response:
        task = OperationTask(request, "Make report", work, 3, unit="pages")
        assert task.operation.state == "queued"
        return answer(task)

    async with browser(application(handler)) as client:
        response = await client.post("/")
    operation_id = response.json()["operation_id"]
    received = reported.received(operation_id)
    assert [(kind, data.get("queued", False)) for kind, data in received if kind != "progress"] == [
        ("start", True),
        ("start", False),
        ("complete", False),
    ]
    assert received[0][1]["name"] == "Make report"
    assert {event.trace_id for event in reported.events()} == {TRACE}
    assert [op.id for op in seen if op] == [operation_id]
    assert tidings.current_operation() is None


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_ordinary_function_runs_on_a_thread_in_its_operation(reported: Reported) -> None:
    threads: list[threading.Thread] = []

    def work() -> None:
        op = tidings.current_operation()
        assert op is not None
        op.log("half of it")
        threads.append(threading.current_thread())

    async def handler(request: Request) -> Response:
        return answer(OperationTask(request, tidings.operation("Make", steps=["a"], metadata={"year": 2026}), work))

    async with browser(application(handler)) as client:
        first = (await client.post("/")).json()["operation_id"]
        second = (await client.post("/")).json()["operation_id"]
    assert first != second
    assert reported.kinds(second) == ["start", "start", "log", "complete"]
    assert reported.received(second)[0][1]["metadata"] == {"year": 2026}
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_task_that_raises_fails_and_reraises_in_the_server(kind: str, reported: Reported) -> None:
    def work() -> None:
        raise LookupError("no such year")

    async def work_async() -> None:
        work()

    async def handler(request: Request) -> Response:
        return answer(OperationTask(request, "Fail", work if kind == "sync" else work_async))

    async with browser(application(handler)) as client:
        with pytest.raises(LookupError):
            await client.post("/")
    event, data = reported.last()
    assert (event, data["code"], data["message"]) == ("failed", "lookup_error", "no such year")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_cancel_stops_a_running_task(kind: str, reported: Reported, watcher: Client) -> None:
    begun = threading.Event()
    operations: list[tidings.Operation] = []

    def work() -> None:
        op = tidings.current_operation()
        assert op is not None
        begun.set()
        while not begun.wait(0) or op.state == "running":
            op.advance()

    async def work_async() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def handler(request: Request) -> Response:
        task = OperationTask(request, "Cancel", work if kind == "sync" else work_async)
        operations.append(task.operation)
        return answer(task)

    async with browser(application(handler)) as client:
        answering = asyncio.ensure_future(client.post("/"))
        await until(begun.is_set)
        outcome = await cancel(operations[0], reported, watcher, reason="enough")
        assert (await answering).status_code == 202
    assert outcome.outcome == "cancelled"
    event, data = reported.last()
    assert (event, data["reason"]) == ("cancelled", "enough")


async def test_cancelled_queued_task_never_runs(reported: Reported, watcher: Client) -> None:
    go_on = asyncio.Event()
    begun = asyncio.Event()
    ran: list[str] = []
    operations: list[tidings.Operation] = []

    async def first() -> None:
        begun.set()
        await go_on.wait()

    async def handler(request: Request) -> Response:
        tasks = BackgroundTasks()
        tasks.add_task(OperationTask(request, "First", first))
        second = OperationTask(request, "Second", ran.append, "second")
        operations.append(second.operation)
        tasks.add_task(second)
        return JSONResponse(None, background=tasks)

    async with browser(application(handler)) as client:
        answering = asyncio.ensure_future(client.post("/"))
        await begun.wait()
        outcome = await cancel(operations[0], reported, watcher, reason="not needed")
        assert outcome.outcome == "cancelled"
        go_on.set()
        await answering
    assert ran == []
    assert reported.kinds(operations[0].id) == ["start", "cancelled"]
    assert reported.last(operations[0].id)[1]["reason"] == "not needed"


async def test_task_may_refuse_a_cancel(reported: Reported, watcher: Client) -> None:
    go_on = asyncio.Event()
    operations: list[tidings.Operation] = []

    async def handler(request: Request) -> Response:
        pattern = tidings.operation("Stay", on_cancel=lambda push: "the books are half closed")
        task = OperationTask(request, pattern, go_on.wait)
        operations.append(task.operation)
        return answer(task)

    async with browser(application(handler)) as client:
        answering = asyncio.ensure_future(client.post("/"))
        await until(lambda: bool(operations) and operations[0].state == "running")
        outcome = await cancel(operations[0], reported, watcher)
        go_on.set()
        await answering
    assert (outcome.outcome, outcome.reason) == ("refused", "the books are half closed")
    assert reported.kinds(operations[0].id)[-1] == "complete"


async def test_on_cancel_of_a_task_that_raises_does_not_refuse(reported: Reported, watcher: Client) -> None:
    operations: list[tidings.Operation] = []

    def refuse(push: object) -> str | None:
        raise LookupError

    async def handler(request: Request) -> Response:
        task = OperationTask(request, tidings.operation("Stop", on_cancel=refuse), asyncio.Event().wait)
        operations.append(task.operation)
        return answer(task)

    async with browser(application(handler)) as client:
        answering = asyncio.ensure_future(client.post("/"))
        await until(lambda: bool(operations) and operations[0].state == "running")
        outcome = await cancel(operations[0], reported, watcher)
        await answering
    assert outcome.outcome == "cancelled"


async def test_cancellation_of_another_operation_is_not_swallowed(reported: Reported) -> None:
    """Only the cancellation of the task itself is hidden from the server."""

    async def work() -> None:
        op = tidings.current_operation()
        assert op is not None
        op.complete()
        raise tidings.OperationCancelled("another one was cancelled", reason="", cancelled_by="")

    async def handler(request: Request) -> Response:
        return answer(OperationTask(request, "Work", work))

    async with browser(application(handler)) as client:
        with pytest.raises(tidings.OperationCancelled):
            await client.post("/")


def test_task_can_be_made_without_a_server(reported: Reported) -> None:
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []})
    made: list[str] = []
    task = OperationTask(request, "Make", made.append, "by hand")
    asyncio.run(task())
    assert made == ["by hand"]
    assert reported.kinds(task.operation.id) == ["start", "start", "complete"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_task_without_a_response_fails_as_never_run(kind: str, reported: Reported) -> None:
    def order(request: Request) -> Response:
        OperationTask(request, "Lost", print)
        raise StarletteHTTPException(409)

    async def order_async(request: Request) -> Response:
        return order(request)

    async with browser(application(order if kind == "sync" else order_async)) as client:
        assert (await client.post("/")).status_code == 409
    await until(lambda: reported.kinds()[-1:] == ["failed"])
    assert reported.last()[1]["code"] == "never_run"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_task_lost_behind_a_middleware_fails_as_never_run(kind: str, reported: Reported) -> None:
    """The middleware keeps the error, its traceback, and so the task, until the garbage collector runs."""

    def order(request: Request) -> Response:
        OperationTask(request, "Lost", print)
        raise LookupError("no such order")

    async def order_async(request: Request) -> Response:
        return order(request)

    async def dispatch(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    app = application(order if kind == "sync" else order_async)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    gc.collect()
    gc.disable()
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.post("/")).status_code == 500
        await until(lambda: reported.kinds()[-1:] == ["failed"])
    finally:
        gc.enable()
    assert reported.last()[1]["code"] == "never_run"


async def test_fastapi_runs_the_task_from_both_kinds_of_handlers(reported: Reported) -> None:
    app = FastAPI()
    made: list[str] = []

    @app.post("/sync", status_code=202)
    def order(request: Request, tasks: FastAPIBackgroundTasks) -> dict[str, str]:
        task = OperationTask(request, "Make report", made.append, "sync")
        tasks.add_task(task)
        return {"operation_id": task.operation.id}

    @app.post("/async", status_code=202)
    async def order_async(request: Request, tasks: FastAPIBackgroundTasks, fail: bool = False) -> dict[str, str]:
        task = OperationTask(request, "Make report", made.append, "async")
        tasks.add_task(task)
        if fail:
            raise HTTPException(409)
        return {"operation_id": task.operation.id}

    async with browser(app) as client:
        for path in ("/sync", "/async"):
            operation_id = (await client.post(path)).json()["operation_id"]
            assert reported.kinds(operation_id) == ["start", "start", "complete"]
        assert (await client.post("/async?fail=true")).status_code == 409
    assert made == ["sync", "async"]
    gc.collect()
    await until(lambda: reported.kinds()[-1:] == ["failed"])


async def test_task_runs_with_reporting_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")
    made: list[str] = []

    async def handler(request: Request) -> Response:
        return answer(OperationTask(request, "Make", made.append, "once"))

    async with browser(application(handler)) as client:
        assert (await client.post("/")).status_code == 202
    assert made == ["once"]


async def test_lifespan_waits_for_the_hub_at_the_end(reported: Reported) -> None:
    async with lifespan():
        op = tidings.start("Last")
        for number in range(1_000):
            op.log(f"line {number}")
        op.complete()
    assert reported.events()[-1].type == "operation:complete"
