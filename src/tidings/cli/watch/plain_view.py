"""Lines for a stdout that is not a terminal: one event per line, and progress only in strides."""

from datetime import tzinfo

from tidings.cli.text import sanitize
from tidings.cli.units import ordinal
from tidings.cli.watch.lines import stamp
from tidings.cli.watch.state import EventLike, Running
from tidings.cli.watch.view import WatchView
from tidings.client.events import Gap, Live, Notice
from tidings.protocol.payloads import OperationProgressData, OperationStartData, SystemAlertData

STARTED, CONCERN = "▶", "!"
_STRIDE = 10
"""Percent between two lines about one step: a file of lines is read as a whole, not watched."""


class PlainView:
    """The state of `WatchView` as lines.

    Args:
        zone: Time zone of the times; by default the machine's.
        verbose: See `WatchView`.
    """

    def __init__(self, *, zone: tzinfo | None = None, verbose: bool = False) -> None:
        self.view = WatchView(zone=zone, verbose=verbose)
        self._zone = zone
        self._reported: dict[str, tuple[str, int]] = {}

    def apply(self, item: EventLike | Notice) -> str | None:
        """Apply an event or a notice; return its line, if any."""
        if isinstance(item, Gap | Live):
            text = self.view.note(item)
            return None if text is None else text.plain
        return self._event(item)

    def _event(self, event: EventLike) -> str | None:
        line = self.view.apply(event)
        payload = event.payload
        if line is not None:
            self._reported = {
                key: reported for key, reported in self._reported.items() if key in self.view.operations.running
            }
            return line.plain
        if isinstance(payload, OperationStartData):
            return self._start(event, payload)
        if isinstance(payload, OperationProgressData):
            return self._progress(event, self.view.operations.running[payload.operation_id])
        if isinstance(payload, SystemAlertData) and (running := self.view.operations.of_alert(payload)) is not None:
            mark = " " if payload.state == "cleared" else CONCERN
            return f"{stamp(event, self._zone).plain}{mark} {running.name}  {sanitize(payload.message)}"
        return None

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
        if self._reported.get(running.operation_id) == reported:
            return None
        self._reported[running.operation_id] = reported
        percent = "" if running.percent is None else f"{int(running.percent)}%"
        parts = [part for part in (running.name, percent, running.step, running.message) if part]
        return f"{stamp(event, self._zone).plain}  {'  '.join(parts)}"
