"""The tables that the benchmark prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.fanout.measure import Row
from benchmarks.fanout.scenarios import Contender, Metrics, Section

# A load generator busier than this may have held back a server that is less busy: the row says so.
BUSY_LIMIT = 0.95
# More than this of the server's core spent on anything else disturbs the latencies: the row says so.
STRANGER_LIMIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure of a table."""

    title: str
    metric: str
    show: Callable[[float], str]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _fine(value: float) -> str:
    return f"{value:,.2f}"


def _share(value: float) -> str:
    return f"{value:.0%}"


LATENCY = (Column(title="p50 ms", metric="p50_ms", show=_fine), Column(title="p99 ms", metric="p99_ms", show=_fine))
BUSY = (
    Column(title="server busy", metric="server_busy", show=_share),
    Column(title="load busy", metric="load_busy", show=_share),
)
COLUMNS: dict[Section, Sequence[Column]] = {
    Section.FANOUT: (
        Column(title="deliveries/s", metric="rate", show=_whole),
        Column(title="per CPU-s", metric="per_cpu_s", show=_whole),
        *LATENCY,
        *BUSY,
        Column(title="growth KiB", metric="resident_growth_kib", show=_whole),
    ),
    Section.IDLE: (Column(title="KiB each", metric="kib_per_connection", show=_fine),),
    Section.PUBLISHING: (
        Column(title="events/s", metric="rate", show=_whole),
        Column(title="per CPU-s", metric="per_cpu_s", show=_whole),
        *LATENCY,
        *BUSY,
    ),
    Section.CONFLATION: (
        Column(title="published/s", metric="events_per_s", show=_whole),
        Column(title="frames/s each", metric="frames_per_subscriber_s", show=_whole),
        Column(title="KiB/s each", metric="kib_per_subscriber_s", show=_whole),
        *LATENCY,
        *BUSY,
    ),
}
RATIO_METRIC = {Section.FANOUT: "per_cpu_s"}


def _metrics(rows: Sequence[Row], name: str, subscribers: int | None, contender: Contender) -> Metrics:
    for row in rows:
        if row.scenario.name == name and row.scenario.subscribers == subscribers and row.contender is contender:
            return row.metrics
    return {}


def _ratio(rows: Sequence[Row], row: Row) -> str:
    metric = RATIO_METRIC.get(row.scenario.section)
    if metric is None or row.contender is Contender.BASELINE:
        return ""
    other = _metrics(rows, row.scenario.name, row.scenario.subscribers, Contender.BASELINE).get(metric, 0.0)
    return f"{row.metrics[metric] / other:.2f}" if other > 0 and metric in row.metrics else ""


def verdict(rows: Sequence[Row], row: Row) -> str:
    """Say whether a hub row reaches its target: `yes`, `no`, `invalid`, or nothing where none applies."""
    target = row.scenario.target
    if row.faults:
        return "invalid"
    if target is None or row.contender is Contender.BASELINE:
        return ""
    if target.against is None:
        other = _metrics(rows, row.scenario.name, row.scenario.subscribers, Contender.BASELINE)
    else:
        other = _metrics(rows, target.against, row.scenario.subscribers, Contender.HUB)
    return "yes" if target.met(row.metrics, other) else "no"


def _notes(row: Row) -> str:
    if row.faults:
        return f"{len(row.faults)} of the runs: {row.faults[0]}"
    notes = []
    if row.metrics.get("load_busy", 0) > BUSY_LIMIT > row.metrics.get("server_busy", 0):
        notes.append("load generator at its limit")
    if (strangers := row.metrics.get("strangers_busy", 0)) > STRANGER_LIMIT:
        notes.append(f"{strangers:.0%} of the server's core went to others")
    return "; ".join(notes)


def _lay_out(table: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def _section(rows: Sequence[Row], section: Section) -> list[str]:
    chosen = [row for row in rows if row.scenario.section is section]
    if not chosen:
        return []
    columns = COLUMNS[section]
    table = [["", "subscribers", "server", *(column.title for column in columns), "ratio", "target", "met", ""]]
    for row in chosen:
        first = row.contender is Contender.BASELINE or len(row.scenario.contenders) == 1
        subscribers = row.scenario.subscribers
        target = row.scenario.target
        table.append(
            [
                row.scenario.title if first else "",
                _whole(subscribers) if first and subscribers is not None else "",
                row.contender,
                *(
                    column.show(row.metrics[column.metric]) if column.metric in row.metrics else "–"
                    for column in columns
                ),
                _ratio(rows, row),
                target.text if target is not None and row.contender is Contender.HUB else "",
                verdict(rows, row),
                _notes(row),
            ]
        )
    targets = 3 + len(columns) + 1
    return ["", f"{section}", *_lay_out(table, left=(0, 2, targets, targets + 1, targets + 2))]


def render(rows: Sequence[Row]) -> str:
    """Return the tables as text, a section after the other."""
    return "\n".join(line for section in Section for line in _section(rows, section))


def to_json(rows: Sequence[Row]) -> bytes:
    """Return the medians and every single run as JSON, for keeping and comparing."""
    return msgspec.json.format(
        msgspec.json.encode(
            [
                {
                    "scenario": row.scenario.name,
                    "subscribers": row.scenario.subscribers,
                    "server": row.contender,
                    "target": row.scenario.target.text if row.scenario.target is not None else None,
                    "verdict": verdict(rows, row),
                    "medians": dict(row.metrics),
                    "runs": list(row.results),
                    "faults": list(row.faults),
                }
                for row in rows
            ]
        )
    )
