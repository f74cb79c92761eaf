import re
from pathlib import Path

import pytest
from benchmarks.capacity import real_storm
from benchmarks.capacity.__main__ import main
from benchmarks.capacity.costs import MEASURED, measure
from benchmarks.capacity.plan import Plan, calculate
from benchmarks.capacity.storm import simulate
from tests.transcripts.markdown import Document

from tidings.server.websocket.accept_queue import MAX_WAIT_S


def test_documented_figures_are_those_that_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [block.text for block in Document("docs/scale.md").blocks_in("console")]
    shown = [block for block in blocks if "benchmarks.capacity" in block]
    assert len(shown) == 2
    for block in shown:
        command, _, output = block.partition("\n")
        code = main(command.partition("benchmarks.capacity")[2].split())
        assert capsys.readouterr().out.rstrip() == output.rstrip()
        assert (code == 0) == ("NOT KEPT" not in output)


def test_more_nodes_have_fewer_connections_and_the_same_log() -> None:
    few, many = (calculate(Plan(connections=1_000, nodes=nodes), MEASURED) for nodes in (4, 8))
    assert (few.before.connections, few.after.connections) == (250, 334)
    assert (many.before.connections, many.after.connections) == (125, 143)
    assert many.before.delivering == pytest.approx(few.before.delivering / 2)
    assert many.before.folding > few.before.folding, "every node stores every event"
    assert many.journal_out_mbit > few.journal_out_mbit


def test_plan_that_exceeds_a_limit_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["--connections", "120000", "--nodes", "3", "--events-per-s", "80000", "--reconnect-rate", "60000"]) == 1
    )
    printed = capsys.readouterr().out
    assert "NOT KEPT    60,000 connections of a node are above --max-connections" in printed
    assert "busy after a loss" in printed


@pytest.mark.parametrize(("clients", "rate"), [(50, 100.0), (2_000, 50.0), (5_000, 500.0)])
def test_all_clients_return_no_faster_than_the_rate(clients: int, rate: float) -> None:
    storm = simulate(clients, rate=rate)
    assert storm.all_s >= (clients - rate) / rate
    assert storm.half_s <= storm.all_s
    assert storm.attempts == clients + storm.refused
    assert storm.most_waiting <= rate * MAX_WAIT_S
    assert (storm.refused == 0) == (clients <= rate * MAX_WAIT_S)


def test_costs_are_measured_with_real_nodes(tmp_path: Path) -> None:
    costs = measure(tmp_path, connections=20, events=2, heartbeats=1, idle_s=0.5)
    assert costs.opening_us > 0
    assert costs.connection_kib < 200
    assert 20 < costs.node_mib < 500


def test_real_hub_is_compared_with_the_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    real_storm.main(["--clients", "30", "--reconnect-rate", "20"])
    simulated, real = capsys.readouterr().out.splitlines()[-2:]
    for line in (simulated, real):
        found = re.search(r"30 clients, half within [\d.]+ s, all within ([\d.]+) s, 30 attempts, 0 refused", line)
        assert found
        assert float(found[1]) >= 0.4, "twenty clients a second"
