import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.receipts import read

from tidings.exceptions import (
    ContractError,
    InvalidEnvelope,
    InvalidEventID,
    InvalidJSON,
    InvalidTraceID,
    InvalidUTF8,
    PayloadTooLarge,
    TooDeep,
)
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import (
    MAX_BODY_BYTES,
    Envelope,
    Event,
    PlainEnvelope,
    check_event_id,
    check_trace_id,
    decode_envelope,
    encode_event,
    encode_event_v1,
    encode_message,
    quote,
)
from tidings.protocol.message_types import EventClass
from tidings.protocol.payloads import ErrorData

EVENT = Event(
    type="data:update",
    timestamp="2025-07-30T12:00:00Z",
    trace_id="t",
    data=b'{"dataset":"a"}',
    channel="data",
    key="a",
    event_class=EventClass.DURABLE,
)


# Reading.


def test_all_nine_fields_are_read_and_others_are_not() -> None:
    wire = {
        "type": "data:update",
        "timestamp": "now",
        "trace_id": "t",
        "data": {"a": 1},
        "channel": "data",
        "id": "1",
        "reply_to": "2",
        "position": "abc:1",
        "event_id": "e",
        "unknown": {"type": "x"},
    }
    envelope = decode_envelope(json.dumps(wire).encode())
    assert bytes(envelope.data) == b'{"a": 1}'
    fields = {name: getattr(envelope, name) for name in Envelope.__struct_fields__ if name != "data"}
    assert fields == {name: value for name, value in wire.items() if name not in ("data", "unknown")}


def test_only_the_type_is_required_and_data_is_null_where_there_is_none() -> None:
    envelope = decode_envelope(b'{"type":"connection:ping"}')
    assert bytes(envelope.data) == b"null"
    others = {getattr(envelope, name) for name in Envelope.__struct_fields__ if name not in ("type", "data")}
    assert others == {None}


def test_null_is_as_good_as_absent() -> None:
    envelope = decode_envelope(b'{"type":"a:b","timestamp":null,"trace_id":null,"channel":null,"id":null}')
    assert envelope == decode_envelope(b'{"type":"a:b"}')


