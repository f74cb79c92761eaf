import msgspec
import pytest

from tidings.contract.event_types import BUILTIN, EventType, compile_event_type, derive_alert_key
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.payloads import SystemAlertData

ALERT = SystemAlertData(severity="info", code="disk_full", message="m", recoverable=True)
ROWS = {event.type: compile_event_type(event) for event in BUILTIN}


@pytest.mark.parametrize("event", BUILTIN, ids=lambda event: event.type)
def test_a_row_says_what_its_event_type_says(event: EventType) -> None:
    row = compile_event_type(event)
    assert (row.event, row.payload, row.type, row.event_class) == (event, event.payload, event.type, event.event_class)
    assert row.channel == (event.channel or "")
    assert (row.effect is SlotEffect.END) is event.ends_key
    assert {type(row.type), type(row.channel)} == {str}


def test_a_row_knows_what_may_be_missing() -> None:
    assert {type for type, row in ROWS.items() if row.all_optional} == {
        "data:update",
        "data:processed",
        "report:ready",
        "license:expired",
    }
    with_key = {type for type, row in ROWS.items() if not row.keyless}
    assert with_key == {type for type in ROWS if type.startswith("operation:")} - {"operation:failed"}


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"alert_id": "full"}, "full"),
        ({}, "disk_full"),
        ({"alert_id": ""}, "disk_full"),
        ({"operation_id": "op-1"}, "disk_full:op-1"),
        ({"operation_id": ""}, "disk_full"),
        ({"alert_id": "full", "operation_id": "op-1"}, "full"),
    ],
)
def test_an_alert_s_key_is_its_own_or_its_code_with_the_operation(facts: dict[str, str], key: str) -> None:
    alert = msgspec.structs.replace(ALERT, **facts)
    assert derive_alert_key(alert) == key
    assert ROWS["system:alert"].key(alert) == key
