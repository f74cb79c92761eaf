"""Reading of a command's output: bytes in, progress out, nothing awaited."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count

from tidings.cli.run.reader.bars import ANNOUNCED_ROW, Bars, GrowthFilter, Lead
from tidings.cli.run.reader.patterns import (
    MAX_LABEL,
    ProgressReading,
    clean_label,
    clean_message,
    may_hold_progress,
    read_gauge,
    read_ordinal,
)
from tidings.cli.run.reader.screen import Announcement, CursorRise, ScreenEvent, ScreenLine, TerminalScreen
from tidings.cli.run.reader.steps import Steps

# Ten a second is more than a person follows, and little for a hub.
INTERVAL_S = 0.1
TAIL_LINES = 20
# Leaves most of a 64 KB payload free.
TAIL_BYTES = 8 * 1024
# Characters decoded at a time: bounds the memory one chunk needs.
_SLICE = 64 * 1024
_WORD = re.compile(r"[^\W_]")


class Source(Enum):
    """Stream that output came from."""

    STDOUT = 1
    """Standard output, or the terminal."""
    STDERR = 2
    """Standard error, where it is apart."""


@dataclass(frozen=True, slots=True)
class CommandProgress:
    """How far the command is, by its output."""

    percent: float | None
    """0-99: of the whole where the number of steps is known, else of the step; None where the output does not say."""
    step: int
    """Number of the step, from 1; 0 before any progress. Within one, percent never falls."""
    current_step: str
    """Name of the step, may be empty."""
    total_steps: int
    """Number of steps, 0 if unknown."""
    message: str
    """Last line with words in it."""


class OutputReader:
    """Reader of one command's output.

    Readings depend on the bytes and not on how they were cut: a line is read when the program leaves it or starts to
    draw over it. The last line drawn is therefore read one drawing late, or when the caller, having seen no output for
    a moment, calls `settle`.

    Args:
        clock: Seconds from a monotonic clock.
        interval_s: Least time between two readings; 0 gives each change. What falls in between is given by a later
            `feed`, `settle` or `finish`, the newest only.
    """

    def __init__(self, clock: Callable[[], float], *, interval_s: float = INTERVAL_S) -> None:
        self._clock = clock
        self._interval_s = interval_s
        serials = count(1).__next__
        self._screens = {source: TerminalScreen(serials) for source in Source}
        self._decoders = {source: codecs.getincrementaldecoder("utf-8")("replace") for source in Source}
        self._bars = {source: Bars() for source in Source}
        self._evidence = GrowthFilter()
        self._steps = Steps()
        self._message = ""
        self._last_line = ""
        self._given = CommandProgress(None, 0, "", 0, "")
        self._given_at: float | None = None
        self._changed = False

    @property
    def unsettled(self) -> bool:
        """Whether `settle` could give a reading now or later."""
        return self._changed or any(screen.unsettled for screen in self._screens.values())

    def feed(self, data: bytes, source: Source = Source.STDOUT) -> list[CommandProgress]:
        """Read a chunk of output and return the readings that are due."""
        readings: list[CommandProgress] = []
        decoder = self._decoders[source]
        for start in range(0, len(data), _SLICE):
            text = decoder.decode(data[start : start + _SLICE])
            readings.extend(self._read(self._screens[source].feed(text), source))
        return readings

    def settle(self) -> list[CommandProgress]:
        """Read unfinished lines as they stand, because no output has come for a moment."""
        readings: list[CommandProgress] = []
        for source, screen in self._screens.items():
            readings.extend(self._read(screen.settle(), source))
        readings.extend(self._due())
        return readings

    def lose(self, source: Source) -> None:
        """Note that bytes of a stream were not fed: what comes next begins a new line."""
        self._decoders[source].reset()
        self._screens[source].break_off()

    def finish(self) -> list[CommandProgress]:
        """Read what is left at the end of the output; the last reading is given whether due or not."""
        readings: list[CommandProgress] = []
        for source, decoder in self._decoders.items():
            screen = self._screens[source]
            readings.extend(self._read(screen.feed(decoder.decode(b"", final=True)), source))
            readings.extend(self._read(screen.settle(), source))
        if self._changed:
            readings.extend(self._give(self._clock()))
        return readings

    def tail(self) -> str:
        """Return the last lines of all output as a terminal would show them, bounded by TAIL_LINES and TAIL_BYTES."""
        rows = sorted(row for screen in self._screens.values() for row in screen.rows_in_order())
        text = "\n".join(line for _, line in rows[-TAIL_LINES:])
        encoded = text.encode(errors="replace")
        return encoded[-TAIL_BYTES:].decode(errors="ignore") if len(encoded) > TAIL_BYTES else text

    def _read(self, events: Iterable[ScreenEvent], source: Source) -> Iterator[CommandProgress]:
        for event in events:
            if isinstance(event, ScreenLine):
                self._read_line(event, source)
            elif isinstance(event, CursorRise):
                lead = self._bars[source].rise(event.top, event.bottom)
                if lead is None:
                    continue
                self._follow(lead)
            else:
                self._announce(event, source)
            self._changed = True
            yield from self._due()

    def _read_line(self, line: ScreenLine, source: Source) -> None:
        text = line.text
        if _WORD.search(text) is not None:
            self._last_line = text
        bars = self._bars[source]
        if not may_hold_progress(text):
            bars.vacate(line.row)
            return
        # A bar on a line that is not ended while the program pauses is no line of a log.
        redrawn = line.redrawn or line.unfinished
        gauge = read_gauge(text, redrawn=redrawn)
        if bars.is_drawn(line.row) and (gauge is None or not gauge.drawn):
            # A line of the log, written where the bar was; the bar moves down a row.
            bars.vacate(line.row)
            redrawn = False
            gauge = read_gauge(text, redrawn=redrawn)
        if gauge is None or not (gauge.drawn or gauge.certain):
            ordinal = read_ordinal(text)
            if ordinal is not None:
                bars.vacate(line.row)
                self._steps.enter(ordinal)
                return
        believed = gauge is not None and (gauge.certain or self._evidence.confirms(text, gauge, redrawn=redrawn))
        if gauge is None or not (believed or gauge.drawn or redrawn):
            bars.vacate(line.row)
            return
        # A drawn bar that is not believed yet only holds its row: the next drawing may show it to be the outer one.
        logged = believed and not redrawn
        caption = self._caption(line, source) if not gauge.label and not logged and bars.is_new(line.row) else ""
        lead = bars.update(line.row, gauge, caption=caption, logged=logged, believed=believed)
        if lead is not None:
            self._follow(lead)

    def _follow(self, lead: Lead) -> None:
        ordinal = read_ordinal(lead.label)
        if ordinal is not None:
            self._steps.enter(ordinal)
        self._steps.advance(lead.gauge, lead.label, lead.bar)

    def _caption(self, line: ScreenLine, source: Source) -> str:
        """Return the line above a bar as its name: pip and rsync write there what the bar is of."""
        above = self._screens[source].text_at(line.row - 1)
        if not above or len(above) > MAX_LABEL:
            return ""
        if may_hold_progress(above) and read_ordinal(above) is None:
            return ""
        return clean_label(above)

    def _announce(self, announcement: Announcement, source: Source) -> None:
        bars = self._bars[source]
        if announcement.percent is None:
            bars.vacate(ANNOUNCED_ROW)
            self._steps.forget_bar()
            return
        gauge = ProgressReading(announcement.percent, "", None, None, drawn=True, certain=True)
        lead = bars.update(ANNOUNCED_ROW, gauge, caption="", logged=False, believed=True)
        if lead is not None:
            self._follow(lead)

    def _due(self) -> Iterator[CommandProgress]:
        if not self._changed:
            return
        now = self._clock()
        if self._given_at is None or now - self._given_at >= self._interval_s:
            yield from self._give(now)

    def _give(self, now: float) -> Iterator[CommandProgress]:
        self._changed = False
        # Cleaned only when told: most lines of a fast log never are.
        self._message = clean_message(self._last_line) or self._message
        steps = self._steps
        reading = CommandProgress(steps.percent, steps.serial, steps.name, steps.total, self._message)
        if reading != self._given:
            self._given, self._given_at = reading, now
            yield reading
