import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.protocol.raw_json import (
    is_stored_as,
    scan_text_members,
    with_first_member,
    with_last_member,
    with_progress_members,
)

NAMES = ["operation_id", "progress", "current_step", "total_steps", "message", "note", "cur\u00e9"]
values = st.one_of(
    st.integers(),
    st.sampled_from(["", "current_step", "total_steps", '"current_step":', "é"]),
    st.lists(st.sampled_from(NAMES), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=2),
)
objects = st.dictionaries(st.sampled_from(NAMES), values, min_size=1)
styles = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])


@given(objects, styles, st.booleans())
def test_progress_gains_both_members_after_its_own_bytes(
    members: dict[str, Any], style: tuple[str, str], ascii_only: bool
) -> None:
    data = json.dumps(members, separators=style, ensure_ascii=ascii_only).encode()
    completed = with_progress_members(data)
    assert json.loads(completed) == {"current_step": "", "total_steps": 0} | members
    assert completed.startswith(data[:-1])
    assert (completed is data) is ({"current_step", "total_steps"} <= members.keys())


@pytest.mark.parametrize(
    ("data", "completed"),
    [
        (b'{"progress":1}', b'{"progress":1,"current_step":"","total_steps":0}'),
        (b'{"progress":1 }', b'{"progress":1,"current_step":"","total_steps":0}'),
        (b'{"total_steps":0,"progress":1}', b'{"total_steps":0,"progress":1,"current_step":""}'),
        (rb'{"current\u005fstep":"a","progress":1}', rb'{"current\u005fstep":"a","progress":1,"total_steps":0}'),
        (
            b'{"progress":1,"message":"current_step","note":"total_steps"}',
            b'{"progress":1,"message":"current_step","note":"total_steps","current_step":"","total_steps":0}',
        ),
        (
            b'{"progress":1,"note":{"current_step":"","total_steps":0}}',
            b'{"progress":1,"note":{"current_step":"","total_steps":0},"current_step":"","total_steps":0}',
        ),
    ],
)
def test_missing_members_are_added_at_the_end(data: bytes, completed: bytes) -> None:
    assert with_progress_members(data) == completed


@pytest.mark.parametrize(
    ("published", "stored"),
    [
        (b'{"operation_id":"a" }', b'{"operation_id":"a","attempt":2}'),
        (b'{"operation_id":"a","attempt":0}', b'{"operation_id":"a","attempt":2}'),
        (b'{"attempt": 0, "operation_id": "a"}', b'{"operation_id":"a","attempt":2}'),
        (b'{"operation_id":"a","note":{"attempt":0}}', b'{"operation_id":"a","note":{"attempt":0},"attempt":2}'),
    ],
)
def test_last_member_replaces_a_zero(published: bytes, stored: bytes) -> None:
    assert with_last_member(published, "attempt", b"2") == stored
    assert is_stored_as(published, stored)
    assert not is_stored_as(b'{"operation_id":"a","attempt":1}', stored)
    assert not is_stored_as(b'["attempt"]', stored)


@given(objects, styles)
def test_first_member_stands_first_and_once(members: dict[str, Any], style: tuple[str, str]) -> None:
    members["code"] = "x"
    named = with_first_member(json.dumps(members, separators=style).encode(), "operation_id", 'a"é')
    pairs = json.loads(named, object_pairs_hook=list)
    assert pairs[0] == ("operation_id", 'a"é')
    assert [name for name, _ in pairs].count("operation_id") == 1
    assert json.loads(named) == members | {"operation_id": 'a"é'}


def test_bytes_after_the_first_member_are_unchanged() -> None:
    assert with_first_member(b'{ "code":"\\u0078", "n":1.0}', "operation_id", "a") == (
        b'{"operation_id":"a", "code":"\\u0078", "n":1.0}'
    )


@pytest.mark.parametrize(
    ("body", "id"),
    [
        (b'{"id":"7"}', "7"),
        (b'{ "id" :\n "7" }', "7"),
        (b'{"data":{"id":"inner"},"id":"7"}', "7"),
        (b'{"data":{"id":"inner"}}', None),
        (b'{"data":' + b"[" * 200 + b"]" * 200 + b',"id":"7"}', "7"),
        (b'{"x":"\xff","id":"7"}', "7"),
        (b'{"x":"\\ud800","id":"7"}', "7"),
        (b'{"id":"7","x":"cut o', "7"),
        (b'{"id":"7","id":"8"}', "8"),
        (b'{"x":"\\"id\\":\\"no\\"","id":"7"}', "7"),
        (b'{"id":"\\u0041"}', "A"),
        (b'{"id":"\xff"}', None),
        (b'{"id":7,"x":"y"}', None),
        (b'{"id":{"id":"7"}}', None),
        (b'["id","7"]', None),
        (b'{"id":"7', None),
        (b"", None),
    ],
)
def test_text_member_of_a_broken_message_is_found(body: bytes, id: str | None) -> None:
    assert scan_text_members(body, ("id",)).get("id") == id


@pytest.mark.parametrize("filler", [b'"\\"' * 80_000, b"[" * 250_000, b'"a",' * 60_000, b" " * 250_000])
def test_scan_of_a_long_message_reads_each_byte_once(filler: bytes) -> None:
    """A quadratic scan would not end within the timeout of a test."""
    assert scan_text_members(b'{"id":"7","x":' + filler, ("id",)) == {"id": "7"}
