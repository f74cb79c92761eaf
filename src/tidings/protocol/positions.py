"""Positions: places in the log, opaque to clients (CONTRACT §6)."""

import re

from msgspec import Struct

from tidings.exceptions import InvalidPosition

SNAPSHOT = "snapshot"
NOW = "now"
FIRST = "first"

_MAX_OFFSET = 2**63 - 1
"""The largest that logs store."""
_FORM = re.compile(r"([a-z0-9]{1,32}):(0|[1-9][0-9]{0,18})", re.ASCII)


class Position(Struct, frozen=True):
    """One place: the epoch it was written in and the offset, which grows by one an event over all epochs."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


def parse_position(text: str) -> Position:
    """Return the position that `text` writes.

    Raises:
        InvalidPosition: No log of ours writes that.
    """
    match = _FORM.fullmatch(text)
    if match is None or int(match[2]) > _MAX_OFFSET:
        raise InvalidPosition(f"{text[:80]!r} is not a position")
    return Position(match[1], int(match[2]))


def parse_since(text: str) -> Position | str:
    """Return what ``since`` asks for: `SNAPSHOT`, `NOW`, `FIRST` (also written as empty), or a position.

    Raises:
        InvalidPosition: It is none of these.
    """
    if text == "":
        return FIRST
    if text in (SNAPSHOT, NOW, FIRST):
        return text
    return parse_position(text)
