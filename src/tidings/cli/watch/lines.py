"""Lines of `tidings watch`: one for each ended operation and each event outside of operations."""

from datetime import datetime, tzinfo

from msgspec import Struct, structs
from rich.text import Text

from tidings.cli.text import sanitize
from tidings.cli.units import clock_time, describe_duration, describe_size, ordinal
from tidings.cli.watch.state import EndedOperation, EventLike, seconds
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
"""Metrics of one event shown on a line."""
_NOT_LISTED = ("dataset", "name", "report_id", "metadata")
"""Fields that come first on the line or are not shown."""
_MAX_UNKNOWN_BYTES = 200
"""Bytes shown of the data of a type that this contract does not have."""
_BAD = {"warning": "yellow", "error": "red", "critical": "bold red", "degraded": "yellow", "unhealthy": "red"}


def stamp(event: EventLike, zone: tzinfo | None) -> Text:
    """Return the time of `event` as a watch in `zone` shows it; None is the machine's time zone."""
    return Text.assemble((f"{datetime.fromtimestamp(seconds(event), zone):%H:%M:%S}", "dim"), " ")


def append_part(line: Text, text: str, style: str = "", *, gap: str = "  ") -> Text:
    """Append an unstyled gap and `text`, unless it is empty, and return the line."""
    return line.append(gap).append(text, style) if text else line


def ended_lines(ended: EndedOperation) -> Text:
    """Return the line of an ended operation, and the hint of a failed one."""
    payload = ended.payload
    took = "" if ended.took_s is None else describe_duration(ended.took_s)
    if isinstance(payload, OperationCompleteData):
        line = _head(COMPLETE, ended, "complete", "green")
        append_part(line, f"in {took}" if took else "", "dim", gap=" ")
        return append_part(line, sanitize(payload.message))
    after = f"after {took}" if took else ""
    if isinstance(payload, OperationCancelledData):
        line = _head(CANCELLED, ended, "cancelled", "yellow")
        append_part(line, f"by {sanitize(payload.cancelled_by)}" if payload.cancelled_by else "", "dim", gap=" ")
        append_part(line, after, "dim", gap=" ")
        return append_part(line, sanitize(payload.reason))
    line = _head(FAILED, ended, "failed", "red")
    append_part(line, after, "dim", gap=" ")
    append_part(line, sanitize(payload.code), "red")
    append_part(line, sanitize(payload.message))
    return append_part(line, f"hint: {sanitize(payload.hint)}" if payload.hint else "", "dim", gap="\n  ")


def _head(mark: str, ended: EndedOperation, verb: str, color: str) -> Text:
    line = Text.assemble((mark, f"bold {color}"), " ", (ended.name, "bold"), " ", (verb, color))
    return append_part(line, f"({ordinal(ended.attempt)} attempt)" if ended.attempt > 1 else "", "dim", gap=" ")


def event_line(event: EventLike) -> Text:
    """Return one line for an event that is not the start, progress or end of an operation."""
    payload = event.payload
    line = Text.assemble((sanitize(event.type), "cyan"))
    if payload is None:
        return append_part(line, sanitize(event.data[:_MAX_UNKNOWN_BYTES].decode(errors="replace")), "dim")
    if isinstance(payload, SystemAlertData):
        return _alert(line, payload)
    if isinstance(payload, OperationLogData):
        append_part(line, sanitize(payload.operation_id), "dim")
        return append_part(line, sanitize(payload.message), _BAD.get(payload.level, ""))
    if isinstance(payload, DataErrorData):
        append_part(line, sanitize(payload.dataset), "bold")
        append_part(line, sanitize(payload.code), "red")
        append_part(line, sanitize(payload.message))
        return _hint(line, payload.hint)
    if isinstance(payload, SystemStatusData):
        append_part(line, sanitize(payload.source), "bold")
        append_part(line, sanitize(payload.status), _BAD.get(payload.status, "green"))
        return append_part(line, f"up {clock_time(payload.uptime)}, {payload.active_operations} active", "dim")
    if isinstance(payload, SystemMetricsData):
        append_part(line, sanitize(payload.source), "bold")
        shown = sorted((payload.metrics or {}).items())
        figures = "  ".join(f"{sanitize(name)}={value:g}" for name, value in shown[:_MAX_METRICS])
        return append_part(line, f"{figures}{'  …' if len(shown) > _MAX_METRICS else ''}", "dim")
    return _facts(line, payload)


def _alert(line: Text, alert: SystemAlertData) -> Text:
    cleared = alert.state == "cleared"
    append_part(
        line, "cleared" if cleared else alert.severity, "green" if cleared else _BAD.get(alert.severity, "blue")
    )
    append_part(line, sanitize(alert.code), "bold")
    append_part(line, sanitize(alert.message))
    return _hint(line, alert.hint)


def _hint(line: Text, hint: str | None) -> Text:
    return append_part(line, f"hint: {sanitize(hint)}" if hint else "", "dim")


def _facts(line: Text, payload: Struct) -> Text:
    """Append the fields that are set, the name first; payloads of other types are an application's own."""
    if isinstance(payload, DataUpdateData | DataProcessedData):
        append_part(line, sanitize(payload.dataset), "bold")
    elif isinstance(payload, ReportReadyData):
        append_part(line, sanitize(payload.name or payload.report_id), "bold")
    for field in structs.fields(payload):
        value = getattr(payload, field.name)
        if value in (None, "", [], {}) or field.name in _NOT_LISTED:
            continue
        shown = describe_size(value) if field.name == "size_bytes" else sanitize(str(value))
        label = "" if field.name in ("url", "message") else f"{field.name.removesuffix('_bytes')} "
        append_part(line, f"{label}{shown}", "dim")
    return line
