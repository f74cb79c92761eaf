import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.units import (
    clock_time,
    describe_duration,
    describe_size,
    describe_span,
    format_duration,
    format_size,
    ordinal,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536B", 65536),
        ("1GiB", 1 << 30),
        ("1 gib", 1 << 30),
        ("1.5KiB", 1536),
        ("10GB", 10**10),
        ("500 MB", 500_000_000),
        ("1_000 kB", 1_000_000),
        ("7b", 7),
    ],
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1 XB", "-1", "7", "65536", "1.5", "00", "1e9", "1GiB2", "nan", "١٢"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid size .*: expected a number with a unit, such as 7MB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7d", 604_800),
        ("1h30m", 5400),
        ("45s", 45),
        ("500ms", 0.5),
        ("2.5s", 2.5),
        ("0", 0),
        ("0s", 0),
        ("1d 12h", 129_600),
        ("2w", 1_209_600),
    ],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "7", "2.5", "60 ", "7 days", "1h30", "-5s", "5s!", "inf"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid duration .*: expected a number with a unit, such as 7d"):
        parse_duration(text)


@given(st.integers(0, 1 << 50))
def test_a_size_is_read_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**12))
def test_a_duration_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=0.0005)


def test_settings_are_shown_in_the_largest_unit_that_is_exact() -> None:
    assert format_size(1 << 30) == "1GiB"
    assert format_size((1 << 30) + 1) == "1073741825B"
    assert format_size(0) == "0"
    assert format_duration(604_800) == "7d"
    assert format_duration(90) == "1m30s"
    assert format_duration(0.25) == "250ms"
    assert format_duration(0) == "0s"


def test_numbers_for_people_are_rounded() -> None:
    assert describe_size(0) == "0 B"
    assert describe_size(1_572_864) == "1.5 MiB"
    assert describe_size(2000 << 40) == "2,000 TiB"
    assert [describe_duration(s) for s in (0.04, 9.94, 42.4, 59.6)] == ["0.0 s", "9.9 s", "42 s", "0:59"]
    assert [clock_time(s) for s in (-3, 7.9, 723, 3723)] == ["0:00", "0:07", "12:03", "1:02:03"]


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (99, "99 s"),
        (100, "2 min"),
        (14 * 60 + 20, "14 min"),
        (99 * 60, "99 min"),
        (2 * 3600, "2 h"),
        (47 * 3600, "47 h"),
        (48 * 3600, "2 days"),
        (30 * 86_400, "30 days"),
    ],
)
def test_a_span_is_formatted_as_one_number(seconds: float, span: str) -> None:
    assert describe_span(seconds) == span


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (22, "22nd"), (113, "113th")],
)
def test_ordinals_are_formatted(number: int, text: str) -> None:
    assert ordinal(number) == text
