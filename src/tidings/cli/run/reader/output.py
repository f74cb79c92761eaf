"""Reads a command's output: bytes in, progress out, no I/O."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from itertools import count

from tidings.cli.run.reader.bars import ANNOUNCED_ROW, Bars, GrowthFilter, Lead, may_have_peers
from tidings.cli.run.reader.forms import KnownLine, Meaning, read_known
from tidings.cli.run.reader.patterns import (
    MAX_LABEL,
    Ordinal,
    ProgressReading,
    clean_label,
    clean_message,
    may_hold_progress,
    read_ordinal,
    read_progress,
)
from tidings.cli.run.reader.screen import Announcement, CursorRise, ScreenEvent, ScreenLine, TerminalScreen
from tidings.cli.run.reader.steps import Steps
from tidings.redaction import redact_text

MIN_INTERVAL_S = 0.1
"""Shortest time between two readings: ten per second are more than a person follows and little load for a hub."""
MAX_TAIL_LINES = 20
"""Lines of output kept for the report of a failure."""
MAX_TAIL_BYTES = 8 * 1024
"""UTF-8 bytes of these lines, which leave most of a 64 KB payload free."""
_SLICE_BYTES = 64 * 1024
"""Bytes decoded at a time, which bounds the memory for one chunk."""
_KNOWN_BAR = -1
"""Number of the bar of a known program's part."""
_WORD = re.compile(r"[^\W_]")
_SETTLED_WORD = re.compile(r"[\[(]?\d{1,7}(?:[.,]\d+)?(?:%|/\d{1,7}|[A-Za-z]{0,3}/s)[\])]?|[^\W\d_]*(?:\.\.\.|…)")
"""A last word of an unfinished line that is not the beginning of a secret: `42%`, `12/30`, `3it/s]`, `Compiling...`."""
_MAX_KEY_LINES = 200
"""Most lines of a private key (RSA, 16,384 bits); after them, its end has been lost."""


class Source(Enum):
    """Stream of the output."""

    STDOUT = 1
    """Standard output, or the terminal."""
    STDERR = 2
    """Standard error, where it is separate."""


@dataclass(frozen=True, slots=True)
class CommandProgress:
    """Progress of the command according to its output."""

    percent: float | None
    """0 to 99: of the whole if the number of steps is known, else of the step; None if the output does not show it."""
    step: int
    """Number of the step, from 1; 0 before any progress. `percent` never falls within a step."""
    current_step: str
    """Name of the step; may be empty."""
    total_steps: int
    """Number of steps; 0 if unknown."""
    message: str
    """Last line that contains words."""
    whole: bool = False
    """Whether `percent` is certainly of the whole, because the program is known."""


class _Stream:
    """One stream of the output."""

    def __init__(self, next_serial: Callable[[], int]) -> None:
        self.screen = TerminalScreen(next_serial)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.bars = Bars()
        self.key_lines = 0
        """Most lines that may still belong to the private key that is being printed."""


@dataclass(frozen=True, slots=True)
class _Conclusions:
    """Conclusions from the output before an unfinished line of a stream was read."""

    stream: _Stream
    bars: Bars
    growth: GrowthFilter
    steps: Steps
    total: float | None
    whole_program: str
    whole_parts: int


