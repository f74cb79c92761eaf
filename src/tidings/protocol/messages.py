"""Commands, replies and pushes of a `tidings.v1` connection, in one table.

`MESSAGES` holds each message once: its name, the struct of its data, its direction, and what answers it. The hub's and
the client's dispatch, the exports of the contract and the tables of PROTOCOL.md ("Commands and replies") derive from
it. A new command is a row here and a handler in `tidings.hub.commands`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from tidings.protocol import payloads
from tidings.protocol.envelope import encode_message, quote
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import Count, ErrorData, Payload, Timestamp
from tidings.protocol.strict_json import repair_members

SUBPROTOCOL = "tidings.v1"
"""WebSocket subprotocol of connections with ids, replies and positions; clients offer it in the handshake."""

SubscribeOutcome = Annotated[str, Meta(extra_json_schema={"enum": ["live", "complete", "snapshot", "gap"]})]
GapReason = Annotated[str, Meta(extra_json_schema={"enum": ["trimmed", "epoch", "future"]})]
"""Not Literals, so that clients read what a newer hub adds."""

Paths = Annotated[list[str], Meta(min_length=1, max_length=1000)]
"""1–1,000 paths. A browser's screen needs tens; a client that needs more than 1,000 uses a prefix."""


class Subscribe(Payload, frozen=True, kw_only=True):
    """Data of `channel:subscribe`: a client adds paths to those it reads."""

    channels: Paths
    since: str = "snapshot"
    """Where reading begins: `snapshot`, `now`, `first` (or empty), or a position."""
    handles: Annotated[list[str], Meta(max_length=1000)] | None = None
    """The event types that the client handles. The hub immediately sends a notice for each unknown or old type."""


class Subscribed(Payload, frozen=True, kw_only=True):
    """Data of `channel:subscribed`: the reply to `channel:subscribe`, sent before the events of the added paths."""

    channels: list[str]
    """All paths that the connection reads now."""
    position: str
    """Where reading begins for the added paths."""
    outcome: SubscribeOutcome
    """The events until `channel:live`. `live`: none. `snapshot`: the newest event of each key. `complete`: every
    durable event after the position. `gap`: those that are left, and `channel:gap` reports what may be missing."""


class Live(Payload, frozen=True, kw_only=True):
    """Data of `channel:live`: pushed by the hub when the snapshot or catch-up has ended."""

    channels: list[str]
    position: str


class Gap(Payload, frozen=True, kw_only=True):
    """Data of `channel:gap`: pushed by the hub when trimming has overtaken the connection's cursor."""

    after: str
    """The last position that the connection has read."""
    until: str
    """End of the gap: durable events after `after` and up to this position may be missing."""
    reason: GapReason
    """`trimmed`: retention removed events. `epoch`: the log does not know the position's epoch. `future`: the log never
    reached the position."""


class Unsubscribe(Payload, frozen=True, kw_only=True):
    """Data of `channel:unsubscribe`: a client removes paths from those it reads."""

    channels: Paths


class Unsubscribed(Payload, frozen=True, kw_only=True):
    """Data of `channel:unsubscribed`: the reply to `channel:unsubscribe`."""

    channels: list[str]
    """The remaining paths."""


class Accepted(Payload, frozen=True, kw_only=True):
    """Data of `event:accepted`: the reply to an event, sent when the event is in the log."""

    position: str
    attempt: int | None = None
    duplicate: bool = False
    """True where the log already holds the event id; `position` is that of the first event."""


class Pong(Payload, frozen=True, kw_only=True):
    """Data of `connection:pong`: the reply to `connection:ping`."""

    now: Timestamp
    """The hub's clock."""


class PositionNotice(Payload, frozen=True, kw_only=True):
    """Data of `connection:position`: pushed to an idle connection when everything up to `position` is delivered."""

    position: str
    now: Timestamp
    """The hub's clock."""


class Notice(Payload, frozen=True, kw_only=True):
    """Data of `connection:notice`: pushed by the hub when something works but should be done in another way."""

    code: str
    message: str
    hint: str


ProducerID = Annotated[str, Meta(pattern="^[!-~]{1,64}$")]
"""Id of a producer: 1–64 printable ASCII characters without spaces; new for each process."""
LeaseSeconds = Annotated[float, Meta(ge=1, le=86_400)]
"""Lease in seconds: how long an operation outlives its producer's connection, from 1 second to a day."""
Reason = Annotated[str, Meta(max_length=1000)]
Requester = Annotated[str, Meta(max_length=128)]
"""The person or program that requests a cancellation, for people: `ada@laptop`."""


