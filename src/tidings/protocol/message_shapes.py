"""Remembers the shapes of checked messages, so that most messages need no search for members that occur twice.

A publisher sends messages of few shapes: the same members in the same order, and other values. One match with the
pattern of a shape that passed `check_message` proves what that function finds out in twenty times the time.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tidings.protocol.envelope import BACKSLASH, MAX_TRACE_ID_CHARS
from tidings.protocol.strict_json import check_message

MAX_SHAPES = 8
"""Shapes that are remembered for one kind of data: the latest."""
LEARNING_MESSAGES = 256
"""Messages of unknown shapes, of which the last is remembered: compiling a pattern costs as much as 100 full checks."""
MAX_SHAPE_TOKENS = 512
"""Most tokens in a message whose shape is remembered, whatever the length of its texts. A message of 2 KB has fewer."""

# All quantifiers that could give characters back are possessive: a match takes time linear in the message.
_TOKEN = re.compile(
    rb"""(?P<text>"(?:[^"\\]++|\\.)*+")(?P<colon>\s*+:)?|(?P<number>-?[0-9][0-9.]*+(?P<exponent>[eE])?)"""
    rb"|(?P<word>true|false|null)|.",
    re.DOTALL,
)
_TEXT: Final = rb'"[^"]*+"'
_TRACE_ID: Final = rb'"[^"]{0,%d}+"' % MAX_TRACE_ID_CHARS
# A quote after another character than a backslash ends a text. Looking for it first halves the time.
_ESCAPED_TEXT: Final = rb'"(?>[^"]*+(?<!\\)"|[^"\\]*+(?:\\.[^"\\]*+)*+")'
_NUMBER: Final = rb"[0-9.-]{1,19}+"
"""Numbers that are short enough to be within 64 bits and within the doubles."""
_WORD: Final = rb"(?:true|false|null)"
_STAMP: Final = rb'"[^"]{19}\.[0-9]{0,8}[1-9]Z"'
_IS_STAMP = re.compile(_STAMP).fullmatch
_Match = Callable[[bytes], re.Match[bytes] | None]
_NEVER = re.compile(rb"(?!)").fullmatch


class MessageShapes:
    """The shapes of messages with data of one kind.

    Args:
        kind: The struct of the data.
    """

    __slots__ = ("_kind", "_matches_any", "_patterns", "_stamped_patterns", "_unknown", "matches_stamped")

    def __init__(self, kind: type[Struct]) -> None:
        self._kind = kind
        self._unknown = 0
        self._patterns: list[bytes] = []
        self._stamped_patterns: list[bytes] = []
        self._matches_any: _Match = _NEVER
        self.matches_stamped: _Match = _NEVER
        """Called with a message without a backslash. A match proves that `check_message` accepts the message, that its
        timestamp has a fraction in canonical form and ends in `Z`, and that its trace id, if any, is not too long."""

    def check(self, body: bytes) -> None:
        """Check `body` like `check_message`, and remember its shape now and then.

        Args:
            body: The message. It is valid JSON, and its data decodes as this kind.

        Raises:
            ContractError: See `check_message`.
        """
        if self._matches_any(body):
            return
        check_message(body, self._kind)
        self._unknown += 1
        if self._unknown == LEARNING_MESSAGES:
            self._unknown = 0
            self._learn(body)

    def _learn(self, body: bytes) -> None:
        found = _patterns_of(body)
        if found is None:
            return
        pattern, stamped = found
        self._matches_any = _add(pattern, self._patterns)
        if stamped and BACKSLASH not in body:
            self.matches_stamped = _add(stamped, self._stamped_patterns)


def _add(pattern: bytes, patterns: list[bytes]) -> _Match:
    """Add a pattern to the latest `MAX_SHAPES`, and return the function that matches any of them."""
    if pattern in patterns:
        patterns.remove(pattern)
    patterns.insert(0, pattern)
    del patterns[MAX_SHAPES:]
    return re.compile(b"|".join(patterns)).fullmatch


def _patterns_of(body: bytes) -> tuple[bytes, bytes] | None:
    """Return two patterns of the shape of `body`.

    None if it has more than `MAX_SHAPE_TOKENS`, or a number with an exponent, which may be too large.

    The first pattern is for any message; the second is for one without a backslash, and requires a canonical timestamp
    with a fraction, and a trace id that is not too long. It is empty if `body` has no such timestamp.
    """
    parts: list[bytes] = []
    stamped_parts: list[bytes] = []
    level, name, stamped = 0, b"", False
    for token in _TOKEN.finditer(body):
        if token["exponent"] or len(parts) == MAX_SHAPE_TOKENS:
            return None
        part = re.escape(token[0])
        stamped_part = b""
        if token["colon"]:
            name = token["text"]
        elif token["text"]:
            part, stamped_part = _ESCAPED_TEXT, _TEXT
            if level == 1 and name == b'"timestamp"' and _IS_STAMP(token["text"]):
                stamped, stamped_part = True, _STAMP
            elif level == 1 and name == b'"trace_id"':
                stamped_part = _TRACE_ID
        elif token["number"]:
            part = _NUMBER
        elif token["word"]:
            part = _WORD
        else:
            level += (token[0] in b"{[") - (token[0] in b"}]")
        parts.append(part)
        stamped_parts.append(stamped_part or part)
    return b"".join(parts), b"".join(stamped_parts) if stamped else b""
