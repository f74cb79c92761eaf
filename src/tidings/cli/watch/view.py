"""The view of `tidings watch`: takes events, returns lines and a renderable; the clock is an argument."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from rich.console import Group, RenderableType
from rich.text import Text

from tidings.cli.short_ids import shorten_ids
from tidings.cli.text import sanitize
from tidings.cli.watch.lines import CANCELLED, COMPLETE, FAILED, append_part, ended_lines, event_line, stamp
from tidings.cli.watch.rows import Layout, failure_row, running_row
from tidings.cli.watch.state import PRODUCER_AWAY, EndedOperation, EventLike, Running, WatchedOperations
from tidings.client.events import Gap, LicenseEnded, Notice, PathsRemoved
from tidings.operations.attention import Attention, Candidate, arrange
from tidings.protocol.payloads import (
    OperationEstimateData,
    OperationFailedData,
    OperationProgressData,
    OperationStartData,
    SystemAlertData,
    SystemMetricsData,
    SystemStatusData,
)

_RESERVED_LINES = 3
"""Lines of the screen for the status line, "… and 12 more running", and one line that scrolls by."""
_MAX_LISTED = 5
_LIVE_STATES = ("live",)
"""States of the connection in which the silence of an operation is its own."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """State of the connection, for the status line."""

    url: str
    state: str = "connecting"
    """`connecting`, `reconnecting`, `live`, `catching up`, `stale`, `closed`."""
    note: str = ""
    """`12s`, `again in 3 s (…)`."""


_STATE_STYLES = {"live": "green", "catching up": "yellow", "stale": "yellow", "connecting": "yellow"}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter on the events of a watch's paths."""

    name: str | None = None
    """Only operations of this name, with their descendants; `Import*` is a prefix."""
    failed: bool = False
    """Only operations that failed."""
    exact: bool = False
    """Whether the paths name single operations, whose end counts even if it came before the watch."""

    @property
    def only_operations(self) -> bool:
        """Whether events that belong to no operation are left out."""
        return self.failed or self.name is not None

    def selects(self, name: str) -> bool:
        """Return whether operations of a name are shown."""
        if self.name is None:
            return True
        return name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name


_EVERYTHING = EventFilter()


