import msgspec
import pytest
from msgspec import Raw

from tidings.client.decoding import find_event_type, read_event, read_event_key
from tidings.contract.contract import Contract
from tidings.protocol.envelope import Envelope
from tidings.protocol.payloads import OperationFailedData

CONTRACT = Contract()


def read(type: str, data: object) -> tuple[object, str | None]:
    event = read_event(CONTRACT, Envelope(type, data=Raw(msgspec.json.encode(data))), "operations", "e:1")
    return event.payload, event.key


def test_old_name_of_a_failure_is_decoded() -> None:
    data = {"operation_id": "a", "code": "c", "message": "m", "recoverable": False}
    payload, key = read("operation:error", data)
    assert isinstance(payload, OperationFailedData)
    assert key == "a"
    assert find_event_type(CONTRACT, "operation:error") is CONTRACT.events["operation:failed"]


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"alert_id": "mine"}, "mine"),
        ({}, "disk_low"),
        ({"operation_id": "a"}, "disk_low:a"),
    ],
)
def test_alert_key_is_its_id_or_its_code_with_the_operation(data: dict[str, str], key: str) -> None:
    alert = {"severity": "info", "code": "disk_low", "message": "m", "recoverable": True}
    assert read("system:alert", alert | data)[1] == key


def test_missing_or_empty_key_is_none() -> None:
    assert read("license:expired", {})[1] is None
    assert read("data:update", {"dataset": ""})[1] is None
    row = CONTRACT.events["license:expired"]
    assert read_event_key(row, CONTRACT.decode("license:expired", b"null")) is None
