"""The command `tidings show`: one operation with its details, for people or as JSON."""

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.options import UrlOption
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.cli.summary import age_s, format_ago, summarize
from tidings.cli.text import aligned, blank_unprintable, sanitize
from tidings.cli.units import describe_duration, describe_span, ordinal
from tidings.cli.watch.lines import CANCELLED, COMPLETE, FAILED
from tidings.cli.watch.rows import draw_bar
from tidings.client.http import HTTPClient
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import LogLineView, OperationDetail, OperationSummary, StepView, UsualView
from tidings.printable import escape_json
from tidings.protocol.payloads import ErrorData
from tidings.protocol.timestamps import to_nanoseconds

STYLES = {
    OperationState.QUEUED: "dim",
    OperationState.RUNNING: "cyan",
    OperationState.COMPLETE: "green",
    OperationState.FAILED: "red",
    OperationState.CANCELLED: "yellow",
}
MARKS = {
    OperationState.QUEUED: "○",
    OperationState.RUNNING: "▶",
    OperationState.COMPLETE: COMPLETE,
    OperationState.FAILED: FAILED,
    OperationState.CANCELLED: CANCELLED,
}
_STEP_MARKS = {"done": ("✔", "green"), "running": ("▶", "cyan"), "waiting": ("○", "dim"), "stopped": ("✘", "red")}
_LEVELS = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
_MAX_RESULT_CHARACTERS = 2_000
"""Characters of a result that are shown; `--json` prints all."""
_DEFAULT_LINES = 20
_BAR_COLUMNS = 40
_MAX_PARENTS, _MAX_CHILDREN, _MAX_DEPTH = 40, 20, 8
"""Operations whose own children are read, children of each of them, and generations that are shown."""
_NO_DESCENDANTS: Mapping[str, Sequence[OperationSummary]] = {}
EPILOG = exit_codes_epilog(ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB)


def show(
    id: OperationArgument = None,
    last: LastOption = False,
    lines: Annotated[int, typer.Option(metavar="N", min=0, help="Number of log lines, the newest.")] = _DEFAULT_LINES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: UrlOption = None,
) -> None:
    """Show the state of an operation in one sentence, and then its details."""
    with exit_on_error(), HTTPClient(url) as client:
        detail = client.operation(resolve_id(client, id, last=last))
        below = {} if as_json else read_descendants(client, detail)
    if as_json:
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(detail))))
        return
    print_operation(detail, time.time(), lines=lines, below=below)


Descendants = Mapping[str, Sequence[OperationSummary]]
"""Children by the id of their parent."""


def read_descendants(client: HTTPClient, detail: OperationDetail) -> Descendants:
    """Return the children of an operation's children, and theirs, as far as a few requests read them."""
    below: dict[str, Sequence[OperationSummary]] = {}
    waiting = deque(detail.children)
    while waiting and len(below) < _MAX_PARENTS:
        parent_id = waiting.popleft().operation_id
        if parent_id in below or parent_id == detail.operation_id:
            continue  # parent ids come from clients and may form cycles
        children = list(client.operations([("parent", parent_id)], _MAX_CHILDREN))
        below[parent_id] = children[::-1]
        waiting.extend(below[parent_id])
    return below


def print_operation(
    detail: OperationDetail,
    now_s: float,
    *,
    lines: int,
    zone: tzinfo | None = None,
    below: Descendants = _NO_DESCENDANTS,
) -> None:
    """Print an operation.

    Args:
        detail: Details from the hub.
        now_s: Current time, seconds since 1970.
        lines: Maximum number of log lines, the newest.
        zone: Time zone of the output; None means the machine's own.
        below: Descendants below its children.
    """
    # Lines are not wrapped: a pipe needs them whole, and a terminal wraps them itself.
    console = Console(highlight=False, soft_wrap=True)
    for line in operation_lines(detail, now_s, lines=lines, zone=zone, below=below):
        console.print(line)


def operation_lines(
    detail: OperationDetail,
    now_s: float,
    *,
    lines: int,
    zone: tzinfo | None = None,
    below: Descendants = _NO_DESCENDANTS,
) -> Iterator[Text]:
    """Yield the lines that `print_operation` prints."""
    yield Text.assemble((sanitize(detail.name) or sanitize(detail.operation_id), "bold"))
    yield Text(summarize(detail, now_s), STYLES[detail.state])
    if detail.state is OperationState.RUNNING and detail.progress is not None and not detail.indeterminate:
        yield draw_bar(detail.progress, _BAR_COLUMNS).append(f" {int(detail.progress)}%")
    if detail.error is not None:
        yield from _section("error", _error(detail.error))
    yield Text()
    yield from aligned(
        [[Text(name, "dim"), Text(sanitize(value))] for name, value in _facts(detail, now_s, zone) if value]
    )
    if detail.result is not None:
        yield from _section("result", [Text(_result(detail.result))])
    yield from _section("steps", aligned([_step(step, now_s) for step in detail.steps]))
    if len(detail.timeline) > 1:
        yield from _section("timeline", aligned(_timeline(detail, zone)))
    yield from _section("children", aligned(list(_tree(detail.children, below, now_s))))
    shown = detail.log[-lines:] if lines else []
    yield from _section("log", aligned([log_line(line, zone) for line in shown]))


