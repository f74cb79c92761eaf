"""Requests that wait for what an operation comes to: bounded, and none longer than its client and the hub are there."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

from tidings.exceptions import TooManyConnections
from tidings.hub.hub import Hub
from tidings.operations.status import OperationStatus

Wakeup = asyncio.Future[None]
"""What a request waits for."""


class _Waiter:
    """A request that waits for the end of an attempt."""

    __slots__ = ("attempt", "ended")

    def __init__(self, attempt: int, ended: Wakeup) -> None:
        self.attempt = attempt
        """0 where the operation is not known yet."""
        self.ended = ended


class LongPolls:
    """All requests of one hub that wait.

    Args:
        hub: Which tells what ends. As many wait at a time as it takes connections.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pending: set[Wakeup] = set()
        self._of_operation: dict[str, set[_Waiter]] = {}
        self._released = False
        hub.on_operation.append(self._turned)

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._pending)

    def release(self) -> None:
        """Let everyone go on with what there is, now and from now on: the hub drains."""
        self._released = True
        for moment in self._pending:
            wake(moment)

    async def wait_ended(self, operation_id: str, timeout_s: float, receive: Receive) -> None:
        """Wait until the present attempt of an operation has ended; the first one, where it is not known yet.

        Args:
            operation_id: The operation.
            timeout_s: For so long at most.
            receive: Of the request; it tells that the client is gone.

        Raises:
            TooManyConnections: Too many wait already.
        """
        status = self._hub.operations.get(operation_id)
        if status is not None and not status.live:
            return
        with self.moment() as ended:
            waiter = _Waiter(0 if status is None else status.life.attempt, ended)
            waiters = self._of_operation.setdefault(operation_id, set())
            waiters.add(waiter)
            try:
                await wait_for_wakeup(ended, receive, timeout_s)
            finally:
                waiters.discard(waiter)
                if not waiters and self._of_operation.get(operation_id) is waiters:
                    del self._of_operation[operation_id]

    @contextmanager
    def moment(self) -> Iterator[Wakeup]:
        """Give something to wait for, which comes at the drain if nothing lets it come before.

        Raises:
            TooManyConnections: Too many wait already.
        """
        if len(self._pending) >= self._hub.config.max_connections:
            raise TooManyConnections("too many requests wait for operations already")
        moment: Wakeup = asyncio.get_running_loop().create_future()
        self._pending.add(moment)
        if self._released:
            wake(moment)
        try:
            yield moment
        finally:
            self._pending.discard(moment)

    def _turned(self, status: OperationStatus) -> None:
        for waiter in self._of_operation.get(status.operation_id, ()):
            present = status.life.attempt
            waiter.attempt = waiter.attempt or present
            if not status.live or present > waiter.attempt:
                wake(waiter.ended)


def wake(moment: Wakeup) -> None:
    """Let a moment come, unless it has."""
    if not moment.done():
        moment.set_result(None)


async def wait_for_wakeup(moment: Wakeup, receive: Receive, timeout_s: float | None = None) -> None:
    """Wait for a moment, for the client to be gone, or for the time to be over, whichever is first.

    Args:
        moment: What is waited for.
        receive: Of the request.
        timeout_s: None is for ever.
    """
    leaving = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((moment, leaving), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
