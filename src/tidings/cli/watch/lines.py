"""One line for each event that is worth one: the finished operations, and whatever is no operation."""

from datetime import datetime, tzinfo

from msgspec import Struct, structs
from rich.text import Text

from tidings.cli.units import clock_time, describe_duration, describe_size, ordinal
from tidings.cli.watch.state import EndedOperation, EventLike, sanitize, seconds
from tidings.protocol.payloads import (
    DataErrorData,
    DataProcessedData,
    DataUpdateData,
    OperationCancelledData,
    OperationCompleteData,
    OperationLogData,
    ReportReadyData,
    SystemAlertData,
    SystemMetricsData,
    SystemStatusData,
)

COMPLETE, FAILED, CANCELLED = "✔", "✘", "⊘"
_MAX_METRICS = 6
"""Figures of one event that fit on a line."""
_ELSEWHERE = ("dataset", "name", "report_id", "metadata")
"""Fields that stand in front, or have no place on a line."""
_SHOWN_BYTES = 200
"""Of the data of a type that this contract does not know."""
_BAD = {"warning": "yellow", "error": "red", "critical": "bold red", "degraded": "yellow", "unhealthy": "red"}


def stamp(event: EventLike, zone: tzinfo | None) -> Text:
    """Return when `event` happened, as a watch in `zone` shows it; None is the machine's own."""
    return Text.assemble((f"{datetime.fromtimestamp(seconds(event), zone):%H:%M:%S}", "dim"), " ")


def tell(line: Text, text: str, style: str = "", *, gap: str = "  ") -> Text:
    """Append `text`, if there is any, behind a gap that has no style of its own, and return the line."""
    return line.append(gap).append(text, style) if text else line


def ended_lines(ended: EndedOperation) -> Text:
    """Return the line that stays when an operation has ended; of a failed one also the hint."""
    payload = ended.payload
    took = "" if ended.took_s is None else describe_duration(ended.took_s)
    if isinstance(payload, OperationCompleteData):
        line = _head(COMPLETE, ended, "complete", "green")
        tell(line, f"in {took}" if took else "", "dim", gap=" ")
        return tell(line, sanitize(payload.message))
    after = f"after {took}" if took else ""
    if isinstance(payload, OperationCancelledData):
        line = _head(CANCELLED, ended, "cancelled", "yellow")
        tell(line, f"by {sanitize(payload.cancelled_by)}" if payload.cancelled_by else "", "dim", gap=" ")
        tell(line, after, "dim", gap=" ")
        return tell(line, sanitize(payload.reason))
    line = _head(FAILED, ended, "failed", "red")
    tell(line, after, "dim", gap=" ")
    tell(line, sanitize(payload.code), "red")
    tell(line, sanitize(payload.message))
    return tell(line, f"hint: {sanitize(payload.hint)}" if payload.hint else "", "dim", gap="\n  ")


def _head(mark: str, ended: EndedOperation, verb: str, color: str) -> Text:
    line = Text.assemble((mark, f"bold {color}"), " ", (ended.name, "bold"), " ", (verb, color))
    return tell(line, f"({ordinal(ended.attempt)} attempt)" if ended.attempt > 1 else "", "dim", gap=" ")


def event_line(event: EventLike) -> Text:
    """Return one line about an event that is no operation's beginning, progress or end."""
    payload = event.payload
    line = Text.assemble((sanitize(event.type), "cyan"))
    if payload is None:
        return tell(line, sanitize(event.data[:_SHOWN_BYTES].decode(errors="replace")), "dim")
    if isinstance(payload, SystemAlertData):
        return _alert(line, payload)
    if isinstance(payload, OperationLogData):
        tell(line, sanitize(payload.operation_id), "dim")
        return tell(line, sanitize(payload.message), _BAD.get(payload.level, ""))
    if isinstance(payload, DataErrorData):
        tell(line, sanitize(payload.dataset), "bold")
        tell(line, sanitize(payload.code), "red")
        tell(line, sanitize(payload.message))
        return _hint(line, payload.hint)
    if isinstance(payload, SystemStatusData):
        tell(line, sanitize(payload.source), "bold")
        tell(line, sanitize(payload.status), _BAD.get(payload.status, "green"))
        return tell(line, f"up {clock_time(payload.uptime)}, {payload.active_operations} active", "dim")
    if isinstance(payload, SystemMetricsData):
        tell(line, sanitize(payload.source), "bold")
        shown = sorted((payload.metrics or {}).items())
        figures = "  ".join(f"{sanitize(name)}={value:g}" for name, value in shown[:_MAX_METRICS])
        return tell(line, f"{figures}{'  …' if len(shown) > _MAX_METRICS else ''}", "dim")
    return _facts(line, payload)


def _alert(line: Text, alert: SystemAlertData) -> Text:
    cleared = alert.state == "cleared"
    tell(line, "cleared" if cleared else alert.severity, "green" if cleared else _BAD.get(alert.severity, "blue"))
    tell(line, sanitize(alert.code), "bold")
    tell(line, sanitize(alert.message))
    return _hint(line, alert.hint)


def _hint(line: Text, hint: str | None) -> Text:
    return tell(line, f"hint: {sanitize(hint)}" if hint else "", "dim")


def _facts(line: Text, payload: Struct) -> Text:
    """Append what is there, the name first; other payloads are an application's own."""
    if isinstance(payload, DataUpdateData | DataProcessedData):
        tell(line, sanitize(payload.dataset), "bold")
    elif isinstance(payload, ReportReadyData):
        tell(line, sanitize(payload.name or payload.report_id), "bold")
    for field in structs.fields(payload):
        value = getattr(payload, field.name)
        if value in (None, "", [], {}) or field.name in _ELSEWHERE:
            continue
        shown = describe_size(value) if field.name == "size_bytes" else sanitize(str(value))
        label = "" if field.name in ("url", "message") else f"{field.name.removesuffix('_bytes')} "
        tell(line, f"{label}{shown}", "dim")
    return line
