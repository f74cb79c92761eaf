"""Splitting of decoded terminal output into text, control characters and escape sequences (ECMA-48)."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

# A parameter string longer than this is no cursor movement or colour; the rest of it is skipped, never kept.
_MAX_PARAMETERS = 64

_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_PARAMETERS = re.compile(r"[ -?]+")
_STRING = re.compile(r"[^\x07\x18\x1b\n]+")


class TokenKind(Enum):
    """Kind of one piece of terminal output."""

    TEXT = "text"
    """A run of printable characters."""
    CONTROL = "control"
    """One control character, such as a carriage return."""
    ESCAPE = "escape"
    """A two-character escape; the value is its second character."""
    CSI = "csi"
    """A control sequence; the value is its parameters followed by the final character."""
    OSC = "osc"
    """An operating system command; the value is its body, cut."""


class Token(NamedTuple):
    """One piece of terminal output."""

    kind: TokenKind
    """What it is."""
    value: str
    """Its content, see TokenKind."""


class _State(Enum):
    GROUND = 0
    ESCAPE = 1
    INTERMEDIATE = 2
    CSI = 3
    STRING = 4
    STRING_END = 5


class EscapeReader:
    """A tokenizer that may be fed text cut anywhere; the tokens mean the same however it was cut.

    Only runs of text can come out in more pieces. A sequence that is broken off by a control character is dropped and
    the character obeyed; a string (OSC, DCS …) ends at a line feed too, so that a stray introducer in binary output
    swallows one line and not the rest of the run.
    """

    def __init__(self) -> None:
        self._state = _State.GROUND
        self._body = ""
        self._is_osc = False

    def feed(self, text: str) -> Iterator[Token]:
        """Yield the tokens that `text` completes."""
        position = 0
        end = len(text)
        while position < end:
            if self._state is _State.GROUND:
                run = _TEXT.match(text, position)
                if run is not None:
                    position = run.end()
                    yield Token(TokenKind.TEXT, run.group())
                    continue
                character = text[position]
                position += 1
                if character == "\x1b":
                    self._state = _State.ESCAPE
                else:
                    yield Token(TokenKind.CONTROL, character)
            elif self._state is _State.CSI:
                position = self._collect(_PARAMETERS, text, position)
                if position < end:
                    character = text[position]
                    self._state = _State.GROUND
                    if "@" <= character <= "~":
                        position += 1
                        yield Token(TokenKind.CSI, self._body + character)
            elif self._state is _State.STRING:
                position = self._collect(_STRING, text, position)
                if position < end:
                    character = text[position]
                    self._state = _State.STRING_END if character == "\x1b" else _State.GROUND
                    if character != "\n":
                        position += 1
                    if character == "\x07" and self._is_osc:
                        yield Token(TokenKind.OSC, self._body)
            else:
                character = text[position]
                position += self._enter(character)
                if self._state is _State.STRING_END:
                    # ESC closes a string whatever follows; only ESC \ closes it properly.
                    self._state = _State.GROUND if character == "\\" else _State.ESCAPE
                    position += character == "\\"
                    if self._is_osc and character == "\\":
                        yield Token(TokenKind.OSC, self._body)
                elif self._state is _State.ESCAPE:
                    self._state = _State.GROUND
                    yield Token(TokenKind.ESCAPE, character)

    def _collect(self, pattern: re.Pattern[str], text: str, position: int) -> int:
        """Add what `pattern` matches to the bounded body and return where it ends."""
        run = pattern.match(text, position)
        if run is None:
            return position
        room = _MAX_PARAMETERS - len(self._body)
        if room > 0:
            self._body += run.group()[:room]
        return run.end()

    def _enter(self, character: str) -> int:
        """Choose the state after ESC; return 1 if `character` was consumed, 0 if it must be read again.

        Leaves the state at ESCAPE where the character itself completes a two-character escape.
        """
        if self._state is _State.STRING_END:
            return 0
        if self._state is _State.INTERMEDIATE:
            if " " <= character <= "/":
                return 1
            self._state = _State.GROUND
            return 1 if "0" <= character <= "~" else 0
        self._body = ""
        if character == "[":
            self._state = _State.CSI
        elif character in "]PX^_":
            self._is_osc = character == "]"
            self._state = _State.STRING
        elif " " <= character <= "/":
            self._state = _State.INTERMEDIATE
        elif not "0" <= character <= "~":
            self._state = _State.GROUND
            return 0
        return 1
