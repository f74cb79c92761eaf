"""Requests that wait for the end of an operation: their number is bounded, and a drain or a lost client ends them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

from tidings.exceptions import TooManyConnections
from tidings.hub.hub import Hub
from tidings.operations.status import OperationStatus

Wakeup = asyncio.Future[None]
"""Done when the request that waits for it may go on."""


class _Waiter:
    """A request that waits for the end of an attempt."""

    __slots__ = ("attempt", "ended")

    def __init__(self, attempt: int, ended: Wakeup) -> None:
        self.attempt = attempt
        """The attempt that it waits for; 0 if the operation is not known yet."""
        self.ended = ended


class LongPolls:
    """All waiting requests of one hub.

    Args:
        hub: The hub; the limit of its connections is also the limit of waiting requests.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pending: set[Wakeup] = set()
        self._waiters: dict[str, set[_Waiter]] = {}
        self._released = False
        hub.on_operation.append(self._on_operation)

    def __len__(self) -> int:
        """Return the number of waiting requests."""
        return len(self._pending)

    def release(self) -> None:
        """Wake all requests, now and from now on: the hub drains."""
        self._released = True
        for wakeup in self._pending:
            wake(wakeup)

    async def wait_ended(self, operation_id: str, timeout_s: float, receive: Receive) -> None:
        """Wait until the current attempt of an operation has ended, or the first one if it is not known yet.

        Args:
            operation_id: The operation.
            timeout_s: Maximum time to wait, in seconds.
            receive: The request's `receive`, which reports that the client is gone.

        Raises:
            TooManyConnections: Too many requests wait already.
        """
        status = self._hub.operations.get(operation_id)
        if status is not None and not status.live:
            return
        with self.wakeup() as ended:
            waiter = _Waiter(0 if status is None else status.life.attempt, ended)
            waiters = self._waiters.setdefault(operation_id, set())
            waiters.add(waiter)
            try:
                await wait_for_wakeup(ended, receive, timeout_s)
            finally:
                waiters.discard(waiter)
                if not waiters and self._waiters.get(operation_id) is waiters:
                    del self._waiters[operation_id]

    @contextmanager
    def wakeup(self) -> Iterator[Wakeup]:
        """Provide a wakeup, which a drain wakes if nothing else does before.

        Raises:
            TooManyConnections: Too many requests wait already.
        """
        if len(self._pending) >= self._hub.config.max_connections:
            raise TooManyConnections("too many requests wait for operations")
        wakeup: Wakeup = asyncio.get_running_loop().create_future()
        self._pending.add(wakeup)
        if self._released:
            wake(wakeup)
        try:
            yield wakeup
        finally:
            self._pending.discard(wakeup)

    def _on_operation(self, status: OperationStatus) -> None:
        for waiter in self._waiters.get(status.operation_id, ()):
            attempt = status.life.attempt
            waiter.attempt = waiter.attempt or attempt
            if not status.live or attempt > waiter.attempt:
                wake(waiter.ended)


def wake(wakeup: Wakeup) -> None:
    """Let the request that waits for `wakeup` go on."""
    if not wakeup.done():
        wakeup.set_result(None)


async def wait_for_wakeup(wakeup: Wakeup, receive: Receive, timeout_s: float | None = None) -> None:
    """Wait until `wakeup` is done, the client is gone or the time is over, whichever is first.

    Args:
        wakeup: The wakeup to wait for.
        receive: The request's `receive`.
        timeout_s: Maximum time to wait, in seconds; None is unlimited.
    """
    leaving = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((wakeup, leaving), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
