"""The view of `tidings watch`: takes events, returns lines and a renderable; the clock is an argument."""

from dataclasses import dataclass
from datetime import tzinfo

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from tidings.cli.text import sanitize
from tidings.cli.units import clock_time, describe_span, ordinal
from tidings.cli.watch.lines import CANCELLED, COMPLETE, FAILED, append_part, ended_lines, event_line, stamp
from tidings.cli.watch.state import EventLike, Running, WatchedOperations
from tidings.client.events import Gap, Notice
from tidings.protocol.payloads import (
    OperationEstimateData,
    OperationProgressData,
    OperationStartData,
    SystemAlertData,
    SystemMetricsData,
    SystemStatusData,
)

_SILENT_S = 60.0
"""Seconds without an event after which an operation is shown as silent."""
_NAME_SHARE, _MIN_NAME, _MAX_NAME = 0.3, 12, 36
_BAR_SHARE, _MIN_BAR, _MAX_BAR = 0.25, 8, 40
_MIN_WIDTH_FOR_STEPS = 60
"""Columns below which steps and messages are hidden, to leave room for the bars."""
_RESERVED_LINES = 3
"""Lines of the screen for the status line, "… and 12 more", and one line that scrolls by."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """State of the connection, for the status line."""

    url: str
    state: str = "connecting"
    """`connecting`, `reconnecting`, `live`, `catching up`, `stale`, `closed`."""
    note: str = ""
    """`12s`, `again in 3 s (…)`."""


_STATE_STYLES = {"live": "green", "catching up": "yellow", "stale": "yellow", "connecting": "yellow"}


class WatchView:
    """The state that a watch shows.

    Args:
        zone: Time zone of the times shown; by default the machine's.
        verbose: Show a line for every `system:status` and `system:metrics`, not only for a change of status; for
            watches that name the system channel.
    """

    def __init__(self, *, zone: tzinfo | None = None, verbose: bool = False) -> None:
        self.operations = WatchedOperations()
        self._zone = zone
        self._verbose = verbose
        self.changes = 0
        """Number of changes that may affect the picture."""
        self._statuses: dict[str, str] = {}
        self._live = False

    def apply(self, event: EventLike) -> Text | None:
        """Apply `event`; return the line that it leaves above the picture, if any."""
        self.changes += 1
        ended = self.operations.apply(event)
        if ended is not None:
            return self._line(event, ended_lines(ended))
        payload = event.payload
        if isinstance(payload, OperationStartData | OperationProgressData | OperationEstimateData):
            return None
        if event.type.startswith("operation:") and not event.type.endswith(":log"):
            return None  # an end that was reported before
        if isinstance(payload, SystemAlertData) and self.operations.of_alert(payload) is not None:
            return None  # shown beside the operation
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
        self.operations.drop_doubtful()
        self._live = True
        return None

    @property
    def animated(self) -> bool:
        """Whether the picture moves within a second: a bar without a percentage pulses."""
        return any(each.percent is None and not each.queued for each in self.operations.running.values())

    @property
    def done(self) -> bool:
        """Whether the stream is live and every operation in it has ended."""
        operations = self.operations
        return self._live and not operations.running and operations.ended > 0

    def _changed(self, status: SystemStatusData) -> bool:
        source = status.source or ""
        before = self._statuses.get(source, "healthy")
        self._statuses[source] = status.status
        return self._verbose or status.status != before

    def _line(self, event: EventLike, text: Text) -> Text:
        return stamp(event, self._zone).append_text(text)

    def render(self, link: ConnectionState, now_s: float, width: int, height: int) -> RenderableType:
        """Return the picture.

        Args:
            link: State of the connection.
            now_s: Seconds since 1970.
            width: Columns of the screen.
            height: Lines of the screen; if more operations run, those that began last are shown.
        """
        running = list(self.operations.running.values())
        room = max(1, height - _RESERVED_LINES)
        hidden = max(0, len(running) - room)
        parts: list[RenderableType] = []
        if running:
            parts.append(self._table(running[hidden:], now_s, width))
        if hidden:
            parts.append(Text(f"… and {hidden} more", "dim"))
        parts.append(self._status(link, width))
        return Group(*parts)

    def _table(self, shown: list[Running], now_s: float, width: int) -> Table:
        name = min(_MAX_NAME, max(_MIN_NAME, int(width * _NAME_SHARE)), max(len(each.name) for each in shown))
        bar = min(_MAX_BAR, max(_MIN_BAR, int(width * _BAR_SHARE)))
        columns = [
            Column(width=name, no_wrap=True, overflow="ellipsis"),
            Column(width=bar),
            Column(width=4, justify="right", no_wrap=True),
            Column(justify="right", no_wrap=True, min_width=5),
        ]
        wide = width >= _MIN_WIDTH_FOR_STEPS
        if wide:
            columns.append(Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        table = Table.grid(*columns, padding=(0, 1), expand=wide)
        for each in shown:
            percent = "" if each.percent is None else f"{int(each.percent)}%"
            cells: list[RenderableType] = [
                Text(each.name, "bold"),
                _bar(each, now_s, bar),
                Text(percent),
                Text(clock_time(now_s - each.started_s), "dim"),
            ]
            table.add_row(*cells, *([_details(each, now_s)] if wide else []))
        return table

    def _status(self, link: ConnectionState, width: int) -> Text:
        operations = self.operations
        style = _STATE_STYLES.get(link.state, "red")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append("●", style)
        append_part(line, f"{link.state} {sanitize(link.note)}".strip(), style, gap=" ")
        append_part(line, f"{len(operations.running)} running", "bold" if operations.running else "dim")
        for count, mark in (
            (operations.complete, COMPLETE),
            (operations.failed, FAILED),
            (operations.cancelled, CANCELLED),
        ):
            append_part(line, f"{mark} {count}" if count else "", "dim")
        return append_part(line, sanitize(link.url), "dim")


def _bar(running: Running, now_s: float, width: int) -> RenderableType:
    if running.queued:
        return Text("queued", "dim")
    # Without the argument the pulse would follow rich's own clock, which tests could not set.
    return ProgressBar(
        total=100,
        completed=running.percent or 0,
        width=width,
        pulse=running.percent is None,
        animation_time=now_s,
        style="bright_black",
        complete_style="cyan",
        finished_style="green",
        pulse_style="cyan",
    )


def _details(running: Running, now_s: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    parts = (
        (f"{ordinal(running.attempt)} attempt" if running.attempt > 1 else "", "dim"),
        (_concern(running, now_s), "yellow"),
        (_remaining(running, now_s), "dim"),
        (running.step, ""),
        (running.message, "dim"),
    )
    for part, style in parts:
        append_part(text, part, style, gap="  " if text.plain else "")
    return text


def _concern(running: Running, now_s: float) -> str:
    """Return the gravest problem of an operation; empty without one."""
    silent_s = now_s - running.seen_s
    if running.away_s is not None:
        return f"producer away for {describe_span(now_s - running.away_s)}"
    if running.estimate is not None and running.estimate.stalled:
        return f"stalled for {describe_span(now_s - running.advanced_s)}"
    return f"silent {clock_time(silent_s)}" if silent_s >= _SILENT_S and not running.queued else ""


def _remaining(running: Running, now_s: float) -> str:
    estimate = running.estimate
    if estimate is None or estimate.remaining_s is None or estimate.stalled:
        return ""
    left_s = estimate.remaining_s - (now_s - running.estimated_s)
    return f"~{describe_span(left_s)} left" if left_s > 0 else ""
