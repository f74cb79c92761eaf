"""State of a client, for its caller."""

from enum import StrEnum

from msgspec import Struct

from tidings.client.events import Outcome
from tidings.exceptions import TidingsError


class State(StrEnum):
    """State of one link to the hub."""

    CONNECTING = "connecting"
    """No connection; the next one is being tried."""
    CATCHING_UP = "catching up"
    """Connected, and reading missed events or the snapshot."""
    LIVE = "live"
    """Connected and at the head of the log."""
    STALE = "stale"
    """No sign of life from the hub for two heartbeats: what was read last may be old; see `Status.age_s`."""
    CLOSED = "closed"
    """Closed by the caller, or by the hub for good."""


class Access(Struct, frozen=True, kw_only=True):
    """The subject that the hub has identified, its grants, and for how long."""

    subject: str
    """Name of the subject of the token."""
    grants: tuple[str, ...] = ()
    """Its grants, as far as the hub has named them."""
    expires_at: str | None = None
    """When the token expires, RFC 3339; None if it does not, or the hub has not named it."""
    expiring: bool = False
    """Whether the hub asks for another token, because this one is about to expire."""


class Status(Struct, frozen=True, kw_only=True):
    """Complete state of a link at one moment."""

    state: State
    age_s: float | None
    """Seconds since the hub's last sign of life; None before the first."""
    position: str | None = None
    """Position up to which everything was read; None before it is known, and during the first snapshot."""
    outcome: Outcome | None = None
    """How the latest subscription began; None before the first."""
    error: TidingsError | None = None
    """Why there is no connection; None while there is one."""
    retry_at: float | None = None
    """Time of the next connection attempt, on the loop's clock; None while connecting or connected."""
    access: Access | None = None
    """The subject of the token; None before that, and with a hub without authentication."""
