"""The harness that an adapter provides, and the events that the suite appends."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

import msgspec

from tidings.contract.event_types import BUILTIN
from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Log, Outcome, Page, PublishResult, Query, Record, Retention
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import ChannelType, SlotEffect
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.timestamps import from_nanoseconds

ALL = PathSet.of([Path(channel) for channel in ChannelType])
"""Every channel."""
Result = TypeVar("Result")
MAX_STEPS = 100_000
"""Number of retention steps after which a log is assumed never to finish."""


class LogHarness(ABC):
    """Opens logs for the suite and removes them; a context manager around a test."""

    @abstractmethod
    def open(self, retention: Retention) -> Log:
        """Return a new, empty log."""

    def settle(self) -> None:  # noqa: B027 - embedded logs have nothing to wait for
        """Wait until all calls are complete. Default: do nothing, for logs whose calls complete immediately."""

    def reopen(self, log: Log, retention: Retention) -> Log | None:
        """Close `log` and open it again. Default: None, for a log that does not outlive its process."""
        return None

    def crash(self, log: Log, retention: Retention) -> Log | None:
        """Open the files that `log` would leave if its process were killed now. Default: None, as for `reopen`."""
        return None

    def close(self) -> None:  # noqa: B027 - not every adapter has something to remove
        """Close and remove every log that was opened."""

    def __enter__(self) -> "LogHarness":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Called by tests.

    def append(self, log: Log, *batch: EventToAppend) -> int:
        """Append one batch, all of whose events are accepted, and return the offset of its first event.

        Raises:
            LogError: The log refused it.
        """
        head = log.head
        outcomes = self.outcomes(log, *batch)
        offsets = [
            outcome.offset for outcome in outcomes if isinstance(outcome, PublishResult) and not outcome.duplicate
        ]
        assert len(offsets) == len(batch), outcomes
        return offsets[0] if offsets else head + 1

    def outcomes(self, log: Log, *batch: EventToAppend) -> Sequence[Outcome]:
        """Append one batch and return the outcome of each event.

        Raises:
            LogError: The log refused it.
        """
        results: list[Sequence[Outcome] | LogError] = []
        log.append(batch, results.append)
        outcomes = self._one(results)
        assert len(outcomes) == len(batch)
        return outcomes

    def read(self, log: Log, query: Query) -> Page:
        """Return one page of `query`.

        Raises:
            LogError: The log could not read it.
        """
        results: list[Page | LogError] = []
        log.read(query, results.append)
        return self._one(results)

    def read_all(self, log: Log, query: Query) -> list[Record]:
        """Return all events of `query`, page by page up to `Query.until`."""
        records: list[Record] = []
        after = query.after
        while after < query.until:
            page = self.read(log, msgspec.structs.replace(query, after=after))
            assert after < page.scanned <= query.until, "a page that does not advance would be read forever"
            assert all(after < record.offset <= page.scanned for record in page.records)
            records += page.records
            after = page.scanned
        return records

    def history(self, log: Log, paths: PathSet = ALL, *, after: int = 0) -> list[Record]:
        """Return every event on `paths` that is in the log."""
        return self.read_all(log, Query(after=after, until=log.head, paths=paths, conflate=False))

    def snapshot(self, log: Log, paths: PathSet = ALL) -> list[Record]:
        """Return the snapshot of `paths`."""
        return self.read_all(log, Query(after=0, until=log.head, paths=paths, newest_only=True))

    def maintain(self, log: Log, now_ns: int) -> None:
        """Do steps of retention until none is due at `now_ns`, and forget the ended operations that are too old."""
        for _ in range(MAX_STEPS):
            if not (log.forget(now_ns, 0) | log.maintain(now_ns)):
                return
        raise AssertionError(f"retention is not done after {MAX_STEPS} steps")

    def _one(self, results: "Sequence[Result | LogError]") -> Result:
        self.settle()
        assert len(results) == 1, "called exactly once"
        result = results[0]
        if isinstance(result, LogError):
            raise result
        return result


NS = 1_000_000_000
_TYPES = {str(event.type): event for event in BUILTIN if event.channel is not None}
_START_NS = 1_767_225_600 * NS


class EventFactory:
    """Creates events to append, each with different data, on a clock that the test advances."""

    def __init__(self) -> None:
        self.now_ns = _START_NS
        """The hub's wall clock, nanoseconds since 1970."""
        self._created = 0

    def advance(self, seconds: float) -> int:
        """Let time pass; return the new time."""
        self.now_ns += int(seconds * NS)
        return self.now_ns

    def __call__(
        self,
        type: str,
        key: str | None = None,
        *,
        channel: str | None = None,
        trace_id: str = "0123456789abcdef0123456789abcdef",
        event_id: str | None = None,
        scope: str = "",
        effect: SlotEffect | None = None,
        data: bytes | None = None,
    ) -> EventToAppend:
        """Return a new event of `type`. Defaults are those of the built-in catalogue."""
        row = _TYPES[type]
        self._created += 1
        event = Event(
            type=type,
            timestamp=from_nanoseconds(self.now_ns),
            trace_id=trace_id,
            data=b'{"n":%d}' % self._created if data is None else data,
            channel=channel or str(row.channel),
            key=key,
            event_class=row.event_class,
            event_id=event_id,
            effect=effect if effect is not None else SlotEffect.END if row.ends_key else SlotEffect.REPLACE,
        )
        return EventToAppend(event=event, received_ns=self.now_ns, scope=scope)
