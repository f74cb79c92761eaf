"""Limits opening handshakes, in time per event-loop tick and in number per second.

A reconnect storm must not delay live delivery, and clients that have just returned must not wait for their events.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Final

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

Handshake = Callable[[], bool]
"""Serves one handshake; returns whether the connection is open. Must not raise."""


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
        "_rate",
        "_renewal_due",
        "_room",
        "_room_at",
        "_scheduler",
        "_spent_s",
        "_waiting",
    )

    def __init__(
        self,
        *,
        rate: float | None = None,
        scheduler: Scheduler | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._waiting: deque[Handshake] = deque()
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

    @property
    def waiting(self) -> int:
        """Number of handshakes that wait for their turn."""
        return len(self._waiting)

    def run(self, handshake: Handshake) -> bool:
        """Call `handshake` immediately or in its turn; return False if too many wait already."""
        if not self._waiting and self._spent_s < TICK_BUDGET_S and not self._wait_s():
            self._call(handshake)
            return True
        if self._max_waiting is not None and len(self._waiting) >= self._max_waiting:
            return False
        self._waiting.append(handshake)
        self._renew_soon()
        return True

    def _wait_s(self) -> float:
        """Return the seconds until the rate allows one more connection."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._room = min(self._burst, self._room + (now - self._room_at) * self._rate)
        self._room_at = now
        wait_s = (1.0 - self._room) / self._rate
        return wait_s if wait_s > _CLOCK_STEP_S else 0.0

    def _call(self, handshake: Handshake) -> None:
        self._renew_soon()
        began = perf_counter()
        if handshake():
            self._room -= 1.0
        self._spent_s += perf_counter() - began

    def _renew_soon(self) -> None:
        if self._renewal_due:
            return
        self._renewal_due = True
        scheduler = self._scheduler or asyncio.get_running_loop()
        wait_s = self._wait_s() if self._waiting else 0.0
        if wait_s:
            scheduler.call_later(wait_s, self._renew)
        else:
            scheduler.call_soon(self._renew)

    def _renew(self) -> None:
        self._renewal_due = False
        self._spent_s = 0.0
        while self._waiting and self._spent_s < TICK_BUDGET_S and not self._wait_s():
            self._call(self._waiting.popleft())
        if self._waiting:
            self._renew_soon()
