"""Where a client stands, as its caller sees it."""

from enum import StrEnum

from msgspec import Struct

from tidings.client.events import Outcome
from tidings.exceptions import TidingsError


class State(StrEnum):
    """Where one link to the hub stands."""

    CONNECTING = "connecting"
    """No connection yet, or none any more; the next one is on its way."""
    CATCHING_UP = "catching up"
    """Connected, and reading what was missed, or the snapshot."""
    LIVE = "live"
    """Connected and at the head of the log."""
    STALE = "stale"
    """No sign of life from the hub for two heartbeats: what was read last may be old. `Status.age_s` says how old."""
    CLOSED = "closed"
    """At its end: closed by the caller, or by the hub for good."""


class Status(Struct, frozen=True, kw_only=True):
    """A link's whole state at one moment."""

    state: State
    age_s: float | None
    """Seconds since the hub's last sign of life; None before the first."""
    position: str | None = None
    """Up to where everything was read; None before that is known, and while the first snapshot is being read."""
    outcome: Outcome | None = None
    """How the latest subscription began; None before the first."""
    error: TidingsError | None = None
    """Why there is no connection; None while there is one."""
    retry_at: float | None = None
    """When the next connection is tried, in the loop's own time; None when that is under way or done."""
