"""How a real client's link reaches a hub in memory, and reads the hub's clock as its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from tidings.client.websocket import ClientConnection
from tidings.exceptions import HubUnreachable
from tidings.testing.loop import ManualHandle
from tidings.testing.memory_connection import MemoryConnection
from tidings.testing.world import World


class _CrossedTimer:
    """A call that the hub's clock makes due, and the client's event loop makes."""

    def __init__(self, transport: "MemoryRuntime", callback: Callable[[], object]) -> None:
        self.handle: ManualHandle | None = None
        self._transport = transport
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self._callback = None
        if self.handle is not None:
            self.handle.cancel()

    def due(self) -> None:
        self._transport.call_in_loop(self._call)

    def _call(self) -> None:
        if self._callback is not None:
            self._callback()


class MemoryRuntime:
    """A `tidings.client.runtime.ClientRuntime` of one link, made in the link's event loop.

    A client whose connection was taken from it by the test comes back at once, or as soon as the hub is there again;
    every other wait ends by the hub's clock.

    Args:
        stage: Where the hub is.
        link: The link's name.
    """

    def __init__(self, stage: World, link: str) -> None:
        self._stage = stage
        self._link = link
        self._called_back = False
        self.loop = asyncio.get_running_loop()

    async def open(self, url: str) -> ClientConnection:
        """See `Transport.open`."""
        await asyncio.sleep(0)  # as every way to a hub takes its moment
        with self._stage.entered():
            self._stage.activity += 1
            hub = self._stage.hub
            if hub is None:
                raise HubUnreachable(f"the hub in memory is {'gone' if self._stage.gone else 'stopped'}")
            if self._stage.faults.refuses(self._link):
                raise HubUnreachable("the hub in memory cannot be reached, because a fault is in force")
            return MemoryConnection(self._stage, hub, self._link, url, self._call_back)

    def time(self) -> float:
        """See `Transport.time`."""
        return self._stage.clock.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> _CrossedTimer:
        """See `Transport.call_at`."""
        timer = _CrossedTimer(self, callback)
        with self._stage.entered():
            timer.handle = self._stage.loop.call_later(max(0.0, when - self._stage.clock.now), timer.due)
        return timer

    @asynccontextmanager
    async def timeout(self, delay_s: float | None, /) -> AsyncIterator[None]:
        """See `Transport.timeout`."""
        async with asyncio.timeout(None) as limit:
            if delay_s is None:
                yield
                return
            timer = self.call_at(self.time() + delay_s, lambda: limit.reschedule(self.loop.time()))
            try:
                yield
            finally:
                timer.cancel()

    async def sleep(self, delay_s: float, /) -> None:
        """See `Transport.sleep`."""
        with self._stage.entered():
            self._stage.activity += 1
            if self._called_back and self._stage.hub is not None:
                self._called_back = False
                return
            awake = self.loop.create_future()
            wake = partial(self.call_in_loop, partial(_resolve, awake))
            timer = self._stage.loop.call_later(delay_s, wake)
            self._stage.waiting[wake] = None
        try:
            await awake
        finally:
            with self._stage.entered():
                timer.cancel()
                self._stage.waiting.pop(wake, None)
                self._called_back = False

    def random(self) -> float:
        """See `Transport.random`: the same in every run, and never nothing, so that no wait is endless work."""
        return 0.5

    def call_in_loop(self, callback: Callable[[], object]) -> None:
        """Let the link's event loop call `callback`."""
        self._stage.activity += 1
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self.loop.call_soon_threadsafe(callback)

    def _call_back(self) -> None:
        self._called_back = True


def _resolve(awake: "asyncio.Future[None]") -> None:
    if not awake.done():
        awake.set_result(None)
