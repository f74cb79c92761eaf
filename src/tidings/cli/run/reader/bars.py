"""The progress bars on a screen, and proof by growth: uncertain numbers count once they have risen like progress."""

import re
from dataclasses import dataclass

from tidings.cli.run.reader.patterns import ProgressReading, clean_message, mentions_work

_MAX_BARS = 64
"""Bars kept; a screen does not show more at a time."""
ANNOUNCED_ROW = -10_000_000
"""Row of the progress that a program announces to the terminal: it ranks above all rows."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Lead:
    """The leading bar after it was drawn."""

    bar: int
    """Number of the bar, never reused."""
    progress: ProgressReading
    """Progress that the bar shows."""
    label: str
    """Its own name; may be empty."""
    caption: str = ""
    """The line above it, which names a bar that has no name of its own."""
    part: bool = False
    """Whether bars of the same kind run beside it: files of a download, workers. Then none of them is the whole."""


@dataclass(slots=True)
class _Bar:
    number: int
    row: int
    progress: ProgressReading
    caption: str
    logged: bool
    proven: bool
    # Counts of events: when its row was last drawn or passed by the rising cursor, and when it was last drawn.
    touched: int
    drawn: int
    part: bool = False
    # Whether its row shows something else at present.
    hidden: bool = False


class Bars:
    """The bars by row. The topmost bar that is not full leads: nested loops draw the outer bar first.

    A bar is on screen while the program draws it or moves the cursor up over it. It was abandoned if another bar is
    drawn twice without either. Progress in a log (`[ 42%]` line after line) is one bar that ranks by its first row.
    """

    def __init__(self) -> None:
        self._bars: list[_Bar] = []
        self._moment = 0
        self._count = 0
        self._leading = 0

    def rise(self, top: int, bottom: int) -> Lead | None:
        """Record that the cursor moved up over rows `top` to `bottom`; return a leader that this proves to be a bar.

        These rows are a display and not a log, since programs return to nothing else.
        """
        self._moment += 1
        shown: list[_Bar] = []
        for bar in self._bars:
            if top <= bar.row <= bottom and not bar.logged and not bar.hidden:
                bar.touched = self._moment
                if bar.progress.drawn and not bar.proven and not may_have_peers(bar.progress.label):
                    bar.proven = True
                    shown.append(bar)
        return self._lead(shown[0]) if shown else None

    def vacate(self, row: int) -> None:
        """Record that a row shows something else; the same bar may come back, as beside alternating texts."""
        for bar in self._bars:
            if bar.row == row and not bar.logged:
                bar.hidden = True

    def is_new(self, row: int) -> bool:
        """Return whether the row has no bar yet."""
        return self._at(row) is None

    def replaces_bar(self, row: int, progress: ProgressReading | None) -> bool:
        """Return whether a line without graphics stands in the place of a bar that was drawn with them."""
        if progress is not None and progress.drawn:
            return False
        bar = self._at(row)
        if bar is None or not bar.progress.drawn:
            return False
        return progress is None or _DIGITS.sub("", progress.label) != _DIGITS.sub("", bar.progress.label)

    def _at(self, row: int) -> _Bar | None:
        for bar in self._bars:
            if bar.row == row and not bar.logged and not bar.hidden:
                return bar
        return None

    def update(self, row: int, progress: ProgressReading, *, caption: str, logged: bool, proven: bool) -> Lead | None:
        """Record the drawing of a bar; return it if it leads and is proven.

        Args:
            row: Row of the bar.
            progress: Progress that it shows.
            caption: The line above, for a new bar without a name.
            logged: Whether it is a line of a log, which later bars do not draw over.
            proven: Whether it is certainly progress; otherwise it only keeps its row.
        """
        self._moment += 1
        bar = self._find(row, progress, logged)
        added = bar is None
        if bar is None:
            bar = self._add(row, progress, caption, logged)
        elif logged or bar.row == row:
            self._bars = [other for other in self._bars if other is bar or _stays(other, since=bar.drawn)]
        else:
            self._move(bar, row)
        bar.hidden = False
        was_leader = self._leader() is bar
        before = bar.drawn
        bar.progress = progress
        bar.proven = proven
        bar.touched = bar.drawn = self._moment
        for other in self._bars:
            # Peers are drawn in turns; bars that follow one another are steps.
            if other.drawn > before and not logged and _are_peers(progress.label, other.progress.label):
                bar.part = other.part = True
        if added and logged and progress.full:
            # "100% done" in a log means that something has ended, which need not be the run or a part of it.
            self._bars.remove(bar)
            return None
        # The drawing that fills the leader is still reported, although another bar leads from now on.
        return self._lead(bar, was_leader=was_leader) if proven else None

    def _lead(self, bar: _Bar, *, was_leader: bool = False) -> Lead | None:
        if self._leader() is not bar and not (was_leader and self._leading == bar.number):
            return None
        self._leading = bar.number
        return Lead(bar.number, bar.progress, bar.progress.label, bar.caption, bar.part)

    def _find(self, row: int, progress: ProgressReading, logged: bool) -> _Bar | None:
        if logged:
            return next((bar for bar in self._bars if bar.logged and _continues(bar.progress, progress)), None)
        here = self._at(row)
        if here is None:
            here = next((bar for bar in self._bars if bar.row == row and _is_back(bar, progress)), None)
        if progress.label and (here is None or here.progress.label != progress.label):
            namesakes = (bar for bar in self._bars if bar.progress.label == progress.label and not bar.logged)
            # A full bar that is not next to this row belongs to an earlier step of the same name.
            moved = next((bar for bar in namesakes if not bar.progress.full or bar.row == row + 1), None)
            return moved or here
        return here

    def _move(self, bar: _Bar, row: int) -> None:
        """Move a bar that is drawn elsewhere, and what was there down: tqdm ends an inner bar above the outer."""
        for other in self._bars:
            if other.row == row and not other.logged:
                other.row = row + 1
        bar.row = row
        self._bars.sort(key=lambda each: each.row)

    def _add(self, row: int, progress: ProgressReading, caption: str, logged: bool) -> _Bar:
        self._count += 1
        if logged and self._bars:
            # Lines printed above the bars on a screen do not rank before them.
            row = max(row, self._bars[-1].row)
        bar = _Bar(self._count, row, progress, caption, logged, False, self._moment, self._moment)
        # A log shows one counter at a time: the next one replaces the last.
        kept = [other for other in self._bars if not (other.logged if logged else other.hidden and other.row == row)]
        self._bars = sorted([*kept, bar], key=lambda other: other.row)[-_MAX_BARS:]
        return bar

    def _leader(self) -> _Bar | None:
        """Return the topmost bar that is not full; if all are full, the last leader or else the topmost."""
        shown = [bar for bar in self._bars if not bar.hidden]
        for bar in shown:
            if not bar.progress.full:
                return bar
        for bar in shown:
            if bar.number == self._leading:
                return bar
        return shown[0] if shown else None


_ITEM = re.compile(r"\S*[\w)-]\.[A-Za-z]\w{0,5}|\S+==\S+|[0-9a-f]{8,}|[\w-]+-v?\d[\w.]*")
_MAX_ITEM_WORDS = 6


def may_have_peers(label: str) -> bool:
    """Return whether a name is that of a file, a package or a numbered worker, which seldom come alone."""
    words = label.split(maxsplit=_MAX_ITEM_WORDS)
    if not words or len(words) > _MAX_ITEM_WORDS:
        return False
    numbered = len(words) <= 2 and words[-1][-1].isdigit()
    return numbered or any(_ITEM.fullmatch(word) is not None for word in (words[0], words[-1]))


def _are_peers(one: str, other: str) -> bool:
    if not one or not other or one == other:
        return False
    return _DIGITS.sub("", one) == _DIGITS.sub("", other) or (may_have_peers(one) and may_have_peers(other))


def _continues(one: ProgressReading, other: ProgressReading) -> bool:
    """Return whether two lines of a log are of one counter: the same words, or the same total further on."""
    if one.total != other.total:
        return False
    further = one.total is not None and one.done is not None and other.done is not None and other.done >= one.done
    return further or _DIGITS.sub("", one.label) == _DIGITS.sub("", other.label)


def _is_back(bar: _Bar, progress: ProgressReading) -> bool:
    return bar.hidden and bar.progress.label == progress.label and bar.progress.percent <= progress.percent


def _stays(bar: _Bar, since: int) -> bool:
    """Return whether a bar is still shown; logged and announced bars stay without being drawn again."""
    return bar.logged or bar.row == ANNOUNCED_ROW or bar.touched >= since


RISES_ON_DISPLAY = 1
"""Rises that prove progress on a display or beside a drawn bar."""
RISES_IN_LOG = 2
"""Rises that prove progress in a log: three rising lines of one form."""
_MAX_BEGINNING = 0.1
"""Share of the total up to which the first value in a log is a beginning."""
_DISPLAY_SLACK = 3.0
_MAX_SHAPES = 64
"""Forms of line kept; the least recently seen is dropped first."""
_FIGURES = re.compile(r"\d[\d.,]*")


class GrowthFilter:
    """Last value and number of rises for each form of line.

    A table of results (`95%` per file) fails because its lines differ in more than digits or its values fall; a
    single sentence fails because it stands alone; in a log, a measure (a load, a level) fails because it does not rise
    from its beginning, or because the line mentions no work. A form that was proven stays proven: its next fall is a
    new step.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int]] = {}

    def confirms(self, text: str, progress: ProgressReading, *, redrawn: bool) -> bool:
        """Record an uncertain reading and return whether its growth has proven it to be progress."""
        displayed = redrawn or progress.drawn
        needed = RISES_ON_DISPLAY if displayed else RISES_IN_LOG
        shape = "".join(filter(str.isalpha, progress.label)) if displayed else _shape(text, progress)
        value = progress.percent if progress.done is None else progress.done
        last, rises = self._seen.pop(shape, (value, 0))
        if rises < needed:
            if value < last:
                rises = 0
            elif (
                value > last
                and (progress.drawn or rises > 0 or _begins(last, value, progress, redrawn=redrawn))
                and (displayed or mentions_work(text))
            ):
                # A log that ends with the line that would prove it leaves nothing to report.
                rises += displayed or rises + 1 < needed or not progress.full
        self._seen[shape] = (value, rises)
        if len(self._seen) > _MAX_SHAPES:
            del self._seen[next(iter(self._seen))]
        return rises >= needed


def _begins(first: float, second: float, progress: ProgressReading, *, redrawn: bool) -> bool:
    """Return whether two values are the beginning of a count to the total; a display may be seen later than a log."""
    total = 100.0 if progress.done is None else progress.total or 0.0
    slack = _DISPLAY_SLACK if redrawn else 1.0
    return first <= slack * max(second - first, _MAX_BEGINNING * total)


def _shape(text: str, progress: ProgressReading) -> str:
    """Return the part that lines of one counter share."""
    if progress.total is not None:
        # The rest of a counter's line may name the item, which changes each time.
        return f"{progress.total}/{_FIGURES.sub('0', progress.label)}"
    return _FIGURES.sub("0", clean_message(text))
