"""Positions: places in the log, opaque to clients (PROTOCOL.md, "Positions")."""

import re

from msgspec import Struct

from tidings.exceptions import InvalidPosition

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


def parse_position(text: str) -> Position:
    """Return the position that `text` represents.

    Raises:
        InvalidPosition: `text` is not a position.
    """
    match = _FORM.fullmatch(text)
    if match is None or int(match[2]) > _MAX_OFFSET:
        raise InvalidPosition(f"{text[:80]!r} is not a position")
    return Position(match[1], int(match[2]))


def parse_since(text: str) -> Position | str:
    """Return the value of ``since``: `SNAPSHOT`, `NOW`, `FIRST` (also written as empty), or a position.

    Raises:
        InvalidPosition: `text` has another form.
    """
    if text == "":
        return FIRST
    if text in (SNAPSHOT, NOW, FIRST):
        return text
    return parse_position(text)
