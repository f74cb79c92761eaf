"""Commands of a `tidings.v1` connection, the replies to them, and the hub's pushes (CONTRACT §5)."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from tidings.contract.payloads import Payload

SUBPROTOCOL = "tidings.v1"
"""Offered by clients that want ids, replies and positions."""

Paths = Annotated[list[str], Meta(min_length=1, max_length=1000)]
"""1–1,000 paths: a browser's screen needs tens; beyond this a prefix is what is meant."""


class Subscribe(Payload, frozen=True, kw_only=True):
    """Sent by a client to read more paths: `channel:subscribe`."""

    channels: Paths
    since: str = "snapshot"
    """`snapshot`, `now`, `first` (or empty), or a position."""


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


class Nothing(Payload, frozen=True, kw_only=True):
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

COMMANDS: dict[str, CommandType] = {
    command.name: command
    for command in (
        CommandType(name=SUBSCRIBE, data=Subscribe),
        CommandType(name=UNSUBSCRIBE, data=Unsubscribe),
        CommandType(name=PING, data=Nothing),
    )
}
"""What this hub serves."""

LATER_COMMANDS = frozenset({"auth:token", "producer:attach", "operation:cancel", "operation:cancel_answer"})
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
