"""A wish from elsewhere that the command ends, and how it is fulfilled."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tidings.cli.run.child import Child

GRACE_S = 10.0
"""Between SIGTERM and SIGKILL: as long as `docker stop` gives."""
_LOOK_S = 0.05
"""Between two looks at what the command has left behind: nobody tells of the end of another's children."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Wish:
    """That the command ends."""

    reason: str
    """May be empty."""
    cancelled_by: str
    """Who wants it, may be empty."""


class Cancellation:
    """SIGTERM to the command and what it has started, once it is asked for, and SIGKILL after a grace.

    `ask` may be called in any thread; everything else is the thread's that waits for the command.

    Args:
        grace_s: Seconds between the two.
        clock: Seconds from a monotonic clock.
    """

    def __init__(self, grace_s: float = GRACE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._clock = clock
        self._notify: Callable[[], None] | None = None
        self._wish: Wish | None = None
        self._killing_at: float | None = None
        self._killed = False

    def ask(self, reason: str = "", cancelled_by: str = "") -> None:
        """Want the end; of several wishes the first is the one that is told."""
        if self._wish is None:
            self._wish = Wish(reason, cancelled_by)
        notify = self._notify
        if notify is not None:
            notify()

    def on_ask(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, in the asking thread, when there is a wish; at once where there is one already."""
        self._notify = notify
        if self._wish is not None:
            notify()

    @property
    def fulfilled(self) -> Wish | None:
        """The wish, if the command still ran when it was told to end."""
        return self._wish if self._killing_at is not None else None

    @property
    def reason(self) -> str:
        """Why the command ended, in words."""
        said = self._wish.reason if self._wish is not None else ""
        said = said or "it was asked to end"
        return f"{said} (killed: it had not heeded SIGTERM for {self._grace_s:g} s)" if self._killed else said

    def pursue(self, child: Child) -> None:
        """Send the running command what is due."""
        if self._wish is None:
            return
        if self._killing_at is None:
            self._killing_at = self._clock() + self._grace_s
            child.end(signal.SIGTERM)
        elif not self._killed and self._clock() >= self._killing_at:
            self._killed = True
            child.end(_KILL)

    def due_in(self) -> float | None:
        """Return after how many seconds something is due; None where nothing is but a wish."""
        if self._killing_at is None or self._killed:
            return None
        return max(0.0, self._killing_at - self._clock())

    def is_complete(self, child: Child) -> bool:
        """Return whether nothing of a command that has ended is left; at the end of the grace it is killed.

        A command that was not told to end may leave behind what it likes.
        """
        if self._killing_at is None or self._killed:
            return True
        if not child.end(0):
            return True
        self.pursue(child)
        return self._killed

    def look_in(self) -> float | None:
        """Return after how many seconds `is_complete` is to be asked again."""
        due = self.due_in()
        return None if due is None else min(due, _LOOK_S)
