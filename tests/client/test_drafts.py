import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tidings.client.drafts import PayloadLike, encode_data, make_draft, make_unstamped, stamp, uuid7
from tidings.exceptions import (
    InvalidEnvelope,
    InvalidEventID,
    InvalidJSON,
    InvalidPayload,
    InvalidTraceID,
    InvalidUTF8,
    PayloadTooLarge,
    TidingsError,
    TooDeep,
)
from tidings.protocol.envelope import check_event_id
from tidings.protocol.payloads import OperationProgressData, SystemStatusData


def test_draft_gets_a_timestamp_and_an_id() -> None:
    first, second = make_draft("data:update"), make_draft("data:update")
    assert first.event_id != second.event_id
    assert first.timestamp.endswith("Z")
    named = make_draft("data:update", event_id="0123456789abcdef", timestamp="2026-01-01T00:00:00Z", trace_id="t")
    assert (named.event_id, named.timestamp, named.trace_id) == ("0123456789abcdef", "2026-01-01T00:00:00Z", "t")


def test_draft_with_invalid_fields_is_refused() -> None:
    with pytest.raises(InvalidEnvelope):
        make_draft(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidEventID):
        make_draft("data:update", event_id="short")
    with pytest.raises(InvalidTraceID):
        make_unstamped("data:update", trace_id="line\nbreak")


def test_stamp_uses_the_time_of_the_event() -> None:
    draft = stamp(make_unstamped("operation:progress", {"operation_id": "a"}), 1_767_225_600_000_000_000)
    assert draft.timestamp == "2026-01-01T00:00:00Z"
    # A UUIDv7 begins with its milliseconds (RFC 9562 §5.7).
    assert int(draft.event_id.replace("-", "")[:12], 16) == 1_767_225_600_000
    assert msgspec.json.decode(draft.data) == {"operation_id": "a"}


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_uuid7_has_its_version_and_starts_with_the_time(unix_ms: int, random: int) -> None:
    text = uuid7(unix_ms, random)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == unix_ms
    assert check_event_id(text) == text


@given(st.integers(0, 2**74 - 1), st.integers(0, 2**74 - 1))
def test_uuid7_uses_all_random_bits(one: int, other: int) -> None:
    assert (uuid7(1, one) == uuid7(1, other)) is (one == other)


@given(st.integers(0, 2**48 - 2))
def test_uuid7_sorts_by_time(unix_ms: int) -> None:
    assert uuid7(unix_ms, 2**74 - 1) < uuid7(unix_ms + 1, 0)


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        (OperationProgressData(operation_id="a", progress=1), b'"operation_id":"a"'),
        ({"operation_id": "a"}, b'{"operation_id":"a"}'),
        (Raw(b'{"a":1}'), b'{"a":1}'),
        (b'{"a":1}', b'{"a":1}'),
        (None, b"null"),
        (SystemStatusData(status="healthy", uptime=1, active_operations=0, metrics={}), b'"status":"healthy"'),
    ],
)
def test_payload_of_each_kind_is_encoded(payload: PayloadLike, wire: bytes) -> None:
    assert wire in b"" + encode_data(payload)


@pytest.mark.parametrize("payload", [{"a": object()}, b"{not json", {1.5: {2}, "x": {1j}}])
def test_payload_that_is_not_json_is_refused(payload: PayloadLike) -> None:
    with pytest.raises(InvalidPayload) as caught:
        encode_data(payload)
    assert caught.value.path == "$.data"


def test_payload_limit_is_the_same_as_the_hubs() -> None:
    assert len(b"" + encode_data({"a": "x" * (65_535 - 8)})) == 65_535
    with pytest.raises(PayloadTooLarge) as caught:
        encode_data({"a": "x" * (65_536 - 8)})
    assert (caught.value.size, caught.value.limit) == (65_536, 65_535)


@pytest.mark.parametrize("member", ["type", "channel", "timestamp"])
def test_draft_with_a_lone_surrogate_is_refused(member: str) -> None:
    texts = {"type": "data:update", member: "\ud800"}
    with pytest.raises(InvalidEnvelope, match=rf"\$\.{member}: invalid text"):
        make_draft(texts.pop("type"), {"dataset": "x"}, **texts)


def nest(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_deepest_data_that_a_hub_accepts_is_encoded() -> None:
    assert encode_data({"x": nest(62)})
    assert encode_data({"x": "[" * 100})


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"x": nest(63)}, TooDeep),
        (b'{"x":%b}' % (b"[" * 63 + b"]" * 63), TooDeep),
        (b'{"x":"\xff"}', InvalidUTF8),
        (b'{"x":"\\ud800"}', InvalidJSON),
        ({"x": "\ud800"}, InvalidPayload),
        ({"x": {1, 2, object()}}, InvalidPayload),
    ],
)
def test_data_that_no_hub_accepts_is_refused_before_it_is_sent(payload: PayloadLike, kind: type[TidingsError]) -> None:
    with pytest.raises(kind):
        encode_data(payload)


@pytest.mark.parametrize("member", ["type", "channel", "timestamp"])
def test_draft_that_would_exceed_the_frame_limit_is_refused(member: str) -> None:
    fields = {"type": "data:update", member: "x" * 300_000}
    with pytest.raises(InvalidEnvelope, match=rf"^\$\.{member}: invalid text of 300000 characters"):
        make_draft(**fields)  # type: ignore[arg-type]
