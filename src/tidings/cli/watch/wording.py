"""One line for each event that is worth one: the finished operations, and whatever is no operation."""

from datetime import datetime, tzinfo

from msgspec import structs
from rich.text import Text

from tidings.cli.units import clock_time, describe_duration, describe_size
from tidings.cli.watch.operations import Ended
from tidings.cli.watch.sight import Sight, clean, seconds
from tidings.contract.payloads import (
    DataError,
    DataProcessed,
    DataUpdate,
    OperationCancelled,
    OperationComplete,
    OperationLog,
    Payload,
    ReportReady,
    SystemAlert,
    SystemMetrics,
    SystemStatus,
)

COMPLETE, FAILED, CANCELLED = "✔", "✘", "⊘"
_MAX_METRICS = 6
"""Figures of one event that fit on a line."""
_SHOWN_BYTES = 200
"""Of the data of a type that this contract does not know."""
_BAD = {"warning": "yellow", "error": "red", "critical": "bold red", "degraded": "yellow", "unhealthy": "red"}


def stamp(event: Sight, zone: tzinfo | None) -> Text:
    """Return when `event` happened, as a watch in `zone` shows it; None is the machine's own."""
    return Text(f"{datetime.fromtimestamp(seconds(event), zone):%H:%M:%S} ", "dim")


def ended_lines(ended: Ended) -> Text:
    """Return the line that stays when an operation has ended; of a failed one also the hint."""
    payload = ended.payload
    took = "" if ended.took_s is None else describe_duration(ended.took_s)
    if isinstance(payload, OperationComplete):
        line = Text.assemble((f"{COMPLETE} ", "bold green"), (ended.name, "bold"), (" complete", "green"))
        return _append(line, f" in {took}" if took else "", clean(payload.message))
    if isinstance(payload, OperationCancelled):
        line = Text.assemble((f"{CANCELLED} ", "bold yellow"), (ended.name, "bold"), (" cancelled", "yellow"))
        by = f" by {clean(payload.cancelled_by)}" if payload.cancelled_by else ""
        return _append(line, f"{by} after {took}" if took else by, clean(payload.reason))
    line = Text.assemble((f"{FAILED} ", "bold red"), (ended.name, "bold"), (" failed", "red"))
    line.append(f" after {took}  " if took else "  ", "dim")
    line.append(clean(payload.code), "red").append(f"  {clean(payload.message)}")
    if payload.hint:
        line.append(f"\n  hint: {clean(payload.hint)}", "dim")
    return line


def _append(line: Text, took: str, message: str) -> Text:
    line.append(took, "dim")
    return line.append(f"  {message}") if message else line


def event_line(event: Sight) -> Text:
    """Return one line about an event that is no operation's beginning, progress or end."""
    payload = event.payload
    line = Text(clean(event.type), "cyan")
    if payload is None:
        return line.append(f"  {clean(event.data[:_SHOWN_BYTES].decode(errors='replace'))}", "dim")
    if isinstance(payload, SystemAlert):
        return _alert(line, payload)
    if isinstance(payload, OperationLog):
        return line.append(f"  {clean(payload.operation_id)}", "dim").append(
            f"  {clean(payload.message)}", _BAD.get(payload.level, "")
        )
    if isinstance(payload, DataError):
        line.append(f"  {clean(payload.dataset)}" if payload.dataset else "", "bold")
        line.append(f"  {clean(payload.code)}", "red").append(f"  {clean(payload.message)}")
        return line.append(f"  hint: {clean(payload.hint)}" if payload.hint else "", "dim")
    if isinstance(payload, SystemStatus):
        line.append(f"  {clean(payload.source)}" if payload.source else "", "bold")
        line.append(f"  {clean(payload.status)}", _BAD.get(payload.status, "green"))
        return line.append(f"  up {clock_time(payload.uptime)}, {payload.active_operations} active", "dim")
    if isinstance(payload, SystemMetrics):
        line.append(f"  {clean(payload.source)}" if payload.source else "", "bold")
        shown = sorted((payload.metrics or {}).items())
        figures = "  ".join(f"{clean(name)}={value:g}" for name, value in shown[:_MAX_METRICS])
        return line.append(f"  {figures}{'  …' if len(shown) > _MAX_METRICS else ''}", "dim")
    return _facts(line, payload)


def _alert(line: Text, alert: SystemAlert) -> Text:
    cleared = alert.state == "cleared"
    severity = "cleared" if cleared else alert.severity
    line.append(f"  {severity}", "green" if cleared else _BAD.get(alert.severity, "blue"))
    line.append(f"  {clean(alert.code)}", "bold").append(f"  {clean(alert.message)}")
    return line.append(f"  hint: {clean(alert.hint)}" if alert.hint else "", "dim")


def _facts(line: Text, payload: Payload) -> Text:
    """Append what is there, the name first; other payloads are an application's own."""
    if isinstance(payload, DataUpdate | DataProcessed):
        line.append(f"  {clean(payload.dataset)}" if payload.dataset else "", "bold")
    elif isinstance(payload, ReportReady):
        line.append(f"  {clean(payload.name or payload.report_id)}", "bold")
    for field in structs.fields(payload):
        value = getattr(payload, field.name)
        if value in (None, "", [], {}) or field.name in ("dataset", "name", "report_id", "metadata"):
            continue
        shown = describe_size(value) if field.name == "size_bytes" else clean(str(value))
        label = "" if field.name in ("url", "message") else f"{field.name.removesuffix('_bytes')} "
        line.append(f"  {label}{shown}", "dim")
    return line
