"""Long work in slices: between two of them the event loop serves sockets, and the log takes what was published."""

from collections import deque
from collections.abc import Iterator

import structlog

from tidings.hub.interfaces import HubCore

log = structlog.get_logger("tidings.hub.operations.rounds")

MAX_STEPS_PER_ROUND = 50
"""Steps in one round of the event loop. A step publishes one event, which takes up to 0.1 ms."""
CHECKS_PER_STEP = 100
"""Operations checked in one step: under 0.1 ms."""
_FULL_DELAY_S = 0.05
"""Delay of the next slice while the stage is half full: publishers come first."""


class Rounds:
    """Runs iterators step by step, all in turn, so that a long one delays no short one."""

    def __init__(self, hub: HubCore) -> None:
        self._hub = hub
        self._work: deque[Iterator[None]] = deque()
        self._scheduled = False

    def add(self, work: Iterator[None]) -> None:
        """Run `work` in the next rounds of the event loop; each `yield` ends a step."""
        self._work.append(work)
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        hub = self._hub
        if hub.staged > hub.config.staged_events // 2:
            hub.scheduler.call_later(_FULL_DELAY_S, self._run)
        else:
            hub.scheduler.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self._hub.closed:
            return
        try:
            for _ in range(MAX_STEPS_PER_ROUND):
                if self._work and self._step(work := self._work.popleft()):
                    self._work.append(work)
        finally:
            if self._work:
                self._schedule()

    def _step(self, work: Iterator[None]) -> bool:
        """Run one step; return whether more steps follow."""
        try:
            next(work)
        except StopIteration:
            return False
        except Exception:  # the work that follows is of other operations
            log.exception("work on operations failed")
            return False
        return True
