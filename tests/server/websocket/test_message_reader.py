import itertools
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.raw_client import close, masked, text
from websockets.exceptions import InvalidState, ProtocolError
from websockets.frames import Close, Opcode

from tidings.server.websocket.frames import CLOSE, PING, TEXT, text_frame
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES, MessageReader


def read(reader: MessageReader, segments: Iterable[bytes]) -> list[tuple[int, bytes]]:
    return [message for segment in segments for message in reader.feed(segment)]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def close_code(frame: bytes) -> int:
    assert frame[0] == 0x88
    return int(Close.parse(frame[2:]).code)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Whole and fragmented messages, with Pings between them and among fragments, and the expected result."""
    sent = b""
    expected: list[tuple[int, bytes]] = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        parts = draw(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
        for index, part in enumerate(parts):
            sent += masked(kind if index == 0 else Opcode.CONT, part, fin=index == len(parts) - 1)
            if draw(st.booleans()) and index < len(parts) - 1:
                sent += masked(Opcode.PING, part[:125])
                expected.append((PING, part[:125]))
        expected.append((int(kind), b"".join(parts)))
    return sent, expected


@given(conversations(), st.data())
def test_messages_are_independent_of_segments(
    conversation: tuple[bytes, list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    sent, expected = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    segments = [sent[start:end] for start, end in itertools.pairwise([0, *cuts, len(sent)])]
    assert read(MessageReader(), segments) == expected


def test_message_is_read_byte_by_byte() -> None:
    assert read(MessageReader(), single_bytes(text(b"x" * 300))) == [(TEXT, b"x" * 300)]


@pytest.mark.parametrize("size", [65536, MAX_MESSAGE_BYTES])
def test_long_message_is_read_whole(size: int) -> None:
    assert read(MessageReader(), [text(b"x" * size), text(b"next")]) == [(TEXT, b"x" * size), (TEXT, b"next")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(text(b"x" * (MAX_MESSAGE_BYTES + 1)), id="whole"),
        pytest.param(text(b"x" * MAX_MESSAGE_BYTES, fin=False) + masked(Opcode.CONT, b"x"), id="in fragments"),
    ],
)
def test_message_over_the_limit_fails_with_1009(sent: bytes) -> None:
    reader = MessageReader()
    [(kind, frame)] = reader.feed(sent)
    assert (kind, close_code(frame)) == (CLOSE, 1009)
    assert reader.failed
    assert reader.outcome[0] == 1009


def test_violation_fails_with_1002_after_earlier_messages() -> None:
    reader = MessageReader()
    [first, (kind, frame)] = reader.feed(text(b"good") + text_frame(b"not masked"))
    assert first == (TEXT, b"good")
    assert (kind, close_code(frame)) == (CLOSE, 1002)
    assert reader.failed
    assert reader.feed(text(b"after the end")) == []


def test_close_is_answered_with_its_code() -> None:
    reader = MessageReader()
    [(kind, frame)] = reader.feed(close(4001, "bye"))
    assert (kind, close_code(frame)) == (CLOSE, 4001)
    assert reader.ended
    assert not reader.failed
    assert reader.outcome == (4001, "bye")


def test_close_without_a_code_is_answered() -> None:
    reader = MessageReader()
    assert reader.feed(masked(Opcode.CLOSE)) == [(CLOSE, b"\x88\x00")]
    assert reader.outcome == (1005, "")


def test_close_between_fragments_is_orderly() -> None:
    reader = MessageReader()
    [(_, frame)] = reader.feed(text(b"half of it", fin=False) + close(1000))
    assert close_code(frame) == 1000
    assert not reader.failed


def test_closing_reads_until_the_peers_close() -> None:
    reader = MessageReader()
    half = text(b"a message cut off by our close")
    assert reader.feed(half[:10]) == []
    assert close_code(reader.close(4100, "draining")) == 4100
    assert not reader.ended
    assert reader.feed(half[10:] + close(4100)) == [(TEXT, b"a message cut off by our close"), (CLOSE, b"")]
    assert reader.outcome == (4100, "")


def test_closing_drops_a_fragmented_message() -> None:
    reader = MessageReader()
    reader.feed(text(b"half", fin=False))
    reader.close(1001, "")
    assert reader.feed(masked(Opcode.CONT, b"other half")) == []


def test_refused_close_code_changes_nothing() -> None:
    reader = MessageReader()
    with pytest.raises(ProtocolError):
        reader.close(1006, "")
    assert reader.feed(text(b"still open")) == [(TEXT, b"still open")]


def test_closing_twice_raises() -> None:
    reader = MessageReader()
    reader.close(1000, "")
    with pytest.raises(InvalidState):
        reader.close(1000, "")


def test_long_reason_is_cut_between_characters() -> None:
    frame = MessageReader().close(1000, "é" * 100)
    assert Close.parse(frame[2:]).reason == "é" * 61


def test_failure_takes_precedence_over_a_later_close() -> None:
    reader = MessageReader()
    reader.feed(text(b"\xff") + close(1000))
    assert close_code(reader.fail(1007, "not UTF-8")) == 1007
    assert reader.failed
    assert reader.outcome == (1007, "not UTF-8")


def test_failure_ends_reading() -> None:
    reader = MessageReader()
    assert close_code(reader.fail(1007, "not UTF-8")) == 1007
    assert reader.feed(text(b"more")) == []


def test_outcome_without_a_close_is_1006() -> None:
    assert MessageReader().outcome == (1006, "")


def test_empty_fragments_use_no_memory() -> None:
    reader = MessageReader()
    reader.feed(text(b"", fin=False))
    empty = masked(Opcode.CONT, b"", fin=False) * 1000
    reader.feed(empty)
    tracemalloc.start()
    try:
        for _ in range(20):
            reader.feed(empty)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # 20,000 fragments; a list of them would use 160 KB.
    assert grown < 20_000