def moment(at: str, zone: tzinfo | None) -> str:
    """Return an RFC 3339 time in the form for people, in `zone`."""
    return f"{datetime.fromtimestamp(to_nanoseconds(at) / 1e9, zone):%Y-%m-%d %H:%M:%S}"


def _section(heading: str, lines: Iterable[Text]) -> Iterator[Text]:
    """Yield lines under a heading; nothing without lines."""
    for index, line in enumerate(lines):
        if not index:
            yield Text()
            yield Text(heading, "dim")
        yield Text("  ").append_text(line)


def _facts(detail: OperationDetail, now_s: float, zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    yield "id", detail.operation_id
    yield "attempt", str(detail.attempt) if detail.attempt > 1 else ""
    for name, at in (("queued", detail.queued_at), ("began", detail.started_at), ("ended", detail.ended_at)):
        if at is not None:
            yield name, f"{moment(at, zone)}, {format_ago(age_s(at, now_s) or 0)}"
    yield "took", "" if detail.duration_s is None else describe_duration(detail.duration_s)
    yield "message", detail.message or ""
    lease = "" if detail.lease_s is None else f", lease {describe_span(detail.lease_s)}"
    yield "producer", f"{detail.producer_id}{lease}" if detail.producer_id else ""
    process = "" if detail.pid is None else f"process {detail.pid}"
    user = f"by {detail.user}" if detail.user else ""
    yield "on", ", ".join(part for part in (detail.host or "", process, user) if part)
    yield "command", detail.command or ""
    yield "part of", detail.parent_id or ""
    yield "resumes", detail.resumes or ""
    yield "trace", detail.trace_id
    for key, value in (detail.metadata or {}).items():
        yield sanitize(key), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    yield "runs", _runs(detail.usual, now_s)


def _runs(usual: UsualView | None, now_s: float) -> str:
    if usual is None or not usual.runs:
        return ""
    took = "" if usual.median_duration_s is None else f", usually {describe_span(usual.median_duration_s)}"
    since = age_s(usual.last_success_at, now_s)
    success = "" if since is None else f", last success {format_ago(since)}"
    runs = "1 run" if usual.runs == 1 else f"{usual.runs} runs"
    return f"{runs} of this name ended, {usual.failed} failed{took}{success}"


def _error(error: ErrorData) -> Iterator[Text]:
    yield Text.assemble((sanitize(error.code), "red"), "  ", sanitize(error.message))
    if error.hint:
        yield Text(f"hint: {sanitize(error.hint)}")
    for line in (error.details or "").splitlines():
        yield Text(f"  {blank_unprintable(line)}", "dim")


def _result(result: object) -> str:
    text = blank_unprintable(json.dumps(result, ensure_ascii=False))
    return text if len(text) <= _MAX_RESULT_CHARACTERS else f"{text[:_MAX_RESULT_CHARACTERS]}…"


def _step(step: StepView, now_s: float) -> list[Text]:
    mark, style = _STEP_MARKS[step.state]
    took = ""
    if step.started_at is not None:
        end_s = now_s if step.ended_at is None else to_nanoseconds(step.ended_at) / 1e9
        took = describe_span(age_s(step.started_at, end_s) or 0)
    return [Text(mark, style), Text(sanitize(step.name)), Text(took, "dim")]


def _timeline(detail: OperationDetail, zone: tzinfo | None) -> list[list[Text]]:
    several = detail.timeline[-1].attempt > 1
    return [
        [
            Text(moment(change.at, zone), "dim"),
            Text(str(change.state), STYLES[change.state]),
            Text(f"{ordinal(change.attempt)} attempt" if several else "", "dim"),
        ]
        for change in detail.timeline
    ]


def _tree(
    children: Sequence[OperationSummary], below: Descendants, now_s: float, depth: int = 0
) -> Iterator[list[Text]]:
    """Yield the cells of each child, followed by those of its own children."""
    for child in children:
        branch = f"{'  ' * (depth - 1)}└ " if depth else ""
        yield [
            Text(MARKS[child.state], STYLES[child.state]),
            Text.assemble((branch, "dim"), sanitize(child.name) or sanitize(child.operation_id)),
            Text(summarize(child, now_s)),
            Text(sanitize(child.operation_id), "dim"),
        ]
        if depth < _MAX_DEPTH:
            yield from _tree(below.get(child.operation_id, ()), below, now_s, depth + 1)


def log_line(line: LogLineView, zone: tzinfo | None) -> list[Text]:
    """Return the cells of a log line: time of day, level, message."""
    return [
        Text(moment(line.at, zone)[-8:], "dim"),
        Text(sanitize(line.level), _LEVELS.get(line.level, "")),
        Text(sanitize(line.message)),
    ]
