"""Views of operations for HTTP answers: the log's data, with presence, estimates and log lines added."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec
from msgspec import structs

from tidings.access.grants import Grants
from tidings.access.subjects import Subject
from tidings.hub.hub import Hub
from tidings.log.base import Query, Record
from tidings.operations.descriptions import (
    HubFacts,
    conceal_view,
    describe,
    format_time,
    roll_up_progress,
    summarize,
    view_ended_run,
    view_usual,
    weight_of,
)
from tidings.operations.lifecycle import OperationState
from tidings.operations.run_history import RunHistory
from tidings.operations.status import OperationStatus
from tidings.operations.views import (
    LogLineView,
    NameView,
    OperationDetail,
    OperationSummary,
)
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.payloads import OperationLogData
from tidings.server.http.events import read_page

MAX_CHILDREN: Final = 100
"""Children shown with their parent; `?parent=` lists all of them."""
MAX_RUNS_PASSED: Final = 1_000
"""Runs of other readers that the search for the previous and the next run passes."""
MAX_LOG_LINES: Final = 100
"""Log lines shown with an operation, the newest ones."""
_MAX_DEPTH: Final = 16
"""Maximum depth of progress roll-up. Bounded because parent ids come from clients and may form cycles."""
_FIRST_WINDOW: Final = 2_000
"""Newest offsets, searched first for log lines: reading them takes a millisecond or two, in any log."""
_MAX_WINDOW: Final = 32_000
"""Each further window is twice as long, up to this number of offsets."""
_BUDGET_S: Final = 0.25
"""Seconds in which one request may search the log for an operation's lines."""
_ALL_OPERATIONS: Final = Path(ChannelType.OPERATIONS)
_CHANNELS: Final = (ChannelType.OPERATIONS, ChannelType.GLOBAL)
_TYPE: Final = str(MessageType.OPERATION_LOG)

_Summary = TypeVar("_Summary", bound=OperationSummary)
_decode = msgspec.json.Decoder(OperationLogData).decode


class OperationViewBuilder:
    """Builds the views of one answer: of what its reader may read.

    Args:
        hub: The hub.
        subject: The reader; None where the hub identifies no one, and everyone may read everything.
    """

    def __init__(self, hub: Hub, subject: Subject | None = None) -> None:
        self._hub = hub
        self._subject = subject
        self._matches = None if subject is None else subject.grants.read.matcher()
        self._rolled_up: dict[str, float | None] = {}
        """Progress rolled up from the children, by operation id."""
        self.examined = 0
        """Operations examined so far, as a measure of the cost."""

    def may_read(self, operation_id: str) -> bool:
        """Return whether the reader may read an operation; one that they may not read does not exist for them."""
        return self._matches is None or self._matches(ChannelType.OPERATIONS, operation_id)

    def summary(self, status: OperationStatus) -> OperationSummary:
        """Return the view of an operation in lists."""
        self.examined += 1
        status = self._hub.at_present(status)
        view = summarize(
            status,
            self._facts(status),
            of_children=self._of_children(status, _MAX_DEPTH) if status.progress is None else None,
        )
        return self._reveal(view)

    def detail(self, status: OperationStatus, lines: Sequence[LogLineView]) -> OperationDetail:
        """Return the full view of an operation, with the given log lines."""
        children = self._children(status.operation_id)[-MAX_CHILDREN:]
        history = self._hub.operations.names.get(status.name) if self.reads_all else None
        operations, status = self._hub.operations, self._hub.at_present(status)
        view = describe(
            status,
            self._facts(status),
            of_children=self._of_children(status, _MAX_DEPTH) if status.progress is None else None,
            log=lines,
            children=[self.summary(child) for child in children],
            usual=None if history is None else view_usual(self._dated(history)),
            usual_steps_s={} if history is None else history.usual_steps_s(),
            position=lambda offset: str(self._hub.log.position(offset)),
            previous=self._nearest(operations.earlier_runs(status)),
            following=self._nearest(operations.later_runs(status)),
        )
        return self._reveal(view)

    @property
    def reads_all(self) -> bool:
        """Whether the reader may read all operations, and so figures in which all of them count."""
        return self._subject is None or self._subject.grants.read.covers(_ALL_OPERATIONS)

    def _nearest(self, runs: Iterable[OperationStatus]) -> OperationStatus | None:
        """Return the first of some runs that the reader may read, if it is not far away."""
        near = islice(runs, MAX_RUNS_PASSED)
        return next((self._hub.at_present(status) for status in near if self.may_read(status.operation_id)), None)

    def _dated(self, history: RunHistory) -> RunHistory:
        """Return a history whose times are by the present clock, of runs that are kept."""
        ends = [self._ended_ns(run.operation_id, run.attempt, run.ended_ns) for run in history.recent]
        success_ns = self._ended_ns(history.last_success_id or "", None, history.last_success_ns)
        if success_ns == history.last_success_ns and all(
            run.ended_ns == end_ns for run, end_ns in zip(history.recent, ends, strict=True)
        ):
            return history
        recent = [structs.replace(run, ended_ns=end_ns) for run, end_ns in zip(history.recent, ends, strict=True)]
        return structs.replace(history, recent=recent, last_success_ns=success_ns)

    def _ended_ns(self, operation_id: str, attempt: int | None, ended_ns: int | None) -> int | None:
        """Return when a run ended, by the present clock if its attempt is still the newest of its operation."""
        status = self._hub.operations.get(operation_id)
        if status is None or status.ended_ns is None or attempt not in (None, status.life.attempt):
            return ended_ns
        present = self._hub.at_present(status)
        return ended_ns if present is status else (present.ended_ns or 0) + present.clock_lag_ns

    def _children(self, operation_id: str) -> list[OperationStatus]:
        children = self._hub.operations.children(operation_id)
        if self._matches is None:
            return children
        return [child for child in children if self.may_read(child.operation_id)]

    def _reveal(self, view: _Summary) -> _Summary:
        """Return a view with what its reader may see: a producer is shown to its own subject only."""
        subject = self._subject
        if subject is None:
            return view
        own = None if view.producer_id is None else subject.unqualify(view.producer_id)
        if own != view.producer_id:
            view = structs.replace(view, producer_id=own)
        return view if subject.grants.details else conceal_view(view)

    def name(self, history: RunHistory, live: Mapping[OperationState, int]) -> NameView:
        """Return the view of a name and its runs.

        Args:
            history: The ended runs.
            live: Number of the live runs by state.
        """
        newest, history = self._hub.operations.get(history.newest), self._dated(history)
        return NameView(
            name=history.name,
            newest=None if newest is None else self.summary(newest),
            runs=history.runs,
            failed=history.failed,
            running=live.get(OperationState.RUNNING, 0),
            queued=live.get(OperationState.QUEUED, 0),
            last_success_at=format_time(history.last_success_ns),
            median_duration_s=history.median_s,
            p95_duration_s=history.p95_s,
            trend=history.trend,
            recent=[view_ended_run(run) for run in history.recent],
        )

    def _facts(self, status: OperationStatus) -> HubFacts:
        if not status.live:
            return HubFacts()
        hub, operation_id = self._hub, status.operation_id
        cancel = hub.cancellations.find(operation_id)
        return HubFacts(
            presence=hub.leases.presence(operation_id),
            away_since_ns=hub.leases.away_since_ns(operation_id),
            cancel_requested_ns=None if cancel is None else cancel.requested_ns,
            cancelled_by=None if cancel is None else cancel.cancelled_by,
            estimate=hub.estimates.get(operation_id),
        )

    def _of_children(self, status: OperationStatus, depth: int) -> float | None:
        operation_id = status.operation_id
        if operation_id not in self._rolled_up:
            self._rolled_up[operation_id] = None  # an operation that a cycle returns to counts as nothing
            children = self._children(operation_id)
            self.examined += len(children)
            self._rolled_up[operation_id] = roll_up_progress(
                [(weight_of(child), self._progress(child, depth - 1)) for child in children]
            )
        return self._rolled_up[operation_id]

    def _progress(self, status: OperationStatus, depth: int) -> float | None:
        if status.progress is not None or depth == 0:
            return status.progress
        return self._of_children(status, depth)


