"""Callers of a shared log that wait until this node has what other nodes had acknowledged."""

from collections.abc import Callable
from functools import partial

from tidings.log.base import Scheduler

MAX_CATCH_UP_S = 2.0
"""Longest time for which a caller waits: after it the journal is away, and the caller sees what this node has."""


class CatchUps:
    """Callbacks that wait for an entry of this node that is proposed after they were added.

    Such an entry comes back after all entries that any node had folded, and so acknowledged, when it was proposed.

    Args:
        scheduler: The loop.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._waiting: dict[object, Callable[[], None]] = {}
        """Callbacks for the next entry."""
        self._under_way: dict[object, Callable[[], None]] = {}
        """Callbacks for the entry that is under way."""

    def __len__(self) -> int:
        """Return the number of those that wait for the next entry."""
        return len(self._waiting)

    def add(self, done: Callable[[], None]) -> None:
        """Call `done` once: when the next entry came back, or after `MAX_CATCH_UP_S`."""
        key = object()
        self._waiting[key] = done
        self._scheduler.call_later(MAX_CATCH_UP_S, partial(self._give_up, key))

    def _give_up(self, key: object) -> None:
        done = self._waiting.pop(key, None) or self._under_way.pop(key, None)
        if done is not None:
            done()

    def propose(self) -> None:
        """Note that an entry is proposed now."""
        self._under_way |= self._waiting
        self._waiting.clear()

    def finish(self) -> None:
        """Call those whose entry came back."""
        while self._under_way:
            self._under_way.pop(next(iter(self._under_way)))()
