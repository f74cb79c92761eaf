"""The remembered shapes that prove messages free of members that occur twice, so that they need no full check."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from tidings.exceptions import ContractError, InvalidJSON
from tidings.protocol.message_shapes import LEARNING_MESSAGES, MAX_SHAPE_TOKENS, MAX_SHAPES, MessageShapes
from tidings.protocol.payloads import DataUpdateData, OperationLogData, OperationProgressData
from tidings.protocol.strict_json import check_message

HEAD = '{"type":"operation:%s","timestamp":"2025-07-30T12:00:00.5Z","trace_id":"t","data":{"operation_id":"a:1",'
BODIES = [
    HEAD % "progress" + '"progress":1,"current_step":"Import: users","total_steps":2},"channel":"operations"}',
    HEAD % "progress" + '"progress":33.33333333333333,"message":"https://example.com/\u00e9: done"},"id":"1:2"}',
    HEAD % "progress" + '"progress":1,"message":"\\"a\\":1","indeterminate":true,"note":null}}',
    HEAD % "log" + '"level":"info","message":"level: info"},"event_id":"0123456789abcdef:1"}',
    '{"type":"operation:log", "data": {"operation_id":"a",\n"message":"without a time"}}',
    HEAD % "complete" + '"duration_ms":1.5,"result":{"a:":[{"b":"c:d"},1,-2]}}}',
    HEAD % "start" + '"name":"n","sequence":[{"b":"c:d"}]}}',
]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages that got the full check."""
    found: list[bytes] = []

    def record(body: bytes, kind: type[Struct]) -> None:
        found.append(body)
        check_message(body, kind)

    monkeypatch.setattr("tidings.protocol.message_shapes.check_message", record)
    return found


def learned(*texts: str, kind: type[Struct] = OperationProgressData) -> MessageShapes:
    shapes = MessageShapes(kind)
    for text in texts:
        for _ in range(LEARNING_MESSAGES):
            shapes.check(text.encode())
    return shapes


@pytest.mark.parametrize("text", BODIES)
def test_message_of_a_known_shape_needs_no_full_check(text: str, checked: list[bytes]) -> None:
    shapes = learned(text)
    checked.clear()
    shapes.check(text.encode())
    shapes.check(text.replace('"a:1"', '"another:id"').replace("1.5", "98765.25").replace("true", "false").encode())
    assert checked == []


@pytest.mark.parametrize("text", BODIES)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"data"', '"type":"x","data"', 1),
        lambda text: text.replace('"operation_id"', '"operation_id":"x","operation_id"', 1),
        lambda text: text.replace('"operation_id"', '"Operation_ID":"x","operation_id"', 1),
        lambda text: text.replace('"operation_id":"', '"operation_id":"","operation_id":"', 1),
        lambda text: text.replace('"operation_id"', '"x":18446744073709551616,"operation_id"', 1),
        lambda text: text.replace('"data":', '"data":{},"data":', 1),
    ],
    ids=["type", "id", "case", "empty", "number", "data"],
)
def test_fault_in_a_message_of_nearly_a_known_shape_is_found(text: str, change: Any) -> None:
    body = change(text).encode()
    shapes = learned(text)
    assert not shapes.matches_stamped(body)
    with pytest.raises(ContractError):
        shapes.check(body)


def test_longer_number_than_that_of_a_known_shape_is_rejected() -> None:
    shapes = learned('{"type":"data:update","data":{"x":1,"y":1.5}}', kind=DataUpdateData)
    for number in ("18446744073709551616", "-9223372036854775809", "1e400", "1" + "0" * 400 + ".0"):
        with pytest.raises(InvalidJSON, match="beyond"):
            shapes.check(b'{"type":"data:update","data":{"x":1,"y":%b}}' % number.encode())


