"""Steps of a run, told from the leading bar and from headings that number parts."""

import re
from dataclasses import dataclass, field

from tidings.cli.run.reader.patterns import Ordinal, Outcome, ProgressReading

# Output never says 100: a full bar may be followed by the next one, and only the exit code says that the run is over.
HIGHEST_PERCENT = 99.0
# Points a bar without counts, or part of its total, must fall by to have started again; less is jitter.
_CLEAR_FALL = 10.0
# Names remembered, to tell the second "train" from the first.
_MAX_NAMES = 256
_NUMBERS = re.compile(r"\d[\d.,]*")


@dataclass(slots=True)
class _Frame:
    """The parts a heading numbers, around whatever bars are drawn within one."""

    kind: str
    total: int
    index: int
    label: str
    begun: set[int] = field(default_factory=set)
    finished: set[int] = field(default_factory=set)
    # Parts that run side by side are counted as they finish; otherwise those before the current one are over.
    counted: bool = False

    @property
    def completed(self) -> int:
        return len(self.finished) if self.counted else self.index - 1


class Steps:
    """State machine from gauges and headings to (percent, step).

    Within a step the percentage never falls. A bar that starts again is the next step. Where headings number the
    parts, the percentage is of the whole: parts completed plus the bar's share of the current one.
    """

    def __init__(self) -> None:
        self._serial = 0
        self._name = ""
        self._gauge: ProgressReading | None = None
        self._label = ""
        self._bar = 0
        self._inner: float | None = None
        self._frame: _Frame | None = None
        self._peak: float | None = None
        self._names: dict[str, int] = {}

    @property
    def serial(self) -> int:
        """Number of steps begun; 0 before the first sign of progress. Parts that are numbered count as one."""
        return self._serial

    @property
    def percent(self) -> float | None:
        """Share done, 0 to HIGHEST_PERCENT; None if unknown."""
        return self._peak

    @property
    def name(self) -> str:
        """Name of the current step: the heading or label, "step 2" where there is none, empty for a nameless first."""
        return self._frame.label if self._frame is not None else self._name

    @property
    def total(self) -> int:
        """Number of steps, 0 if unknown."""
        return self._frame.total if self._frame is not None else 0

    def enter(self, ordinal: Ordinal) -> None:
        """Take note of a heading."""
        frame = self._frame
        if frame is not None and frame.kind != ordinal.kind:
            # A second kind of number counts within the first: batches within epochs.
            done = float(ordinal.index - 1)
            share = 100.0 * done / ordinal.total
            gauge = ProgressReading(share, ordinal.label, done, float(ordinal.total), drawn=False, certain=True)
            self.advance(gauge, ordinal.label, bar=0)
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

    def advance(self, gauge: ProgressReading, label: str, bar: int) -> None:
        """Take note of the leading bar.

        Args:
            gauge: What it states.
            label: Its name, may be empty.
            bar: Its number, the same for as long as it is the same bar on the screen.
        """
        if self._gauge is None or self._restarted(self._gauge, gauge, label, bar):
            self._inner = None
            self._label = label
            if self._frame is None:
                self._serial += 1
                self._peak = None
                self._name = self._new_name(label)
        elif _NUMBERS.sub("", label) != _NUMBERS.sub("", self._label):
            # The same bar under a new description; one in which only a number changed (a loss, a rate) keeps its name.
            self._label = label
            self._name = label or self._name
        self._gauge, self._bar = gauge, bar
        if not gauge.full or self._inner is not None:
            self._inner = max(self._inner or 0.0, min(gauge.percent, HIGHEST_PERCENT))
        # A bar first seen full tells that a step is over and nothing about what is left: no percentage.
        self._raise_peak()

    def forget_bar(self) -> None:
        """Take note that the program took its announcement back."""
        self._leave_bar()

    def _leave_bar(self) -> None:
        self._gauge = None
        self._inner = None

    def _raise_peak(self) -> None:
        share = self._inner if self._frame is None else self._share_of(self._frame)
        if share is not None:
            self._peak = max(self._peak or 0.0, min(share, HIGHEST_PERCENT))

    def _share_of(self, frame: _Frame) -> float:
        inner = self._inner or 0.0
        # A bar over the same parts says the same as the heading.
        same = self._gauge is not None and self._gauge.total == frame.total
        if frame.counted or same:
            inner = 0.0
        return 100.0 * (min(frame.completed, frame.total) + inner / 100.0) / frame.total

    def _restarted(self, old: ProgressReading, new: ProgressReading, label: str, bar: int) -> bool:
        """Tell whether a bar is another one, or the same begun again."""
        relabelled = label != self._label
        if relabelled and bar != self._bar:
            return True
        if old.done is not None and new.done is not None:
            if old.total != new.total:
                # A growing total is the same bar, unless that was done with.
                return relabelled or old.full or new.done < old.done
            fallen = new.done < old.done
            if old.total is None:
                return fallen
            clear = 100.0 * (old.done - new.done) >= _CLEAR_FALL * old.total
            return fallen and (clear or old.full or bar != self._bar)
        fallen = new.percent < old.percent
        return fallen and (old.percent - new.percent >= _CLEAR_FALL or old.full or bar != self._bar)

    def _new_name(self, label: str) -> str:
        if not label:
            return "" if self._serial == 1 else f"step {self._serial}"
        times = self._names.pop(label, 0) + 1
        self._names[label] = times
        if len(self._names) > _MAX_NAMES:
            del self._names[next(iter(self._names))]
        return label if times == 1 else f"{label} ({times})"


def _begins_again(frame: _Frame, ordinal: Ordinal) -> bool:
    if ordinal.total != frame.total:
        return True
    if ordinal.outcome is Outcome.BEGUN:
        return ordinal.index in frame.begun
    if ordinal.outcome is Outcome.FINISHED:
        return False
    fall = frame.index - ordinal.index
    return fall > 0 and (ordinal.index == 1 or 100.0 * fall >= _CLEAR_FALL * frame.total)
