"""A cursor in the log, carried over any number of connections (CONTRACT §5–6)."""

from collections import deque
from collections.abc import Sequence
from typing import cast

from tidings.client.events import Live, Outcome
from tidings.protocol import messages
from tidings.protocol.positions import SNAPSHOT

_REMEMBERED = 1_024
"""Positions remembered while live. A hub resumes behind the position it is told, so none of them should come again."""


class Cursor:
    """Where one watch stands.

    Its position moves with what is read, so that a new connection goes on exactly behind it. The first snapshot is the
    exception: its events stand in the order of the log, but far back in it, and to go on behind one of them would read
    history that nobody asked for. So it is asked for again, and what was delivered of it is dropped by its position.

    Args:
        paths: What is read.
        since: Where the first connection begins: `snapshot`, `now`, `first` or a position.
    """

    def __init__(self, paths: Sequence[str], since: str) -> None:
        self.paths = tuple(paths)
        self.position: str | None = None
        """Up to where everything was read."""
        self.outcome: Outcome | None = None
        """How the latest subscription began."""
        self.duplicates = 0
        """Events that came again, and were dropped."""
        self._since = since
        self._snapshot = False
        self._seen: set[str] = set()
        self._order: deque[str] = deque()

    @property
    def since(self) -> str:
        """Where the next connection begins."""
        return self._since if self.position is None else self.position

    def subscribed(self, answer: messages.Subscribed) -> None:
        """Note how the subscription begins."""
        self.outcome = cast(Outcome, answer.outcome)
        self._snapshot = self.outcome == "snapshot"
        # Of a gap, the hub's position may lie before events that only a snapshot can make up for: what is read of it
        # moves the cursor, and until then the old position asks for the same again.
        if self.outcome in ("live", "complete"):
            self.position = answer.position

    def received(self, position: str) -> bool:
        """Note the event at `position`; return whether it is new."""
        seen = self._seen
        if position in seen:
            self.duplicates += 1
            return False
        seen.add(position)
        self._order.append(position)
        if not self._snapshot:
            self.position = position
            self._forget_oldest()
        return True

    def moved(self, position: str) -> None:
        """Note that everything up to `position` was delivered to the live cursor, though nothing of it on its paths."""
        self.position = position

    def live(self, told: messages.Live) -> Live:
        """Note that snapshot or catch-up has ended."""
        if self._snapshot:
            self._snapshot = False
            self._forget_oldest()
        self.position = told.position
        return Live(position=told.position, outcome=self.outcome or "live")

    def _forget_oldest(self) -> None:
        while len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft())

    def lose_position(self) -> str:
        """Begin again with a snapshot, because the hub cannot read the position; return the position that was."""
        lost, self.position = self.position or "", None
        self._since = SNAPSHOT
        return lost