class Claim(Payload, frozen=True, kw_only=True):
    """An operation that a producer claims to hold, in `producer:attach`."""

    operation_id: str
    attempt: Count | None = None
    """The producer's attempt; absent means the current one."""
    lease_s: LeaseSeconds | None = None
    """Lease of this operation, in seconds; absent means the producer's lease."""


class Attach(Payload, frozen=True, kw_only=True):
    """Data of `producer:attach`: the first command of a producer on each connection; the hub then detects its death."""

    producer_id: ProducerID
    operations: Annotated[list[Claim], Meta(max_length=1000)] = field(default_factory=list)
    """The operations that the producer holds. Operations that it starts on this connection need no claim."""
    lease_s: LeaseSeconds | None = None
    """Default lease of the producer's operations, in seconds; absent means the hub's default."""


class Verdict(Payload, frozen=True, kw_only=True):
    """The hub's decision on a claim, in `producer:attached`."""

    operation_id: str
    attempt: int | None = None
    """The operation's current attempt; absent where the hub has no such operation yet."""
    verdict: Literal["held", "lost", "finished"]
    """`held`: continue. `lost`: the lease expired, or another producer holds it. `finished`: it ended another way."""


class Attached(Payload, frozen=True, kw_only=True):
    """Data of `producer:attached`: the reply to `producer:attach`."""

    producer_id: str
    lease_s: float
    """Default lease of the producer's operations, in seconds."""
    operations: list[Verdict]
    """One verdict for each claim, in order."""


class Cancel(Payload, frozen=True, kw_only=True):
    """Data of a client's `operation:cancel`: requests that an operation ends."""

    operation_id: str
    reason: Reason | None = None
    timeout_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """Time in seconds within which the hub replies."""
    cancelled_by: Requester | None = None
    """The person or program that requests it, shown to the producer and to watchers."""


class CancelPush(Payload, frozen=True, kw_only=True):
    """Data of the hub's `operation:cancel`: pushed, with an `id`, to the producer that holds the operation."""

    operation_id: str
    attempt: int
    reason: str | None = None
    cancelled_by: str | None = None
    """The person or program that requests it; absent where the client named none."""


class CancelAnswer(Payload, frozen=True, kw_only=True):
    """Data of `operation:cancel_answer`: a producer's reply to the push, whose id is its `reply_to`."""

    verdict: Literal["stopping", "refused"]
    reason: Reason | None = None


class CancelOutcome(Payload, frozen=True, kw_only=True):
    """Data of `operation:cancel_outcome`: the reply to a client's `operation:cancel`."""

    operation_id: str
    attempt: int
    outcome: Literal["cancelled", "finished_first", "refused", "pending", "unreachable"]
    """`finished_first`: the operation ended another way. `pending`: its holder agreed, and the operation has not ended
    in time. `unreachable`: no holder is connected, or the holder did not answer."""
    state: str
    """The operation's state at the time of the reply."""
    reason: str | None = None
    """The holder's reason for refusing."""
    children: list["CancelOutcome"] | None = None
    """Outcomes of the operation's children, which are cancelled with it."""


class AuthToken(Payload, frozen=True, kw_only=True):
    """Data of `auth:token`: a client's credential, the first one or the next."""

    token: str
    """A token or an API key."""


class Nothing(Payload, frozen=True, kw_only=True):
    """Data of a command that needs none: `null` or `{}`."""


class MessageSpec(Struct, frozen=True, kw_only=True):
    """One row of `MESSAGES`."""

    name: str
    """The `type` of its envelope."""
    data: type[Payload]
    """The struct of its `data`."""
    direction: Literal["to_hub", "to_client"]
    kind: Literal["command", "reply", "push"]
    answered_by: str | None = None
    """The name of the reply; None where the message is not answered. A message that is answered needs an `id`."""

    def decode(self, data: bytes | Raw) -> Payload:
        """Return the message's data; `null` is an empty object.

        Raises:
            msgspec.ValidationError: The data does not fit the struct.
        """
        body = b"" + data  # faster than `bytes(data)` for a Raw
        body = b"{}" if body == b"null" else body
        try:
            return msgspec.json.decode(body, type=self.data)
        except msgspec.ValidationError:
            repaired = repair_members(body, self.data)
            if repaired is None:
                raise
            return msgspec.json.decode(repaired, type=self.data)


SUBSCRIBE = "channel:subscribe"
UNSUBSCRIBE = "channel:unsubscribe"
PING = "connection:ping"
ATTACH = "producer:attach"
CANCEL = "operation:cancel"
"""A client's command, and the hub's push to the producer that holds the operation."""
CANCEL_ANSWER = "operation:cancel_answer"
AUTH_TOKEN = "auth:token"

