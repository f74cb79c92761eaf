import pytest

from tidings.producer.tracking import Rate, count_text, number_text, rate_text


def test_a_rate_is_smoothed_over_windows() -> None:
    rate = Rate()
    rate.update(0, 10.0)
    assert rate.value is None
    rate.update(5, 10.1)
    assert rate.value is None, "too soon to say"
    rate.update(100, 11.0)
    assert rate.value == 100
    rate.update(100, 12.0)
    assert rate.value == 70
    rate.update(50, 13.0)
    assert rate.value == pytest.approx(49), "what was taken back is not a negative rate"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234, "1,234"), (2.0, "2"), (1234.5678, "1,234.57"), (float("nan"), "?"), (float("inf"), "?")],
)
def test_numbers(value: float, shown: str) -> None:
    assert number_text(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.01234, "0.0123"), (56.12, "56.1"), (1234.5, "1,234")])
def test_rates(value: float, shown: str) -> None:
    assert rate_text(value) == shown


def test_counts() -> None:
    assert count_text(1234, 10_000, "rows", 56.1) == "1,234/10,000 rows, 56.1 rows/s"
    assert count_text(3, None, "it", None) == "3 it"
