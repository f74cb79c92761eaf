"""Staging: the events that wait for the log, in their order, and those who wait for the results.

The log judges the events when it appends them (`tidings.log.judge`); until then nothing is known about them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import structlog
from msgspec import Struct

from tidings.exceptions import TidingsError
from tidings.log.base import EventToAppend, Outcome, PublishResult

log = structlog.get_logger("tidings.hub.staging")

PublishCallback = Callable[[Outcome], None]
"""Called once per event: when it is in the log, or when it is certain that it is not."""


class StagedEvent(Struct, gc=False):
    """An event that waits for the log, and its publisher."""

    entry: EventToAppend
    settled: PublishCallback


class Batch:
    """The events of one append."""

    __slots__ = ("bytes", "staged")

    def __init__(self, staged: list[StagedEvent]) -> None:
        self.staged = staged
        self.bytes = sum([len(each.entry.event.data) for each in staged])
        """Size of the events' `data`."""

    def __len__(self) -> int:
        return len(self.staged)

    def settle(self, outcomes: Sequence[Outcome]) -> int:
        """Report the outcome of each event to its publisher; return how many were appended."""
        appended = 0
        for staged, outcome in zip(self.staged, outcomes, strict=True):
            if isinstance(outcome, PublishResult) and not outcome.duplicate:
                appended += 1
            _settle(staged.settled, outcome)
        return appended

    def fail(self, error: TidingsError) -> None:
        """Report to all publishers that no event of the batch is in the log."""
        for staged in self.staged:
            _settle(staged.settled, error)


def _settle(settled: PublishCallback, outcome: Outcome) -> None:
    try:
        settled(outcome)
    except Exception:  # one publisher's fault must not keep the batch from the others and from the tail
        log.exception("a publisher's callback failed")


class Staging:
    """The events that gather, the batch that the log is appending, and the steps that wait for events.

    Args:
        max_events: Number of events at which the stage is full. It takes more: callers ask `full` first.
        max_bytes: Size of their `data`, in bytes, at which it is full.
        count_fitting: See `Log.count_fitting`; None for a log that takes any batch.
    """

    def __init__(
        self,
        *,
        max_events: int = 1 << 30,
        max_bytes: int = 1 << 40,
        count_fitting: Callable[[Sequence[EventToAppend]], int] | None = None,
    ) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._count_fitting = count_fitting
        self._bytes = 0
        self.full = False
        """Whether all of the stage is used."""
        self._gathering: deque[StagedEvent] = deque()
        self._added = 0
        """Number of events that were ever added."""
        self._settled = 0
        """Number of those that are not staged any more."""
        self._steps: deque[tuple[int, Callable[[], None]]] = deque()
        """Steps, and the number of events that come before each."""
        self.appending: Batch | None = None

    def __len__(self) -> int:
        return self._added - self._settled

    @property
    def waits(self) -> bool:
        """Whether events wait to be taken, or a step is due."""
        return bool(self._gathering) or self._is_step_due()

    def add(self, entry: EventToAppend, settled: PublishCallback) -> None:
        """Stage `entry` for the next append."""
        self._gathering.append(StagedEvent(entry, settled))
        self._added += 1
        self._bytes += len(entry.event.data)
        if self._added - self._settled >= self.max_events or self._bytes >= self.max_bytes:
            self.full = True

    def add_step(self, step: Callable[[], None]) -> None:
        """Add a step that is due when all events staged so far are settled, and before any later one is taken."""
        self._steps.append((self._added, step))

    def due_step(self) -> Callable[[], None] | None:
        """Return the next step that is due, once; None if there is none."""
        return self._steps.popleft()[1] if self._is_step_due() else None

    def _is_step_due(self) -> bool:
        return bool(self._steps) and self._steps[0][0] <= self._settled

    def take(self, max_events: int, max_bytes: int) -> Batch:
        """Return the oldest gathered events, up to the next step; from now on they are being appended.

        Args:
            max_events: Maximum number of events.
            max_bytes: Maximum size of their data in bytes; one event may be larger.
        """
        gathering = self._gathering
        if self._steps:
            max_events = min(max_events, self._steps[0][0] - self._settled)
        count, size = len(gathering), self._bytes
        if count > max_events or size > max_bytes:
            count, size = 0, 0
            for staged in gathering:
                size += len(staged.entry.event.data)
                if count == max_events or (count and size > max_bytes):
                    break
                count += 1
        if self._count_fitting is not None:
            count = self._count_fitting([staged.entry for staged in islice(gathering, count)])
        self.appending = batch = Batch(list(islice(gathering, count)))
        for _ in range(count):
            gathering.popleft()
        return batch

    def appended(self) -> Batch:
        """Return the batch whose append has finished."""
        batch = self.appending
        assert batch is not None
        self.appending = None
        self._settled += len(batch)
        self._bytes -= batch.bytes
        self._measure()
        return batch

    def drop(self) -> list[Batch]:
        """Drop all staged events; return their batches, the oldest first."""
        batches = [] if self.appending is None else [self.appending]
        batches.append(Batch(list(self._gathering)))
        self.appending = None
        self._gathering.clear()
        self._settled = self._added
        self._bytes = 0
        self._measure()
        return batches

    def _measure(self) -> None:
        self.full = len(self) >= self.max_events or self._bytes >= self.max_bytes
