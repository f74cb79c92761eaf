"""How often an attempt shows that it goes on, and so how long to wait before worrying."""

from collections import deque
from statistics import median

_MOST_GAPS = 32
"""Times between two advances that "usual" is reckoned from."""
_FEWEST_GAPS = 3
"""From which on there is a usual time between advances."""
LEAST_PATIENCE_S = 60.0
"""Below it nobody worries, however quick an operation was so far."""
FIRST_PATIENCE_S = 300.0
"""While nothing is usual: many a job reads and connects for minutes before it begins to count."""


class Rhythm:
    """The times between the advances of one attempt."""

    __slots__ = ("_gaps", "_patience_s")

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=_MOST_GAPS)
        self._patience_s: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a usual time."""
        return len(self._gaps) >= _FEWEST_GAPS

    @property
    def has_begun(self) -> bool:
        """Whether it ever went on."""
        return bool(self._gaps)

    def note(self, gap_s: float) -> None:
        """Note that it went on after `gap_s`."""
        self._gaps.append(gap_s)
        self._patience_s = None

    def patience_s(self, usual_s: float | None = None) -> float:
        """Return after how many seconds without an advance the attempt is stalled.

        Five times what is usual between two of them, at least a minute; and at least twice what one in ten takes, as a
        job that works in bursts pauses often. Before anything is usual: a quarter of the time that runs of its name
        take, at least a minute, or five minutes; or five times the longest so far, if that is more.

        Args:
            usual_s: How long a run takes, where that is known.
        """
        if not self.is_known:
            first_s = FIRST_PATIENCE_S if usual_s is None else max(LEAST_PATIENCE_S, usual_s / 4)
            return max(first_s, 5 * max(self._gaps, default=0.0))
        if self._patience_s is None:
            ordered = sorted(self._gaps)
            one_in_ten = ordered[-max(1, len(ordered) // 10)]
            self._patience_s = max(LEAST_PATIENCE_S, 5 * median(ordered), 2 * one_in_ten)
        return self._patience_s
