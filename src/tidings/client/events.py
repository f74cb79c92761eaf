"""What a watch brings: events, and between them, for those who ask, notices about the stream itself."""

from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from tidings.exceptions import InvalidPayload, TidingsError
from tidings.protocol.messages import Accepted, Attached, CancelOutcome, CancelPush

Outcome = Literal["live", "complete", "snapshot", "gap"]
"""How a subscription began (CONTRACT §5): at the head; with everything since the position; with the newest event of
each key; or with something missing."""


class ReceivedEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One event, as the hub delivered it."""

    type: str
    timestamp: str
    """RFC 3339 in UTC, up to nine digits of a second: `tidings.protocol.timestamps.to_nanoseconds` reads it."""
    trace_id: str
    channel: str
    key: str | None
    """What the event is about: an operation, a dataset; None where it names nothing."""
    payload: Struct | None
    """The data as its type's struct; None where this client's contract does not know the type, or not this form."""
    data: bytes
    """The publisher's own JSON."""
    position: str
    """Its place in the log: `watch(..., since=position)` goes on behind it."""
    event_id: str | None = None


P_co = TypeVar("P_co", bound=Struct, covariant=True)


class TypedEvent(Protocol[P_co]):
    """A `ReceivedEvent` of which the payload's type is known: what `watch(TradeExecuted)` brings."""

    @property
    def type(self) -> str:
        """See `ReceivedEvent.type`."""
        ...

    @property
    def timestamp(self) -> str:
        """See `ReceivedEvent.timestamp`."""
        ...

    @property
    def trace_id(self) -> str:
        """See `ReceivedEvent.trace_id`."""
        ...

    @property
    def channel(self) -> str:
        """See `ReceivedEvent.channel`."""
        ...

    @property
    def key(self) -> str | None:
        """See `ReceivedEvent.key`."""
        ...

    @property
    def payload(self) -> P_co:
        """The data as the type's struct."""
        ...

    @property
    def data(self) -> bytes:
        """See `ReceivedEvent.data`."""
        ...

    @property
    def position(self) -> str:
        """See `ReceivedEvent.position`."""
        ...

    @property
    def event_id(self) -> str | None:
        """See `ReceivedEvent.event_id`."""
        ...


class InvalidEvent(Struct, frozen=True):
    """An event of a type that is watched, which does not fit this client's contract."""

    error: InvalidPayload


class Gap(Struct, frozen=True, kw_only=True):
    """Durable events may be missing here; the newest event of each key follows, so that state is right again."""

    after: str
    """The last position before the gap."""
    until: str
    """The position at which the gap ends; "" where the hub could not say."""
    reason: str
    """`trimmed`, `epoch`, `future` or `position refused`."""


class Live(Struct, frozen=True, kw_only=True):
    """Snapshot or catch-up ends here; what follows is read as it happens."""

    position: str
    outcome: Outcome
    """How the subscription, which is complete now, had begun."""


Notice = Gap | Live
Item = ReceivedEvent | Notice


class Settled(Struct, frozen=True):
    """The answer to one command."""

    id: str
    """The one `Session.publish` or `Session.cancel` returned."""
    result: Accepted | CancelOutcome | TidingsError


class AttachRefused(Struct, frozen=True):
    """The hub does not attach this producer."""

    error: TidingsError


class CancelAsked(Struct, frozen=True):
    """The hub says that somebody wants an operation of this producer to end."""

    id: str
    """Of the push: the same wish has the same on every connection."""
    push: CancelPush


Delivery = Item | Settled | Attached | AttachRefused | CancelAsked
"""What a message of the hub brings to whoever owns the link."""
