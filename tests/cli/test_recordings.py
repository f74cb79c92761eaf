import gzip
import io
import json
from pathlib import Path

import msgspec
import pytest

from tidings.cli.recordings import (
    HEADER_TYPE,
    BrokenLine,
    RecordedEnvelope,
    RecordedLine,
    RecordingHeader,
    envelope_line,
    header_line,
    moment_of,
    open_recording,
    read_lines,
    shown_url,
)
from tidings.exceptions import ConfigError
from tidings.protocol.envelope import decode_envelope

EVENT = b'{"type":"data:update","data":{"n":%d},"received":"2025-07-30T12:00:00Z"}\n'
EVENTS = b"".join(EVENT % n for n in range(2_000))


def read(data: bytes) -> list[RecordedLine | BrokenLine]:
    return list(read_lines(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data",
    [EVENTS, gzip.compress(EVENTS), gzip.compress(EVENTS[: len(EVENT % 0)]) + gzip.compress(EVENTS[len(EVENT % 0) :])],
    ids=["plain", "gzip", "two members"],
)
def test_every_line_is_read_with_its_number(data: bytes) -> None:
    lines = read(data)
    assert [line.number for line in lines] == list(range(1, 2_001))
    assert all(isinstance(line, RecordedLine) and line.envelope.received == "2025-07-30T12:00:00Z" for line in lines)


def test_empty_lines_are_skipped_and_a_missing_last_newline_is_allowed() -> None:
    assert [line.number for line in read(b"\n" + EVENT % 1 + b"\n" + (EVENT % 2).rstrip())] == [2, 4]
    assert read(b"") == []


def test_a_broken_line_is_yielded_and_the_rest_is_read() -> None:
    broken = (
        b"nonsense",
        b'{"type":"a:b","data":"\xff"}',
        b'{"type":"a:b","data":{"x":1,"x":2}}',
        b'{"type":"a:b","Data":1}',
    )
    lines = read(EVENT % 1 + b"\n".join(broken) + b"\n" + EVENT % 2 + b'{"type":"da')
    assert [type(line) for line in lines] == [RecordedLine, *[BrokenLine] * 4, RecordedLine, BrokenLine]
    assert [line.last for line in lines if isinstance(line, BrokenLine)] == [*[False] * 4, True]


@pytest.mark.parametrize("left", [1, 8, 60, 500])
def test_a_truncated_compressed_file_is_read_up_to_the_cut(left: int) -> None:
    lines = read(gzip.compress(EVENTS)[:-left])
    assert isinstance(lines[-1], BrokenLine)
    assert lines[-1].last
    assert all(isinstance(line, RecordedLine) for line in lines[:-1])
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) > 100


@pytest.mark.parametrize("data", [b"#!/bin/sh\necho\n", b"\x00" * 3_000_000, b"[1]\n", EVENT[:20] + b"\n"])
def test_another_kind_of_file_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match="not a recording"):
        read(data)


def test_a_recording_of_a_later_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected format 1"):
        read(b'{"type":"%b","data":{"format":2}}\n' % HEADER_TYPE.encode())


def test_a_piped_recording_can_be_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(EVENTS)

    monkeypatch.setattr("sys.stdin", Stdin())
    with open_recording("-") as recording:
        assert len(list(read_lines(recording))) == 2_000
        assert len(list(read_lines(recording))) == 2_000
    with pytest.raises(ConfigError, match="cannot read"):
        open_recording(str(tmp_path / "none"))


def test_moment_of_an_envelope_is_its_receipt_else_its_timestamp() -> None:
    received, said = "1970-01-01T00:00:02Z", "1970-01-01T00:00:01Z"
    both = RecordedEnvelope("a:b", said, received=received)
    assert moment_of(both, by_timestamp=False) == 2_000_000_000
    assert moment_of(both, by_timestamp=True) == 1_000_000_000
    assert moment_of(RecordedEnvelope("a:b", said), by_timestamp=False) == 1_000_000_000
    assert moment_of(RecordedEnvelope("a:b", "nonsense"), by_timestamp=False) is None


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
