import re
from typing import Any, cast

import pytest

import tidings
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


async def _asynchronous(request: object) -> None:
    return None


@pytest.mark.parametrize(
    ("option", "hook", "error"),
    [
        ("on_cancel", lambda: "I refuse", "expected a function of 1 argument: the request, with its `reason`"),
        ("on_cancel", lambda request, user: None, "expected a function of 1 argument: the request"),
        ("on_cancel", "no", "invalid on_cancel 'no': expected a function"),
        ("on_cancel", _asynchronous, "expected a function that is not asynchronous"),
        ("redact", lambda: None, "expected a function of 1 argument: the payload, a dictionary"),
    ],
)
def test_a_function_that_cannot_be_called_is_an_error_where_it_is_passed(option: str, hook: Any, error: str) -> None:
    options = cast("Any", {option: hook})
    with pytest.raises(TypeError, match=re.escape(error)):
        tidings.operation("job", **options)
    with pytest.raises(TypeError, match=re.escape(error)):
        tidings.start("job", **options)


def test_functions_with_more_optional_arguments_are_accepted() -> None:
    tidings.operation("job", redact=dict, on_cancel=lambda *everything: None)
    tidings.operation("job", redact=cast("Any", lambda data, deep=True: data), on_cancel=cast("Any", print))


def test_a_function_before_the_end_takes_no_arguments() -> None:
    operation = tidings.operation("job")
    with pytest.raises(TypeError, match=r"invalid before_end .*: expected a function of no arguments"):
        operation.before_end(cast("Any", lambda operation: None))
