"""Invalid messages, each rejected with its code, its path and a hint."""

import pytest
from tests.contract.envelopes import message, read

from tidings.exceptions import ContractError, PayloadTooLarge, UnknownType
from tidings.protocol.codes import CODES, error_data

PROGRESS = '{"operation_id":"a","progress":1,"current_step":"x","total_steps":2}'
ERROR = '"code":"c","message":"m","recoverable":false'
PATHS = {
    "invalid_json": "$",
    "invalid_utf8": "$",
    "too_deep": "$",
    "unknown_type": "$.type",
    "not_publishable": "$.type",
    "invalid_timestamp": "$.timestamp",
    "invalid_trace_id": "$.trace_id",
    "invalid_event_id": "$.event_id",
    "unknown_channel": "$.channel",
    "wrong_channel": "$.channel",
    "payload_too_large": "$.data",
}


def progress(**members: str) -> bytes:
    """Return a progress event with raw JSON members in its data."""
    data = {"operation_id": '"a"', "progress": "1"} | members
    return message("operation:progress", "{" + ",".join(f'"{name}":{value}' for name, value in data.items()) + "}")


def refusal(body: bytes) -> ContractError:
    with pytest.raises(ContractError) as caught:
        read(body)
    return caught.value


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("invalid_json", b"not JSON"),
        ("invalid_json", progress(progress="NaN")),
        ("invalid_envelope", b"[]"),
        ("invalid_utf8", b'{"type":"data:update","skipped":"\xfe"}'),
        ("invalid_utf8", b'{"type":"data:update","data":{"skipped":"\xfe"}}'),
        ("too_deep", message("data:update", '{"skipped":' + "[" * 63 + "]" * 63 + "}")),
        ("unknown_type", message("operation:progres", PROGRESS)),
        ("unknown_type", message("", "null")),
        ("unknown_type", message("channel:subscribe", '{"channels":["data"]}')),
        ("unknown_type", message("connection:ping", "null")),
        ("not_publishable", message("connection:established", "null")),
        ("not_publishable", message("connection:notice", "null")),
        ("not_publishable", message("channel:gap", "null")),
        ("not_publishable", message("event:accepted", "null")),
        ("not_publishable", message("auth:success", "null")),
        ("not_publishable", message("license:expired", "{}")),
        ("not_publishable", message("operation:estimate", '{"operation_id":"a","stalled":true}')),
        ("invalid_timestamp", message("operation:progress", PROGRESS, timestamp='"yesterday"')),
        ("invalid_timestamp", message("operation:progress", PROGRESS, timestamp='"2025-02-30T00:00:00.5Z"')),
        ("invalid_trace_id", message("operation:progress", PROGRESS, trace_id='"\\u0007"')),
        ("invalid_trace_id", message("operation:progress", PROGRESS, trace_id='"é"')),
        ("invalid_trace_id", message("operation:progress", PROGRESS, trace_id=f'"{"t" * 129}"')),
        ("invalid_event_id", message("operation:progress", PROGRESS, event_id='"short"')),
        ("invalid_event_id", message("operation:progress", PROGRESS, event_id='""')),
        ("unknown_channel", message("operation:progress", PROGRESS, channel='"operation"')),
        ("unknown_channel", message("operation:progress", PROGRESS, channel='"operations/a"')),
        ("wrong_channel", message("operation:progress", PROGRESS, channel='"data"')),
        ("payload_too_large", progress(message=f'"{"m" * 65_536}"')),
    ],
)
def test_invalid_message_is_rejected_with_its_code(code: str, body: bytes) -> None:
    error = refusal(body)
    assert error.code == code
    assert error.path == PATHS.get(code, "$")
    assert str(error).startswith(error.path)
    told = error_data(error)
    assert told.hint
    assert told.recoverable is False
    assert 400 <= CODES[code].http < 500


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (".progress", progress(progress="-1")),
        (".progress", progress(progress="-1e-9")),
        (".progress", progress(progress="101")),
        (".progress", progress(progress="100.00000001")),
        (".progress", progress(progress="1e999")),
        (".progress", progress(progress='"42"')),
        (".progress", progress(progress="true")),
        (".progress", progress(progress="null")),
        (".total_steps", progress(total_steps="-1")),
        (".total_steps", progress(total_steps="5.5")),
        (".total_steps", progress(total_steps="9223372036854775808")),
        (".total_steps", progress(total_steps="9" * 5_000)),
        (".current_step", progress(current_step="7")),
        (".message", progress(message="5")),
        (".attempt", progress(attempt='"1"')),
        (".operation_id", progress(operation_id="7")),
        ("", message("operation:progress", "null")),
        ("", message("operation:progress", "[]")),
        ("", message("operation:progress", '"data"')),
        ("", message("operation:progress", '{"operation_id":"a"}')),
        ("", message("operation:progress", '{"progress":1}')),
        ("", message("operation:failed", "null")),
        ("", message("operation:failed", '{"code":"c","message":"m"}')),
        (".code", message("operation:failed", '{"code":"","message":"m","recoverable":false}')),
        (".level", message("operation:log", '{"operation_id":"a","level":"loud","message":"m"}')),
        (".steps[1]", message("operation:start", '{"operation_id":"a","name":"n","steps":["a",2]}')),
        (".metrics[...]", message("system:metrics", '{"metrics":{"a":"b"}}')),
        (".metrics[...]", message("system:metrics", '{"metrics":{"a":1e400}}')),
        (".uptime", message("system:status", '{"status":"s","uptime":1.5,"active_operations":0,"metrics":{}}')),
        (".severity", message("system:alert", f'{{"severity":"loud",{ERROR}}}')),
        (".state", message("system:alert", f'{{"severity":"info","state":"gone",{ERROR}}}')),
        (".size_bytes", message("report:ready", '{"size_bytes":-1}')),
        (".result", message("operation:complete", '{"operation_id":"a","result":' + "9" * 5_000 + "}")),
    ],
)
def test_invalid_payload_is_rejected_at_its_member(field: str, body: bytes) -> None:
    error = refusal(body)
    assert error.code == "invalid_payload"
    assert error.path == "$.data" + field
    assert str(error).startswith(error.path + ": ")
    assert error.hint.startswith("The data of ")


