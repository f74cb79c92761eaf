"""What one request sees of operations: views of them with what the hub knows beside the log.

The newest lines of an operation's log, read backwards: nobody walks over all of the log for them.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from tidings.hub.hub import Hub
from tidings.log.base import Query, Record
from tidings.operations.run_history import RunHistory
from tidings.operations.status import OperationStatus
from tidings.operations.views import (
    LogLineView,
    NameView,
    OperationDetail,
    OperationSummary,
    Presence,
    UsualDurationView,
    describe,
    format_time,
    roll_up_progress,
    summarize,
    weight_of,
)
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.payloads import OperationEstimateData, OperationLogData
from tidings.server.http.events import read_page

MAX_CHILDREN = 100
"""Shown with their parent; `?parent=` lists all of them."""
_DEEPEST = 16
"""Generations that progress is rolled up over. Who names a parent need not be right: there may be rings."""


class OperationViewBuilder:
    """The views that one answer is made of.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rolled: dict[str, float | None] = {}
        """By operation: what its children have come to, as far as it was asked for."""
        self.looked_at = 0
        """Operations looked at so far: what the views cost."""

    def summary(self, status: OperationStatus) -> OperationSummary:
        """Return an operation as lists show it."""
        self.looked_at += 1
        return summarize(
            status,
            presence=self._presence(status),
            estimate=self._estimate(status),
            of_children=self._of_children(status, _DEEPEST) if status.progress is None else None,
        )

    def detail(self, status: OperationStatus, lines: Sequence[LogLineView]) -> OperationDetail:
        """Return an operation with all that is known of it, the newest lines of its log given."""
        children = self._hub.operations.children(status.operation_id)[-MAX_CHILDREN:]
        history = self._hub.operations.names.get(status.name)
        return describe(
            status,
            presence=self._presence(status),
            estimate=self._estimate(status),
            of_children=self._of_children(status, _DEEPEST) if status.progress is None else None,
            log=lines,
            children=[self.summary(child) for child in children],
            usual=None if history is None else _usual(history),
        )

    def name(self, history: RunHistory) -> NameView:
        """Return what is known of the runs of a name."""
        newest = self._hub.operations.get(history.newest)
        return NameView(
            name=history.name,
            newest=None if newest is None else self.summary(newest),
            runs=history.runs,
            failed=history.failed,
            last_success_at=format_time(history.last_success_ns),
            median_duration_s=history.median_s,
        )

    def _presence(self, status: OperationStatus) -> Presence:
        if not status.live:
            return "unknown"
        presence: Presence = self._hub.leases.presence(status.operation_id)  # type: ignore[assignment]
        return presence

    def _estimate(self, status: OperationStatus) -> OperationEstimateData | None:
        return self._hub.estimates.get(status.operation_id) if status.live else None

    def _of_children(self, status: OperationStatus, deepest: int) -> float | None:
        operation_id = status.operation_id
        if operation_id not in self._rolled:
            self._rolled[operation_id] = None  # what a ring comes back to counts for nothing
            children = self._hub.operations.children(operation_id)
            self.looked_at += len(children)
            self._rolled[operation_id] = roll_up_progress(
                [(weight_of(child), self._progress(child, deepest - 1)) for child in children]
            )
        return self._rolled[operation_id]

    def _progress(self, status: OperationStatus, deepest: int) -> float | None:
        if status.progress is not None or deepest == 0:
            return status.progress
        return self._of_children(status, deepest)


def _usual(history: RunHistory) -> UsualDurationView:
    return UsualDurationView(
        runs=history.runs,
        failed=history.failed,
        median_duration_s=history.median_s,
        last_success_at=format_time(history.last_success_ns),
    )


MAX_LOG_LINES: Final = 100
_FIRST_WINDOW: Final = 2_000
"""Offsets looked at first, the newest: a read of so many takes a millisecond or two, in any log."""
_LAST_WINDOW: Final = 32_000
"""Each further window is twice as long, up to this."""
_BUDGET_S: Final = 0.25
"""Seconds that one request may look for lines among everything else that the log holds."""
_CHANNELS: Final = (ChannelType.OPERATIONS, ChannelType.GLOBAL)
_TYPE: Final = str(MessageType.OPERATION_LOG)

_decode = msgspec.json.Decoder(OperationLogData).decode


async def newest_lines(hub: Hub, status: OperationStatus) -> list[LogLineView]:
    """Return the newest `MAX_LOG_LINES` log lines of an operation, oldest first; fewer if the search takes too long.

    Raises:
        LogError: The log cannot be read.
    """
    operation_id, log = status.operation_id, hub.log
    paths = PathSet.of((Path(channel, operation_id) for channel in _CHANNELS), with_global=False)
    # A hub that crashed may have lost the operation's own note of it.
    newest = max(status.log_offset, *(log.newest.offset(channel, _TYPE, operation_id) or 0 for channel in _CHANNELS))
    if not newest:
        return []
    # The newest line stays where the range was trimmed.
    first = min(newest - 1, max(status.first_offset, log.statistics().first) - 1)
    deadline = hub.clock.monotonic() + _BUDGET_S
    found: list[Record] = []
    until, window = newest, _FIRST_WINDOW
    while until > first and len(found) < MAX_LOG_LINES and hub.clock.monotonic() < deadline:
        after = max(first, until - window)
        found[:0] = await _newest_between(hub, paths, after, until)
        until, window = after, min(2 * window, _LAST_WINDOW)
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
        said = _decode(record.event.data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a log may hold what another contract took
        return None
    return LogLineView(at=record.event.timestamp, level=said.level, message=said.message)
