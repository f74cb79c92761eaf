"""The count that proves a message free of members that occur twice, so that it needs no full check."""

import pytest
from msgspec import Struct
from tests.contract.envelopes import read

from tidings.exceptions import InvalidJSON
from tidings.protocol.strict_json import check_message

HEAD = '{"type":"operation:%s","timestamp":"2025-07-30T12:00:00.5Z","trace_id":"t","data":{"operation_id":"a:1",'
BODIES = [
    HEAD % "progress" + '"progress":1,"current_step":"Import: users","total_steps":2},"channel":"operations"}',
    HEAD % "progress" + '"progress":1,"message":"https://example.com/\u00e9: done","attempt":1},"id":"1:2"}',
    HEAD % "progress" + '"progress":1,"message":"\\"a\\":1","indeterminate":true}}',
    HEAD % "log" + '"level":"info","message":"level: info"},"event_id":"0123456789abcdef:1"}',
    HEAD % "log" + '"message":"without a level"}}',
    HEAD % "complete" + '"duration_ms":1.5,"result":{"a:":[{"b":"c:d"},1]}}}',
    HEAD % "start" + '"name":"n","metadata":{"level":[1,{"b":"c:d"}]}}}',
]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages that got the full check."""
    found: list[bytes] = []

    def record(body: bytes, payload: type[Struct]) -> None:
        found.append(body)
        check_message(body, payload)

    monkeypatch.setattr("tidings.contract.contract.check_message", record)
    return found


@pytest.mark.parametrize("text", BODIES)
def test_usual_message_needs_no_full_check(text: str, checked: list[bytes]) -> None:
    body = text.encode()
    read(body)
    assert checked == []


@pytest.mark.parametrize("text", BODIES)
@pytest.mark.parametrize("place", ['"timestamp":', '"operation_id":', '"trace_id":'])
@pytest.mark.parametrize("space", ["", " "])
def test_member_that_occurs_twice_is_always_rejected(text: str, place: str, space: str) -> None:
    name = place[:-1]
    body = text.replace(place, f'{name}{space}:"x",{place}', 1).encode()
    with pytest.raises(InvalidJSON, match="occurs twice"):
        read(body)


def test_escaped_colon_does_not_hide_a_second_member() -> None:
    body = (HEAD % "log" + '"message":"m","message":"m"}}').replace("operation:log", "operation\\u003alog").encode()
    with pytest.raises(InvalidJSON, match="occurs twice"):
        read(body)


def test_long_number_in_a_result_is_rejected() -> None:
    body = (HEAD % "complete" + '"duration_ms":1,"result":{"a":[18446744073709551616]}}}').encode()
    with pytest.raises(InvalidJSON, match="beyond 64 bits"):
        read(body)


def test_absent_data_does_not_hide_a_second_member() -> None:
    with pytest.raises(InvalidJSON, match="occurs twice"):
        read(b'{"type":"data:update","timestamp":"2025-07-30T12:00:00.5Z","trace_id":"a","trace_id":"b"}')
