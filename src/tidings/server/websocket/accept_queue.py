"""Limits opening handshakes, in time per event-loop tick and in number per second.

A reconnect storm must not delay live delivery, and clients that have just returned must not wait for their events. Nor
may one address that opens connections as fast as it can keep others out: those that wait take turns by address.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Final, Protocol

from tidings.log.base import Scheduler

TICK_BUDGET_S: Final = 0.005
"""Seconds per tick of the event loop for opening handshakes. One takes 0.1–0.3 ms, so 20 and more fit; a thousand in
one tick would delay live delivery by a thousand times that."""
MAX_WAIT_S: Final = 5.0
"""Seconds that a handshake may have to wait for its turn: half of the time after which our clients give up. A queue
without a limit would serve only clients that are gone already."""
_BURST_S: Final = 0.1
"""Part of a second's connections that may open together, after a pause."""

_CLOCK_STEP_S: Final = 1e-6
"""Wait that is none: a timer could be due before the clock shows it."""


class QueuedHandshake(Protocol):
    """An opening handshake that waits for its turn. Neither method may raise."""

    def serve(self) -> bool:
        """Answer it; return whether the connection is open."""

    def refuse_busy(self) -> None:
        """Refuse it, because too many wait."""


class AcceptQueue:
    """Queue of opening handshakes of one server's connections.

    Without a rate, it is bounded by the connections that the kernel accepts.

    Args:
        rate: Connections that may open within any second; None for no limit.
        scheduler: Runs what waits; by default the running event loop.
        clock: Returns seconds, from any origin.
    """

    __slots__ = (
        "_burst",
        "_clock",
        "_max_waiting",
        "_queues",
        "_rate",
        "_renewal_due",
        "_room",
        "_room_at",
        "_scheduler",
        "_spent_s",
        "waiting",
    )

    def __init__(
        self,
        *,
        rate: float | None = None,
        scheduler: Scheduler | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        # By address, in the order of their turns; an address without handshakes has no entry.
        self._queues: dict[str, deque[QueuedHandshake]] = {}
        self.waiting = 0
        """Number of handshakes that wait."""
        self._spent_s = 0.0
        # Always set while a handshake waits.
        self._renewal_due = False
        self._scheduler = scheduler
        self._clock = clock
        # A bucket of tokens that holds a part of the rate and is refilled with the rest: their sum is what may open
        # within one second.
        self._burst = 0.0 if rate is None else max(1.0, rate * _BURST_S)
        self._rate = 0.0 if rate is None else max(rate - self._burst, rate / 2)
        self._max_waiting = None if rate is None else max(1, int(self._rate * MAX_WAIT_S))
        self._room = self._burst
        self._room_at = clock()

    def run(self, handshake: QueuedHandshake, address: str = "") -> None:
        """Serve `handshake` immediately or in its turn.

        If too many wait, one is refused: this one, if its address has its share of the queue already, or else the last
        of the address that has most.
        """
        if not self.waiting and self._spent_s < TICK_BUDGET_S and not self._wait_s():
            self._serve(handshake)
            return
        queue = self._queues.get(address)
        if self._max_waiting is not None and self.waiting >= self._max_waiting:
            if queue is not None and len(queue) * len(self._queues) >= self.waiting:
                handshake.refuse_busy()
                return
            self._drop_last()
        if queue is None:
            queue = self._queues[address] = deque()
        queue.append(handshake)
        self.waiting += 1
        self._renew_soon()

    def _drop_last(self) -> None:
        """Refuse the last handshake of the address that has most."""
        address = max(self._queues, key=lambda each: len(self._queues[each]))
        queue = self._queues[address]
        handshake = queue.pop()
        if not queue:
            del self._queues[address]
        self.waiting -= 1
        handshake.refuse_busy()

    def _next(self) -> QueuedHandshake:
        """Take the first handshake of the address whose turn it is."""
        address = next(iter(self._queues))
        queue = self._queues.pop(address)
        handshake = queue.popleft()
        if queue:
            self._queues[address] = queue
        self.waiting -= 1
        return handshake

    def _wait_s(self) -> float:
        """Return the seconds until the rate allows one more connection."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._room = min(self._burst, self._room + (now - self._room_at) * self._rate)
        self._room_at = now
        wait_s = (1.0 - self._room) / self._rate
        return wait_s if wait_s > _CLOCK_STEP_S else 0.0

    def _serve(self, handshake: QueuedHandshake) -> None:
        self._renew_soon()
        began = perf_counter()
        if handshake.serve():
            self._room -= 1.0
        self._spent_s += perf_counter() - began

    def _renew_soon(self) -> None:
        if self._renewal_due:
            return
        self._renewal_due = True
        scheduler = self._scheduler or asyncio.get_running_loop()
        wait_s = self._wait_s() if self.waiting else 0.0
        if wait_s:
            scheduler.call_later(wait_s, self._renew)
        else:
            scheduler.call_soon(self._renew)

    def _renew(self) -> None:
        self._renewal_due = False
        self._spent_s = 0.0
        while self.waiting and self._spent_s < TICK_BUDGET_S and not self._wait_s():
            self._serve(self._next())
        if self.waiting:
            self._renew_soon()