async def newest_lines(hub: Hub, status: OperationStatus, grants: Grants | None = None) -> list[LogLineView]:
    """Return the newest `MAX_LOG_LINES` log lines of an operation, oldest first; fewer if the search takes too long.

    Args:
        hub: The hub.
        status: The operation.
        grants: What may be read; None for everything.

    Raises:
        LogError: The log cannot be read.
    """
    operation_id, log = status.operation_id, hub.log
    readable = [name for name in _CHANNELS if grants is None or grants.may_read(name, operation_id)]
    paths = PathSet.of((Path(channel, operation_id) for channel in readable), with_global=False)
    # A hub that crashed may have lost the offset that the operation itself keeps.
    newest = max(status.log_offset, *(log.newest.offset(channel, _TYPE, operation_id) or 0 for channel in _CHANNELS))
    if not newest:
        return []
    # The newest line stays in the log when its range is trimmed.
    first = min(newest - 1, max(status.first_offset, log.statistics().first) - 1)
    deadline = hub.clock.monotonic() + _BUDGET_S
    found: list[Record] = []
    until, window = newest, _FIRST_WINDOW
    while until > first and len(found) < MAX_LOG_LINES and hub.clock.monotonic() < deadline:
        after = max(first, until - window)
        found[:0] = await _newest_between(hub, paths, after, until)
        until, window = after, min(2 * window, _MAX_WINDOW)
        await asyncio.sleep(0)
    return [line for record in found[-MAX_LOG_LINES:] if (line := _line(record)) is not None]


async def _newest_between(hub: Hub, paths: PathSet, after: int, until: int) -> list[Record]:
    """Return the newest lines on `paths` with an offset after `after` and up to `until`, in log order."""
    found: list[Record] = []
    while after < until:
        query = Query(after=after, until=until, paths=paths, conflate=False, types=frozenset({_TYPE}))
        page = await read_page(hub.log, query)
        found = [*found[-MAX_LOG_LINES:], *page.records]
        after = page.scanned
        if after < until:
            await asyncio.sleep(0)
    return found


def _line(record: Record) -> LogLineView | None:
    try:
        data = _decode(record.event.data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a log may hold events that another contract accepted
        return None
    return LogLineView(at=record.event.timestamp, level=data.level, message=data.message)
