"""The harness itself: attacks are found, run against a real hub, and what innocent clients wait is measured."""

import asyncio
import time
from pathlib import Path

import pytest
from benchmarks.hostile.innocents import INTERVAL_S, percentile
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.registry import Attack, Target, all_attacks
from benchmarks.hostile.timed_hub import LongestTurn

pytestmark = pytest.mark.alone


def wait_for_the_end(target: Target) -> None:
    target.hold()


def test_every_attack_has_a_line_that_describes_it() -> None:
    attacks = all_attacks()
    assert {each.family for each in attacks.values()} >= {"floods", "commands", "http", "inbound", "publishers"}
    assert all(each.about and each.name == name for name, each in attacks.items())


def test_a_small_attack_is_measured_beside_innocent_clients(tmp_path: Path) -> None:
    attack = all_attacks()["many-paths"]
    outcome = measure(attack, tmp_path, seconds=1.0, scale=0.01, pauses=SHORT_PAUSES)
    assert outcome.waits.lost == 0
    assert len(outcome.waits.accepted) == len(outcome.waits.delivered) >= 0.5 / INTERVAL_S
    assert 0 < outcome.p99_s < 60
    assert 0 < outcome.baseline_p99_s < 60
    assert 0 < outcome.longest_turn_s < 60
    assert outcome.waits.posted
    assert not outcome.hub_ended


async def test_longest_turn_is_the_cpu_time_of_one_turn(tmp_path: Path) -> None:
    measured, seen = LongestTurn(tmp_path / "turn"), LongestTurn(tmp_path / "turn")
    measured.watch(asyncio.get_running_loop())
    await asyncio.sleep(0.01)
    seen.reset()
    began = time.thread_time()
    while time.thread_time() - began < 0.05:
        pass
    await asyncio.sleep(0.01)
    assert 0.05 <= seen.seconds < 5
    seen.reset()
    await asyncio.sleep(0.01)
    assert seen.seconds < 0.05


def test_a_share_of_the_readings_is_below_the_percentile() -> None:
    readings = [float(number) for number in range(1, 101)]
    assert percentile(readings, 0.99) == 99
    assert percentile(readings, 1.0) == 100
    assert percentile([], 0.5) == float("inf")


def test_an_attack_ends_with_its_time() -> None:
    target = Target(host="", port=0, seconds=0.01, scale=0.5)
    Attack(name="none", family="none", about="nothing", run=wait_for_the_end).run(target)
    assert target.over()
    assert time.monotonic() - target.began >= 0.01
    assert target.scaled(3) == 1
