"""The report's judgement: targets, ratios, and rows that are not valid."""

from collections.abc import Mapping

import msgspec
from benchmarks.fanout.load import Latency, LoadResult
from benchmarks.fanout.measure import Row, valid
from benchmarks.fanout.report import render, to_json, verdict
from benchmarks.fanout.scenarios import Contender, Scenario, all_scenarios, metrics_of

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in all_scenarios([1000])}


def make_row(name: str, contender: Contender, *faults: str, **metrics: float) -> Row:
    return Row(scenario=SCENARIOS[name], contender=contender, metrics=metrics, results=[], faults=faults)


def test_a_ratio_target_is_held_against_the_baseline_of_the_same_scenario() -> None:
    baseline = make_row("fanout-1", Contender.BASELINE, per_cpu_s=200_000.0)
    enough = make_row("fanout-1", Contender.HUB, per_cpu_s=160_000.0)
    short = make_row("fanout-1", Contender.HUB, per_cpu_s=159_000.0)
    assert verdict([baseline, enough], enough) == "yes"
    assert verdict([baseline, short], short) == "no"


def test_a_ratio_target_is_not_reached_without_a_baseline() -> None:
    alone = make_row("fanout-1", Contender.HUB, per_cpu_s=1e9)
    assert verdict([alone], alone) == "no"


def test_latency_targets_need_both_quantiles() -> None:
    baseline = make_row("open-loop", Contender.BASELINE, p50_ms=2.0, p99_ms=4.0)
    good = make_row("open-loop", Contender.HUB, p50_ms=3.0, p99_ms=6.0)
    slow_tail = make_row("open-loop", Contender.HUB, p50_ms=1.0, p99_ms=6.1)
    assert verdict([baseline, good], good) == "yes"
    assert verdict([baseline, slow_tail], slow_tail) == "no"


def test_stalled_readers_are_compared_with_the_same_load_without_them() -> None:
    without = make_row("fanout-32", Contender.HUB, p99_ms=10.0)
    same = make_row("stalled-readers", Contender.HUB, p99_ms=11.0)
    worse = make_row("stalled-readers", Contender.HUB, p99_ms=11.5)
    assert verdict([without, same], same) == "yes"
    assert verdict([without, worse], worse) == "no"


def test_a_row_that_lost_something_is_invalid_however_fast() -> None:
    row = make_row("fanout-32", Contender.HUB, "missing 3", per_cpu_s=1e9)
    assert verdict([row], row) == "invalid"
    assert not valid([row])
    assert "missing 3" in render([row])


def test_the_table_shows_figures_ratio_and_target() -> None:
    rows = [
        make_row("fanout-1", Contender.BASELINE, rate=100.0, per_cpu_s=200_000.0, p50_ms=1.0, p99_ms=2.0),
        make_row("fanout-1", Contender.HUB, rate=90.0, per_cpu_s=180_000.0, p50_ms=1.5, p99_ms=2.5),
    ]
    hub_line = render(rows).splitlines()[-1]
    figures = "hub 90 180,000 1.50 2.50 – – – 0.90"
    assert hub_line.split() == f"{figures} per CPU-s ≥ 0.8 × baseline yes".split()


def test_a_row_says_when_its_core_was_shared() -> None:
    disturbed = make_row("fanout-8", Contender.BASELINE, strangers_busy=0.3)
    alone = make_row("fanout-8", Contender.BASELINE, strangers_busy=0.01)
    assert "30% of the server's core went to others" in render([disturbed])
    assert "others" not in render([alone])


def test_a_row_says_when_the_load_generator_held_the_server_back() -> None:
    held_back = make_row("fanout-8", Contender.HUB, load_busy=0.99, server_busy=0.5)
    both_busy = make_row("fanout-8", Contender.HUB, load_busy=0.99, server_busy=0.99)
    assert "load generator at its limit" in render([held_back])
    assert "limit" not in render([both_busy])


def test_json_holds_verdicts_and_medians() -> None:
    rows = [make_row("publish-ws", Contender.HUB, rate=25_000.0)]
    (document,) = msgspec.json.decode(to_json(rows))
    assert document["verdict"] == "yes"
    assert document["medians"] == {"rate": 25_000.0}
    assert document["server"] == "hub"


def test_metrics_divide_by_server_time_and_by_subscriber() -> None:
    result = LoadResult(
        mode="conflate",
        seconds=2.0,
        events=20_000,
        deliveries=40_000,
        bytes=4_096_000,
        subscribers=100,
        server_cpu_s=0.5,
        latency_us=Latency(p50=1500.0, p99=2500.0, max=9000.0, readings=40_000),
    )
    metrics = metrics_of(SCENARIOS["conflation"], result)
    assert metrics["events_per_s"] == 10_000
    assert metrics["frames_per_subscriber_s"] == 200
    assert metrics["kib_per_subscriber_s"] == 20
    assert metrics["per_cpu_s"] == 80_000
    assert (metrics["p50_ms"], metrics["p99_ms"]) == (1.5, 2.5)
