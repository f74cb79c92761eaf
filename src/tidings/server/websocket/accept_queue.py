"""Limits the time per event-loop tick for opening handshakes: a reconnect storm must not delay live delivery."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

TICK_BUDGET_S: Final = 0.005
"""Seconds per tick of the event loop for opening handshakes. One takes 0.1–0.3 ms, so 20 and more fit; a thousand in
one tick would delay live delivery by a thousand times that."""


class AcceptQueue:
    """Queue of opening handshakes of one server's connections, bounded by what the kernel accepts."""

    __slots__ = ("_renewal_due", "_spent_s", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._spent_s = 0.0
        # Always set while a handshake waits: one waits only after another of the same tick.
        self._renewal_due = False

    def run(self, handshake: Callable[[], None]) -> None:
        """Call `handshake`, which must not raise: immediately while this tick's budget lasts, else in its turn."""
        if self._waiting or self._spent_s >= TICK_BUDGET_S:
            self._waiting.append(handshake)
        else:
            self._call(handshake)

    def _call(self, handshake: Callable[[], None]) -> None:
        if not self._renewal_due:
            self._renewal_due = True
            asyncio.get_running_loop().call_soon(self._renew)
        began = perf_counter()
        handshake()
        self._spent_s += perf_counter() - began

    def _renew(self) -> None:
        self._renewal_due = False
        self._spent_s = 0.0
        while self._waiting and self._spent_s < TICK_BUDGET_S:
            self._call(self._waiting.popleft())
