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


class Nothing(Payload, frozen=True, kw_only=True):
    """The data of a command that needs none; `null` and `{}` are both it."""


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
    reserved: bool = False
    """True: a command of the contract that this hub does not serve. The hub answers `not_supported`."""

    def decode(self, data: bytes | Raw) -> Payload:
        """Return the message's data; `null` is an empty object.

        Raises:
            msgspec.ValidationError: The data does not fit the struct.
        """
        body = bytes(data)
        return msgspec.json.decode(b"{}" if body == b"null" else body, type=self.data)


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


def _command(name: str, data: type[Payload], answered_by: str, *, reserved: bool = False) -> MessageSpec:
    return MessageSpec(
        name=name, data=data, direction="to_hub", kind="command", answered_by=answered_by, reserved=reserved
    )


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
    _command(AUTH_TOKEN, Nothing, MessageType.AUTH_SUCCESS, reserved=True),
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

COMMANDS: Mapping[str, MessageSpec] = {
    spec.name: spec for spec in MESSAGES if spec.direction == "to_hub" and not spec.reserved
}
"""The messages that this hub serves besides events, by name."""

RESERVED_COMMANDS = frozenset(spec.name for spec in MESSAGES if spec.reserved)
"""Commands of the contract that this hub does not serve: it answers `not_supported`, not `unknown_type`."""

HUB_MESSAGES: Mapping[str, MessageSpec] = {spec.name: spec for spec in MESSAGES if spec.direction == "to_client"}
"""The messages that the hub sends besides logged events, by name. A client that sends one is answered
`not_publishable`; only `operation:cancel` goes both ways."""

DIRECT_EVENTS: tuple[MessageSpec, ...] = tuple(
    spec for spec in HUB_MESSAGES.values() if isinstance(spec.name, MessageType)
)
"""The messages that are events of the catalogue, too."""

REPLIES_AND_PUSHES: Mapping[str, type[Payload]] = {
    spec.name: spec.data for spec in HUB_MESSAGES.values() if spec.name not in COMMANDS and spec not in DIRECT_EVENTS
}
"""The data of the hub's messages that are not in the catalogue, by name, for exports. The push of `operation:cancel` is
left out: it shares its name with a command, and only producers receive it."""

_NAMES: Mapping[type[Payload], str] = {spec.data: spec.name for spec in MESSAGES if not spec.reserved}


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
