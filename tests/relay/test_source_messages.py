import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.relay.source import bodies_in

ONE = b'{"type":"data:update","data":{"dataset":"a"}}'
TWO = b'{"type":"report:ready","data":null}'
PRETTY = json.dumps(json.loads(ONE), indent=2).encode()


@pytest.mark.parametrize(
    ("message", "bodies"),
    [
        (ONE, [ONE]),
        (ONE + b"\n", [ONE]),
        (ONE + b"\n" + TWO, [ONE, TWO]),
        (ONE + b"\r\n\n  " + TWO + b"\n", [ONE, TWO]),
        (b"[" + ONE + b", " + TWO + b"]", [ONE, TWO]),
        (PRETTY, [PRETTY.replace(b"\n", b" ")]),
        (ONE + b"\nnonsense\n" + TWO, [ONE, b"nonsense", TWO]),
        (b"nonsense", [b"nonsense"]),
        (b"[1,", [b"[1,"]),
        (b"[]", []),
        (b" \n ", []),
        (b"", []),
    ],
)
def test_a_message_is_taken_apart(message: bytes, bodies: list[bytes]) -> None:
    assert bodies_in(message) == bodies


@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=5))
def test_whatever_was_joined_with_newlines_comes_apart_again(values: list[dict[str, str]]) -> None:
    joined = b"\n".join(json.dumps(value).encode() for value in values)
    assert [json.loads(body) for body in bodies_in(joined)] == values


@given(st.binary())
def test_nothing_makes_it_raise(message: bytes) -> None:
    for body in bodies_in(message):
        assert b"\n" not in body
