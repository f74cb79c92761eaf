"""Translation of Python's regular expressions to ECMAScript, with its flag `u`."""

import re

_GROUP = re.compile(r"\(\?(?:P<(?P<name>\w+)>|P=(?P<again>\w+)\)|(?P<plain>:|=|!|<=|<!))")
_REPEAT = re.compile(r"\{(?P<least>[0-9]*)(?P<comma>,?)(?P<most>[0-9]*)\}")
_CODE = re.compile(r"\\(?:x(?P<two>[0-9A-Fa-f]{2})|u(?P<four>[0-9A-Fa-f]{4})|U(?P<eight>[0-9A-Fa-f]{8}))")
_SETS = {
    "d": (r"\p{Nd}", r"\p{Nd}"),
    "D": (r"\P{Nd}", r"\P{Nd}"),
    "w": (r"[\p{L}\p{N}_]", r"\p{L}\p{N}_"),
    "W": (r"[^\p{L}\p{N}_]", None),
    "s": (r"\s", r"\s"),
    "S": (r"\S", r"\S"),
}
"""Python's character classes, outside and inside of brackets. Its digits and letters are those of all scripts."""
_BOUNDARIES = {
    "b": r"(?:(?<=[\p{L}\p{N}_])(?![\p{L}\p{N}_])|(?<![\p{L}\p{N}_])(?=[\p{L}\p{N}_]))",
    "B": r"(?:(?<=[\p{L}\p{N}_])(?=[\p{L}\p{N}_])|(?<![\p{L}\p{N}_])(?![\p{L}\p{N}_]))",
}
"""Word boundaries of all scripts. Those of ECMAScript recognize English letters only."""
_SYNTAX = frozenset(r"^$\.*+?()[]{}|/-")
_CONTROLS = frozenset("nrtfv")


def to_ecmascript(pattern: str) -> str | None:
    """Return `pattern` for `new RegExp(…, "u")`, or None if ECMAScript cannot express it.

    ``$`` is unchanged. Unlike Python's, it does not match before a line break at the end of the text.
    """
    try:
        re.compile(pattern)
    except re.error:
        return None
    return _Translation(pattern).translate()


class _Untranslatable(Exception):
    """A part of a pattern that ECMAScript cannot express."""


class _Translation:
    """The translation of one pattern, from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._parts: list[str] = []
        self._repeats = False
        """Whether the last token was a quantifier: a `+` after it makes it possessive, a `?` lazy."""

    def translate(self) -> str | None:
        try:
            while self._at < len(self._pattern):
                self._parts.append(self._next())
        except _Untranslatable:
            return None
        return "".join(self._parts)

    def _next(self) -> str:
        char = self._pattern[self._at]
        repeated, self._repeats = self._repeats, False
        if char == "\\":
            return self._escape(inside=False)
        if char == "[":
            return self._brackets()
        if char == "(" and self._pattern[self._at + 1 : self._at + 2] == "?":
            return self._group()
        if char == "{":
            return self._repeat()
        self._at += 1
        if char in "*+?":
            if repeated and char == "+":
                raise _Untranslatable
            self._repeats = char != "?" or not repeated
            return char
        # In Python, a dot matches everything but a line feed, and an unpaired } or ] matches itself.
        return {".": r"[^\n]", "}": r"\}", "]": r"\]"}.get(char, char)

    def _group(self) -> str:
        match = _GROUP.match(self._pattern, self._at)
        if match is None:
            raise _Untranslatable
        self._at = match.end()
        if match["name"]:
            return f"(?<{match['name']}>"
        return rf"\k<{match['again']}>" if match["again"] else match[0]

    def _repeat(self) -> str:
        match = _REPEAT.match(self._pattern, self._at)
        if match is None or not (match["least"] or match["comma"]) or match[0] == "{,}":
            self._at += 1
            return r"\{"
        self._at = match.end()
        self._repeats = True
        return f"{{{match['least'] or '0'}{match['comma']}{match['most']}}}"

    def _brackets(self) -> str:
        self._at += 1
        made = "["
        if self._pattern.startswith("^", self._at):
            made, self._at = "[^", self._at + 1
        first = True
        while first or self._pattern[self._at] != "]":
            char = self._pattern[self._at]
            if char == "\\":
                made += self._escape(inside=True)
            else:
                made += f"\\{char}" if char in "[]" else char
                self._at += 1
            first = False
        self._at += 1
        return made + "]"

    def _escape(self, *, inside: bool) -> str:
        code = _CODE.match(self._pattern, self._at)
        if code is not None:
            self._at = code.end()
            return f"\\u{{{(code['two'] or code['four'] or code['eight'])}}}"
        char = self._pattern[self._at + 1]
        self._at += 2
        if char in _SETS:
            made = _SETS[char][inside]
        elif char in "AZ" and not inside:
            made = "^" if char == "A" else "$"
        elif char in _BOUNDARIES and not inside:
            made = _BOUNDARIES[char]
        elif char.isascii() and char.isalnum():
            made = f"\\{char}" if char in _CONTROLS or (char in "123456789" and not inside) else None
        else:
            made = f"\\{char}" if char in _SYNTAX and (char != "-" or inside) else char
        if made is None:
            raise _Untranslatable
        return made
