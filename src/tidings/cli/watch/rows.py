"""Rows of the picture of `tidings watch`: one for each running operation, and for each that failed a short time ago."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from tidings.cli.summary import format_cancel
from tidings.cli.text import sanitize
from tidings.cli.units import clock_time, describe_span, ordinal
from tidings.cli.watch.lines import FAILED, append_part
from tidings.cli.watch.state import EndedOperation, Running
from tidings.operations.attention import Attention
from tidings.protocol.payloads import OperationFailedData

_NAME_SHARE, _NARROW_NAME_SHARE, _MIN_NAME, _MAX_NAME = 0.3, 0.4, 12, 36
_BAR_SHARE, _MIN_BAR, _MAX_BAR = 0.25, 8, 40
_MIN_WIDTH_FOR_STEPS = 60
"""Columns below which steps and messages are hidden, to leave room for the bars."""
_MIN_WIDTH_FOR_IDS = 76
"""Columns below which ids are hidden."""
_MAX_ID = 14
_INDENT = "  "
_BRANCH = "└ "
_PULSE = 8
"""Columns of the part of a bar that moves while the percentage is unknown."""
_PULSES_PER_S = 12
"""Columns by which it moves in a second."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of the rows of one picture."""

    width: int
    name: int
    bar: int
    id: int
    """Columns of the ids; 0 hides them."""
    short: Mapping[str, str]
    """The short form of each id."""

    @classmethod
    def fit(cls, width: int, rows: Sequence[tuple[str, str, int]], short: Mapping[str, str]) -> Self:
        """Return the layout for a screen of `width` columns and the rows to show.

        Args:
            width: Columns of the screen.
            rows: Id, name, and depth in the tree, of each operation to show.
            short: The short form of each id.
        """
        widest = max((cell_len(name) + 2 * depth for _, name, depth in rows), default=0)
        share = _NAME_SHARE if width >= _MIN_WIDTH_FOR_STEPS else _NARROW_NAME_SHARE
        short = short if width >= _MIN_WIDTH_FOR_IDS else {}
        shown = (sanitize(short[id]) for id, name, _ in rows if id in short and short[id] != name)
        return cls(
            width=width,
            name=min(_MAX_NAME, max(_MIN_NAME, int(width * share)), widest),
            bar=min(_MAX_BAR, max(_MIN_BAR, int(width * _BAR_SHARE))),
            id=min(_MAX_ID, max((cell_len(text) for text in shown), default=0)),
            short=short,
        )

    def head(self, operation_id: str, name: str, depth: int) -> Text:
        """Return the id and the name of a row, padded to their columns."""
        line = Text(no_wrap=True, overflow="ellipsis")
        if self.id:
            short = sanitize(self.short.get(operation_id, operation_id))
            line.append(_fill("" if short == name else short, self.id), "dim").append(" ")
        branch = f"{_INDENT * (depth - 1)}{_BRANCH}" if depth else ""
        indent = branch[: max(0, self.name - 4)]
        line.append(indent, "dim")
        return line.append(_fill(name, self.name - len(indent)), "bold")


def running_row(layout: Layout, running: Running, depth: int, now_s: float, heard_s: float) -> Text:
    """Return the row of an operation that has not ended.

    Args:
        layout: Columns of the picture.
        running: The operation.
        depth: Its depth in the tree.
        now_s: Time by the hub's clock, seconds since 1970.
        heard_s: The same, or 0 while the connection is lost, when the silence of an operation is not its own.
    """
    line = layout.head(running.operation_id, running.name, depth)
    concern = describe_concern(running, now_s, heard_s)
    if concern and layout.width < _MIN_WIDTH_FOR_STEPS:
        return _cut(append_part(line, concern, "yellow", gap=" "), layout)
    line.append(" ").append_text(_bar(running, layout.bar, now_s))
    percent = "" if running.percent is None else f"{int(running.percent)}%"
    line.append(f" {percent:>4} ").append(f"{clock_time(now_s - running.started_s):>5}", "dim")
    if layout.width >= _MIN_WIDTH_FOR_STEPS:
        parts = (
            (f"{ordinal(running.attempt)} attempt" if running.attempt > 1 else "", "dim"),
            (concern, "yellow"),
            (_remaining(running, now_s), "dim"),
            (running.step, ""),
            (running.message, "dim"),
        )
        shown = [(part, style) for part, style in parts if part]
        for index, (part, style) in enumerate(shown):
            append_part(line, part, style, gap="  " if index else " ")
    return _cut(line, layout)