class WatchView:
    """The state that a watch shows.

    Args:
        zone: Time zone of the times shown; by default the machine's.
        verbose: Show a line for every `system:status` and `system:metrics`, not only for a change of status; for
            watches that name the system channel.
        selection: Filter on the events.
    """

    def __init__(
        self, *, zone: tzinfo | None = None, verbose: bool = False, selection: EventFilter = _EVERYTHING
    ) -> None:
        self.operations = WatchedOperations(selection.selects)
        self._selection = selection
        self._zone = zone
        self._verbose = verbose
        self.changes = 0
        """Number of changes that may affect the picture."""
        self.vanished: list[str] = []
        """Names of the operations that ran before a gap and that the hub no longer has; their ends are unknown."""
        self.live = False
        """Whether the events of the past were all read."""
        self._before = (0, 0)
        """Ended and failed operations before the watch was live."""
        self._statuses: dict[str, str] = {}
        self._short: Mapping[str, str] = {}

    def is_shown(self, event: EventLike) -> bool:
        """Return whether the watch shows an event at all; call it before `apply`."""
        selection = self._selection
        if selection.failed and not isinstance(event.payload, OperationFailedData):
            return False
        if not selection.only_operations:
            return True
        payload = event.payload
        about = event.type.startswith("operation:") or (
            isinstance(payload, SystemAlertData) and payload.code == PRODUCER_AWAY
        )
        return about and self.operations.is_selected(event)

    def apply(self, event: EventLike, now_s: float) -> Text | None:
        """Apply `event`; return the line that it leaves above the picture, if any.

        Args:
            event: The event.
            now_s: Time by the hub's clock, seconds since 1970.
        """
        self.changes += 1
        shown = self.is_shown(event)
        ended = self.operations.apply(event, now_s)
        if not shown:
            return None
        if ended is not None:
            return self._line(event, ended_lines(ended))
        payload = event.payload
        if isinstance(payload, OperationStartData | OperationProgressData | OperationEstimateData):
            return None
        if event.type.startswith("operation:") and not event.type.endswith(":log"):
            return None  # an end that was reported before
        if isinstance(payload, SystemAlertData) and self.operations.covers(payload):
            return None
        if isinstance(payload, SystemMetricsData) and not self._verbose:
            return None
        if isinstance(payload, SystemStatusData) and not self._changed(payload):
            return None
        return self._line(event, event_line(event))

    def note(self, notice: Notice) -> Text | None:
        """Apply a notice about the stream; return the line that it leaves above the picture, if any."""
        self.changes += 1
        if isinstance(notice, Gap):
            self.operations.doubt_all()
            return Text.assemble(("… ", "yellow"), (f"some events are missing here ({notice.reason})", "yellow"))
        if isinstance(notice, PathsRemoved):
            return Text(f"! no longer allowed to read {list_names(notice.paths)}", "yellow")
        if isinstance(notice, LicenseEnded):
            return Text(
                f"! the license of the hub has expired: {notice.data.message or notice.data.expired_at}", "yellow"
            )
        gone = [each.name for each in self.operations.drop_doubtful() if each.selected]
        self.vanished += gone
        if not self.live:
            self.live = True
            if not self._selection.exact:
                self._before = self.operations.ended, self.operations.failed
        return Text(f"? the hub no longer has {list_names(gone)}; the end is unknown", "yellow") if gone else None

    @property
    def animated(self) -> bool:
        """Whether the picture moves within a second: a bar without a percentage pulses."""
        return any(each.percent is None and not each.queued for each in self.operations.running.values())

    @property
    def running(self) -> list[Running]:
        """The running operations that the watch shows, in the order in which they began."""
        return [each for each in self.operations.running.values() if each.selected]

    @property
    def has_begun(self) -> bool:
        """Whether an operation ran since the watch was live, or ended since."""
        return bool(self.running) or self.operations.ended > self._before[0]

    @property
    def idle(self) -> bool:
        """Whether the stream is live and no operation in it runs."""
        return self.live and not self.running

    @property
    def failures(self) -> int:
        """Number of operations that failed since the watch was live."""
        return self.operations.failed - self._before[1]

    def _changed(self, status: SystemStatusData) -> bool:
        source = status.source or ""
        before = self._statuses.get(source, "healthy")
        self._statuses[source] = status.status
        return self._verbose or status.status != before

    def _line(self, event: EventLike, text: Text) -> Text:
        return stamp(event, self._zone).append_text(text)

    def render(self, link: ConnectionState, now_s: float, width: int, height: int, *, note: str = "") -> RenderableType:
        """Return the picture.

        Args:
            link: State of the connection.
            now_s: Time by the hub's clock, seconds since 1970.
            width: Columns of the screen.
            height: Lines of the screen; if more operations run, those that need attention most are shown.
            note: Text for the status line, such as the key that quits.
        """
        self.operations.expire(now_s)
        heard_s = now_s if link.state in _LIVE_STATES else 0.0
        running = {} if self._selection.failed else {each.operation_id: each for each in self.running}
        failures = dict(self.operations.failures)
        room = max(1, height - _RESERVED_LINES)
        # The newest failures: the others must leave room for what still runs.
        newest = list(failures.values())[-(max(1, room // 2) if running else room) :]
        candidates = [_candidate(each, heard_s) for each in running.values()]
        candidates += [_failed(each) for each in newest if each.operation_id not in running]
        places = arrange(candidates, room)
        rows = [(id, (running.get(id) or failures[id]).name, depth) for id, depth in places]
        layout = Layout.fit(width, rows, self._shorten_ids())
        parts: list[RenderableType] = [
            running_row(layout, running[id], depth, now_s, heard_s)
            if id in running
            else failure_row(layout, failures[id], depth, now_s)
            for id, depth in places
        ]
        hidden = len(running) - sum(id in running for id, _ in places)
        hidden_failures = len(failures) - sum(id not in running for id, _ in places)
        if hidden or hidden_failures:
            more = [f"{hidden} more running"] if hidden else []
            more += [f"{hidden_failures} more failed"] if hidden_failures else []
            parts.append(Text(f"… and {', '.join(more)}", "dim"))
        parts.append(self._status(link, sum(each.attention < Attention.NONE for each in candidates), note))
        return Group(*parts)

    def _shorten_ids(self) -> Mapping[str, str]:
        """Return the short ids of all operations that the watch has, shown or not."""
        operations = self.operations
        ids = operations.running.keys() | operations.failures.keys()
        if ids != self._short.keys():
            self._short = shorten_ids(ids)
        return self._short

    def _status(self, link: ConnectionState, urgent: int, note: str) -> Text:
        operations = self.operations
        style = _STATE_STYLES.get(link.state, "red")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append("●", style)
        append_part(line, f"{link.state} {sanitize(link.note)}".strip(), style, gap=" ")
        append_part(line, f"{len(self.running)} running", "bold" if self.running else "dim")
        append_part(line, f"{urgent} need{'s' if urgent == 1 else ''} attention" if urgent else "", "yellow")
        for count, mark in (
            (operations.complete, COMPLETE),
            (operations.failed, FAILED),
            (operations.cancelled, CANCELLED),
        ):
            append_part(line, f"{mark} {count}" if count else "", "dim")
        append_part(line, note, "dim")
        return append_part(line, sanitize(link.url), "dim")


def list_names(names: Sequence[str]) -> str:
    """Return names for a sentence, at most _MAX_LISTED of them."""
    more = len(names) - _MAX_LISTED
    return ", ".join([*names[:_MAX_LISTED], *([f"{more:,} more"] if more > 0 else [])])


def _candidate(running: Running, heard_s: float) -> Candidate:
    return Candidate(running.operation_id, running.attention(heard_s), running.started_s, running.parent_id)


def _failed(ended: EndedOperation) -> Candidate:
    return Candidate(ended.operation_id, Attention.FAILED, ended.ended_s, ended.parent_id)
