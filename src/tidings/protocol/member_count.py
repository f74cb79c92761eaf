"""Cheap proof that a message has no member twice: its colons are those of the members that its decoded values need.

A count that is too low is safe: the message then gets the full check of `tidings.protocol.strict_json`.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import NODEFAULT, Struct
from msgspec.structs import astuple, fields

AmbiguousFields = tuple[tuple[int, object, bytes], ...]
"""Fields with a default other than None: the index, the default, and the name as it is written, with its colon."""

_UNKNOWN = -(2**30)
_MAX_SAFE = 2**63
_PLAIN_KINDS = {str, bool, type(None)}


def ambiguous_fields(payload: type[Struct]) -> AmbiguousFields:
    """Return the fields of the struct `payload` whose value does not show whether they are in the data."""
    found: list[tuple[int, object, bytes]] = []
    for index, field in enumerate(fields(payload)):
        made = None if field.default_factory is NODEFAULT else field.default_factory()
        default = made if field.default is NODEFAULT else field.default
        if default is not None:
            found.append((index, default, b'"%b":' % field.encode_name.encode()))
    return tuple(found)


def count_members(payload: Struct, data: bytes, ambiguous: AmbiguousFields, *, bounded: bool) -> int:
    """Return the number of members that `data` has at least; a negative number if it may hold a long number.

    Args:
        payload: The decoded data.
        data: The data as JSON.
        ambiguous: The ambiguous fields of the payload's struct.
        bounded: Whether the struct allows no number beyond 64 bits.
    """
    values = astuple(payload)
    if not bounded and _has_long_number(values):
        return _UNKNOWN
    members = len(values) - values.count(None)
    for index, default, name in ambiguous:
        # In an object without other objects, only the name of a member is followed by a colon.
        if values[index] == default and (name not in data or data.find(b"{", 1) >= 0):
            members -= 1
    return members


def _has_long_number(values: Iterable[Any]) -> bool:
    """Return whether one of `values` may have been written with a number beyond 64 bits or beyond the doubles."""
    for value in values:
        kind = type(value)
        if kind in _PLAIN_KINDS:
            continue
        if kind is int or kind is float:
            if not -_MAX_SAFE <= value < _MAX_SAFE:
                return True
        elif kind is dict:
            if _has_long_number(value.values()):
                return True
        elif kind is not list or _has_long_number(value):
            return True
    return False


def count_colons(values: Iterable[Any]) -> int:
    """Return how many colons the JSON text of decoded values has at least, if none is escaped."""
    colons = 0
    for value in values:
        kind = type(value)
        if kind is str:
            colons += value.count(":")
        elif kind is dict:
            colons += len(value) + count_colons(value) + count_colons(value.values())
        elif kind is list:
            colons += count_colons(value)
    return colons
