"""A subscriber: a cursor in the log, and the outlet its events go to (DESIGN, "A subscriber is a cursor")."""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from tidings.hub.wire import Outlet, WireForm
from tidings.protocol.paths import NOTHING, PathSet
from tidings.protocol.positions import Position

if TYPE_CHECKING:
    from tidings.hub.lanes import Lane


class State(Enum):
    """Where a subscriber is."""

    LIVE = "live"
    """At the head: gets each batch as it is appended."""
    CATCHING_UP = "catching up"
    """Behind the head, reading forward."""
    CLOSED = "closed"


class Stretch(Struct, kw_only=True):
    """A stretch of the log to be read to one subscriber before it goes on."""

    paths: PathSet
    but: PathSet = NOTHING
    """Paths it has already."""
    after: int
    """Moves on as the stretch is read."""
    until: int
    newest_only: bool = False
    told: int = 0
    """Up to where the subscriber was told of a gap in it."""
    then: Callable[[int], None]
    """Called with `until`, when the stretch has been read."""


class Subscriber:
    """One cursor. `offset` is its whole state: everything on `paths` up to there was written to its outlet."""

    __slots__ = (
        "__weakref__",
        "blocked",
        "form",
        "lane",
        "offset",
        "on_gap",
        "outlet",
        "pace_ms",
        "paths",
        "queued",
        "reading",
        "state",
        "stretches",
        "told",
    )

    def __init__(
        self,
        outlet: Outlet,
        form: WireForm,
        *,
        pace_ms: int = 0,
        on_gap: Callable[[Position, Position, str], None],
    ) -> None:
        self.outlet = outlet
        self.form = form
        self.pace_ms = pace_ms
        self.paths = NOTHING
        self.offset = 0
        self.state = State.CATCHING_UP
        self.lane: Lane | None = None
        self.blocked = False
        """Whether the outlet takes no more for now."""
        self.queued = False
        """Whether it waits for its turn to catch up."""
        self.reading = False
        """Whether the log reads for it: it has its turn when that arrives."""
        self.told = 0
        """Up to where it was told of a gap."""
        self.stretches: deque[Stretch] = deque()
        self.on_gap = on_gap
        """Called with the last position read, the one up to which durable events of its paths may be gone, and why."""
