import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.envelopes import read

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
    MAX_DEPTH,
    MAX_FLAT_BYTES,
    Envelope,
    Event,
    PlainEnvelope,
    check_body,
    check_event_id,
    check_trace_id,
    decode_envelope,
    encode_event,
    encode_event_v1,
    encode_message,
    measure_depth,
    quote,
    to_single_line,
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


def test_decoder_reads_nine_fields_and_ignores_others() -> None:
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


def test_only_type_is_required_and_absent_data_is_null() -> None:
    envelope = decode_envelope(b'{"type":"connection:ping"}')
    assert bytes(envelope.data) == b"null"
    others = {getattr(envelope, name) for name in Envelope.__struct_fields__ if name not in ("type", "data")}
    assert others == {None}


def test_null_field_equals_an_absent_one() -> None:
    envelope = decode_envelope(b'{"type":"a:b","timestamp":null,"trace_id":null,"channel":null,"id":null}')
    assert envelope == decode_envelope(b'{"type":"a:b"}')


def test_data_keeps_the_bytes_of_the_sender() -> None:
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
        (b'"operation:start"', InvalidEnvelope, "$: Expected `object`, got `string`"),
        (b"42", InvalidEnvelope, "$: Expected `object`, got `integer`"),
        (b"{}", InvalidEnvelope, "$: Object missing required field `type`"),
        (b'{"type":null}', InvalidEnvelope, "$.type: Expected `string`, got `null`"),
        (b'{"type":7}', InvalidEnvelope, "$.type: Expected `string`, got `integer`"),
        (b'{"type":"a:b","trace_id":5}', InvalidEnvelope, "$.trace_id: Expected `string | null`, got `integer`"),
        (
            b'{"type":"a:b","timestamp":1753}',
            InvalidEnvelope,
            "$.timestamp: Expected `string | null`, got `integer`",
        ),
        (b'{"type":"a:b","channel":["data"]}', InvalidEnvelope, "$.channel: Expected `string | null`, got `array`"),
        (b'{"type":"a:b","id":1}', InvalidEnvelope, "$.id: Expected `string | null`, got `integer`"),
        (b'{"type":"a:b","skipped":"\xff"}', InvalidUTF8, "$: byte 25 of the message is not UTF-8"),
        (b'{"type":"a:b","data":{"skipped":"\xc3("}}', InvalidUTF8, "$: byte 33 of the message is not UTF-8"),
        (b'{"type":"a:b","skipped":"\\ud800"}', InvalidJSON, "$: a string holds half a surrogate pair"),
    ],
)
def test_invalid_envelope_raises_with_path_and_hint(body: bytes, error: type[ContractError], told: str) -> None:
    with pytest.raises(error) as caught:
        decode_envelope(body)
    assert str(caught.value).startswith(told)
    assert told.startswith(caught.value.path + ":")
    assert error_data(caught.value).hint


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_have_their_own_hint(number: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        decode_envelope(f'{{"type":"operation:progress","data":{{"progress":{number}}}}}'.encode())
    assert caught.value.hint == "JSON has no NaN and no Infinity: leave the field out."


def test_envelope_object_counts_as_one_of_64_levels() -> None:
    def nested(levels: int) -> bytes:
        return b'{"type":"a:b","data":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert decode_envelope(nested(64)).type == "a:b"
    with pytest.raises(TooDeep) as caught:
        decode_envelope(nested(65))
    assert "link" in (error_data(caught.value).hint or "")


def test_ignored_members_count_as_levels() -> None:
    with pytest.raises(TooDeep):
        decode_envelope(b'{"type":"a:b","skipped":' + b'{"a":' * 63 + b"{}" + b"}" * 64)


def test_message_over_256_kib_is_rejected() -> None:
    longest = b'{"type":"a:b","skipped":"' + b"a" * (MAX_BODY_BYTES - 27) + b'"}'
    assert len(longest) == MAX_BODY_BYTES
    assert decode_envelope(longest).type == "a:b"
    with pytest.raises(PayloadTooLarge, match=r"^\$: the message is 262145 bytes; 262144 are allowed$"):
        decode_envelope(longest + b" ")


@pytest.mark.parametrize(
    "odd",
    [b'"\\n"', b'"\\u0041"', b'"\x7f"', '"é"'.encode(), b"[1]", b"{\n}", b"{\t}", b"{\r}", b'"' + b"a" * 65_536 + b'"'],
)
def test_message_that_needs_a_check_is_not_plain(odd: bytes) -> None:
    plain = b'{"type":"a:b","data":{"a":{"b":"' + b"a" * 1_000 + b'"}}}'
    assert type(decode_envelope(plain)) is PlainEnvelope
    assert type(decode_envelope(b'{"type":"a:b","data":' + odd + b"}")) is Envelope


def test_many_objects_side_by_side_are_checked() -> None:
    assert (
        type(decode_envelope(b'{"type":"a:b","skipped":{' + b",".join(b'"%d":{}' % n for n in range(70)) + b"}}"))
        is Envelope
    )


@given(st.text(max_size=130))
def test_plain_message_holds_printable_ascii_strings(trace_id: str) -> None:
    envelope = decode_envelope(json.dumps({"type": "a:b", "trace_id": trace_id}, ensure_ascii=False).encode())
    if type(envelope) is PlainEnvelope:
        assert trace_id.isascii()
        assert trace_id.isprintable()


# Ids.


@pytest.mark.parametrize("trace_id", ["a", " ", "~" * 128, '"\\', "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_valid_trace_id_is_returned(trace_id: str) -> None:
    assert check_trace_id(trace_id) == trace_id


@pytest.mark.parametrize("trace_id", ["", "~" * 129, "a\n", "\x7f", "é", "\u2028", "٣"])
def test_invalid_trace_id_raises(trace_id: str) -> None:
    with pytest.raises(InvalidTraceID, match=r"^\$\.trace_id: .* is not 1–128 printable ASCII characters$") as caught:
        check_trace_id(trace_id)
    assert "leave the trace id out" in (error_data(caught.value).hint or "")


@pytest.mark.parametrize("event_id", ["a" * 16, "~" * 64, '"\\' * 8, "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_valid_event_id_is_returned(event_id: str) -> None:
    assert check_event_id(event_id) == event_id


@pytest.mark.parametrize("event_id", ["", "a" * 15, "a" * 65, "a" * 16 + " ", "a" * 16 + "\n", "é" * 16, "\x7f" * 16])
def test_invalid_event_id_raises(event_id: str) -> None:
    with pytest.raises(InvalidEventID, match=r"^\$\.event_id: ") as caught:
        check_event_id(event_id)
    assert "UUIDv7" in (error_data(caught.value).hint or "")


# Writing.


def test_plain_event_has_five_fields_in_protocol_order() -> None:
    assert encode_event(EVENT) == (
        b'{"type":"data:update","timestamp":"2025-07-30T12:00:00Z","trace_id":"t",'
        b'"data":{"dataset":"a"},"channel":"data"}'
    )


def test_application_channel_is_encoded_like_a_built_in_one() -> None:
    event = msgspec.structs.replace(EVENT, channel="orders")
    assert encode_event(event).endswith(b'"data":{"dataset":"a"},"channel":"orders"}')


@pytest.mark.parametrize("trace_id", ['"', "\\", 'a"b\\"', "<&>", " ~ "])
def test_any_trace_id_is_encoded_as_json(trace_id: str) -> None:
    event = msgspec.structs.replace(EVENT, trace_id=trace_id)
    assert json.loads(encode_event(event))["trace_id"] == trace_id
    assert read(encode_event(event)) == event


def test_v1_event_adds_position_and_event_id() -> None:
    plain = encode_event(EVENT)[:-1]
    assert encode_event_v1(EVENT, "abc:7") == plain + b',"position":"abc:7"}'
    named = msgspec.structs.replace(EVENT, event_id="e" * 16)
    assert encode_event_v1(named, "abc:7") == plain + b',"position":"abc:7","event_id":"eeeeeeeeeeeeeeee"}'


@pytest.mark.parametrize("text", ["", "a", '"', "\\", 'a"b\\c', "<>&"])
def test_quote_encodes_text_as_a_json_string(text: str) -> None:
    assert json.loads(quote(text)) == text


@pytest.mark.parametrize(
    ("more", "members"),
    [
        ({}, {}),
        ({"id": 'a"'}, {"id": 'a"'}),
        ({"reply_to": "é\n", "position": "abc:1"}, {"reply_to": "é\n", "position": "abc:1"}),
    ],
)
def test_encoded_message_has_no_channel(more: dict[str, str], members: dict[str, str]) -> None:
    written = encode_message("a:b", {"n": 1}, timestamp="2025-07-30T12:00:00Z", trace_id='t"', **more)
    expected: dict[str, Any] = {"type": "a:b", "timestamp": "2025-07-30T12:00:00Z", "trace_id": 't"', "data": {"n": 1}}
    assert json.loads(written) == expected | members
    assert list(json.loads(written)) == [*expected, *members]


def test_encoded_message_leaves_out_empty_payload_fields() -> None:
    error = ErrorData(code="c", message="m", recoverable=False, hint="")
    written = encode_message("connection:error", error, timestamp="2025-07-30T12:00:00Z", trace_id="t")
    assert b'"data":{"code":"c","message":"m","recoverable":false}}' in written
    assert b'"data":null}' in encode_message("connection:ping", None, timestamp="2025-07-30T12:00:00Z", trace_id="t")


# Checking a body.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def nesting(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(nesting, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 0


@given(json_values, st.booleans())
def test_depth_equals_the_nesting_of_the_value(value: Any, ascii_only: bool) -> None:
    assert measure_depth(json.dumps(value, ensure_ascii=ascii_only).encode()) == nesting(value)


@pytest.mark.parametrize(("opener", "closer"), [(b"[", b"]"), (b'{"":', b"}"), (b'[{"a":', b"}]")])
def test_body_of_65_levels_is_rejected(opener: bytes, closer: bytes) -> None:
    levels = opener.count(b"[") + opener.count(b"{")
    deepest = opener * (MAX_DEPTH // levels) + b"1" + closer * (MAX_DEPTH // levels)
    check_body(deepest)
    with pytest.raises(TooDeep, match=r"^\$: .* 64 levels$") as caught:
        check_body(b"[" + deepest + b"]")
    assert caught.value.path == "$"


def test_shortest_body_that_is_too_deep_is_checked() -> None:
    shortest = b'{"":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH
    assert msgspec.json.decode(shortest)
    assert len(shortest) == MAX_FLAT_BYTES + 2
    with pytest.raises(TooDeep):
        check_body(shortest)


@pytest.mark.parametrize(
    "string", ["[" * 100, "{" * 100, '\\"' + "[" * 100, "\\\\\\" + '"' + "[{" * 50, "\\\\" * 3 + "{" * 80]
)
def test_brackets_in_strings_do_not_count_as_levels(string: str) -> None:
    body = f'{{"a":"{string}","b":[1]}}'.encode()
    json.loads(body)
    check_body(body)
    assert measure_depth(body) == 2


def test_brackets_side_by_side_do_not_count_as_levels() -> None:
    check_body(b"[" + b"[],{}," * 1_000 + b"[]]")


def test_unterminated_string_is_measured_in_linear_time() -> None:
    # A quadratic scan would take 10^10 steps and exceed the time limit of the test.
    hostile = b"[" * (MAX_DEPTH + 1) + b'"' + b'\\"' * ((MAX_BODY_BYTES - 100) // 2)
    with pytest.raises(TooDeep):
        check_body(hostile)


def test_closers_without_openers_pass_to_the_decoder() -> None:
    assert measure_depth(b"]]}}") == 0


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"])
def test_invalid_utf_8_is_rejected_anywhere(bad: bytes) -> None:
    body = b'{"type":"data:update","skipped":"' + bad + b'"}'
    with pytest.raises(InvalidUTF8, match=r"^\$: byte 33 of the message is not UTF-8$"):
        check_body(body)


def test_utf_8_of_any_plane_is_accepted() -> None:
    check_body('{"a":"é ‰ 😀 \u2028"}'.encode())


@pytest.mark.parametrize(
    "string",
    [
        r"\ud83d",
        r"\ude00",
        r"\ude00\ud83d",
        r"\ud83d \ude00",
        r"\ud83d\n\ude00",
        r"\ud83d\ud83d\ude00",
        r"\ud83dA",
        r"\ud83d\u0041",
        r"\\\ud83d",
        r"\uD83D",
        r"a\udbff",
    ],
)
def test_half_a_surrogate_pair_is_rejected(string: str) -> None:
    with pytest.raises(InvalidJSON, match="half a surrogate pair") as caught:
        check_body(f'["{string}"]'.encode())
    assert caught.value.hint == "Escape both halves, or write UTF-8."


@pytest.mark.parametrize(
    "string", [r"\ud83d\ude00", r"\uD83D\uDE00\ud83d\ude00", r"\\ud83d", r"\\\\ude00", r"\u0041\n", r"\ud7ff\ue000"]
)
def test_whole_surrogate_pair_is_accepted(string: str) -> None:
    check_body(f'["{string}"]'.encode())


@given(st.lists(st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\n", "u", "d83d", r"\u0041", "é"]), max_size=8))
def test_surrogates_are_accepted_where_the_string_can_be_encoded(parts: list[str]) -> None:
    body = '"' + "".join(parts) + '"'
    try:
        json.loads(body).encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidJSON):
            check_body(body.encode())
    else:
        check_body(body.encode())


def test_body_over_the_limit_is_rejected_with_both_sizes() -> None:
    check_body(b" " * MAX_BODY_BYTES)
    with pytest.raises(PayloadTooLarge) as caught:
        check_body(b" " * (MAX_BODY_BYTES + 1))
    assert (caught.value.size, caught.value.limit, caught.value.path) == (262_145, 262_144, "$")


@given(json_values, st.sampled_from(["\n", "\r\n", "\t", "\r", " "]))
def test_single_line_has_the_same_value(value: Any, indent: str) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", indent).encode()
    line = to_single_line(text)
    assert not set(line) & set(b"\r\n\t")
    assert json.loads(line) == value


def test_text_on_one_line_is_returned_unchanged() -> None:
    body = b'{"a": 1}'
    assert to_single_line(body) is body
