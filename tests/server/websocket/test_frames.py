import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.raw_client import close, masked, text
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State

from tidings.server.websocket.frames import binary_frame, ping_frame, pong_frame, read_plain_frames, text_frame

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
def test_text_frames_equal_those_of_websockets(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@pytest.mark.parametrize("payload", [b"", b"p" * 125])
def test_control_frames_are_built(payload: bytes) -> None:
    assert ping_frame(payload) == Frame(Opcode.PING, payload).serialize(mask=False)
    assert pong_frame(payload) == Frame(Opcode.PONG, payload).serialize(mask=False)


def test_control_frame_over_125_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="125"):
        ping_frame(b"p" * 126)


plain_frames = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=300)),
        st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    ),
    max_size=6,
)


@given(plain_frames)
def test_plain_frames_are_read_as_sent(frames: list[tuple[Opcode, bytes]]) -> None:
    data = b"".join(masked(kind, payload) for kind, payload in frames)
    assert read_plain_frames(data) == (frames, len(data), True)


@given(plain_frames, st.binary(min_size=1, max_size=40), st.data())
def test_reading_stops_at_an_incomplete_frame(
    frames: list[tuple[Opcode, bytes]], payload: bytes, data: st.DataObject
) -> None:
    whole = b"".join(masked(kind, body) for kind, body in frames)
    last = text(payload)
    cut = data.draw(st.integers(0, len(last) - 1))
    assert read_plain_frames(whole + last[:cut]) == (frames, len(whole), True)


@pytest.mark.parametrize(
    "irregular",
    [
        pytest.param(text(b"part", fin=False), id="a fragment"),
        pytest.param(masked(Opcode.CONT, b"part"), id="a continuation"),
        pytest.param(close(1000), id="a close"),
        pytest.param(text(b"x" * 65536), id="a 64-bit length"),
        pytest.param(text_frame(b"not masked"), id="not masked"),
        pytest.param(b"\xc1" + text(b"rsv1")[1:], id="a reserved bit"),
        pytest.param(b"\x83" + text(b"reserved")[1:], id="a reserved opcode"),
        pytest.param(b"\x89\xfe\x00\x7e" + bytes(4 + 126), id="a ping over 125 bytes"),
        pytest.param(b"\x09" + masked(Opcode.PING)[1:], id="a ping in fragments"),
    ],
)
def test_reading_stops_at_a_frame_that_is_not_plain(irregular: bytes) -> None:
    first = text(b"first")
    assert read_plain_frames(first + irregular) == ([(Opcode.TEXT, b"first")], len(first), False)


@given(st.binary(max_size=60))
def test_frames_that_websockets_refuses_are_not_read(data: bytes) -> None:
    oracle = Protocol(Side.SERVER, state=State.OPEN)
    oracle.receive_data(data)
    expected: list[tuple[int, bytes]] = []
    for event in oracle.events_received():
        assert not isinstance(event, Request | Response)
        expected.append((int(event.opcode), bytes(event.data)))
    frames = read_plain_frames(data).frames
    assert frames == expected[: len(frames)]
