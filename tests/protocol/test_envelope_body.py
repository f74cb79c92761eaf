import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.exceptions import InvalidJSON, InvalidUTF8, PayloadTooLarge, TooDeep
from tidings.protocol.envelope import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_FLAT_BYTES,
    check_body,
    measure_depth,
    to_single_line,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def nesting(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(nesting, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 0


@given(json_values, st.booleans())
def test_depth_is_that_of_the_value(value: Any, ascii_only: bool) -> None:
    assert measure_depth(json.dumps(value, ensure_ascii=ascii_only).encode()) == nesting(value)


@pytest.mark.parametrize(("opener", "closer"), [(b"[", b"]"), (b'{"":', b"}"), (b'[{"a":', b"}]")])
def test_64_levels_pass_and_65_do_not(opener: bytes, closer: bytes) -> None:
    levels = opener.count(b"[") + opener.count(b"{")
    deepest = opener * (MAX_DEPTH // levels) + b"1" + closer * (MAX_DEPTH // levels)
    check_body(deepest)
    with pytest.raises(TooDeep, match=r"^\$: .* 64 levels$") as caught:
        check_body(b"[" + deepest + b"]")
    assert caught.value.path == "$"


def test_the_shortest_body_of_objects_that_is_too_deep_is_looked_at() -> None:
    shortest = b'{"":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH
    assert msgspec.json.decode(shortest)
    assert len(shortest) == MAX_FLAT_BYTES + 2
    with pytest.raises(TooDeep):
        check_body(shortest)


@pytest.mark.parametrize(
    "string", ["[" * 100, "{" * 100, '\\"' + "[" * 100, "\\\\\\" + '"' + "[{" * 50, "\\\\" * 3 + "{" * 80]
)
def test_brackets_in_strings_do_not_count(string: str) -> None:
    body = f'{{"a":"{string}","b":[1]}}'.encode()
    json.loads(body)
    check_body(body)
    assert measure_depth(body) == 2


def test_many_brackets_side_by_side_are_not_deep() -> None:
    check_body(b"[" + b"[],{}," * 1_000 + b"[]]")


def test_a_string_that_never_ends_takes_linear_time() -> None:
    # Quadratic, this would be 10^10 steps, and the test's time limit the judge.
    hostile = b"[" * (MAX_DEPTH + 1) + b'"' + b'\\"' * ((MAX_BODY_BYTES - 100) // 2)
    with pytest.raises(TooDeep):
        check_body(hostile)


def test_closers_without_openers_are_left_to_the_decoder() -> None:
    assert measure_depth(b"]]}}") == 0


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"])
def test_bytes_that_are_no_utf_8_are_refused_wherever_they_are(bad: bytes) -> None:
    body = b'{"type":"data:update","skipped":"' + bad + b'"}'
    with pytest.raises(InvalidUTF8, match=r"^\$: byte 33 of the message is not UTF-8$"):
        check_body(body)


def test_utf_8_of_any_plane_passes() -> None:
    check_body('{"a":"é ‰ 😀 \u2028"}'.encode())


@pytest.mark.parametrize(
    "string",
    [
        r"\ud83d",
        r"\ude00",
        r"\ude00\ud83d",
        r"\ud83d \ude00",
        r"\ud83d\n\ude00",
        r"\ud83d\ud83d\ude00",
        r"\ud83dA",
        r"\ud83d\u0041",
        r"\\\ud83d",
        r"\uD83D",
        r"a\udbff",
    ],
)
def test_half_a_surrogate_pair_is_refused(string: str) -> None:
    with pytest.raises(InvalidJSON, match="half a surrogate pair") as caught:
        check_body(f'["{string}"]'.encode())
    assert caught.value.hint == "Escape both halves, or write UTF-8."


@pytest.mark.parametrize(
    "string", [r"\ud83d\ude00", r"\uD83D\uDE00\ud83d\ude00", r"\\ud83d", r"\\\\ude00", r"\u0041\n", r"\ud7ff\ue000"]
)
def test_whole_pairs_and_escaped_backslashes_pass(string: str) -> None:
    check_body(f'["{string}"]'.encode())


@given(st.lists(st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\n", "u", "d83d", r"\u0041", "é"]), max_size=8))
def test_surrogates_pass_exactly_where_the_string_can_be_encoded(parts: list[str]) -> None:
    body = '"' + "".join(parts) + '"'
    try:
        json.loads(body).encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidJSON):
            check_body(body.encode())
    else:
        check_body(body.encode())


def test_a_body_over_the_frame_limit_is_refused_with_both_sizes() -> None:
    check_body(b" " * MAX_BODY_BYTES)
    with pytest.raises(PayloadTooLarge) as caught:
        check_body(b" " * (MAX_BODY_BYTES + 1))
    assert (caught.value.size, caught.value.limit, caught.value.path) == (262_145, 262_144, "$")


@given(json_values, st.sampled_from(["\n", "\r\n", "\t", "\r", " "]))
def test_a_single_line_is_the_same_value(value: Any, indent: str) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", indent).encode()
    line = to_single_line(text)
    assert not set(line) & set(b"\r\n\t")
    assert json.loads(line) == value


def test_what_is_on_one_line_is_returned_itself() -> None:
    body = b'{"a": 1}'
    assert to_single_line(body) is body