def failure_row(layout: Layout, failure: EndedOperation, depth: int, now_s: float) -> Text:
    """Return the row of an operation that failed."""
    payload = failure.payload
    assert isinstance(payload, OperationFailedData)
    line = layout.head(failure.operation_id, failure.name, depth)
    line.append(" ").append(f"{FAILED} failed", "bold red")
    append_part(line, f"{describe_span(now_s - failure.ended_s)} ago", "dim", gap=" ")
    append_part(line, sanitize(payload.code), "red")
    append_part(line, sanitize(payload.message))
    return _cut(line, layout)


def describe_concern(running: Running, now_s: float, heard_s: float) -> str:
    """Return why an operation needs attention, and whether it is being cancelled; empty without either."""
    attention = running.attention(heard_s)
    if attention is Attention.AWAY:
        since = "" if running.away_s is None else f" for {describe_span(now_s - running.away_s)}"
        text = f"producer away{since}"
    elif attention is Attention.STALLED:
        text = describe_stall(running, now_s)
    else:
        text = f"silent {clock_time(now_s - running.seen_s)}" if attention is Attention.SILENT else ""
    return "  ".join(part for part in (text, describe_cancel(running)) if part)


def describe_stall(running: Running, now_s: float) -> str:
    """Return that a stalled operation is stalled, and since when if the hub published that."""
    return "stalled" if running.stalled_s is None else f"stalled for {describe_span(now_s - running.stalled_s)}"


def describe_cancel(running: Running) -> str:
    """Return who asked to cancel an operation; empty without a request."""
    return "" if running.cancel_s is None else format_cancel(running.cancelled_by)


def _remaining(running: Running, now_s: float) -> str:
    estimate = running.estimate
    if estimate is None or estimate.remaining_s is None or estimate.stalled or running.away:
        return ""
    left_s = estimate.remaining_s - (now_s - running.estimated_s)
    return f"~{describe_span(left_s)} left" if left_s > 0 else ""


def _bar(running: Running, width: int, now_s: float) -> Text:
    if running.queued:
        return Text(_fill("queued", width), "dim")
    if running.percent is None:
        # Moves to the end and back.
        steps = max(1, width - _PULSE)
        place = int(now_s * _PULSES_PER_S) % (2 * steps)
        place = min(place, 2 * steps - place)
        size = min(_PULSE, width)
        return Text.assemble(
            ("━" * place, "bright_black"), ("━" * size, "cyan"), ("━" * (width - place - size), "bright_black")
        )
    return draw_bar(running.percent, width)


def draw_bar(percent: float, width: int) -> Text:
    """Return a bar of `width` columns."""
    halves = int(2 * width * min(100.0, max(0.0, percent)) / 100)
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    rest = width - len(done)
    style = "green" if percent >= 100 else "cyan"
    joint = "╺" if rest and not halves % 2 and halves else ""
    return Text.assemble((done, style), (joint + "━" * (rest - len(joint)), "bright_black"))


def _fill(text: str, width: int) -> str:
    """Return `text` in exactly `width` columns, cut with an ellipsis."""
    if cell_len(text) > width > 0:
        text = set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)


def _cut(line: Text, layout: Layout) -> Text:
    line.truncate(layout.width, overflow="ellipsis")
    line.rstrip()
    return line
