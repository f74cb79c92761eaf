"""A small terminal emulator (ECMA-48) that reports rows as programs leave them or draw over them.

It is our own because pyte was 6 to 21 times slower on the recordings of the tests and does not report overdrawn rows.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_MAX_PARAMETERS = 64
"""Characters kept of a parameter string; cursor movements and colours are shorter, and the rest is skipped."""

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
    """An operating system command; the value is its body, shortened."""


class Token(NamedTuple):
    """One piece of terminal output."""

    kind: TokenKind
    """Kind of the piece."""
    value: str
    """Content; see `TokenKind`."""


class _State(Enum):
    GROUND = 0
    ESCAPE = 1
    INTERMEDIATE = 2
    CSI = 3
    STRING = 4
    STRING_END = 5


class EscapeReader:
    """A tokenizer that accepts text cut anywhere: the cuts do not change the meaning of the tokens.

    Only runs of text may come out in more pieces. A control character inside a sequence drops the sequence and takes
    effect; a string (OSC, DCS …) also ends at a line feed, so that a stray introducer in binary output swallows one
    line and not the rest of the run.
    """

    def __init__(self) -> None:
        self._state = _State.GROUND
        self._body = ""
        self._is_osc = False

    def feed(self, text: str) -> Iterator[Token]:
        """Yield the tokens that `text` completes."""
        position = 0
        end = len(text)
        ground = _State.GROUND  # members of an enumeration are slow to look up
        while position < end:
            if self._state is ground:
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
                    # ESC ends a string in every case; only ESC \ ends it properly.
                    self._state = _State.GROUND if character == "\\" else _State.ESCAPE
                    position += character == "\\"
                    if self._is_osc and character == "\\":
                        yield Token(TokenKind.OSC, self._body)
                elif self._state is _State.ESCAPE:
                    self._state = _State.GROUND
                    yield Token(TokenKind.ESCAPE, character)

    def _collect(self, pattern: re.Pattern[str], text: str, position: int) -> int:
        """Add the match of `pattern` to the bounded body and return the position after it."""
        run = pattern.match(text, position)
        if run is None:
            return position
        room = _MAX_PARAMETERS - len(self._body)
        if room > 0:
            self._body += run.group()[:room]
        return run.end()

    def _enter(self, character: str) -> int:
        """Set the state after ESC; return 1 if `character` was consumed, 0 if it must be read again.

        The state stays ESCAPE if the character completes a two-character escape.
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


MAX_COLUMNS = 2048
"""Columns kept of one row: progress is near the beginning, and a line may be a JSON object of a megabyte."""
MAX_ROWS = 120
"""Rows kept: the cursor moves up by at most a screen, and the tail of the output needs twenty."""
# First number of rows with absolute addresses (apt's bar on the bottom row). They are apart from the flow of lines,
# because the place of the top of the screen in that flow is unknown.
_ABSOLUTE_ORIGIN = -1_000_000
_MAX_PARAMETER = 9_999
_TAB_STOP = 8
_NUMBER_AT_END = re.compile(r"(?<!\d)\d{1,20}[.,]?$")


class ScreenLine(NamedTuple):
    """A row at the moment when the program left it or began to draw over it."""

    row: int
    """Number of the row; larger numbers are lower."""
    text: str
    """Its text without escape sequences and trailing space."""
    redrawn: bool
    """Whether the program has drawn over this row or returned to it, so that it is a display and not a log."""
    unfinished: bool = False
    """Whether the cursor is still on it: the program may be writing it, or waiting."""
    cut: bool = False
    """Whether the drawing seems incomplete: the end of the last one is behind the cursor, or a number may have more
    digits."""


@dataclass(frozen=True, slots=True)
class CursorRise:
    """An upward movement of the cursor: the program still uses the rows from `top` to `bottom`."""

    top: int
    """Row of the cursor after the movement."""
    bottom: int
    """Row of the cursor before the movement."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A program's explicit statement of its progress to the terminal (OSC 9;4, as ConEmu defined it)."""

    percent: float | None
    """0 to 100; None if the program withdrew the statement or has no figure."""


ScreenEvent = ScreenLine | CursorRise | Announcement


@dataclass(slots=True)
class _Row:
    serial: int
    text: str = ""
    # Column after the last character drawn; drawing before it is drawing over.
    front: int = 0
    dirty: bool = False
    redrawn: bool = False
    # Whether `settle` has seen the row as it is.
    settled: bool = False
    # Its text when the program last left it or began to draw over it.
    last: str = ""


