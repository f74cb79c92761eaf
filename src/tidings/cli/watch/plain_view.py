"""Lines for a stdout that is not a terminal: one event per line, and progress only in strides."""

from datetime import tzinfo

from tidings.cli.text import sanitize
from tidings.cli.units import ordinal
from tidings.cli.watch.lines import stamp
from tidings.cli.watch.rows import describe_cancel, describe_stall
from tidings.cli.watch.state import EventLike, Running, seconds
from tidings.cli.watch.view import WatchView
from tidings.client.events import Gap, LicenseEnded, Live, Notice, PathsRemoved
from tidings.operations.attention import Attention
from tidings.protocol.payloads import (
    OperationEstimateData,
    OperationProgressData,
    OperationStartData,
    SystemAlertData,
)

STARTED, CONCERN = "▶", "!"
_STRIDE = 10
"""Percent between two lines about one step: a file of lines is read as a whole, not watched."""


class PlainView:
    """The state of a `WatchView` as lines.

    Args:
        view: The view, which takes the same events.
        zone: Time zone of the times; by default the machine's.
    """

    def __init__(self, view: WatchView, *, zone: tzinfo | None = None) -> None:
        self.view = view
        self._zone = zone
        self._reported: dict[str, tuple[str, int]] = {}

    def apply(self, item: EventLike | Notice, now_s: float) -> str | None:
        """Apply an event or a notice; return its line, if any.

        Args:
            item: The event or notice.
            now_s: Time by the hub's clock, seconds since 1970.
        """
        if isinstance(item, Gap | Live | PathsRemoved | LicenseEnded):
            text = self.view.note(item)
            return None if text is None else text.plain
        return self._event(item, now_s)

    def _event(self, event: EventLike, now_s: float) -> str | None:
        view, payload = self.view, event.payload
        running = view.operations.running
        shown = view.is_shown(event)
        before = running.get(getattr(payload, "operation_id", None) or "")
        known = None if before is None else (_concern(before), before.cancel_s)
        line = view.apply(event, now_s)
        if line is not None:
            self._reported = {key: reported for key, reported in self._reported.items() if key in running}
            return line.plain
        if not shown:
            return None
        if isinstance(payload, OperationStartData):
            is_new = running[payload.operation_id] is not before
            return self._start(event, payload) if is_new else None
        if isinstance(payload, OperationProgressData):
            return self._progress(event, running[payload.operation_id])
        # An estimate and an alert may both report an absence, in any order: the first one leaves the line.
        if isinstance(payload, OperationEstimateData | SystemAlertData) and before is not None and known is not None:
            return self._change(event, before, known)
        return None

    def _change(self, event: EventLike, running: Running, known: tuple[Attention, float | None]) -> str | None:
        """Return the line about what an estimate or an alert changed; None if it changed nothing."""
        concern, news = _concern(running), []
        if concern is not known[0]:
            news.append(_describe_change(running, known[0], seconds(event)))
        is_asked = running.cancel_s is not None and running.cancel_s != known[1]
        if is_asked:
            news.append(describe_cancel(running))
        if not news:
            return None
        mark = CONCERN if is_asked or concern is not Attention.NONE else " "
        return f"{stamp(event, self._zone).plain}{mark} {running.name}  {'  '.join(news)}"

    def _start(self, event: EventLike, payload: OperationStartData) -> str:
        running = self.view.operations.running[payload.operation_id]
        place = "  ".join(
            part
            for part in (
                f"{ordinal(running.attempt)} attempt" if running.attempt > 1 else "",
                f"on {sanitize(payload.host)}" if payload.host else "",
                f"by {sanitize(payload.user)}" if payload.user else "",
                f"pid {payload.pid}" if payload.pid is not None else "",
            )
            if part
        )
        verb = "queued" if payload.queued else "started"
        return f"{stamp(event, self._zone).plain}{STARTED} {running.name} {verb}  {place}".rstrip()

    def _progress(self, event: EventLike, running: Running) -> str | None:
        reported = (running.step, -1 if running.percent is None else int(running.percent) // _STRIDE)
        percent = "" if running.percent is None else f"{int(running.percent)}%"
        parts = [part for part in (percent, running.step, running.message) if part]
        if not parts or self._reported.get(running.operation_id) == reported:
            return None
        self._reported[running.operation_id] = reported
        return f"{stamp(event, self._zone).plain}  {'  '.join((running.name, *parts))}"


def _describe_change(running: Running, before: Attention, at_s: float) -> str:
    """Return what needs attention now, or that nothing does; ages are those at `at_s`, the time of the line."""
    concern = _concern(running)
    if concern is Attention.AWAY:
        return "its producer is away"
    if concern is Attention.STALLED:
        return describe_stall(running, at_s)
    return "its producer is back" if before is Attention.AWAY else "it advances again"


def _concern(running: Running) -> Attention:
    """Return what an operation needs attention for, apart from its silence, which leaves no line."""
    return running.attention(0.0)
