"""A message of a publisher in Python or Go is forwarded as the same JSON value, and again as the same bytes."""

import json
import re
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.envelopes import CONTRACT, MINTED, STAMPED, FixedDefaults, checked_in_full, read
from tests.contract.strategies import messages

from tidings.exceptions import TidingsError
from tidings.protocol.envelope import Envelope, Event, decode_envelope, encode_event, encode_event_v1
from tidings.protocol.payloads import encode_payload

SOME = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ALWAYS_WRITTEN: dict[str, dict[str, Any]] = {"operation:progress": {"current_step": "", "total_steps": 0}}


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal, with 1, 1.0 and true distinct."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@SOME
@given(messages())
def test_data_is_forwarded_as_the_same_value(wire: str) -> None:
    sent = json.loads(wire)
    written = json.loads(encode_event(read(wire)))
    assert same(written["data"], ALWAYS_WRITTEN.get(sent["type"], {}) | sent["data"])
    assert written["trace_id"] == (sent.get("trace_id") or MINTED)
    assert written["timestamp"] == STAMPED or "timestamp" in sent


@SOME
@given(messages())
def test_written_event_is_read_and_written_again_unchanged(wire: str) -> None:
    event = read(wire)
    written = encode_event(event)
    assert read(written) == event
    assert encode_event(read(written)) == written
    assert not set(written) & set(b"\r\n\t")


@SOME
@given(messages())
def test_typed_reader_and_writer_keep_the_payload(wire: str) -> None:
    event = read(wire)
    payload = CONTRACT.decode(event.type, event.data)
    again = encode_payload(payload)
    assert encode_payload(CONTRACT.decode(event.type, again)) == again
    known = {field.encode_name for field in msgspec.structs.fields(payload)}
    sent = json.loads(event.data)
    assert all(
        same(value, sent[name]) or value == sent[name] for name, value in json.loads(again).items() if name in sent
    )
    assert set(json.loads(again)) <= known


@SOME
@given(messages())
def test_position_is_added_as_members_at_the_end(wire: str) -> None:
    event = msgspec.structs.replace(read(wire), event_id='a"' * 8)
    plain, versioned = encode_event(event), encode_event_v1(event, "abc:7")
    assert versioned.startswith(plain[:-1])
    added = {"position": "abc:7", "event_id": 'a"' * 8}
    assert json.loads(versioned) == json.loads(plain) | added


def outcome(envelope: Envelope) -> Event | tuple[str, str]:
    try:
        return CONTRACT.read(envelope, FixedDefaults())
    except TidingsError as error:
        return error.code, str(error)


fields = st.fixed_dictionaries(
    {"type": st.sampled_from(["operation:progress", "data:update", "system:alert"])},
    optional={
        "trace_id": st.one_of(st.text(max_size=5), st.text("a~ \x7f\x1f", min_size=126, max_size=130)),
        "channel": st.sampled_from(["", "global", "operations", "elsewhere"]),
        "timestamp": st.sampled_from(["", "2025-07-30T12:00:00.5Z", "2025-07-30T12:00:00Z", "2025-07-30T12:00:00\x7f"]),
        "event_id": st.text("a~ \x7f", min_size=14, max_size=18),
    },
)
keys = st.one_of(st.text(max_size=3), st.text("a\x7f\x1fé", min_size=250, max_size=260))


@SOME
@given(fields, keys, st.booleans(), st.sampled_from(["", "[1]", "\n", "\t"]))
def test_plain_envelope_gets_the_same_answer_as_a_checked_one(
    envelope: dict[str, Any], key: str, ascii_only: bool, space: str
) -> None:
    data = {"operation_id": key, "progress": 1, "code": "c", "severity": "info", "message": "", "recoverable": True}
    wire = json.dumps(envelope | {"data": data | {"dataset": key, "note": space}}, ensure_ascii=ascii_only)
    try:
        decoded = decode_envelope(re.sub(" ", space if space in "\n\t" else " ", wire, count=1).encode())
    except (TidingsError, UnicodeEncodeError):
        return
    assert outcome(decoded) == outcome(checked_in_full(decoded))
