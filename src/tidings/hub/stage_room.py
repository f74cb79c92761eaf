"""Room in the stage: which publishers may add events now, and which are held back until the log has taken some.

A full stage refuses no one. The hub stops reading from publishers that have their share of it, and goes on in the
order in which they began to wait.
"""

from typing import Protocol

import structlog

from tidings.hub.staging import Staging

log = structlog.get_logger("tidings.hub.stage_room")


class HeldPublisher(Protocol):
    """A publisher that waits for room."""

    def may_publish(self) -> bool:
        """Return whether `StageRoom.admits` its next event."""

    def publish_held(self) -> None:
        """Publish what it holds back, up to its share."""


class StageRoom:
    """Shares of the stage.

    The publishers share half of the stage equally, in events and in bytes, and each may have one event in any case. So
    a publisher with one event in flight is not held back for those that fill their windows: the other half is free,
    unless thousands publish at a time.

    Args:
        staging: The stage.
    """

    __slots__ = ("_active", "_staging", "_waiting", "share_bytes", "share_events")

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._waiting: dict[HeldPublisher, None] = {}
        self._active = 0
        self.share_events = 0
        """Number of events that one publisher may have in the stage."""
        self.share_bytes = 0
        """The same, in bytes."""
        self._divide()

    @property
    def active(self) -> int:
        """Number of publishers that have events in the stage."""
        return self._active

    @property
    def waiting(self) -> int:
        """Number of publishers that are held back."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether even a publisher without an event in the stage has to wait."""
        return self._staging.full

    def admits(self, events: int, size: int) -> bool:
        """Return whether a publisher with this number of events and bytes in the stage may add an event."""
        if self._staging.full:
            return False
        return not events or (events < self.share_events and size < self.share_bytes)

    def count_active(self, change: int) -> None:
        """Count a publisher that has its first event in the stage (1), or none any more (-1)."""
        self._active += change
        self._divide()

    def wait(self, publisher: HeldPublisher) -> None:
        """Call `publisher.publish_held` when there is room, in the order of the calls of `wait`."""
        self._waiting.setdefault(publisher)
        self._divide()

    def leave(self, publisher: HeldPublisher) -> None:
        """Forget a publisher that waits no longer."""
        self._waiting.pop(publisher, None)
        self._divide()

    def serve(self) -> None:
        """Let publishers that wait publish, each once, until the stage is full again."""
        if not self._waiting:
            return
        for publisher in list(self._waiting):
            if self._staging.full:
                return
            if publisher not in self._waiting or not publisher.may_publish():
                continue
            self.leave(publisher)
            try:
                publisher.publish_held()
            except Exception:  # one publisher's fault must not keep the others waiting
                log.exception("publishing held events failed")

    def _divide(self) -> None:
        publishers = 2 * max(1, self._active, len(self._waiting))
        self.share_events = self._staging.max_events // publishers
        self.share_bytes = self._staging.max_bytes // publishers
