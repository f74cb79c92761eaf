"""The screen of a terminal, as far as a watch uses one: what a person sees after all that was written."""

import re

from rich.cells import get_character_cell_size

_TOKENS = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])|\x1b[78=>]|\x1b\][^\x07]*\x07|(.)", re.DOTALL)


class EmulatedScreen:
    """A grid of cells with a cursor; lines that leave it at the top are in `scrolled`."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows: list[list[str]] = [self._blank() for _ in range(lines)]
        self.scrolled: list[str] = []
        self.row = self.column = 0
        self.cursor_shown = True
        self._rest = ""

    def _blank(self) -> list[str]:
        return [" "] * self.columns

    @property
    def text(self) -> list[str]:
        """The lines of the screen, without spaces at their ends."""
        return ["".join(row).rstrip() for row in self.rows]

    def resize(self, columns: int, lines: int) -> None:
        """Change the size as xterm does: lines are cut or scroll away, and nothing is wrapped again."""
        self.columns = columns
        self.rows = [[*row[:columns], *[" "] * (columns - len(row))] for row in self.rows]
        while len(self.rows) > lines:
            self.scrolled.append("".join(self.rows.pop(0)).rstrip())
            self.row -= 1
        self.rows += [self._blank() for _ in range(lines - len(self.rows))]
        self.lines = lines
        self.row, self.column = max(0, self.row), min(self.column, columns - 1)

    def feed(self, text: str) -> None:
        """Write text; an escape sequence may come in parts."""
        text = self._rest + text
        end = text.rfind("\x1b")
        cut = end if end >= 0 and re.fullmatch(r"\x1b(\[[0-9;?]*)?", text[end:]) else len(text)
        self._rest = text[cut:]
        for match in _TOKENS.finditer(text[:cut]):
            if match[3]:
                self._put(match[3])
            elif match[2]:
                self._control(match[1], match[2])

    def _put(self, character: str) -> None:
        if character == "\n":
            self._next_line()
        elif character == "\r":
            self.column = 0
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character >= " ":
            size = get_character_cell_size(character)
            if self.column + size > self.columns:
                self.column = 0
                self._next_line()
            if size:
                self.rows[self.row][self.column] = character
                self.rows[self.row][self.column + 1 : self.column + size] = [""] * (size - 1)
                self.column += size

    def _next_line(self) -> None:
        if self.row < self.lines - 1:
            self.row += 1
            return
        self.scrolled.append("".join(self.rows.pop(0)).rstrip())
        self.rows.append(self._blank())

    def _control(self, parameters: str, final: str) -> None:
        numbers = [int(each or 0) for each in parameters.lstrip("?").split(";")]
        count = max(1, numbers[0])
        if final == "A":
            self.row = max(0, self.row - count)
        elif final == "B":
            self.row = min(self.lines - 1, self.row + count)
        elif final == "G":
            self.column = count - 1
        elif final == "H":
            self.row, self.column = count - 1, max(1, numbers[-1] if len(numbers) > 1 else 1) - 1
        elif final == "K":
            start = 0 if numbers[0] == 2 else self.column
            self.rows[self.row][start:] = [" "] * (self.columns - start)
        elif final == "J":
            if numbers[0] == 2:
                self.rows = [self._blank() for _ in range(self.lines)]
            else:
                self.rows[self.row][self.column :] = [" "] * (self.columns - self.column)
                self.rows[self.row + 1 :] = [self._blank() for _ in range(self.lines - self.row - 1)]
        elif final in "hl" and parameters == "?25":
            self.cursor_shown = final == "h"
