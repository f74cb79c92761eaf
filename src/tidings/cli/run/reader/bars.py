"""The bars on a screen, and which of them leads.

Growth as proof: a number in a log that might be progress is believed once it has risen like progress.
"""

import re
from dataclasses import dataclass

from tidings.cli.run.reader.patterns import ProgressReading, clean_message

# Bars remembered; more are not on a screen at once.
_MAX_BARS = 64
# Rank of what a program announces to the terminal: above all rows.
ANNOUNCED_ROW = -10_000_000
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Lead:
    """The leading bar, just drawn anew."""

    bar: int
    """Number of the bar, never used for another."""
    gauge: ProgressReading
    """What it states."""
    label: str
    """Its name: its own, or the line above it; may be empty."""


@dataclass(slots=True)
class _Bar:
    number: int
    row: int
    gauge: ProgressReading
    caption: str
    logged: bool
    believed: bool
    # Moments, counted in events: when its row was last drawn or passed by the rising cursor, and when last drawn.
    touched: int
    drawn: int


class Bars:
    """Bars by row. The topmost that is not full leads: nested loops draw the outer bar first.

    A bar is on screen as long as the program draws it or moves the cursor up over it. Another bar drawn twice
    without either shows that it was abandoned. Progress in a log (`[ 42%]` line after line) is one bar that ranks by
    its first row.
    """

    def __init__(self) -> None:
        self._bars: list[_Bar] = []
        self._moment = 0
        self._count = 0
        self._leading = 0

    def rise(self, top: int, bottom: int) -> Lead | None:
        """Note that the cursor moved up over rows `top` to `bottom`, and return a leader that this shows to be a bar.

        What is drawn on those rows is a display and not a log: nothing else is gone back to.
        """
        self._moment += 1
        shown: list[_Bar] = []
        for bar in self._bars:
            if top <= bar.row <= bottom and not bar.logged:
                bar.touched = self._moment
                if bar.gauge.drawn and not bar.believed:
                    bar.believed = True
                    shown.append(bar)
        return self._lead(shown[0]) if shown else None

    def vacate(self, row: int) -> None:
        """Note that a row now shows something else than a bar."""
        if self._bars:
            self._bars = [bar for bar in self._bars if bar.row != row or bar.logged]

    def is_new(self, row: int) -> bool:
        """Tell whether no bar is drawn on a row yet."""
        return not any(bar.row == row and not bar.logged for bar in self._bars)

    def is_drawn(self, row: int) -> bool:
        """Tell whether the bar on a row is drawn with graphics."""
        return any(bar.row == row and not bar.logged and bar.gauge.drawn for bar in self._bars)

    def update(self, row: int, gauge: ProgressReading, *, caption: str, logged: bool, believed: bool) -> Lead | None:
        """Draw a bar and return it if it leads and is believed.

        Args:
            row: Where it is drawn.
            gauge: What it states.
            caption: The line above, for a new bar without a name.
            logged: Whether it is a line of a log, which no later bar is drawn over.
            believed: Whether it is progress for sure; otherwise it only holds its place.
        """
        self._moment += 1
        bar = self._find(row, gauge, logged)
        added = bar is None
        if bar is None:
            bar = self._add(row, gauge, caption, logged)
        else:
            self._bars = [other for other in self._bars if other is bar or _stays(other, since=bar.drawn)]
        was_leader = self._leader() is bar
        bar.gauge = gauge
        bar.believed = believed
        bar.touched = bar.drawn = self._moment
        if added and logged and gauge.full:
            # "100% done" in a log says that something is over, but not that it was the run or a part of it.
            self._bars.remove(bar)
            return None
        # The drawing that fills the leader is still told, though another bar leads from now on.
        return self._lead(bar, was_leader=was_leader) if believed else None

    def _lead(self, bar: _Bar, *, was_leader: bool = False) -> Lead | None:
        if self._leader() is not bar and not (was_leader and self._leading == bar.number):
            return None
        self._leading = bar.number
        return Lead(bar.number, bar.gauge, bar.gauge.label or bar.caption)

    def _find(self, row: int, gauge: ProgressReading, logged: bool) -> _Bar | None:
        for bar in self._bars:
            if not logged and not bar.logged and bar.row == row:
                return bar
            if logged and bar.logged and _same_name(bar.gauge, gauge):
                return bar
        return None

    def _add(self, row: int, gauge: ProgressReading, caption: str, logged: bool) -> _Bar:
        self._count += 1
        if logged and self._bars:
            # Lines printed above the bars on a screen do not come before them.
            row = max(row, self._bars[-1].row)
        bar = _Bar(self._count, row, gauge, caption, logged, False, self._moment, self._moment)
        # A log tells of one thing at a time: its next counter replaces the last.
        kept = [other for other in self._bars if not (logged and other.logged)]
        self._bars = sorted([*kept, bar], key=lambda other: other.row)[-_MAX_BARS:]
        return bar

    def _leader(self) -> _Bar | None:
        """Return the topmost bar with something left to do; when all are full, the last leader or the topmost."""
        for bar in self._bars:
            if not bar.gauge.full:
                return bar
        for bar in self._bars:
            if bar.number == self._leading:
                return bar
        return self._bars[0] if self._bars else None


def _same_name(one: ProgressReading, other: ProgressReading) -> bool:
    return _DIGITS.sub("", one.label) == _DIGITS.sub("", other.label) and one.total == other.total


def _stays(bar: _Bar, since: int) -> bool:
    """Tell whether a bar is still shown: what is logged or announced is not drawn again to stay so."""
    return bar.logged or bar.row == ANNOUNCED_ROW or bar.touched >= since


# On a display, or beside a drawn bar, one rise tells enough; a log needs three rising lines of one form.
RISES_ON_DISPLAY = 1
RISES_IN_LOG = 2
# Forms of line remembered; the one seen longest ago is forgotten first.
_MAX_SHAPES = 64
_FIGURES = re.compile(r"\d[\d.,]*")


class GrowthFilter:
    """The values last seen on lines of one form, with how often they rose.

    A table of results (`95%` per file) fails because its lines differ in more than digits or its values fall; a
    sentence fails because it stands alone. A form that was believed stays believed: its next fall is a new step.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def confirms(self, text: str, gauge: ProgressReading, *, redrawn: bool) -> bool:
        """Take note of an uncertain gauge and tell whether its growth has shown it to be progress."""
        needed = RISES_ON_DISPLAY if redrawn or gauge.drawn else RISES_IN_LOG
        shape = _shape(text, gauge)
        value = gauge.percent if gauge.done is None else gauge.done
        last, rises = self._seen.pop(shape, (value, 0))
        if rises < needed:
            if value > last:
                rises += 1
            elif value < last:
                rises = 0
        self._seen[shape] = (value, rises)
        if len(self._seen) > _MAX_SHAPES:
            del self._seen[next(iter(self._seen))]
        return rises >= needed


def _shape(text: str, gauge: ProgressReading) -> str:
    """Return what lines of the same counter have in common."""
    if gauge.total is not None:
        # The rest of a counter's line may name the item, which changes each time.
        return f"{gauge.total}/{gauge.label.partition(' ')[0]}"
    return _FIGURES.sub("0", clean_message(text))
