import json

import msgspec
import pytest

from tidings.cli.recordings import HEADER_TYPE, RecordedEnvelope, RecordingHeader, envelope_line, header_line, shown_url
from tidings.protocol.envelope import decode_envelope

AT = "2025-07-30T12:00:00.5Z"


def test_a_header_line_is_an_envelope() -> None:
    header = RecordingHeader(program="tidings 1", url="ws://h/ws", paths=["*"], since="snapshot")
    line = header_line(header, timestamp=AT, trace_id="t")
    assert line.endswith(b"}\n")
    envelope = decode_envelope(line.strip())
    assert (envelope.type, envelope.timestamp) == (HEADER_TYPE, AT)
    assert msgspec.json.decode(envelope.data, type=RecordingHeader) == header
    assert json.loads(b"" + envelope.data)["format"] == 1


@pytest.mark.parametrize(
    "body", [b'{"type":"a:b","data":{"x":"}"}}', b'{"type":"a:b"} ', b'{\n"type": "a:b",\n"data": [1]\n}']
)
def test_an_envelope_line_has_its_time_of_receipt(body: bytes) -> None:
    line = envelope_line(body, AT)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {**json.loads(body), "received": AT}
    assert msgspec.json.decode(line, type=RecordedEnvelope).received == AT


def test_a_shown_url_has_no_secrets() -> None:
    assert shown_url("ws://user:password@h:1/ws?token=secret") == "ws://h:1/ws"
