"""Positions: places in the log, opaque to clients (PROTOCOL.md, "Positions")."""

import re
from contextlib import suppress

from msgspec import Struct

from tidings.exceptions import InvalidPosition, InvalidTimestamp
from tidings.protocol.timestamps import restore_plus, to_nanoseconds

SNAPSHOT = "snapshot"
NOW = "now"
FIRST = "first"

_MAX_OFFSET = 2**63 - 1
"""Largest offset that logs store."""
_FORM = re.compile(r"([a-z0-9]{1,32}):(0|[1-9][0-9]{0,18})", re.ASCII)


class Position(Struct, frozen=True):
    """A place in the log: the epoch in which it was written, and the offset, which grows by one per event."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Moment(Struct, frozen=True):
    """A time to start from: the events that the hub received then or later."""

    unix_ns: int
    """Nanoseconds since 1970."""


Since = Position | Moment | str
"""Where to start reading: a position, a time, or `SNAPSHOT`, `NOW` or `FIRST`."""


def parse_position(text: str) -> Position:
    """Return the position that `text` represents.

    Raises:
        InvalidPosition: `text` is not a position.
    """
    match = _FORM.fullmatch(text)
    if match is None or int(match[2]) > _MAX_OFFSET:
        raise InvalidPosition(f"{text[:80]!r} is not a position")
    return Position(match[1], int(match[2]))


def parse_since(text: str) -> Since:
    """Return the value of ``since``: `SNAPSHOT`, `NOW`, `FIRST` (also written as empty), RFC 3339, or a position.

    Raises:
        InvalidPosition: `text` has another form.
    """
    if text == "":
        return FIRST
    if text in (SNAPSHOT, NOW, FIRST):
        return text
    with suppress(InvalidTimestamp):
        return Moment(to_nanoseconds(restore_plus(text)))
    return parse_position(text)