def test_shape_with_an_exponent_is_not_remembered(checked: list[bytes]) -> None:
    body = b'{"type":"data:update","data":{"x":1e5}}'
    learned(body.decode(), kind=DataUpdateData).check(body)
    assert len(checked) == LEARNING_MESSAGES + 1


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2025-07-30T12:00:00.5Z", True),
        ("2025-07-30T12:00:00.123456789Z", True),
        ("2025-07-30T12:00:00.50Z", False),
        ("2025-07-30T12:00:00.1234567891Z", False),
        ("2025-07-30T12:00:00Z", False),
        ("2025-07-30T12:00:00.5+00:00", False),
    ],
)
def test_stamped_match_proves_that_the_timestamp_is_canonical(timestamp: str, expected: bool) -> None:
    start = '{"type":"operation:log","data":{"operation_id":"a","message":"m","timestamp":"x"},"timestamp":"'
    shapes = learned(start + '2025-07-30T12:00:00.5Z"}', kind=OperationLogData)
    assert bool(shapes.matches_stamped(f'{start}{timestamp}"}}'.encode())) is expected


def test_timestamp_within_the_data_proves_nothing() -> None:
    text = '{"type":"operation:log","data":{"operation_id":"a","message":"m","timestamp":"2025-07-30T12:00:00.5Z"}}'
    assert not learned(text, kind=OperationLogData).matches_stamped(text.encode())


def test_number_and_size_of_remembered_shapes_are_bounded(checked: list[bytes]) -> None:
    texts = [f'{{"type":"data:update","data":{{"x{number}":1}}}}' for number in range(MAX_SHAPES + 1)]
    shapes = learned(*texts, kind=DataUpdateData)
    checked.clear()
    for text in texts:
        shapes.check(text.encode())
    assert checked == [texts[0].encode()]
    many = b'{"type":"data:update","data":{"x":[%b]}}' % b",".join([b"1"] * (MAX_SHAPE_TOKENS // 2))
    learned(many.decode(), kind=DataUpdateData).check(many)
    assert checked.count(many) == LEARNING_MESSAGES + 1


def test_message_with_a_long_text_needs_no_full_check(checked: list[bytes]) -> None:
    body = b'{"type":"data:update","data":{"x":"%b"}}'
    shapes = learned((body % (b"x" * 60_000)).decode(), kind=DataUpdateData)
    checked.clear()
    shapes.check(body % (b"y" * 30_000))
    assert checked == []


def test_learning_is_rare_while_shapes_never_recur(checked: list[bytes]) -> None:
    shapes = MessageShapes(DataUpdateData)
    for number in range(LEARNING_MESSAGES + 1):
        shapes.check(b'{"type":"data:update","data":{"x%d":1}}' % number)
    checked.clear()
    for number in range(LEARNING_MESSAGES + 1):
        shapes.check(b'{"type":"data:update","data":{"x%d":1}}' % number)
    assert len(checked) == LEARNING_MESSAGES


class Members(list[tuple[str, Any]]):
    """The members of an object, perhaps with two of one name."""


names = st.sampled_from(["a", "A", "dataset", "Dataset", ":", 'q"', "\u00e9", "timestamp"])
values = st.recursive(
    st.one_of(
        st.integers(-(2**64), 2**65),
        st.floats(allow_nan=False, allow_infinity=False),
        st.none(),
        st.sampled_from(["a", ":", '"a":', "\\", '","a":"', "2025-07-30T12:00:00.5Z"]),
    ),
    lambda below: st.one_of(st.lists(below, max_size=2), st.lists(st.tuples(names, below), max_size=3).map(Members)),
    max_leaves=6,
)


def write(value: Any) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(json.dumps(name) + ":" + write(below) for name, below in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def is_accepted(body: bytes) -> bool:
    try:
        check_message(body, DataUpdateData)
    except ContractError:
        return False
    return True


@given(st.lists(st.lists(st.tuples(names, values), max_size=3).map(Members), min_size=2, max_size=6))
def test_known_shapes_never_change_a_verdict(datas: list[Members]) -> None:
    stamp = ("timestamp", "2025-07-30T12:00:00.5Z")
    bodies = [write(Members([("type", "data:update"), stamp, ("data", data)])).encode() for data in datas]
    verdicts = [is_accepted(body) for body in bodies]
    shapes = MessageShapes(DataUpdateData)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidings.protocol.message_shapes.LEARNING_MESSAGES", 1)
        for body, verdict in zip(bodies, verdicts, strict=True):
            if verdict:
                shapes.check(body)
    for body, verdict in zip(bodies, verdicts, strict=True):
        if b"\\" not in body and shapes.matches_stamped(body):
            assert verdict
        if verdict:
            shapes.check(body)
        else:
            with pytest.raises(ContractError):
                shapes.check(body)
