"""Openings in turn, so that thousands of clients who come back at once do not hold up those who are there."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

TICK_BUDGET_S: Final = 0.005
"""Seconds of one event loop tick that go into opening connections. An opening takes 0.1–0.3 ms, so 20 and more fit; a
thousand in one tick would delay live delivery by as many times that."""


class AcceptQueue:
    """A queue of openings, shared by the connections of one server. It is no longer than what the kernel accepted."""

    __slots__ = ("_renewal_due", "_spent_s", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._spent_s = 0.0
        # Always set while someone waits: only an opening of the same tick makes anyone wait.
        self._renewal_due = False

    def admit(self, opening: Callable[[], None]) -> None:
        """Call `opening`, which must not raise: at once while this tick's budget lasts, else in its turn."""
        if self._waiting or self._spent_s >= TICK_BUDGET_S:
            self._waiting.append(opening)
        else:
            self._run(opening)

    def _run(self, opening: Callable[[], None]) -> None:
        if not self._renewal_due:
            self._renewal_due = True
            asyncio.get_running_loop().call_soon(self._renew)
        began = perf_counter()
        opening()
        self._spent_s += perf_counter() - began

    def _renew(self) -> None:
        self._renewal_due = False
        self._spent_s = 0.0
        while self._waiting and self._spent_s < TICK_BUDGET_S:
            self._run(self._waiting.popleft())
