from typing import Any

import pytest

from tidings.producer.options import countable, plan_of, share_of, weight_of


@pytest.mark.parametrize(
    ("steps", "plan"),
    [
        ((), {}),
        (["fetch", ("parse", 3)], {"fetch": 1, "parse": 3}),
        ("fetch", {"fetch": 1}),
        ([("fetch", -2)], {"fetch": 0}),
        ([("fetch", "heavy"), ("parse", float("nan"))], {"fetch": 1, "parse": 1}),
        (5, {}),
        ([("one", 2, 3)], {}),
    ],
)
def test_plan_of_returns_weights_or_an_empty_plan(steps: Any, plan: dict[str, float]) -> None:
    assert plan_of(steps) == plan


@pytest.mark.parametrize(("total", "expected"), [(None, None), (3, 3), (0, 0), (-1, None), (float("inf"), None)])
def test_countable_accepts_finite_totals_only(total: float | None, expected: float | None) -> None:
    assert countable(total) == expected
    assert countable("many") is None


def test_share_of_clips_to_0_and_1() -> None:
    assert [share_of(percent) for percent in (None, -1, 0, 42, 1e9, float("nan"))] == [None, 0, 0, 0.42, 1, None]


def test_weight_of_returns_a_finite_weight() -> None:
    assert [weight_of(weight) for weight in (2, -1, float("inf"))] == [2, 0, 1]
