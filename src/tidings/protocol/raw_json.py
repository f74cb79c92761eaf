"""Reads and adds members of a sender's raw JSON object without changing its other bytes (docs/protocol/events.md)."""

import re
from collections.abc import Collection
from itertools import islice

import msgspec
from msgspec import Raw
from msgspec.json import Decoder, encode

_ALWAYS_WRITTEN = (("current_step", b'""'), ("total_steps", b"0"))
_decode = Decoder(dict[str, Raw]).decode


def with_progress_members(data: bytes) -> bytes:
    """Return a progress payload with the two members that are always written, added where the publisher left them out.

    Args:
        data: A JSON object that is not empty.
    """
    # Only a name is followed by a colon; in an object without nested objects it is a name of a member.
    if data.find(b'"current_step":') >= 0 and data.find(b'"total_steps":') >= 0 and data.count(b"{") == 1:
        return data
    members = _decode(data)
    for name, empty in _ALWAYS_WRITTEN:
        if name not in members:
            data = b'%b,"%b":%b}' % (data[:-1].rstrip(), name.encode(), empty)
    return data


def with_first_member(data: bytes, name: str, value: str) -> bytes:
    """Return the object `data` with the member `name` at its start, replacing any other member of that name.

    Args:
        data: A JSON object that has other members.
        name: The new member's name.
        value: The new member's value.
    """
    members = _decode(data)
    if members.pop(name, None) is not None:  # an empty value was written: readers take the last of two members
        data = encode(members)
    return b"{%b:%b,%b" % (encode(name), encode(value), data[1:])


def with_last_member(data: bytes, name: str, value: bytes) -> bytes:
    """Return the object `data` with the member `name` at its end, replacing a 0 that stands for none.

    Args:
        data: A JSON object that has other members.
        name: The new member's name.
        value: The new member's value, as JSON.
    """
    return b"%b,%b:%b}" % (_without_zero(data, name)[:-1].rstrip(), encode(name), value)


def _without_zero(data: bytes, name: str) -> bytes:
    """Return the object `data` without the member `name` if that is 0."""
    if not data.startswith(b"{") or encode(name) not in data:
        return data
    members = _decode(data)
    if name not in members or bytes(members[name]) not in (b"0", b"-0"):
        return data
    del members[name]
    return encode(members)


_ATTEMPT = re.compile(rb',"attempt":[0-9]+\}')
_OPERATION = re.compile(rb'\{"operation_id":"(?:[^"\\]|\\.)*",')


def is_stored_as(published: bytes, stored: bytes) -> bool:
    """Return whether `stored` equals `published`, apart from the members that the hub adds."""
    if published == stored:
        return True
    start = _without_zero(published, "attempt")[:-1].rstrip()
    if stored.startswith(start) and _ATTEMPT.fullmatch(stored, len(start)):
        return True
    end = published[1:]
    return stored.endswith(end) and _OPERATION.fullmatch(stored, 0, len(stored) - len(end)) is not None


_MAX_SCANNED_TOKENS = 50_000
"""Strings and brackets that `scan_text_members` reads: more than 64 KB of data hold, in at most 20 ms."""
# A string, its colon if it is a name, or a bracket. The quantifiers are possessive: a text of any kind is read once.
_TOKEN = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)\s*+(:?)|([{\[])|[}\]]', re.DOTALL)


def scan_text_members(body: bytes, names: Collection[str]) -> dict[str, str]:
    """Return those members of the outermost object in `body` that are named in `names` and hold text.

    The body need not be valid: it may nest too deep, hold bad UTF-8 elsewhere, or be cut off. So the rejection of such
    a message can still name the message. The last of several members of one name counts, as it does for most parsers.
    """
    found: dict[str, str] = {}
    wanted = {b'"%b"' % name.encode(): name for name in names}
    if not any(name in body for name in wanted):
        return found
    level, name = 0, None
    for token in islice(_TOKEN.finditer(body), _MAX_SCANNED_TOKENS):
        text, colon, opener = token.groups()
        if opener:
            level += 1
            name = None
        elif text is None:
            level -= 1
        elif level == 1:
            if colon:
                name = wanted.get(text)
            elif name is not None:
                value = _decode_text(text)
                if value is not None:
                    found[name] = value
                name = None
    return found


def _decode_text(text: bytes) -> str | None:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
