"""Commands of a `tidings.v1` connection, the replies to them, and the hub's pushes (CONTRACT §5).

What a hub says to one connection: replies to its commands, and pushes it did not ask for (CONTRACT §5).

What the hub says besides events: replies to commands, and pushes (CONTRACT §5).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from tidings.exceptions import TidingsError
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import encode_message, quoted
from tidings.protocol.payloads import Count, ErrorData, Payload

SUBPROTOCOL = "tidings.v1"
"""Offered by clients that want ids, replies and positions."""

Paths = Annotated[list[str], Meta(min_length=1, max_length=1000)]
"""1–1,000 paths: a browser's screen needs tens; beyond this a prefix is what is meant."""


class Subscribe(Payload, frozen=True, kw_only=True):
    """Sent by a client to read more paths: `channel:subscribe`."""

    channels: Paths
    since: str = "snapshot"
    """`snapshot`, `now`, `first` (or empty), or a position."""
    handles: Annotated[list[str], Meta(max_length=1000)] | None = None
    """The event types that the client does something with: those that there are not are told of at once."""


class Subscribed(Payload, frozen=True, kw_only=True):
    """The answer to `channel:subscribe`, before the events it brings: `channel:subscribed`."""

    channels: list[str]
    """All paths of the connection now."""
    position: str
    """Where reading begins for the added paths."""
    outcome: str
    """`live`, `complete`, `snapshot` or `gap`."""


class Live(Payload, frozen=True, kw_only=True):
    """Pushed by the hub when snapshot or catch-up has ended: `channel:live`."""

    channels: list[str]
    position: str


class Gap(Payload, frozen=True, kw_only=True):
    """Pushed by the hub when trimming has overtaken a cursor: `channel:gap`."""

    after: str
    """The last position that was read."""
    until: str
    """Durable events after `after` and up to here may be gone."""
    reason: str
    """`trimmed`, `epoch` or `future`."""


class Unsubscribe(Payload, frozen=True, kw_only=True):
    """Sent by a client to read fewer paths: `channel:unsubscribe`."""

    channels: Paths


class Unsubscribed(Payload, frozen=True, kw_only=True):
    """The answer to `channel:unsubscribe`: `channel:unsubscribed`."""

    channels: list[str]
    """The paths that are left."""


class Accepted(Payload, frozen=True, kw_only=True):
    """The answer to an event, once it is in the log: `event:accepted`."""

    position: str
    attempt: int | None = None
    duplicate: bool = False
    """True where the event id was known: the position is the first one's."""


class Pong(Payload, frozen=True, kw_only=True):
    """The answer to `connection:ping`: `connection:pong`."""

    now: str
    """The hub's clock, RFC 3339."""


class PositionNotice(Payload, frozen=True, kw_only=True):
    """Pushed by the hub to an idle connection: everything up to here was delivered. `connection:position`."""

    position: str
    now: str


class Notice(Payload, frozen=True, kw_only=True):
    """Pushed by the hub when something works and should be done otherwise: `connection:notice`."""

    code: str
    message: str
    hint: str


ProducerID = Annotated[str, Meta(pattern="^[!-~]{1,64}$")]
"""1–64 printable ASCII characters without spaces; new for each process."""
LeaseSeconds = Annotated[float, Meta(ge=1, le=86_400)]
"""How long an operation outlives its producer's connection."""
Reason = Annotated[str, Meta(max_length=1000)]


class Claim(Payload, frozen=True, kw_only=True):
    """An operation that a producer says is its own, in `producer:attach`."""

    operation_id: str
    attempt: Count | None = None
    """The attempt that it is at; absent means the present one."""
    lease_s: LeaseSeconds | None = None
    """For this operation; absent means the producer's."""


class Attach(Payload, frozen=True, kw_only=True):
    """Sent by a producer that wants its death noticed, first thing on each connection: `producer:attach`."""

    producer_id: ProducerID
    operations: Annotated[list[Claim], Meta(max_length=1000)] = field(default_factory=list)
    """Those it is at. What it begins on this connection is its own without being named."""
    lease_s: LeaseSeconds | None = None
    """Absent means the hub's own."""


class Verdict(Payload, frozen=True, kw_only=True):
    """What the hub says to a claim, in `producer:attached`."""

    operation_id: str
    attempt: int | None = None
    """The operation's present attempt; absent where the hub knows no such operation yet."""
    verdict: Literal["held", "lost", "finished"]
    """`held`: go on. `lost`: the lease ran out, or it is another's now. `finished`: it has ended otherwise."""


class Attached(Payload, frozen=True, kw_only=True):
    """The answer to `producer:attach`: `producer:attached`."""

    producer_id: str
    lease_s: float
    """The lease of operations that ask for no other."""
    operations: list[Verdict]
    """One for each claim, in order."""


