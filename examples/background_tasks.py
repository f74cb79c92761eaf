"""Make reports in background tasks, in any number of workers with one hub::

    tidings serve
    uvicorn --app-dir examples --workers 2 background_tasks:app
    curl --request POST 'http://127.0.0.1:8000/reports?pages=50'

`tidings watch` shows all of them.
"""

import os
import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import tidings
from tidings.integrations.starlette import OperationTask, lifespan


def make_report(pages: int) -> None:
    op = tidings.current_operation()
    assert op is not None
    for _ in op.track(range(pages), unit="pages"):
        time.sleep(0.02)


async def order_report(request: Request) -> JSONResponse:
    pages = int(request.query_params.get("pages", "10"))
    task = OperationTask(request, "Make report", make_report, pages)
    return JSONResponse({"operation_id": task.operation.id, "worker": os.getpid()}, status_code=202, background=task)


app = Starlette(routes=[Route("/reports", order_report, methods=["POST"])], lifespan=lifespan)