class OutputReader:
    """Reader of one command's output.

    Readings depend on the bytes and not on the cuts between chunks: a line is read when the program leaves it or starts
    to draw over it. The last line is therefore read one drawing late, or when the caller calls `settle` after a pause
    in the output. Such a reading is withdrawn when the program goes on, and the line is read again: a pause may fall
    into the middle of a drawing, because programs write block by block into a pipe.

    Args:
        clock: Seconds from a monotonic clock.
        interval_s: Shortest time between two readings; 0 returns each change. A later `feed`, `settle` or `finish`
            returns the newest of those in between.
        redact: Applied to each text before it is shortened and returned, and to lines that may hold progress before
            they are read: their parts become names of steps.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        interval_s: float = MIN_INTERVAL_S,
        redact: Callable[[str], str] = redact_text,
    ) -> None:
        self._clock = clock
        self._redact = redact
        self._interval_s = interval_s
        serials = count(1).__next__
        self._streams = {source: _Stream(serials) for source in Source}
        self._growth = GrowthFilter()
        self._steps = Steps()
        self._before_pause: _Conclusions | None = None
        """Restored when the stream that was read in a pause goes on, unless progress in the other was read since."""
        self._total: float | None = None
        self._message = ""
        self._last_line = ""
        self._cleaned_line = ""
        """The line of which `_message` was made."""
        self._emitted = CommandProgress(None, 0, "", 0, "")
        self._emitted_at: float | None = None
        self._changed = False
        self._ended = False
        self._foreign = False
        self._whole_program = ""
        self._whole_parts = 0
        """Total of the numbers in brackets by which the known program counts its whole; 0 if it does not."""

    @property
    def unsettled(self) -> bool:
        """Whether `settle` could return a reading now or later."""
        return self._changed or any(stream.screen.unsettled for stream in self._streams.values())

    def feed(self, data: bytes, source: Source = Source.STDOUT, *, foreign: bool = False) -> list[CommandProgress]:
        """Read a chunk of output and return the readings that are due; of a foreign one, only messages."""
        self._foreign = foreign
        readings: list[CommandProgress] = []
        stream = self._streams[source]
        for start in range(0, len(data), _SLICE_BYTES):
            text = stream.decoder.decode(data[start : start + _SLICE_BYTES])
            readings.extend(self._read(stream.screen.feed(text), stream))
        return readings

    def settle(self) -> list[CommandProgress]:
        """Read unfinished lines, because the output has paused."""
        readings: list[CommandProgress] = []
        for stream in self._streams.values():
            for line in stream.screen.settle():
                self._withdraw(stream)
                before = self._conclusions(stream)
                readings.extend(self._read([line], stream))
                self._before_pause = self._before_pause or before
        if self._changed and self._is_due():
            readings.extend(self._emit())
        return readings

    def skip(self, source: Source) -> None:
        """Record that bytes of a stream were dropped: the next bytes begin a new line."""
        stream = self._streams[source]
        if self._before_pause is not None:
            self._withdraw(stream)
            self._changed = True
        stream.decoder.reset()
        stream.screen.break_off()

    def finish(self) -> list[CommandProgress]:
        """Read the rest at the end of the output; return the last reading even if it is not due."""
        readings: list[CommandProgress] = []
        # An error message may end without a line feed: the last line of all is complete.
        self._ended = True
        for stream in self._streams.values():
            readings.extend(self._read(stream.screen.feed(stream.decoder.decode(b"", final=True)), stream))
            readings.extend(self._read(stream.screen.finish(), stream))
        if self._changed:
            readings.extend(self._emit())
        return readings

    def tail(self) -> str:
        """Return the last lines as a terminal would show them, up to MAX_TAIL_LINES and MAX_TAIL_BYTES."""
        rows = sorted(row for stream in self._streams.values() for row in stream.screen.rows_in_order())
        # All rows are redacted: the first ones may show that the last ones are the rest of a private key.
        text = "\n".join(self._redact("\n".join(line for _, line in rows)).split("\n")[-MAX_TAIL_LINES:])
        encoded = text.encode(errors="replace")
        return encoded[-MAX_TAIL_BYTES:].decode(errors="ignore") if len(encoded) > MAX_TAIL_BYTES else text

    def _read(self, events: Iterable[ScreenEvent], stream: _Stream) -> Iterator[CommandProgress]:
        for event in events:
            if self._before_pause is not None:
                self._withdraw(stream)
            if isinstance(event, ScreenLine):
                self._read_line(event, stream)
            elif self._foreign:
                continue
            elif isinstance(event, CursorRise):
                lead = stream.bars.rise(event.top, event.bottom)
                if lead is None:
                    continue
                self._follow(lead)
            else:
                self._announce(event, stream.bars)
            self._changed = True
            if self._is_due():
                yield from self._emit()

    def _conclusions(self, stream: _Stream) -> _Conclusions:
        bars, growth, steps = deepcopy((stream.bars, self._growth, self._steps))
        return _Conclusions(stream, bars, growth, steps, self._total, self._whole_program, self._whole_parts)

    def _withdraw(self, stream: _Stream) -> None:
        before = self._before_pause
        if before is None or before.stream is not stream:
            return
        stream.bars, self._growth, self._steps = before.bars, before.growth, before.steps
        self._total, self._whole_program, self._whole_parts = before.total, before.whole_program, before.whole_parts
        self._before_pause = None

    def _read_line(self, line: ScreenLine, stream: _Stream) -> None:
        text = line.text
        paused = line.unfinished and not self._ended
        if (stream.key_lines or "PRIVATE KEY" in text) and _is_of_key(text, stream, paused=paused):
            return
        # A secret that is written in two parts may not look like one after the first.
        certain = _without_cut_word(text) if paused else text
        if _WORD.search(certain) is not None:
            self._last_line = certain
        bars = stream.bars
        if not text:
            return  # a row that is blanked before it is drawn again
        if line.cut and "%" not in text:
            return
        if self._foreign or not may_hold_progress(text):
            bars.vacate(line.row)
            return
        if self._before_pause is not None:
            self._before_pause.stream.screen.accept()
            self._before_pause = None
        text = self._redact(text)
        known = read_known(text, self._total)
        if known is not None:
            bars.vacate(line.row)
            self._read_known(known, line, stream.screen)
            return
        # The number in brackets of an incomplete line may be that of a part whose bar is not drawn yet.
        numbers = not paused or (line.redrawn and not line.cut)
        if self._steps.whole_lasts:
            # A detail, such as the output of a test, that a known program prints beside its whole; but ninja numbers
            # commands of any name.
            bars.vacate(line.row)
            part = read_ordinal(text) if numbers else None
            if part is not None and (part.kind, part.total) == ("[", self._whole_parts):
                self._advance_numbered(part)
            return
        redrawn = line.redrawn
        progress = read_progress(text, redrawn=redrawn)
        if line.unfinished and progress is not None and (progress.drawn or progress.certain) and not redrawn:
            # Progress on an unfinished line during a pause of the program is not a line of a log.
            redrawn = True
            progress = read_progress(text, redrawn=redrawn)
        if bars.replaces_bar(line.row, progress):
            # This is a line of the log in the old place of the bar, which moves down a row.
            bars.vacate(line.row)
            redrawn = False
            progress = read_progress(text, redrawn=redrawn)
        if progress is None or not (progress.drawn or progress.certain):
            ordinal = read_ordinal(text if certain is line.text else self._redact(certain))
            if ordinal is not None:
                bars.vacate(line.row)
                if numbers or ordinal.kind != "[":
                    self._steps.enter(ordinal)
                return
        proven = progress is not None and (
            (progress.certain and not (redrawn and may_have_peers(progress.label)))
            or self._growth.confirms(text, progress, redrawn=redrawn)
        )
        if progress is None or not (proven or progress.drawn or redrawn):
            bars.vacate(line.row)
            return
        # A drawn bar that is not proven yet only keeps its row: the next drawing may prove it the outer one.
        logged = proven and not redrawn
        caption = (
            self._caption(line, stream.screen) if not progress.label and not logged and bars.is_new(line.row) else ""
        )
        lead = bars.update(line.row, progress, caption=caption, logged=logged, proven=proven)
        if lead is not None:
            self._follow(lead)

    def _follow(self, lead: Lead) -> None:
        ordinal = read_ordinal(lead.label or lead.caption, beside_bar=True)
        if ordinal is not None:
            self._steps.enter(ordinal)
        self._steps.advance(lead.progress, lead.label, lead.bar, caption=lead.caption, part=lead.part)

    def _read_known(self, line: KnownLine, at: ScreenLine, screen: TerminalScreen) -> None:
        meaning, label = line.form.meaning, line.label
        if not label and meaning in (Meaning.FILE, Meaning.PART):
            label = self._caption(at, screen)
        if meaning is Meaning.FILE:
            meaning = Meaning.PART if label and " " not in label else Meaning.WHOLE
        if line.total_s is not None:
            self._total = line.total_s
        if meaning is Meaning.NOTHING or line.percent is None:
            return
        progress = ProgressReading(line.percent, label, None, None, drawn=True, certain=True)
        if meaning is Meaning.WHOLE:
            numbered = read_ordinal(at.text)
            self._whole_parts = numbered.total if numbered is not None and numbered.kind == "[" else 0
            self._whole_program = line.form.program
            self._steps.advance_whole(progress, clean_label(label), line.parts, line.form.program)
        else:
            self._steps.advance(progress, clean_label(label), _KNOWN_BAR, part=True)

    def _advance_numbered(self, part: Ordinal) -> None:
        """Record a line that goes on with the numbers of the known program, although its words are not known."""
        share = 100.0 * part.index / part.total
        progress = ProgressReading(share, part.label, None, None, drawn=True, certain=True)
        self._steps.advance_whole(progress, part.label, 0, self._whole_program)

    def _caption(self, line: ScreenLine, screen: TerminalScreen) -> str:
        """Return the line above a bar as its name: pip and rsync write the subject of the bar there."""
        above = screen.text_at(line.row - 1)
        if not above or len(above) > MAX_LABEL:
            return ""
        if may_hold_progress(above) and read_ordinal(above) is None:
            return ""
        return clean_label(self._redact(above))

    def _announce(self, announcement: Announcement, bars: Bars) -> None:
        if announcement.percent is None:
            bars.vacate(ANNOUNCED_ROW)
            self._steps.forget_bar()
            return
        progress = ProgressReading(announcement.percent, "", None, None, drawn=True, certain=True)
        lead = bars.update(ANNOUNCED_ROW, progress, caption="", logged=False, proven=True)
        if lead is not None:
            self._follow(lead)

    def _is_due(self) -> bool:
        return self._emitted_at is None or self._clock() - self._emitted_at >= self._interval_s

    def _emit(self) -> Iterator[CommandProgress]:
        self._changed = False
        # Cleaned only when reported: most lines of a fast log never are.
        if self._last_line != self._cleaned_line:
            self._cleaned_line = self._last_line
            self._message = clean_message(self._redact(self._last_line)) or self._message
        steps = self._steps
        reading = CommandProgress(steps.percent, steps.serial, steps.name, steps.total, self._message, steps.whole)
        if reading != self._emitted:
            self._emitted, self._emitted_at = reading, self._clock()
            yield reading


def _without_cut_word(text: str) -> str:
    """Return an unfinished line without its last word or open quotation, which may be the beginning of a secret."""
    for quote in "\"'":
        before, _, _ = text.rpartition(quote)
        if text.count(quote) % 2 and not before[-1:].isalnum():
            text = before
    words = text.rsplit(None, 1)
    if not words or text[-1:].isspace() or _SETTLED_WORD.fullmatch(words[-1]) is not None:
        return text
    return text[: -len(words[-1])]


def _is_of_key(text: str, stream: _Stream, *, paused: bool) -> bool:
    """Return whether a line is one of a private key, whose last lines do not look like one by themselves."""
    if "PRIVATE KEY" in text and "-----" in text:
        stream.key_lines = 0 if "-----END" in text else _MAX_KEY_LINES
        return True
    if stream.key_lines:
        stream.key_lines -= not paused
        return True
    return False
