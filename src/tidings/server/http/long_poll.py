"""Requests that wait for the end of an operation: their number is bounded, and a drain or a lost client ends them."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from starlette.types import Receive

from tidings.access.subjects import Subject
from tidings.exceptions import TooManyConnections
from tidings.hub.hub import Hub
from tidings.operations.status import OperationStatus
from tidings.server.http.access import Identity, watched

MAX_LONG_POLLS: Final = 5_000
"""Requests that wait for operations, of all clients: each costs 15 KB and, in the end, an answer."""
_WOKEN_PER_TURN = 32
"""Requests that are woken before others have their turn: their answers take a few milliseconds."""

Wakeup = asyncio.Future[None]
"""Done when the request that waits for it may go on."""


class LongPolls:
    """All waiting requests of one hub.

    An event of an operation costs the same however many requests wait for it, and the requests that its end wakes are
    answered in turns, between which the hub serves others.

    Args:
        hub: The hub; the limit of its connections is also a limit of waiting requests.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._pending: set[Wakeup] = set()
        self._waiters: dict[str, dict[int, dict[Wakeup, None]]] = {}
        """By operation and attempt, 0 for an operation that was not known; normally one attempt each."""
        self._to_wake: deque[Wakeup] = deque()
        self._released = False
        hub.on_operation.append(self._on_operation)

    def __len__(self) -> int:
        """Return the number of waiting requests."""
        return len(self._pending)

    def release(self) -> None:
        """Wake all requests, now and from now on: the hub drains."""
        self._released = True
        self._wake_all(self._pending)

    async def wait_ended(
        self, operation_id: str, timeout_s: float, receive: Receive, identity: Identity | None = None
    ) -> Subject | None:
        """Wait until the current attempt of an operation has ended, or the first one if it is not known yet.

        Args:
            operation_id: The operation.
            timeout_s: Maximum time to wait, in seconds.
            receive: The request's `receive`, which reports that the client is gone.
            identity: Who waits; None where the hub identifies no one.

        Returns:
            The subject with the grants that it has after the wait.

        Raises:
            TooManyConnections: Too many requests wait already.
            AccessError: The right to wait was lost.
        """
        subject = None if identity is None else identity.subject
        status = self._hub.operations.get(operation_id)
        if status is not None and not status.live:
            return subject
        attempt = 0 if status is None else status.life.attempt
        with self.wakeup() as ended, watched(self._hub, identity, partial(wake, ended)) as session:
            self._waiters.setdefault(operation_id, {}).setdefault(attempt, {})[ended] = None
            try:
                await wait_for_wakeup(ended, receive, timeout_s)
            finally:
                self._forget(operation_id, ended)
            if session is not None:
                session.check()
                subject = session.subject
        return subject

    def _forget(self, operation_id: str, ended: Wakeup) -> None:
        by_attempt = self._waiters.get(operation_id, {})
        for attempt, waiting in by_attempt.items():
            if ended in waiting:
                del waiting[ended]
                if not waiting:
                    del by_attempt[attempt]
                    if not by_attempt:
                        del self._waiters[operation_id]
                return

    @contextmanager
    def wakeup(self) -> Iterator[Wakeup]:
        """Provide a wakeup, which a drain wakes if nothing else does before.

        Raises:
            TooManyConnections: Too many requests wait already.
        """
        if len(self._pending) >= min(self._hub.config.max_connections, MAX_LONG_POLLS):
            hint = "Subscribe to the operation over the WebSocket or `GET /v1/stream`, or ask again later."
            raise TooManyConnections("too many requests wait for operations", hint=hint)
        wakeup: Wakeup = asyncio.get_running_loop().create_future()
        self._pending.add(wakeup)
        if self._released:
            wake(wakeup)
        try:
            yield wakeup
        finally:
            self._pending.discard(wakeup)

    def _on_operation(self, status: OperationStatus) -> None:
        by_attempt = self._waiters.get(status.operation_id)
        if by_attempt is None:
            return
        attempt = status.life.attempt
        if not status.live:
            del self._waiters[status.operation_id]
            for waiting in by_attempt.values():
                self._wake_all(waiting)
            return
        if 0 in by_attempt:  # they wait for this attempt, the first of which an event came
            by_attempt.setdefault(attempt, {}).update(by_attempt.pop(0))
        for earlier in [each for each in by_attempt if each < attempt]:
            self._wake_all(by_attempt.pop(earlier))
        if not by_attempt:
            del self._waiters[status.operation_id]

    def _wake_all(self, wakeups: Iterable[Wakeup]) -> None:
        idle = not self._to_wake
        self._to_wake.extend(wakeups)
        if idle:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(_WOKEN_PER_TURN, len(self._to_wake))):
            wake(self._to_wake.popleft())
        if self._to_wake:
            asyncio.get_running_loop().call_soon(self._wake_some)


def wake(wakeup: Wakeup) -> None:
    """Let the request that waits for `wakeup` go on."""
    if not wakeup.done():
        wakeup.set_result(None)


async def wait_until_known(hub: Hub, operation_id: str) -> None:
    """Wait until an operation that this hub, or another one of its log, has acknowledged is known here.

    It may begin with an event that is staged, or that this hub of several did not receive yet.
    """
    for wait in (hub.after_staged, hub.log.catch_up):
        if hub.operations.get(operation_id) is None:
            settled = asyncio.get_running_loop().create_future()
            wait(partial(wake, settled))
            await settled


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
