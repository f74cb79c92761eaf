import json
from typing import Any

import pytest

from tidings.relay.translate import rename_operations


def renamed(type: str, data: dict[str, Any]) -> Any:
    return json.loads(rename_operations(type, json.dumps(data).encode(), lambda id: f"acme.{id}"))


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("operation:progress", {"operation_id": "a", "x": [1]}, {"operation_id": "acme.a", "x": [1]}),
        (
            "operation:start",
            {"name": "n", "operation_id": "a", "parent_id": "b", "resumes": "c"},
            {"name": "n", "operation_id": "acme.a", "parent_id": "acme.b", "resumes": "acme.c"},
        ),
        ("operation:start", {"operation_id": "a", "parent_id": None}, {"operation_id": "acme.a", "parent_id": None}),
        ("operation:start", {"operation_id": "a", "parent_id": ""}, {"operation_id": "acme.a", "parent_id": ""}),
        (
            "system:alert",
            {"alert_id": "producer_away:a", "operation_id": "a"},
            {"alert_id": "producer_away:acme.a", "operation_id": "acme.a"},
        ),
        ("system:alert", {"alert_id": "disk", "operation_id": "a"}, {"alert_id": "disk", "operation_id": "acme.a"}),
        ("system:alert", {"alert_id": "disk"}, {"alert_id": "disk"}),
        ("data:update", {"dataset": "operation_id", "parent_id": "b"}, {"dataset": "operation_id", "parent_id": "b"}),
        ("trade:executed", {"operation_id": "a", "parent_id": "b"}, {"operation_id": "acme.a", "parent_id": "b"}),
        ("operation:log", {"operation_id": 7}, {"operation_id": 7}),
    ],
)
def test_every_member_that_names_an_operation_is_renamed_and_no_other(
    type: str, data: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = renamed(type, data)
    assert result == expected
    assert list(result) == list(data)


@pytest.mark.parametrize("data", [b"null", b"5", b'["operation_id"]', b'"operation_id"', b'{"operation_id"'])
def test_what_is_no_object_stays_as_it_is(data: bytes) -> None:
    assert rename_operations("operation:log", data, str.upper) == data


def test_other_members_keep_their_bytes() -> None:
    data = b'{"operation_id":"a","n":1.50,"big":12345678901234567890123,"s":"\\u00e9"}'
    assert rename_operations("operation:log", data, str.upper) == data.replace(b'"a"', b'"A"')