SUBSCRIBED = "channel:subscribed"
UNSUBSCRIBED = "channel:unsubscribed"
LIVE = "channel:live"
GAP = "channel:gap"
ERROR = "connection:error"
NOTICE = "connection:notice"
PONG = "connection:pong"
POSITION = "connection:position"
ACCEPTED = "event:accepted"
CANCEL_OUTCOME = "operation:cancel_outcome"
ATTACHED = "producer:attached"


def _command(name: str, data: type[Payload], answered_by: str) -> MessageSpec:
    return MessageSpec(name=name, data=data, direction="to_hub", kind="command", answered_by=answered_by)


def _reply(name: str, data: type[Payload]) -> MessageSpec:
    return MessageSpec(name=name, data=data, direction="to_client", kind="reply")


def _push(name: str, data: type[Payload], answered_by: str | None = None) -> MessageSpec:
    return MessageSpec(name=name, data=data, direction="to_client", kind="push", answered_by=answered_by)


MESSAGES: tuple[MessageSpec, ...] = (
    _command(SUBSCRIBE, Subscribe, SUBSCRIBED),
    _command(UNSUBSCRIBE, Unsubscribe, UNSUBSCRIBED),
    _command(PING, Nothing, PONG),
    _command(ATTACH, Attach, ATTACHED),
    _command(CANCEL, Cancel, CANCEL_OUTCOME),
    _command(AUTH_TOKEN, AuthToken, MessageType.AUTH_SUCCESS),
    MessageSpec(name=CANCEL_ANSWER, data=CancelAnswer, direction="to_hub", kind="reply"),
    _reply(SUBSCRIBED, Subscribed),
    _reply(UNSUBSCRIBED, Unsubscribed),
    _push(LIVE, Live),
    _push(GAP, Gap),
    _reply(ERROR, ErrorData),
    _push(NOTICE, Notice),
    _reply(PONG, Pong),
    _push(POSITION, PositionNotice),
    _reply(ACCEPTED, Accepted),
    _push(CANCEL, CancelPush, CANCEL_ANSWER),
    _reply(CANCEL_OUTCOME, CancelOutcome),
    _reply(ATTACHED, Attached),
    # Events of the catalogue that go to one connection and are not logged.
    _push(MessageType.CONNECTION_ESTABLISHED, payloads.ConnectionEstablished),
    _push(MessageType.CONNECTION_CLOSED, payloads.ConnectionClosed),
    _push(MessageType.AUTH_REQUIRED, payloads.AuthRequired),
    _reply(MessageType.AUTH_SUCCESS, payloads.AuthSuccess),
    _reply(MessageType.AUTH_FAILED, payloads.AuthFailed),
)
"""Every message that is not a logged event, once for each direction. Exports list the messages in this order."""

COMMANDS: Mapping[str, MessageSpec] = {spec.name: spec for spec in MESSAGES if spec.direction == "to_hub"}
"""The messages that this hub serves besides events, by name."""

HUB_MESSAGES: Mapping[str, MessageSpec] = {spec.name: spec for spec in MESSAGES if spec.direction == "to_client"}
"""The messages that the hub sends besides logged events, by name. A client that sends one is answered
`not_publishable`; only `operation:cancel` goes both ways."""

DIRECT_EVENTS: tuple[MessageSpec, ...] = tuple(
    spec for spec in HUB_MESSAGES.values() if isinstance(spec.name, MessageType)
)
"""The messages that are events of the catalogue, too."""

_NAMES: Mapping[type[Payload], str] = {spec.data: spec.name for spec in MESSAGES}


def name_of(data: Payload) -> str:
    """Return the name of the message whose data is `data`."""
    return _NAMES[type(data)]


def encode_hub_message(
    data: Payload, *, timestamp: str, trace_id: str, id: str | None = None, reply_to: str | None = None
) -> bytes:
    """Return the reply or push whose data is `data`; see `encode_message`."""
    return encode_message(name_of(data), data, timestamp=timestamp, trace_id=trace_id, id=id, reply_to=reply_to)


def encode_accepted(
    position: str, *, duplicate: bool, timestamp: str, trace_id: str, reply_to: str, attempt: int | None = None
) -> bytes:
    """Return `event:accepted`. Formatted by hand because the hub sends one for each event."""
    more = b"" if attempt is None else b',"attempt":%d' % attempt
    if duplicate:
        more += b',"duplicate":true'
    return b'{"type":"event:accepted","timestamp":"%b","trace_id":%b,"data":{"position":"%b"%b},"reply_to":%b}' % (
        timestamp.encode(),
        quote(trace_id),
        position.encode(),
        more,
        msgspec.json.encode(reply_to),
    )
