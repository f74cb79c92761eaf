"""Python's regular expressions as ECMAScript has them, with its flag `u`."""

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
"""Python's classes of characters, outside brackets and inside: its digits and letters are those of all scripts."""
_BOUNDARIES = {
    "b": r"(?:(?<=[\p{L}\p{N}_])(?![\p{L}\p{N}_])|(?<![\p{L}\p{N}_])(?=[\p{L}\p{N}_]))",
    "B": r"(?:(?<=[\p{L}\p{N}_])(?=[\p{L}\p{N}_])|(?<![\p{L}\p{N}_])(?![\p{L}\p{N}_]))",
}
"""ECMAScript's own know only the letters of English."""
_SYNTAX = frozenset(r"^$\.*+?()[]{}|/-")
_CONTROLS = frozenset("nrtfv")


def to_ecmascript(pattern: str) -> str | None:
    """Return `pattern` for `new RegExp(…, "u")`, or None where it says what ECMAScript cannot.

    ``$`` stays what it is, so that in ECMAScript it does not match before a line break at the end.
    """
    try:
        re.compile(pattern)
    except re.error:
        return None
    return _Translation(pattern).whole()


class _Untranslatable(Exception):
    """Something that ECMAScript has no words for."""


class _Translation:
    """One pattern on its way, read from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._made: list[str] = []
        self._repeats = False
        """Whether a quantifier was just read: another one behind it is Python's possessive one, or `?`."""

    def whole(self) -> str | None:
        try:
            while self._at < len(self._pattern):
                self._made.append(self._next())
        except _Untranslatable:
            return None
        return "".join(self._made)

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
        # In Python, a dot is everything but a line feed, and these two stand for themselves where nothing is open.
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
