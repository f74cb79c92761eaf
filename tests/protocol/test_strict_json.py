"""JSON that readers would understand differently, and what proves that a message holds none."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from tidings.exceptions import ContractError, InvalidEnvelope, InvalidJSON, InvalidPayload
from tidings.protocol.messages import Attach
from tidings.protocol.payloads import (
    DataUpdateData,
    OperationProgressData,
)
from tidings.protocol.strict_json import check_members, check_message, declared_members, repair_members

PROGRESS = b'{"type":"operation:progress",%b"data":{"operation_id":"a","progress":1%b}%b}'


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        ((b"", b',"progress":2', b""), InvalidJSON, "$.data: the member 'progress' occurs twice"),
        ((b"", b',"pro\\u0067ress":2', b""), InvalidJSON, "$.data: the member 'progress' occurs twice"),
        ((b"", b',"x":1,"x" : 1', b""), InvalidJSON, "$.data: the member 'x' occurs twice"),
        ((b"", b',"x":[1,{"y":{"a":1,"a":1}}]', b""), InvalidJSON, "$.data.x[1].y: the member 'a' occurs twice"),
        ((b"", b',"x":"y",":a":1,":a":2', b""), InvalidJSON, "$.data: the member ':a' occurs twice"),
        ((b"", b',"x":"y", ":a":1,":a":2', b""), InvalidJSON, "$.data: the member ':a' occurs twice"),
        ((b'"data":{},', b"", b""), InvalidJSON, "$: the member 'data' occurs twice"),
        ((b"", b',"Progress":2', b""), InvalidPayload, "$.data: invalid member 'Progress': expected 'progress'"),
        ((b"", ',"me\u017f\u017fage":"m"'.encode(), b""), InvalidPayload, "expected 'message'"),
        ((b'"Channel":"x",', b"", b""), InvalidEnvelope, "$: invalid member 'Channel': expected 'channel'"),
        ((b"", b',"x":18446744073709551616', b""), InvalidJSON, "$.data.x: the integer 18446744073709551616 is beyond"),
        ((b"", b',"x":-9223372036854775809', b""), InvalidJSON, "$.data.x: the integer -9223372036854775809 is beyond"),
        ((b"", b',"x": 1e400', b""), InvalidJSON, "$.data.x: the number 1e400 is beyond the doubles"),
        ((b"", b',"x":1%b.0' % (b"0" * 400), b""), InvalidJSON, "is beyond the doubles"),
        ((b"", b',"x":%b' % (b"9" * 5_000), b""), InvalidJSON, "is beyond 64 bits"),
        ((b"", b"", b',"x":[0,-1e999]'), InvalidJSON, "$.x[1]: the number -1e999 is beyond the doubles"),
    ],
)
def test_message_that_readers_understand_differently_is_rejected(
    parts: tuple[bytes, bytes, bytes], kind: type[ContractError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        check_message(PROGRESS % parts, OperationProgressData)
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "parts",
    [
        (b"", b"", b""),
        (b"", b',"x":18446744073709551615,"y":-9223372036854775808,"z":1e308', b""),
        (b"", b',"x":{"progress":1,"Progress":2}', b""),
        (b"", b',"x":[{"a":1},{"a":1}]', b""),
        (b"", b',"x":"{\\"a\\":1,\\"a\\":1}"', b""),
        (b"", b',"message":"99999999999999999999999, 1e400"', b""),
        (b"", b',"message":"progress\\":"', b',"progress":1'),
        (b"", b',"x":0.%b1' % (b"0" * 300), b""),
    ],
)
def test_other_message_is_accepted(parts: tuple[bytes, bytes, bytes]) -> None:
    check_message(PROGRESS % parts, OperationProgressData)


class Members(list[tuple[str, Any]]):
    """The members of an object, perhaps with two of one name."""


names = st.sampled_from(["a", "A", "progress", "Progress", ":", 'q"', "\u00e9"])
values = st.recursive(
    st.one_of(st.integers(-(2**64), 2**65), st.text(max_size=3), st.sampled_from(["a", ":", '"a":'])),
    lambda below: st.one_of(st.lists(below, max_size=2), st.lists(st.tuples(names, below), max_size=3).map(Members)),
    max_leaves=6,
)


def write(value: Any, colon: str) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(json.dumps(name) + colon + write(below, colon) for name, below in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item, colon) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def is_strict(value: Any) -> bool:
    if isinstance(value, Members):
        return len({name for name, _ in value}) == len(value) and all(is_strict(below) for _, below in value)
    if isinstance(value, list):
        return all(map(is_strict, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@given(st.lists(st.tuples(names, values), max_size=4).map(Members), st.sampled_from([":", ": ", " :", "\n:"]))
def test_cheap_look_and_full_check_agree(members: Members, colon: str) -> None:
    body = write(Members([("type", "x:y"), ("x", members)]), colon).encode()
    if is_strict(members):
        check_message(body, DataUpdateData)
    else:
        with pytest.raises(InvalidJSON):
            check_message(body, DataUpdateData)


def test_names_of_nested_structs_are_declared_too() -> None:
    body = b'{"producer_id":"p","operations":[{"operation_id":"a","Attempt":1}]}'
    with pytest.raises(InvalidEnvelope, match=r"^\$\.operations\[0\]: invalid member 'Attempt'"):
        check_members(body, declared_members(Attach))


class Order(Struct):
    """A payload of an application."""

    order_id: str
    amounts: list[int]
    note: str = ""
    pages: int = 1
    buyer: str | None = None


@pytest.mark.parametrize(
    ("data", "repaired"),
    [
        (b'{"order_id":"a","amounts":[1]}', None),
        (b'{"order_id":"a","amounts":[1],"buyer":null}', None),
        (b'{"order_id":"a", "amounts":[1, 2.0],"x": 1.50}', b'{"order_id":"a","amounts":[1,2],"x":1.50}'),
        (b'{"order_id":"a","amounts":[],"note":null,"pages":3e0}', b'{"order_id":"a","amounts":[],"pages":3}'),
        (b'{"order_id":null,"amounts":[]}', None),
        (b'{"order_id":"a","amounts":[],"pages":3.5}', None),
        (b"[1]", None),
    ],
)
def test_repaired_members_are_those_that_a_reader_accepts(data: bytes, repaired: bytes | None) -> None:
    assert repair_members(data, Order) == repaired


def test_repaired_data_keeps_its_other_bytes() -> None:
    data = b'{"operation_id":"\\u0061","progress":4.0e1,"total_steps":5.0,"x":[1.10, 2]}'
    repaired = repair_members(data, OperationProgressData)
    assert repaired == b'{"operation_id":"\\u0061","progress":4.0e1,"total_steps":5,"x":[1.10, 2]}'
    assert msgspec.json.decode(repaired, type=dict[str, Raw])