def test_hint_lists_the_fields_of_the_payload() -> None:
    error = refusal(message("operation:cancelled", "{}"))
    assert error.hint == "The data of operation:cancelled is {operation_id, attempt?, reason?, cancelled_by?}."


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("operation_id", progress(operation_id='""')),
        ("operation_id", progress(operation_id=f'"{"k" * 256}"')),
        ("operation_id", progress(operation_id=f'"{"é" * 128}"')),
        ("operation_id", progress(operation_id='"a\\u0000"')),
        ("operation_id", progress(operation_id='"a\x7f"')),
        ("dataset", message("data:update", '{"dataset":"\\n"}')),
        ("source", message("system:metrics", f'{{"source":"{"s" * 256}","metrics":null}}')),
        ("alert_id", message("system:alert", f'{{"severity":"info","operation_id":"{"o" * 255}",{ERROR}}}')),
    ],
)
def test_invalid_key_is_rejected_at_its_field(field: str, body: bytes) -> None:
    error = refusal(body)
    assert error.code == "invalid_key"
    assert error.path == f"$.data.{field}"
    assert str(error).startswith(f"$.data.{field}: the key ")
    assert "1–255 bytes" in (error_data(error).hint or "")


def sized(size: int) -> bytes:
    """Return an event whose data is `size` bytes."""
    empty = '{"operation_id":"a","progress":1,"current_step":"x","total_steps":2,"message":""}'
    return message("operation:progress", empty[:-2] + "m" * (size - len(empty)) + '"}')


def test_data_of_65_535_bytes_is_the_maximum() -> None:
    assert len(read(sized(65_535)).data) == 65_535
    error = refusal(sized(65_536))
    assert isinstance(error, PayloadTooLarge)
    assert (error.size, error.limit) == (65_536, 65_535)
    assert str(error) == "$.data is 65536 bytes; 65535 are allowed"
    assert "link" in (error_data(error).hint or "")


def test_inserted_members_count_towards_the_maximum() -> None:
    def unfilled(size: int) -> bytes:
        empty = '{"operation_id":"a","progress":1,"message":""}'
        return message("operation:progress", empty[:-2] + "m" * (size - len(empty)) + '"}')

    added = len(',"current_step":"","total_steps":0')
    assert len(read(unfilled(65_535 - added)).data) == 65_535
    assert refusal(unfilled(65_535 - added + 1)).code == "payload_too_large"


@pytest.mark.parametrize(
    ("type", "suggestion"),
    [
        ("operation:progres", "operation:progress"),
        ("operations:start", "operation:start"),
        ("report:redy", "report:ready"),
        ("channel:subscribed!", "channel:subscribe"),
        ("zzz", ""),
        ("x" * 10_000, ""),
    ],
)
def test_unknown_type_suggests_the_nearest_name(type: str, suggestion: str) -> None:
    error = refusal(message(type, "null"))
    assert isinstance(error, UnknownType)
    assert (error.type, error.suggestion) == (type, suggestion)
    assert (
        error.hint == f"Did you mean {suggestion!r}?" if suggestion else error.hint.startswith("Use one of data:error,")
    )
    assert len(str(error)) < 120


def test_command_as_an_event_has_a_hint_about_the_subprotocol() -> None:
    assert "tidings.v1" in refusal(message("channel:subscribe", "null")).hint


@pytest.mark.parametrize("channel", ["data", "system"])
def test_wrong_channel_names_the_right_one(channel: str) -> None:
    error = refusal(message("operation:progress", PROGRESS, channel=f'"{channel}"'))
    assert "'operations' or 'global'" in str(error)
    assert error.hint == "Omit the channel, or use 'operations'."
