"""The hub under an ASGI server that is not ours: the lifespan protocol, and a drain at signals."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import FrameType

import structlog
from starlette.types import Receive, Scope, Send

from tidings.exceptions import TidingsError
from tidings.protocol.codes import error_data

log = structlog.get_logger("tidings.server")


class LifespanEndpoint:
    """The ASGI application for scopes of type `lifespan`.

    Args:
        lifespan: Returns the context manager that runs the hub.
    """

    def __init__(self, lifespan: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the hub when the server starts, and stop it with the server."""
        await receive()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._lifespan())
            except TidingsError as error:
                hint = error_data(error).hint
                log.error("the hub cannot start", error=str(error), code=error.code, hint=hint)
                await send({"type": "lifespan.startup.failed", "message": f"{error} ({hint})"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


@contextlib.contextmanager
def draining_at_signals(drain: Callable[[], None]) -> Iterator[None]:
    """Drain as soon as SIGTERM or Ctrl-C arrives during a `with` block.

    Servers end the lifespan only when all responses are complete, and an event stream is complete only when the hub
    drains: without this, a server with one open stream would not end (uvicorn waits without limit). The previous
    handlers are still called; where there are none, or outside the main thread, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def handler_before(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(drain)
            handler(number, frame)

        return handle

    ours = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        # Python's own handler of Ctrl-C raises KeyboardInterrupt: then the server does not wait for responses.
        if callable(before) and before is not signal.default_int_handler:
            ours[number] = handler_before(before), before
            signal.signal(number, ours[number][0])
    try:
        yield
    finally:
        for number, (handler, before) in ours.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before)
