import json
from typing import Any

import msgspec
import pytest

from tidings.contract.event_types import BUILTIN
from tidings.protocol import payloads
from tidings.protocol.payloads import (
    AuthFailed,
    ErrorData,
    OperationCompleteData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
    Payload,
    SystemStatusData,
    encode_payload,
)

ERROR = "code message details? recoverable hint?"

# docs/protocol/events.md: the fields in their order; `?` is left out when empty.
FIELDS = {
    "operation:start": "operation_id name attempt? total_steps? steps? queued? parent_id? resumes? host? pid? command? "
    "user? metadata?",
    "operation:progress": "operation_id progress current_step total_steps message? attempt? indeterminate?",
    "operation:log": "operation_id level message attempt?",
    "operation:complete": "operation_id attempt? message? duration_ms? result?",
    "operation:failed": f"operation_id? attempt? {ERROR}",
    "operation:cancelled": "operation_id attempt? reason? cancelled_by?",
    "operation:estimate": (
        "operation_id rate? remaining_s? remaining_low_s? remaining_high_s? stalled began_at? "
        "stalled_since? silent_since? away_since? cancel_requested_at? cancelled_by?"
    ),
    "data:update": "dataset? version? records? url? metadata?",
    "data:processed": "dataset? records? duration_ms? url? metadata?",
    "data:error": f"dataset? {ERROR}",
    "report:ready": "report_id? name? url? format? size_bytes? expires_at?",
    "system:status": "status uptime active_operations metrics source?",
    "system:alert": f"alert_id? severity state? operation_id? {ERROR}",
    "system:metrics": "source? window_s? metrics",
    "connection:established": "connection_id contract position now heartbeat_s channels auth",
    "connection:closed": "code reason reconnect retry_after_ms?",
    "auth:required": "methods reason deadline_s",
    "auth:success": "subject grants expires_at? removed?",
    "auth:failed": ERROR,
    "license:expired": "expired_at? license_id? message? hint?",
}


def is_left_out(field: msgspec.structs.FieldInfo) -> bool:
    return field.default is not msgspec.NODEFAULT


@pytest.mark.parametrize("event", BUILTIN, ids=lambda event: event.type)
def test_fields_have_the_order_of_the_contract(event: Any) -> None:
    fields = msgspec.structs.fields(event.payload)
    assert " ".join(f"{field.name}{'?' if is_left_out(field) else ''}" for field in fields) == FIELDS[event.type]


def test_payloads_are_immutable() -> None:
    progress = OperationProgressData(operation_id="a", progress=1)
    with pytest.raises(AttributeError):
        progress.progress = 2  # type: ignore[misc]


def test_progress_is_encoded_like_the_original_struct() -> None:
    assert encode_payload(OperationProgressData(operation_id="op-1", progress=42.5)) == (
        b'{"operation_id":"op-1","progress":42.5,"current_step":"","total_steps":0}'
    )
    full = OperationProgressData(operation_id="op-1", progress=100.0, current_step="x", total_steps=5, message="m")
    assert list(json.loads(encode_payload(full))) == [
        "operation_id",
        "progress",
        "current_step",
        "total_steps",
        "message",
    ]


def test_status_is_encoded_like_the_original_struct() -> None:
    status = SystemStatusData(status="healthy", uptime=0, active_operations=0, metrics=None)
    assert encode_payload(status) == b'{"status":"healthy","uptime":0,"active_operations":0,"metrics":null}'


@pytest.mark.parametrize("error", [ErrorData, AuthFailed])
def test_error_data_is_encoded_in_order_without_empty_fields(error: type[ErrorData]) -> None:
    short = error(hint="", details="", recoverable=False, message="m", code="c")
    assert encode_payload(short) == b'{"code":"c","message":"m","recoverable":false}'
    full = error(hint="h", details="d", recoverable=True, message="", code="c")
    assert encode_payload(full) == b'{"code":"c","message":"","details":"d","recoverable":true,"hint":"h"}'


def test_always_written_fields_are_written_as_defaults() -> None:
    assert encode_payload(OperationStartData(operation_id="a")) == b'{"operation_id":"a","name":""}'
    assert encode_payload(OperationLogData(operation_id="a", message="m")) == (
        b'{"operation_id":"a","level":"info","message":"m"}'
    )


@pytest.mark.parametrize("empty", ["", [], {}, None])
def test_empty_result_is_left_out(empty: object) -> None:
    assert encode_payload(OperationCompleteData(operation_id="a", result=empty)) == b'{"operation_id":"a"}'


@pytest.mark.parametrize("result", [0, False, 0.0, [0], {"a": None}, " "])
def test_result_that_is_not_empty_is_written(result: object) -> None:
    written = encode_payload(OperationCompleteData(operation_id="a", result=result))
    assert json.loads(written)["result"] == result


def test_false_flag_is_left_out() -> None:
    assert b"queued" not in encode_payload(OperationStartData(operation_id="a", queued=False))
    assert b'"queued":true' in encode_payload(OperationStartData(operation_id="a", queued=True))


@pytest.mark.parametrize("name", [name for name, value in vars(payloads).items() if isinstance(value, type)])
def test_each_field_has_a_schema(name: str) -> None:
    payload = getattr(payloads, name)
    if issubclass(payload, Payload):
        assert msgspec.json.schema(payload)["$defs"][name]["type"] == "object"
