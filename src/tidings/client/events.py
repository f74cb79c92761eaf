"""The items of a watch: events, and notices about the stream itself if requested."""

from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from tidings.exceptions import InvalidPayload, TidingsError
from tidings.protocol.messages import Accepted, Attached, CancelOutcome, CancelPush
from tidings.protocol.payloads import LicenseExpiredData

Outcome = Literal["live", "complete", "snapshot", "gap"]
"""How a subscription began (PROTOCOL.md, "Subscribing"): at the head; with everything since the position; with the
newest event of each key; or with a gap."""


class ReceivedEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One event, as the hub delivered it."""

    type: str
    timestamp: str
    """RFC 3339 in UTC, up to nine digits of a second: `tidings.protocol.timestamps.to_nanoseconds` reads it."""
    trace_id: str
    channel: str
    key: str | None
    """The subject of the event, such as an operation or a dataset; None if it has none."""
    payload: Struct | None
    """The data as its type's struct; None if this client's contract lacks the type, or this form of it."""
    data: bytes
    """The publisher's own JSON."""
    position: str
    """Its place in the log: `watch(..., since=position)` resumes behind it."""
    event_id: str | None = None


P_co = TypeVar("P_co", bound=Struct, covariant=True)


class TypedEvent(Protocol[P_co]):
    """A `ReceivedEvent` with a payload of a known type, as `watch(TradeExecuted)` yields it."""

    @property
    def type(self) -> str:
        """See `ReceivedEvent.type`."""

    @property
    def timestamp(self) -> str:
        """See `ReceivedEvent.timestamp`."""

    @property
    def trace_id(self) -> str:
        """See `ReceivedEvent.trace_id`."""

    @property
    def channel(self) -> str:
        """See `ReceivedEvent.channel`."""

    @property
    def key(self) -> str | None:
        """See `ReceivedEvent.key`."""

    @property
    def payload(self) -> P_co:
        """The data as the type's struct."""

    @property
    def data(self) -> bytes:
        """See `ReceivedEvent.data`."""

    @property
    def position(self) -> str:
        """See `ReceivedEvent.position`."""

    @property
    def event_id(self) -> str | None:
        """See `ReceivedEvent.event_id`."""


class InvalidEvent(Struct, frozen=True):
    """A placeholder for an event of a watched type that does not fit this client's contract."""

    error: InvalidPayload


class Gap(Struct, frozen=True, kw_only=True):
    """Durable events may be missing here; the newest event of each key follows and restores the state."""

    after: str
    """The last position before the gap."""
    until: str
    """The position at which the gap ends; "" if the hub cannot determine it."""
    reason: str
    """`trimmed`, `epoch`, `future` or `position refused`."""


class Live(Struct, frozen=True, kw_only=True):
    """The snapshot or catch-up ends here; live events follow."""

    position: str
    outcome: Outcome
    """How the subscription began."""


class PathsRemoved(Struct, frozen=True, kw_only=True):
    """The hub no longer lets this client read some of its paths; the others go on."""

    paths: tuple[str, ...]
    remaining: tuple[str, ...]
    """The paths that it still reads."""


class LicenseEnded(Struct, frozen=True, kw_only=True):
    """The license of the hub had expired when this client joined: nothing can be published until it is renewed."""

    data: LicenseExpiredData


Notice = Gap | Live | PathsRemoved | LicenseEnded
Item = ReceivedEvent | Notice


class Settled(Struct, frozen=True):
    """The answer to one command."""

    id: str
    """The id given to `Session.publish`, or returned by `Session.cancel`; "" for a refusal that names no command."""
    result: Accepted | CancelOutcome | TidingsError


class AttachRefused(Struct, frozen=True):
    """The hub refuses to attach this producer."""

    error: TidingsError


class CancelAsked(Struct, frozen=True):
    """A cancel request for an operation of this producer."""

    id: str
    """Id of the push: the same request has the same id on every connection."""
    push: CancelPush


Delivery = Item | Settled | Attached | AttachRefused | CancelAsked
"""Content of a message of the hub, for the owner of the link."""
