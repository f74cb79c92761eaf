"""Steps of a run, derived from the leading bar and from headings that number parts."""

import re
from dataclasses import dataclass, field

from tidings.cli.run.reader.patterns import Ordinal, Outcome, ProgressReading

MAX_PERCENT = 99.0
"""Highest percentage reported: another bar may follow a full one, and only the exit code proves the end of the run."""
_MIN_FALL = 10.0
"""Points, or percent of its total, by which a bar must fall to count as started again; less is jitter."""
_MAX_JITTER = 1.0
"""Points by which a full bar may fall without having started again: webpack ends with 100 %, 99 %, 100 %."""
_MAX_NAMES = 256
"""Names kept, to number the second "train"."""
_NUMBERS = re.compile(r"\d[\d.,]*")


@dataclass(slots=True)
class _Frame:
    """The parts that a kind of heading numbers; bars are drawn within one part."""

    kind: str
    total: int
    index: int
    label: str
    begun: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    # Parallel parts are counted as they finish; otherwise all parts before the current one have ended.
    counted: bool = False

    @property
    def completed(self) -> int:
        return len(self.finished) if self.counted else self.index - 1


class Steps:
    """State machine from bars and headings to a percentage and a step.

    The percentage never falls within a step. A bar that starts again is the next step. If headings number the parts,
    the percentage is of the whole: completed parts plus the bar's share of the current one.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._name = ""
        self._progress: ProgressReading | None = None
        self._label = ""
        self._bar = 0
        self._inner: float | None = None
        self._frame: _Frame | None = None
        self._peak: float | None = None
        self._part = False
        self._whole = ""
        self._parts = 0
        self._names: dict[str, int] = {}

    @property
    def serial(self) -> int:
        """Number of steps begun; 0 before the first progress. Numbered parts count as one step."""
        return self._serial

    @property
    def percent(self) -> float | None:
        """Percentage, 0 to MAX_PERCENT; None if unknown, also while one of many parts is drawn."""
        return None if self._part else self._peak

    @property
    def whole(self) -> bool:
        """Whether the percentage is certainly that of the whole, because the program is known."""
        return self._whole != ""

    @property
    def whole_lasts(self) -> bool:
        """Whether a known program that states its whole is still under way: then nothing else counts."""
        return self._whole != "" and self._progress is not None and not self._progress.full

    @property
    def name(self) -> str:
        """Name of the current step: its heading or label, or else "step 2"; empty for a first step without a name."""
        return self._frame.label if self._frame is not None else self._name

    @property
    def total(self) -> int:
        """Number of steps, 0 if unknown."""
        return self._frame.total if self._frame is not None else self._parts

    def enter(self, ordinal: Ordinal) -> None:
        """Record a heading."""
        frame = self._frame
        if frame is not None and frame.kind != ordinal.kind:
            # A second kind of numbering counts within the first: batches within epochs.
            done = float(ordinal.index - 1)
            share = 100.0 * done / ordinal.total
            progress = ProgressReading(share, ordinal.label, done, float(ordinal.total), drawn=False, certain=True)
            self.advance(progress, ordinal.label, bar=0)
            return
        if frame is None or _begins_again(frame, ordinal):
            frame = self._frame = _Frame(ordinal.kind, ordinal.total, ordinal.index, ordinal.label)
            self._serial += 1
            self._peak = None
            self._leave_bar()
        elif ordinal.outcome is Outcome.UNDER_WAY and ordinal.index > frame.index:
            self._leave_bar()
        if ordinal.outcome is not Outcome.UNDER_WAY:
            frame.counted = True
            (frame.finished if ordinal.outcome is Outcome.FINISHED else frame.begun).add(ordinal.index)
        if ordinal.index >= frame.index and ordinal.outcome is not Outcome.FINISHED:
            frame.index, frame.label = ordinal.index, ordinal.label
        self._raise_peak()

    def advance_whole(self, progress: ProgressReading, label: str, parts: int, program: str) -> None:
        """Record the whole as a known program states it.

        Args:
            progress: Progress of the whole.
            label: Name of the part under way; may be empty.
            parts: Number of parts; 0 if unknown.
            program: Name of the program.
        """
        if self._whole != program:
            self._frame = None
            self._leave_bar()
        self._whole, self._parts = program, parts
        self.advance(progress, label, bar=0)

    def advance(
        self, progress: ProgressReading, label: str, bar: int, *, caption: str = "", part: bool = False
    ) -> None:
        """Record a drawing of the leading bar.

        Args:
            progress: Progress that it shows.
            label: Name of the bar; may be empty.
            bar: Number of the bar, the same while it stays on the screen.
            caption: Name of the step if the bar has none.
            part: Whether it is the bar of one part of many, which does not show the whole.
        """
        if part and self._frame is not None:
            return
        if progress.full and self._serial == 0 and not part:
            return  # a bar that is full when first seen shows nothing of the rest
        if bar != 0:
            self._whole, self._parts = "", 0
        turned, self._part = part != self._part, part
        if self._progress is None or turned or self._restarted(self._progress, progress, label, bar):
            self._inner = None
            self._label = label
            if self._frame is None:
                self._serial += 1
                self._peak = None
                self._name = self._new_name(label or caption)
        elif _differ(label, self._label) or (self._whole and label != self._label):
            # The same bar with a new description; the name stays if only a number in it changed (a loss, a rate),
            # unless a known program names its parts: `foo1.c`, `foo2.c`.
            self._label = label
            self._name = label or self._name
        self._progress, self._bar = progress, bar
        if not progress.full or self._inner is not None:
            self._inner = max(self._inner or 0.0, min(progress.percent, MAX_PERCENT))
        # A bar that is full when first seen proves the end of a step and nothing about the rest: no percentage.
        self._raise_peak()

    def forget_bar(self) -> None:
        """Record that the program withdrew its announcement."""
        self._leave_bar()

    def _leave_bar(self) -> None:
        self._progress = None
        self._inner = None

    def _raise_peak(self) -> None:
        share = self._inner if self._frame is None else self._share_of(self._frame)
        if share is not None:
            self._peak = max(self._peak or 0.0, min(share, MAX_PERCENT))

    def _share_of(self, frame: _Frame) -> float:
        inner = self._inner or 0.0
        # A bar over the same parts repeats the heading.
        same = self._progress is not None and self._progress.total == frame.total
        if frame.counted or same:
            inner = 0.0
        return 100.0 * (min(frame.completed, frame.total) + inner / 100.0) / frame.total

    def _restarted(self, old: ProgressReading, new: ProgressReading, label: str, bar: int) -> bool:
        """Return whether a bar is a different one, or the same one started again."""
        relabelled = _differ(label, self._label)
        if self._whole:
            return old.percent - new.percent >= _MIN_FALL
        if relabelled and bar != self._bar:
            # A runner of tests goes on in the next row, with the next file.
            return old.full or not 0 < new.percent - old.percent <= _MIN_FALL
        if old.done is not None and new.done is not None:
            if old.total != new.total:
                # A bar with a growing total is the same bar, unless it was full.
                return old.full or (new.percent < old.percent if relabelled else new.done < old.done)
            fallen = new.done < old.done
            if old.total is None:
                return fallen
            clear = 100.0 * (old.done - new.done) >= _MIN_FALL * old.total
            return fallen and (clear or old.full or bar != self._bar)
        lost = old.percent - new.percent
        return lost >= _MIN_FALL or (old.full and lost > _MAX_JITTER) or (lost > 0 and bar != self._bar)

    def _new_name(self, label: str) -> str:
        if not label:
            return "" if self._serial == 1 else f"step {self._serial}"
        times = self._names.pop(label, 0) + 1
        self._names[label] = times
        if len(self._names) > _MAX_NAMES:
            del self._names[next(iter(self._names))]
        return label if times == 1 else f"{label} ({times})"


def _differ(label: str, other: str) -> bool:
    """Return whether two labels differ in more than numbers."""
    return label != other and _NUMBERS.sub("", label) != _NUMBERS.sub("", other)


def _begins_again(frame: _Frame, ordinal: Ordinal) -> bool:
    if ordinal.total != frame.total:
        return True
    if ordinal.outcome is Outcome.BEGUN:
        return ordinal.index in frame.begun
    if ordinal.outcome is Outcome.FINISHED:
        return False
    fall = frame.index - ordinal.index
    return fall > 0 and (ordinal.index == 1 or 100.0 * fall >= _MIN_FALL * frame.total)
