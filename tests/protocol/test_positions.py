import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.exceptions import InvalidPosition
from tidings.protocol.codes import error_data
from tidings.protocol.positions import FIRST, NOW, SNAPSHOT, Moment, Position, parse_position, parse_since

positions = st.builds(
    Position, st.from_regex(re.compile(r"[a-z0-9]{1,32}", re.ASCII), fullmatch=True), st.integers(0, 2**63 - 1)
)


@given(positions)
def test_position_is_parsed_again_from_its_text(position: Position) -> None:
    text = str(position)
    assert parse_position(text) == position
    assert parse_since(text) == position
    assert re.fullmatch(r"[a-z0-9:._-]{1,64}", text)


@given(st.text(max_size=70))
def test_parsed_text_is_the_text_of_the_position(text: str) -> None:
    try:
        position = parse_position(text)
    except InvalidPosition:
        return
    assert str(position) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "abc",
        "abc:",
        "abc:-1",
        "abc:+1",
        "abc:01",
        "abc:1 ",
        "abc:1\n",
        "ABC:1",
        "abc:1:2",
        "abc:1.5",
        "abc:٣",
        "a" * 33 + ":1",
        "abc:9223372036854775808",
        "abc:99999999999999999999",
    ],
)
def test_invalid_position_raises(text: str) -> None:
    with pytest.raises(InvalidPosition) as caught:
        parse_position(text)
    assert "`snapshot`, `now`, `first`, an RFC 3339 time" in (error_data(caught.value).hint or "")


@pytest.mark.parametrize(("text", "since"), [("snapshot", SNAPSHOT), ("now", NOW), ("first", FIRST), ("", FIRST)])
def test_since_accepts_three_words_and_the_empty_one(text: str, since: str) -> None:
    assert parse_since(text) == since


@pytest.mark.parametrize("text", ["Snapshot", "latest", "0", "now "])
def test_since_with_another_word_raises(text: str) -> None:
    with pytest.raises(InvalidPosition):
        parse_since(text)


@pytest.mark.parametrize(
    "text",
    ["2025-07-30T12:00:00Z", "2025-07-30T14:00:00.000+02:00", "2025-07-30t12:00:00z", "2025-07-30T14:00:00 02:00"],
)
def test_since_accepts_any_rfc_3339_time(text: str) -> None:
    assert parse_since(text) == Moment(1_753_876_800_000_000_000)


@pytest.mark.parametrize("text", ["2025-07-30", "2025-07-30T12:00", "2025-13-30T12:00:00Z", "12:00:00Z", "1h", "6"])
def test_since_with_an_incomplete_time_raises(text: str) -> None:
    with pytest.raises(InvalidPosition):
        parse_since(text)
