"""How far an operation is, as its progress event says it."""

from tidings.producer.sanitize import text
from tidings.producer.tracking import ProgressTracker, Step
from tidings.protocol.payloads import OperationProgressData

_BETWEEN = " › "


class ProgressReporter:
    """Reads one operation's work and says what is new. Its owner holds the operation's lock.

    Args:
        work: The operation as a whole.
        operation_id: Its id.
    """

    def __init__(self, work: ProgressTracker, operation_id: str) -> None:
        self._work = work
        self._id = operation_id
        self._seen: object = self._fingerprint()
        self._furthest = 0.0
        self.step = ""
        """The step that the work is at, or was at last; `progress(…, step=…)` names one, too."""

    def begin_anew(self) -> None:
        """Be at the beginning of another attempt."""
        self._seen, self._furthest, self.step = self._fingerprint(), 0.0, ""

    @property
    def percent(self) -> float | None:
        """How far it is; None where nobody knows."""
        share = self._work._fraction()
        if share is None:
            return None
        # What the job says itself may fall; what is worked out of steps and counts that grow, too, must not.
        return share * 100 if self._work._said is not None else max(share * 100, self._furthest)

    def has_news(self) -> bool:
        """Return whether something changed since `take`."""
        return self._fingerprint() != self._seen

    def take(self, now_s: float) -> OperationProgressData | None:
        """Return what there is to say at `now_s` (a monotonic clock's), or None where nothing changed."""
        fingerprint = self._fingerprint()
        if fingerprint == self._seen:
            return None
        self._seen = fingerprint
        percent = self.percent
        self._furthest = self._furthest if percent is None else max(self._furthest, percent)
        return self.read(now_s)

    def read(self, now_s: float) -> OperationProgressData:
        """Return how far it is at `now_s`, whether that was said or not."""
        percent = self.percent
        current = next((step for step in reversed(self._work._active) if not step.is_detail), None)
        self.step = self.step if current is None else current.name
        return OperationProgressData(
            operation_id=self._id,
            progress=round(self._furthest if percent is None else percent, 2),
            current_step=self.step,
            total_steps=len(self._work._plan),
            message=self._message(current, percent is None, now_s) or None,
            indeterminate=percent is None,
        )

    def _fingerprint(self) -> object:
        return self._work._pulse.changes, self._work._counts()

    def _message(self, current: Step | None, unknown: bool, now_s: float) -> str:
        """Return the innermost message, behind the names of the steps that `current_step` does not tell."""
        chain: list[ProgressTracker] = [self._work]
        names: list[str] = []
        while chain[-1]._active:
            step = chain[-1]._active[-1]
            chain.append(step)
            if step is not current and step.name:
                names.append(step.name)
        said = next((said for scope in reversed(chain) if (said := scope._text(now_s))), "")
        share = chain[-1]._fraction()
        if not said and unknown and share is not None:
            said = f"{share * 100:.0f} %"
        where = _BETWEEN.join(names)
        return text(f"{where}: {said}" if where and said else where or said)