def test_data_are_the_sender_s_own_bytes() -> None:
    raw = b'{ "n": 1.0e0 , "s":"\\u003c",\t"l":[1 ,2]}'
    assert bytes(decode_envelope(b'{"type":"a:b","data" :\n' + raw + b" }").data) == raw


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        (b"", InvalidJSON, "$: this is not JSON: "),
        (b"hello", InvalidJSON, "$: this is not JSON: "),
        (b'{"type":"a:b"', InvalidJSON, "$: this is not JSON: "),
        (b'{"type":"a:b"} {}', InvalidJSON, "$: this is not JSON: "),
        (b'\xef\xbb\xbf{"type":"a:b"}', InvalidJSON, "$: this is not JSON: "),
        (b"{'type':'a:b'}", InvalidJSON, "$: this is not JSON: "),
        (b'{"type":"a:b","data":{"a":"\x01"}}', InvalidJSON, "$: this is not JSON: "),
        (b'{"type":"a:b","data":"\n"}', InvalidJSON, "$: this is not JSON: "),
        (b'{"type":"a:b","data":01}', InvalidJSON, "$: this is not JSON: "),
        (b"null", InvalidEnvelope, "$: Expected `object`, got `null`"),
        (b"[]", InvalidEnvelope, "$: Expected `object`, got `array`"),
        (b'"operation:start"', InvalidEnvelope, "$: Expected `object`, got `str`"),
        (b"42", InvalidEnvelope, "$: Expected `object`, got `int`"),
        (b"{}", InvalidEnvelope, "$: Object missing required field `type`"),
        (b'{"type":null}', InvalidEnvelope, "$.type: Expected `str`, got `null`"),
        (b'{"type":7}', InvalidEnvelope, "$.type: Expected `str`, got `int`"),
        (b'{"type":"a:b","trace_id":5}', InvalidEnvelope, "$.trace_id: Expected `str | null`, got `int`"),
        (b'{"type":"a:b","timestamp":1753876800}', InvalidEnvelope, "$.timestamp: Expected `str | null`, got `int`"),
        (b'{"type":"a:b","channel":["data"]}', InvalidEnvelope, "$.channel: Expected `str | null`, got `array`"),
        (b'{"type":"a:b","id":1}', InvalidEnvelope, "$.id: Expected `str | null`, got `int`"),
        (b'{"type":"a:b","skipped":"\xff"}', InvalidUTF8, "$: byte 25 of the message is not UTF-8"),
        (b'{"type":"a:b","data":{"skipped":"\xc3("}}', InvalidUTF8, "$: byte 33 of the message is not UTF-8"),
        (b'{"type":"a:b","skipped":"\\ud800"}', InvalidJSON, "$: a string holds half a surrogate pair"),
    ],
)
def test_what_is_no_envelope_is_refused_with_where_and_what_to_do(
    body: bytes, error: type[ContractError], told: str
) -> None:
    with pytest.raises(error) as caught:
        decode_envelope(body)
    assert str(caught.value).startswith(told)
    assert told.startswith(caught.value.path + ":")
    assert error_data(caught.value).hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_lacks_has_a_hint_of_its_own(number: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        decode_envelope(f'{{"type":"operation:progress","data":{{"progress":{number}}}}}'.encode())
    assert caught.value.hint == "JSON has no NaN and no Infinity: leave the field out."


def test_the_envelope_s_own_object_is_one_of_the_64_levels() -> None:
    def nested(levels: int) -> bytes:
        return b'{"type":"a:b","data":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert decode_envelope(nested(64)).type == "a:b"
    with pytest.raises(TooDeep) as caught:
        decode_envelope(nested(65))
    assert "link" in (error_data(caught.value).hint or "")


def test_members_that_are_skipped_count_as_levels_too() -> None:
    with pytest.raises(TooDeep):
        decode_envelope(b'{"type":"a:b","skipped":' + b'{"a":' * 63 + b"{}" + b"}" * 64)


def test_a_message_of_256_kib_is_read_and_no_longer_one() -> None:
    longest = b'{"type":"a:b","skipped":"' + b"a" * (MAX_BODY_BYTES - 27) + b'"}'
    assert len(longest) == MAX_BODY_BYTES
    assert decode_envelope(longest).type == "a:b"
    with pytest.raises(PayloadTooLarge, match=r"^\$: the message is 262145 bytes; 262144 are allowed$"):
        decode_envelope(longest + b" ")


@pytest.mark.parametrize(
    "odd",
    [b'"\\n"', b'"\\u0041"', b'"\x7f"', '"é"'.encode(), b"[1]", b"{\n}", b"{\t}", b"{\r}", b'"' + b"a" * 65_536 + b'"'],
)
def test_a_message_is_plain_only_without_anything_that_needs_a_look(odd: bytes) -> None:
    plain = b'{"type":"a:b","data":{"a":{"b":"' + b"a" * 1_000 + b'"}}}'
    assert type(decode_envelope(plain)) is PlainEnvelope
    assert type(decode_envelope(b'{"type":"a:b","data":' + odd + b"}")) is Envelope


def test_many_objects_side_by_side_are_looked_at() -> None:
    assert (
        type(decode_envelope(b'{"type":"a:b","skipped":{' + b",".join(b'"%d":{}' % n for n in range(70)) + b"}}"))
        is Envelope
    )


@given(st.text(max_size=130))
def test_strings_of_plain_messages_are_printable_ascii(trace_id: str) -> None:
    envelope = decode_envelope(json.dumps({"type": "a:b", "trace_id": trace_id}, ensure_ascii=False).encode())
    if type(envelope) is PlainEnvelope:
        assert trace_id.isascii()
        assert trace_id.isprintable()


# Ids.


@pytest.mark.parametrize("trace_id", ["a", " ", "~" * 128, '"\\', "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_trace_ids(trace_id: str) -> None:
    assert check_trace_id(trace_id) == trace_id


@pytest.mark.parametrize("trace_id", ["", "~" * 129, "a\n", "\x7f", "é", "\u2028", "٣"])
def test_refuses_what_is_no_trace_id(trace_id: str) -> None:
    with pytest.raises(InvalidTraceID, match=r"^\$\.trace_id: .* is not 1–128 printable ASCII characters$") as caught:
        check_trace_id(trace_id)
    assert "leave the trace id out" in (error_data(caught.value).hint or "")


@pytest.mark.parametrize("event_id", ["a" * 16, "~" * 64, '"\\' * 8, "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_event_ids(event_id: str) -> None:
    assert check_event_id(event_id) == event_id


@pytest.mark.parametrize("event_id", ["", "a" * 15, "a" * 65, "a" * 16 + " ", "a" * 16 + "\n", "é" * 16, "\x7f" * 16])
def test_refuses_what_is_no_event_id(event_id: str) -> None:
    with pytest.raises(InvalidEventID, match=r"^\$\.event_id: ") as caught:
        check_event_id(event_id)
    assert "UUIDv7" in (error_data(caught.value).hint or "")


# Writing.


def test_an_event_is_written_with_the_source_s_five_fields_in_its_order() -> None:
    assert encode_event(EVENT) == (
        b'{"type":"data:update","timestamp":"2025-07-30T12:00:00Z","trace_id":"t",'
        b'"data":{"dataset":"a"},"channel":"data"}'
    )


def test_an_application_s_channel_is_written_like_the_source_s() -> None:
    event = msgspec.structs.replace(EVENT, channel="orders")
    assert encode_event(event).endswith(b'"data":{"dataset":"a"},"channel":"orders"}')


@pytest.mark.parametrize("trace_id", ['"', "\\", 'a"b\\"', "<&>", " ~ "])
def test_any_trace_id_is_written_as_json(trace_id: str) -> None:
    event = msgspec.structs.replace(EVENT, trace_id=trace_id)
    assert json.loads(encode_event(event))["trace_id"] == trace_id
    assert read(encode_event(event)) == event


def test_the_versioned_form_adds_the_position_and_the_event_id_it_has() -> None:
    plain = encode_event(EVENT)[:-1]
    assert encode_event_v1(EVENT, "abc:7") == plain + b',"position":"abc:7"}'
    named = msgspec.structs.replace(EVENT, event_id="e" * 16)
    assert encode_event_v1(named, "abc:7") == plain + b',"position":"abc:7","event_id":"eeeeeeeeeeeeeeee"}'


@pytest.mark.parametrize("text", ["", "a", '"', "\\", 'a"b\\c', "<>&"])
def test_quoting(text: str) -> None:
    assert json.loads(quote(text)) == text


@pytest.mark.parametrize(
    ("more", "members"),
    [
        ({}, {}),
        ({"id": 'a"'}, {"id": 'a"'}),
        ({"reply_to": "é\n", "position": "abc:1"}, {"reply_to": "é\n", "position": "abc:1"}),
    ],
)
def test_a_message_that_is_no_event_has_no_channel(more: dict[str, str], members: dict[str, str]) -> None:
    written = encode_message("a:b", {"n": 1}, timestamp="2025-07-30T12:00:00Z", trace_id='t"', **more)
    expected: dict[str, Any] = {"type": "a:b", "timestamp": "2025-07-30T12:00:00Z", "trace_id": 't"', "data": {"n": 1}}
    assert json.loads(written) == expected | members
    assert list(json.loads(written)) == [*expected, *members]


def test_a_message_s_payload_is_written_as_payloads_are() -> None:
    error = ErrorData(code="c", message="m", recoverable=False, hint="")
    written = encode_message("connection:error", error, timestamp="2025-07-30T12:00:00Z", trace_id="t")
    assert b'"data":{"code":"c","message":"m","recoverable":false}}' in written
    assert b'"data":null}' in encode_message("connection:ping", None, timestamp="2025-07-30T12:00:00Z", trace_id="t")