class TerminalScreen:
    """Rows of text with a cursor, fed by one stream of output.

    Lines are not wrapped: one that is wider than the terminal stays one row, which keeps messages whole. Only a program
    that counts wrapped rows when it moves up is misread, by one row. The alternate screen (editors, pagers) is ignored.

    Args:
        next_serial: Returns increasing numbers that order the rows of several screens.
    """

    def __init__(self, next_serial: Callable[[], int]) -> None:
        self._next_serial = next_serial
        self._escapes = EscapeReader()
        self._rows: dict[int, _Row] = {}
        self._row = 0
        self._column = 0
        self._saved = (0, 0)
        # Lowest row from which the cursor has risen: empty rows above it are part of a display too.
        self._risen_from = _ABSOLUTE_ORIGIN - 1
        self._alternate = False

    @property
    def unsettled(self) -> bool:
        """Whether the row under the cursor has text that `settle` has not seen."""
        row = self._rows.get(self._row)
        return row is not None and row.dirty and not row.settled

    def text_at(self, row: int) -> str:
        """Return the text of a row; empty if the row is not kept."""
        held = self._rows.get(row)
        return "" if held is None else held.text.strip()

    def rows_in_order(self) -> list[tuple[int, str]]:
        """Return (serial, text) of every row with text, oldest first."""
        return [(row.serial, row.text.rstrip()) for row in self._rows.values() if row.text.strip()]

    def feed(self, text: str) -> Iterator[ScreenEvent]:
        """Draw decoded output and yield its events."""
        draws, controls = TokenKind.TEXT, TokenKind.CONTROL
        for token in self._escapes.feed(text):
            kind, value = token
            if kind is draws or kind is controls:
                if not self._alternate:
                    line = self._draw(value) if kind is draws else self._control(value)
                    if line is not None:
                        yield line
            else:
                yield from self._sequence(token)

    def settle(self) -> Iterator[ScreenLine]:
        """Yield the unfinished row up to the cursor; it is reported again when the program leaves it.

        Yields nothing if the row has not changed since the last call or `ScreenLine`.
        """
        row = self._rows.get(self._row)
        if row is None or not row.dirty or row.settled:
            return
        row.settled = True
        text = row.text[: row.front].rstrip()
        number = _number_at_end(text)
        cut = len(row.text.rstrip()) > len(text) or (number != "" and number != _number_at_end(row.last))
        yield ScreenLine(self._row, text, row.redrawn, unfinished=True, cut=cut)

    def accept(self) -> None:
        """Do not report the unfinished row again unless it changes."""
        row = self._rows.get(self._row)
        if row is not None and row.settled:
            row.dirty = False

    def finish(self) -> Iterator[ScreenLine]:
        """Yield the unfinished row at the end of the output, if no `ScreenLine` has reported its text."""
        line = self._leave(redrawn=False)
        if line is not None:
            yield line._replace(unfinished=True)

    def break_off(self) -> None:
        """Drop an unfinished sequence and row, because the bytes after them were lost."""
        self._escapes = EscapeReader()
        row = self._rows.get(self._row)
        if row is not None:
            row.dirty = False
        self._row += 1
        self._column = 0

    def _leave(self, *, redrawn: bool) -> ScreenLine | None:
        row = self._rows.get(self._row)
        if row is None:
            return None
        row.settled = False
        if not row.dirty:
            return None
        row.dirty = False
        row.redrawn = row.redrawn or redrawn
        row.last = row.text.rstrip()
        return ScreenLine(self._row, row.last, row.redrawn)

    def _draw(self, text: str) -> ScreenLine | None:
        left: ScreenLine | None = None
        row = self._rows.get(self._row)
        if row is None:
            row = self._new_row()
        column = self._column
        # One column back is overstrike (bold in manual pages) or a spinner, not a new drawing of the row.
        if column < row.front - 1:
            left = self._leave(redrawn=True)
            row.redrawn = True
        row.settled = False
        self._column = row.front = column + len(text)
        row.dirty = True
        if column < MAX_COLUMNS:
            shown = row.text
            if shown or column:
                text = shown[:column].ljust(column) + text + shown[self._column :]
            row.text = text[:MAX_COLUMNS]
        return left

    def _new_row(self) -> _Row:
        row = self._rows[self._row] = _Row(self._next_serial(), redrawn=self._row <= self._risen_from)
        if len(self._rows) > MAX_ROWS:
            # Rows are kept in the order of their first drawing.
            del self._rows[next(iter(self._rows))]
        return row

    def _control(self, character: str) -> ScreenLine | None:
        left: ScreenLine | None = None
        if character in "\n\v\f":
            left = self._leave(redrawn=False)
            self._row += 1
            # The terminal driver turns LF into CR LF; programs rely on that even through a pipe.
            self._column = 0
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\t":
            left = self._draw(" " * (_TAB_STOP - self._column % _TAB_STOP))
        return left

    def _sequence(self, token: Token) -> Iterator[ScreenEvent]:
        if token.kind is TokenKind.OSC:
            announcement = _announcement(token.value)
            if announcement is not None:
                yield announcement
        elif token.kind is TokenKind.ESCAPE:
            if token.value == "7":
                self._saved = (self._row, self._column)
            elif token.value == "8" and not self._alternate:
                yield from self._move(*self._saved)
            elif token.value == "M" and not self._alternate:
                yield from self._move(self._row - 1, self._column)
        elif token.value in ("?1049h", "?1047h", "?47h"):
            line = self._leave(redrawn=False)
            self._alternate = True
            if line is not None:
                yield line
        elif token.value in ("?1049l", "?1047l", "?47l"):
            self._alternate = False
        elif not self._alternate and token.value[0] not in "?>=<":
            yield from self._csi(token.value[-1], token.value[:-1])

    def _csi(self, final: str, parameters: str) -> Iterator[ScreenEvent]:
        first, second = _numbers(parameters)
        count = max(1, first)
        if final == "A":
            yield from self._move(self._row - count, self._column)
        elif final == "F":
            yield from self._move(self._row - count, 0)
        elif final in "Be":
            yield from self._move(self._row + count, self._column)
        elif final == "E":
            yield from self._move(self._row + count, 0)
        elif final in "Ca":
            self._column = min(self._column + count, _MAX_PARAMETER)
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final in "G`":
            self._column = count - 1
        elif final in "Hf":
            yield from self._move(_ABSOLUTE_ORIGIN + count - 1, max(1, second) - 1)
        elif final == "d":
            yield from self._move(_ABSOLUTE_ORIGIN + count - 1, self._column)
        elif final == "s":
            self._saved = (self._row, self._column)
        elif final == "u":
            yield from self._move(*self._saved)
        elif final == "K":
            yield from self._erase_in_line(first)
        elif final == "J":
            yield from self._erase_below(first)

    def _move(self, row: int, column: int) -> Iterator[ScreenEvent]:
        origin = _ABSOLUTE_ORIGIN if self._row < 0 else 0
        # A movement between an absolute row and the flow of lines is a jump and not a rise.
        same_region = (row < 0) == (self._row < 0) or abs(row - self._row) <= _MAX_PARAMETER
        if same_region:
            row = max(origin, row)
        if row == self._row:
            self._column = column
            return
        if same_region and row < self._row:
            for number in range(row, self._row + 1):
                held = self._rows.get(number)
                if held is not None:
                    held.redrawn = True
            # This comes before the line that is left: its reader must know that the rows above are still in use.
            yield CursorRise(row, self._row)
            self._risen_from = max(self._risen_from, self._row)
        line = self._leave(redrawn=not same_region)
        if line is not None:
            yield line
        self._row = row
        self._column = column

    def _erase_in_line(self, mode: int) -> Iterator[ScreenEvent]:
        row = self._rows.get(self._row)
        if row is None:
            return
        if mode != 0 or self._column < row.front:
            line = self._leave(redrawn=True)
            if line is not None:
                yield line
            row.redrawn = row.redrawn or row.front > 1
        if mode == 0:
            row.text = row.text[: self._column]
            row.front = min(row.front, self._column)
        elif mode == 1:
            row.text = " " * min(self._column, len(row.text)) + row.text[self._column :]
        else:
            row.text = ""
            row.front = 0

    def _erase_below(self, mode: int) -> Iterator[ScreenEvent]:
        yield from self._erase_in_line(0 if mode == 0 else 2)
        for number in [number for number in self._rows if mode >= 2 or (mode == 0 and number > self._row)]:
            if (number < 0) == (self._row < 0) or mode >= 2:
                del self._rows[number]


def _number_at_end(text: str) -> str:
    found = _NUMBER_AT_END.search(text)
    return "" if found is None else found[0]


def _numbers(parameters: str) -> tuple[int, int]:
    """Return the first two numeric parameters of a control sequence; 0 where absent."""
    fields = [*parameters.split(";", 2), "", ""]
    first, second = (min(int(field[:5]), _MAX_PARAMETER) if _is_number(field) else 0 for field in fields[:2])
    return first, second


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdigit()


def _announcement(body: str) -> Announcement | None:
    """Read `9;4;state;percent`; return None for any other command."""
    fields = body.split(";")
    if fields[:2] != ["9", "4"] or len(fields) < 3:
        return None
    # States: 0 take back, 1 normal, 2 error, 3 unknown, 4 paused.
    if fields[2] in ("1", "2", "4") and len(fields) > 3 and _is_number(fields[3]):
        return Announcement(min(100.0, float(fields[3][:4])))
    return Announcement(None)
