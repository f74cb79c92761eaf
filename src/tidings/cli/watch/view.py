"""The picture that `tidings watch` shows: events in, lines and a renderable out; the clock is an argument."""

from dataclasses import dataclass
from datetime import tzinfo

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from tidings.cli.units import clock_time, describe_span, ordinal
from tidings.cli.watch.lines import CANCELLED, COMPLETE, FAILED, ended_lines, event_line, stamp, tell
from tidings.cli.watch.state import EventLike, Running, WatchedOperations, sanitize
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
"""After which an operation that says nothing is shown as silent."""
_NAME_SHARE, _LEAST_NAME, _MOST_NAME = 0.3, 12, 36
_BAR_SHARE, _LEAST_BAR, _MOST_BAR = 0.25, 8, 40
_WIDTH_FOR_STEPS = 60
"""Columns below which steps and messages leave no room for the bars."""
_RESERVED_LINES = 3
"""Of the screen: the status line, "… and 12 more", and one line of what scrolls by."""


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How the connection is, for the status line."""

    url: str
    state: str = "connecting"
    """`connecting`, `reconnecting`, `live`, `catching up`, `stale`, `closed`."""
    note: str = ""
    """`12s`, `again in 3 s (…)`."""


_LINK_STYLES = {"live": "green", "catching up": "yellow", "stale": "yellow", "connecting": "yellow"}


class WatchView:
    """Everything that a watcher sees of what it has read.

    Args:
        zone: Where its clock is; None is the machine's own.
        verbose: Whether every `system:status` and `system:metrics` is worth a line, not only a change of status: for
            those who asked for the system channel by name.
    """

    def __init__(self, *, zone: tzinfo | None = None, verbose: bool = False) -> None:
        self.operations = WatchedOperations()
        self._zone = zone
        self._verbose = verbose
        self.changes = 0
        """Grows with whatever may have changed the picture."""
        self._statuses: dict[str, str] = {}
        self._live = False

    def apply(self, event: EventLike) -> Text | None:
        """Take `event` in, and return the line it leaves for good, if it leaves one."""
        self.changes += 1
        ended = self.operations.apply(event)
        if ended is not None:
            return self._line(event, ended_lines(ended))
        payload = event.payload
        if isinstance(payload, OperationStartData | OperationProgressData | OperationEstimateData):
            return None
        if event.type.startswith("operation:") and not event.type.endswith(":log"):
            return None  # an end that was told before
        if isinstance(payload, SystemAlertData) and self.operations.of_alert(payload) is not None:
            return None  # shown where the operation is
        if isinstance(payload, SystemMetricsData) and not self._verbose:
            return None
        if isinstance(payload, SystemStatusData) and not self._changed(payload):
            return None
        return self._line(event, event_line(event))

    def note(self, notice: Notice) -> Text | None:
        """Take a notice about the stream in, and return the line it leaves for good, if it leaves one."""
        self.changes += 1
        if isinstance(notice, Gap):
            self.operations.doubt_all()
            return Text.assemble(("… ", "yellow"), (f"some events are missing here ({notice.reason})", "yellow"))
        self.operations.drop_doubtful()
        self._live = True
        return None

    @property
    def animated(self) -> bool:
        """Whether the picture moves by itself between two seconds: a bar without an end pulses."""
        return any(each.percent is None and not each.queued for each in self.operations.running.values())

    @property
    def done(self) -> bool:
        """Whether the stream is live, and every operation that it brought has ended."""
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
            link: How the connection is.
            now_s: Seconds since 1970.
            width: Columns there are.
            height: Lines there are; of more operations than fit, those that began last are shown.
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
        name = min(_MOST_NAME, max(_LEAST_NAME, int(width * _NAME_SHARE)), max(len(each.name) for each in shown))
        bar = min(_MOST_BAR, max(_LEAST_BAR, int(width * _BAR_SHARE)))
        columns = [
            Column(width=name, no_wrap=True, overflow="ellipsis"),
            Column(width=bar),
            Column(width=4, justify="right", no_wrap=True),
            Column(justify="right", no_wrap=True, min_width=5),
        ]
        wide = width >= _WIDTH_FOR_STEPS
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
            table.add_row(*cells, *([_what(each, now_s)] if wide else []))
        return table

    def _status(self, link: ConnectionState, width: int) -> Text:
        operations = self.operations
        style = _LINK_STYLES.get(link.state, "red")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append("●", style)
        tell(line, f"{link.state} {sanitize(link.note)}".strip(), style, gap=" ")
        tell(line, f"{len(operations.running)} running", "bold" if operations.running else "dim")
        for count, mark in (
            (operations.complete, COMPLETE),
            (operations.failed, FAILED),
            (operations.cancelled, CANCELLED),
        ):
            tell(line, f"{mark} {count}" if count else "", "dim")
        return tell(line, sanitize(link.url), "dim")


def _bar(running: Running, now_s: float, width: int) -> RenderableType:
    if running.queued:
        return Text("queued", "dim")
    # Without the argument the pulse would follow a clock of its own, which no test could set.
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


def _what(running: Running, now_s: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    parts = (
        (f"{ordinal(running.attempt)} attempt" if running.attempt > 1 else "", "dim"),
        (_concern(running, now_s), "yellow"),
        (_remaining(running, now_s), "dim"),
        (running.step, ""),
        (running.message, "dim"),
    )
    for part, style in parts:
        tell(text, part, style, gap="  " if text.plain else "")
    return text


def _concern(running: Running, now_s: float) -> str:
    """Return what is not as it should be, the gravest only."""
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
