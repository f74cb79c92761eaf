"""What is measured: one row per scenario, with the target it is held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.fanout.load import LoadResult, OptionValue

Metrics = Mapping[str, float]
IN_FLIGHT = (1, 8, 32, 200)
OPEN_LOOP_DELIVERIES_PER_S = 50_000
IDLE_CONNECTIONS = 10_000
STALLED_SHARE = 0.01
PROGRESS_PER_S = 10_000
PROGRESS_OPERATIONS = 100
PROGRESS_SUBSCRIBERS = 100


class Contender(StrEnum):
    """A server under test."""

    BASELINE = "baseline"
    HUB = "hub"


class Section(StrEnum):
    """A table of the report: rows whose figures mean the same."""

    FANOUT = "fan-out"
    IDLE = "idle connections"
    PUBLISHING = "publishing"
    CONFLATION = "conflation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure of the hub that is to be reached."""

    text: str
    met: Callable[[Metrics, Metrics], bool]
    """Takes the hub's metrics and those of what it is compared with."""
    against: str | None = None
    """The scenario whose hub row it is compared with; None compares with the baseline in the same row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that is measured, against one or both contenders."""

    name: str
    title: str
    section: Section
    mode: str
    """Of the load generator."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    subscribers: int | None = None
    contenders: Sequence[Contender] = (Contender.HUB,)
    prefilled: bool = False
    """Runs against the log that already holds many rows."""
    target: Target | None = None


def _reached(metric: str, least: float) -> Callable[[Metrics, Metrics], bool]:
    return lambda hub, _: hub[metric] >= least


def _within(limit: float, *names: str) -> Callable[[Metrics, Metrics], bool]:
    return lambda hub, other: bool(other) and all(hub[name] <= limit * other[name] for name in names)


FANOUT_TARGETS = {
    1: Target(
        text="per CPU-s ≥ 0.8 × baseline",
        met=lambda hub, baseline: bool(baseline) and hub["per_cpu_s"] >= 0.8 * baseline["per_cpu_s"],
    ),
    32: Target(text="per CPU-s ≥ 2,000,000", met=_reached("per_cpu_s", 2_000_000)),
    200: Target(text="per CPU-s ≥ 5,000,000", met=_reached("per_cpu_s", 5_000_000)),
}
BOTH = (Contender.BASELINE, Contender.HUB)


def _fanout_scenarios(subscribers: int) -> list[Scenario]:
    closed = [
        Scenario(
            name=f"fanout-{in_flight}",
            title=f"{in_flight} in flight",
            section=Section.FANOUT,
            mode="fanout",
            options={"in-flight": in_flight},
            subscribers=subscribers,
            contenders=BOTH,
            target=FANOUT_TARGETS.get(in_flight),
        )
        for in_flight in IN_FLIGHT
    ]
    return [
        *closed,
        Scenario(
            name="open-loop",
            title=f"{OPEN_LOOP_DELIVERIES_PER_S:,}/s open loop",
            section=Section.FANOUT,
            mode="fanout",
            options={"rate": OPEN_LOOP_DELIVERIES_PER_S / subscribers},
            subscribers=subscribers,
            contenders=BOTH,
            target=Target(text="p50, p99 ≤ 1.5 × baseline", met=_within(1.5, "p50_ms", "p99_ms")),
        ),
        Scenario(
            name="stalled-readers",
            title=f"32 in flight, {STALLED_SHARE:.0%} stalled",
            section=Section.FANOUT,
            mode="fanout",
            options={"in-flight": 32, "stalled": max(1, int(subscribers * STALLED_SHARE))},
            subscribers=subscribers,
            target=Target(text="p99 ≤ 1.1 × without", met=_within(1.1, "p99_ms"), against="fanout-32"),
        ),
    ]


def _http(name: str, title: str, connections: int, batch: int, target: Target | None) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        section=Section.PUBLISHING,
        mode="http",
        options={"connections": connections, "batch": batch},
        prefilled=True,
        target=target,
    )


def _publishing_scenarios() -> list[Scenario]:
    batched = Target(text="≥ 50,000 events/s", met=_reached("rate", 50_000))
    return [
        Scenario(
            name="publish-ws",
            title="one WebSocket, 900 unacknowledged",
            section=Section.PUBLISHING,
            mode="publish",
            options={"in-flight": 900},
            prefilled=True,
            target=Target(text="≥ 20,000 events/s", met=_reached("rate", 20_000)),
        ),
        _http(
            "http-single",
            "HTTP, 32 single posts at once",
            32,
            1,
            Target(text="≥ 5,000 posts/s", met=_reached("rate", 5_000)),
        ),
        _http("http-batch-100", "HTTP, 4 batches of 100 at once", 4, 100, batched),
        _http("http-batch-500", "HTTP, 2 batches of 500 at once", 2, 500, batched),
    ]


def _conflation(name: str, title: str, path: str) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        section=Section.CONFLATION,
        mode="conflate",
        options={"rate": PROGRESS_PER_S, "operations": PROGRESS_OPERATIONS, "path": path, "quiet-ms": 1500},
        subscribers=PROGRESS_SUBSCRIBERS,
    )


def all_scenarios(subscriber_counts: Sequence[int], *, idle_connections: int = IDLE_CONNECTIONS) -> list[Scenario]:
    """Return every scenario, the fan-out ones once per number of subscribers."""
    scenarios = [scenario for count in subscriber_counts for scenario in _fanout_scenarios(count)]
    scenarios.append(
        Scenario(
            name="idle",
            title=f"{idle_connections:,} connections",
            section=Section.IDLE,
            mode="idle",
            options={"subscribers": idle_connections},
            contenders=BOTH,
            target=Target(text="≤ 8 KiB each", met=lambda hub, _: hub["kib_per_connection"] <= 8.0),
        )
    )
    scenarios += _publishing_scenarios()
    scenarios += [
        _conflation("conflation", "as it comes", "/ws?channel=operations"),
        _conflation("conflation-paced", "pace_ms=100", "/ws?channel=operations&pace_ms=100"),
    ]
    return scenarios


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0


def metrics_of(scenario: Scenario, result: LoadResult) -> dict[str, float]:
    """Reduce one run to the figures of its row."""
    counted = result.deliveries if scenario.section in (Section.FANOUT, Section.CONFLATION) else result.events
    subscribers = max(result.subscribers, 1)
    metrics = {
        "rate": _ratio(counted, result.seconds),
        "per_cpu_s": _ratio(counted, result.server_cpu_s),
        "server_busy": _ratio(result.server_cpu_s, result.seconds),
        "strangers_busy": _ratio(result.server_core_busy_s - result.server_cpu_s, result.seconds),
        "load_busy": _ratio(result.load_cpu_s, result.seconds),
        "resident_growth_kib": float(result.resident_kib_after - result.resident_kib_before),
        "events_per_s": _ratio(result.events, result.seconds),
        "frames_per_subscriber_s": _ratio(result.deliveries, result.seconds) / subscribers,
        "kib_per_subscriber_s": _ratio(result.bytes, result.seconds) / subscribers / 1024,
        "kib_per_connection": _ratio(result.resident_kib_after - result.resident_kib_before, result.connections),
    }
    if result.latency_us is not None:
        metrics["p50_ms"] = result.latency_us.p50 / 1000
        metrics["p99_ms"] = result.latency_us.p99 / 1000
    return metrics
