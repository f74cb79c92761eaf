"""A cursor in the log, kept across connections (PROTOCOL.md, "Resuming")."""

from collections import deque
from collections.abc import Sequence
from typing import cast

from tidings.client.events import Live, Outcome
from tidings.protocol import messages
from tidings.protocol.positions import SNAPSHOT

_MAX_SEEN = 1_024
"""Positions remembered while live. A hub resumes behind the given position, so none of them should come again."""


class Cursor:
    """The position of one watch in the log.

    It moves with each event, so that a new connection resumes exactly behind it. The first snapshot is the exception:
    its events come in log order, but from far back, and resuming behind one of them would read history that was not
    requested. So the snapshot is requested again, and the events already delivered are dropped by their positions.

    Args:
        paths: Paths to read.
        since: Start of the first connection: `snapshot`, `now`, `first`, an RFC 3339 time or a position.
    """

    def __init__(self, paths: Sequence[str], since: str) -> None:
        self.paths = tuple(paths)
        self.position: str | None = None
        """Position up to which everything was read; None before it is known."""
        self.outcome: Outcome | None = None
        """How the latest subscription began."""
        self.duplicates = 0
        """Events that came again and were dropped."""
        self._since = since
        self._snapshot = False
        self._seen: set[str] = set()
        self._order: deque[str] = deque()

    @property
    def since(self) -> str:
        """Start of the next connection."""
        return self._since if self.position is None else self.position

    def subscribed(self, answer: messages.Subscribed) -> None:
        """Note the outcome of a subscription."""
        self.outcome = cast(Outcome, answer.outcome)
        self._snapshot = self.outcome == "snapshot"
        # After a gap the hub's position may lie before events that only a snapshot can replace: the snapshot's events
        # move the cursor, and until then the old position requests the same again.
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
        """Note that the live cursor is at `position`, though no event on its paths led there."""
        self.position = position

    def live(self, push: messages.Live) -> Live:
        """Note that the snapshot or catch-up is complete."""
        if self._snapshot:
            self._snapshot = False
            self._forget_oldest()
        self.position = push.position
        return Live(position=push.position, outcome=self.outcome or "live")

    def _forget_oldest(self) -> None:
        while len(self._order) > _MAX_SEEN:
            self._seen.discard(self._order.popleft())

    def remove(self, paths: Sequence[str]) -> None:
        """Read some paths no longer."""
        self.paths = tuple(path for path in self.paths if path not in paths)

    def lose_position(self) -> str:
        """Start again with a snapshot, because the hub cannot read the position; return the lost position."""
        lost, self.position = self.position or "", None
        self._since = SNAPSHOT
        return lost
