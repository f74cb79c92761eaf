import json
from typing import Any

import pytest
from msgspec import structs
from tests.hub.events import make_event

from tidings.contract.event_types import BUILTIN
from tidings.protocol.details import DETAILS, ERROR_DETAILS, PROCESS_DETAILS, conceal_details
from tidings.protocol.message_types import EventClass, MessageType


def test_each_logged_event_with_such_a_member_has_details() -> None:
    members = {*ERROR_DETAILS, *PROCESS_DETAILS}
    found = {
        str(event.type): members & {field.encode_name for field in structs.fields(event.payload)}
        for event in BUILTIN
        if event.event_class is not EventClass.DIRECT
    }
    listed = {str(type): set(names) for type, names in DETAILS.items() if type != MessageType.OPERATION_ERROR}
    assert {type: names for type, names in found.items() if names} == listed


@pytest.mark.parametrize(
    ("type", "data", "left"),
    [
        (
            "operation:failed",
            {"operation_id": "a", "details": "stack", "code": "c"},
            {"operation_id": "a", "code": "c"},
        ),
        (
            "operation:start",
            {"host": "h", "operation_id": "a", "pid": 1, "command": "x --key s", "user": "u", "name": "n"},
            {"operation_id": "a", "name": "n"},
        ),
        ("system:alert", {"details": None, "code": "c"}, {"code": "c"}),
    ],
)
def test_details_are_left_out(type: str, data: dict[str, Any], left: dict[str, Any]) -> None:
    concealed = conceal_details(make_event(type, data=json.dumps(data).encode()))
    assert json.loads(concealed.data) == left


def test_name_written_with_escapes_is_left_out() -> None:
    concealed = conceal_details(make_event("data:error", data=rb'{"\u0064etails":"stack","code":"c"}'))
    assert concealed.data == b'{"code":"c"}'


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("operation:progress", b'{"operation_id":"a","details":"of the publisher"}'),
        ("operation:failed", b'{"code":"c", "metadata": {"details":1}}'),
        ("operation:failed", rb'{"message":"\n","n":1.0}'),
        ("order:failed", b'{"details":"of the application"}'),
    ],
)
def test_event_without_details_is_the_same_object(type: str, data: bytes) -> None:
    event = make_event(type, data=data)
    assert conceal_details(event) is event


def test_data_that_cannot_be_read_is_left_out() -> None:
    assert conceal_details(make_event("data:error", data=b'"details"')).data == b"{}"