class Cancel(Payload, frozen=True, kw_only=True):
    """Sent by a client that wants an operation to end: `operation:cancel`."""

    operation_id: str
    reason: Reason | None = None
    timeout_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Within which it is answered."""


class CancelPush(Payload, frozen=True, kw_only=True):
    """Pushed by the hub to the holder of an operation, with an `id`: `operation:cancel`."""

    operation_id: str
    attempt: int
    reason: str | None = None
    cancelled_by: str | None = None
    """Who asks, where the hub knows."""


class CancelAnswer(Payload, frozen=True, kw_only=True):
    """Sent by a holder in reply to the push, with its id as `reply_to`; not answered: `operation:cancel_answer`."""

    verdict: Literal["stopping", "refused"]
    reason: Reason | None = None


class CancelOutcome(Payload, frozen=True, kw_only=True):
    """The answer to a client's `operation:cancel`: `operation:cancel_outcome`."""

    operation_id: str
    attempt: int
    outcome: Literal["cancelled", "finished_first", "refused", "pending", "unreachable"]
    """`finished_first`: it ended otherwise. `pending`: its holder agreed, and it has not ended in time. `unreachable`:
    nobody could be asked, or nobody answered."""
    state: str
    """The operation's state when this was said."""
    reason: str | None = None
    """Why the holder refuses."""
    children: list["CancelOutcome"] | None = None
    """What became of the operations that it is the parent of, which are cancelled with it."""


class NoData(Payload, frozen=True, kw_only=True):
    """The data of a command that needs none; `null` and `{}` are both it."""


class CommandType(Struct, frozen=True, kw_only=True):
    """One command: its name and what its data must fit."""

    name: str
    data: type[Payload]

    def decode(self, data: bytes | Raw) -> Payload:
        """Return the command's data; `null` is an empty object.

        Raises:
            msgspec.ValidationError: It does not fit.
        """
        body = bytes(data)
        return msgspec.json.decode(b"{}" if body == b"null" else body, type=self.data)


SUBSCRIBE = "channel:subscribe"
UNSUBSCRIBE = "channel:unsubscribe"
PING = "connection:ping"
ATTACH = "producer:attach"
CANCEL = "operation:cancel"
CANCEL_ANSWER = "operation:cancel_answer"

COMMANDS: dict[str, CommandType] = {
    command.name: command
    for command in (
        CommandType(name=SUBSCRIBE, data=Subscribe),
        CommandType(name=UNSUBSCRIBE, data=Unsubscribe),
        CommandType(name=PING, data=NoData),
        CommandType(name=ATTACH, data=Attach),
        CommandType(name=CANCEL, data=Cancel),
        CommandType(name=CANCEL_ANSWER, data=CancelAnswer),
    )
}
"""What this hub serves."""

LATER_COMMANDS = frozenset({"auth:token"})
"""Commands of the contract that this hub does not serve: answered `not_supported`, never `unknown_type`."""

HUB_MESSAGES = frozenset(
    {
        "auth:required",
        "auth:success",
        "auth:failed",
        "channel:subscribed",
        "channel:unsubscribed",
        "channel:live",
        "channel:gap",
        "connection:established",
        "connection:closed",
        "connection:error",
        "connection:notice",
        "connection:pong",
        "connection:position",
        "event:accepted",
        "operation:cancel_outcome",
        "producer:attached",
    }
)
"""Replies and pushes of the contract: a client that sends one is answered `not_publishable`."""


ESTABLISHED = "connection:established"
CLOSED = "connection:closed"
ERROR = "connection:error"
NOTICE = "connection:notice"
POSITION = "connection:position"
PONG = "connection:pong"
SUBSCRIBED = "channel:subscribed"
UNSUBSCRIBED = "channel:unsubscribed"
LIVE = "channel:live"
GAP = "channel:gap"
ACCEPTED = "event:accepted"
ATTACHED = "producer:attached"
CANCEL_OUTCOME = "operation:cancel_outcome"


def encode_accepted(
    position: str, *, duplicate: bool, timestamp: str, trace_id: str, reply_to: str, attempt: int | None = None
) -> bytes:
    """Return `event:accepted`; written by hand because there is one an event."""
    more = b"" if attempt is None else b',"attempt":%d' % attempt
    if duplicate:
        more += b',"duplicate":true'
    return b'{"type":"event:accepted","timestamp":"%b","trace_id":%b,"data":{"position":"%b"%b},"reply_to":%b}' % (
        timestamp.encode(),
        quoted(trace_id),
        position.encode(),
        more,
        msgspec.json.encode(reply_to),
    )


def encode_error(error: TidingsError, *, timestamp: str, trace_id: str, reply_to: str | None) -> bytes:
    """Return `connection:error` for `error`."""
    return encode_message(ERROR, error_data(error), timestamp=timestamp, trace_id=trace_id, reply_to=reply_to)


def encode_push(type: str, data: Any, *, timestamp: str, trace_id: str, reply_to: str | None = None) -> bytes:
    """Return a reply or push of `type`."""
    return encode_message(type, data, timestamp=timestamp, trace_id=trace_id, reply_to=reply_to)


SAID: Mapping[str, type[msgspec.Struct]] = {
    "channel:subscribed": Subscribed,
    "channel:unsubscribed": Unsubscribed,
    "channel:live": Live,
    "channel:gap": Gap,
    "connection:error": ErrorData,
    "connection:notice": Notice,
    "connection:pong": Pong,
    "connection:position": PositionNotice,
    "event:accepted": Accepted,
    "operation:cancel_outcome": CancelOutcome,
    "producer:attached": Attached,
}
"""By type: what each holds. Events that go to one connection alone are in the catalogue."""
