"""Checks of a whole message before it is read: UTF-8, nesting, and JSON that every reader can read.

Libraries accept bad UTF-8 in members they skip, and disagree on depth and on halves of surrogate pairs: one bad
publisher must not disconnect every reader, so the hub checks all three itself (CONTRACT §1).
"""

import re

from tidings.exceptions import InvalidJSON, InvalidUTF8, PayloadTooLarge, TooDeep

MAX_DATA_BYTES = 65_535
"""Of `data`: "under 64 KB" (guideline 4)."""
MAX_BODY_BYTES = 262_144
"""Of one frame: room enough that an event which is too large can be told so."""
MAX_DEPTH = 64
"""Levels of arrays and objects, the envelope's own included."""

# Between tokens these three are JSON white space; inside strings JSON forbids them raw. So wherever they stand in a
# body that parsed, a space is the same value, and safe inside an SSE field or a line of NDJSON.
_LINE_BREAKS = bytes.maketrans(b"\r\n\t", b"   ")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# A byte is looked for by its number, which is one memchr; looking for b"[" costs six times that.
LF, CR, TAB, BRACKET, BACKSLASH, DELETE = b"\n\r\t[\\\x7f"

FLAT_BYTES = 5 * MAX_DEPTH
"""Of bodies without arrays, none up to this length is too deep: an object in an object costs five, `{"":` and `}`."""


def check_body(body: bytes) -> None:
    """Check `body` for what a JSON decoder lets through.

    Raises:
        PayloadTooLarge: It is longer than `MAX_BODY_BYTES`.
        InvalidUTF8: It holds bytes that are not UTF-8.
        TooDeep: It nests deeper than `MAX_DEPTH`.
        InvalidJSON: A string in it holds half a surrogate pair.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(
            f"$: the message is {len(body)} bytes; {MAX_BODY_BYTES} are allowed",
            size=len(body),
            limit=MAX_BODY_BYTES,
            path="$",
        )
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as cause:
            raise InvalidUTF8(f"$: byte {cause.start} of the message is not UTF-8") from cause
    if (len(body) > FLAT_BYTES or BRACKET in body) and _is_too_deep(body):
        raise TooDeep(f"$: the message nests deeper than {MAX_DEPTH} levels")
    if BACKSLASH in body and _has_lone_surrogate(body):
        raise InvalidJSON("$: a string holds half a surrogate pair", hint="Escape both halves, or write UTF-8.")


def _is_too_deep(body: bytes) -> bool:
    # As many openers as levels at most: counting them answers for nearly all bodies without a look at strings.
    return body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth(body) > MAX_DEPTH


def _has_lone_surrogate(body: bytes) -> bool:
    if not _SURROGATE.search(body):
        return False
    high_ends = -1
    for escape in _ESCAPE.finditer(body):
        digits = escape[1]
        unit = int(digits, 16) if digits else 0
        paired = high_ends == escape.start()
        if 0xDC00 <= unit <= 0xDFFF:
            if not paired:
                return True
            high_ends = -1
        elif high_ends >= 0:
            return True
        elif 0xD800 <= unit <= 0xDBFF:
            high_ends = escape.end()
    return high_ends >= 0


def depth(body: bytes) -> int:
    """Return how many levels of arrays and objects `body` nests, strings left out. Takes time linear in its length."""
    # With escaped backslashes gone, and then escaped quotes, each quote that is left begins or ends a string. (A
    # pattern for a whole string would look again from every quote of one that never ends.)
    outside = b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    level = deepest = 0
    for bracket in outside.translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            level += 1
            deepest = max(deepest, level)
        else:
            level -= 1
    return deepest


def single_line(data: bytes) -> bytes:
    """Return the JSON text `data` with CR, LF and TAB between its tokens turned into spaces."""
    return data.translate(_LINE_BREAKS) if LF in data or CR in data or TAB in data else data
