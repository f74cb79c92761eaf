"""permessage-deflate (RFC 7692): what is negotiated, compressed and decompressed, and what is refused."""

import json
import random
import re
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.compressed import compressed, deflated, reserved
from tests.server.raw_client import handshake_request, masked, text
from tests.server.websocket.test_handshake import accept, opening
from tests.server.websocket.test_message_reader import close_code, read, single_bytes
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from tidings.server.websocket.deflate import DEFAULT_COMPRESSION_BYTES, Deflate, InflateError, inflate
from tidings.server.websocket.frames import CLOSE, COMPRESSED, PING, TEXT, read_plain_frames, text_frame
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES, MessageReader

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
FULL, SMALL = Deflate(0, small_window=False), Deflate(0, small_window=True)


def negotiate(*offers: str, compression_bytes: int | None = 512) -> tuple[str | None, Deflate | None]:
    """Return the extensions in the response to some headers, and how messages are compressed then."""
    headers = tuple(f"Sec-WebSocket-Extensions: {offer}" for offer in offers)
    handshake, response = accept(handshake_request(headers=headers), compression_bytes=compression_bytes)
    found = re.findall(r"Sec-WebSocket-Extensions: (.*)\r\n", response)
    assert len(found) <= 1
    return (found[0] if found else None), handshake.deflate


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], ANSWER),
        (["permessage-deflate; client_max_window_bits"], ANSWER),
        (["permessage-deflate; server_no_context_takeover; client_no_context_takeover"], ANSWER),
        (["permessage-deflate; client_max_window_bits=9"], f"{ANSWER}; client_max_window_bits=9"),
        (["permessage-deflate; server_max_window_bits=15"], f"{ANSWER}; server_max_window_bits=15"),
        (["permessage-deflate; server_max_window_bits=9"], f"{ANSWER}; server_max_window_bits=9"),
        (['permessage-deflate; server_max_window_bits="10"'], f"{ANSWER}; server_max_window_bits=10"),
        # The first offer that can be met, over several headers.
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], ANSWER),
        (["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=12, permessage-deflate"],
         f"{ANSWER}; server_max_window_bits=12"),
        (["permessage-bzip2, permessage-deflate"], ANSWER),
        # Declined.
        ([""], None),
        (["", " "], None),
        (["permessage-bzip2"], None),
        (["x-webkit-deflate-frame"], None),
        (["permessage-deflate; unknown"], None),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; server_max_window_bits=8"], None),
        (["permessage-deflate; server_max_window_bits=16"], None),
        (["permessage-deflate; server_max_window_bits=09"], None),
        (["permessage-deflate; server_max_window_bits=+9"], None),
        (["permessage-deflate; client_max_window_bits=7"], None),
        (["permessage-deflate; client_max_window_bits=99999999999999999999"], None),
        (["permessage-deflate; server_no_context_takeover=1"], None),
        (["permessage-deflate; client_no_context_takeover=true"], None),
        (["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
        (["permessage-deflate; client_max_window_bits=9; client_max_window_bits=10"], None),
    ],
)  # fmt: skip
def test_first_valid_offer_is_accepted(offers: list[str], answer: str | None) -> None:
    found, deflate = negotiate(*offers)
    assert found == answer
    bits = re.search(r"server_max_window_bits=(\d+)", answer or "")
    assert deflate == (None if answer is None else Deflate(512, small_window=bits is not None and int(bits[1]) < 15))


def test_server_without_compression_declines_it() -> None:
    assert negotiate("permessage-deflate", compression_bytes=None) == (None, None)


def test_malformed_offer_is_a_bad_request() -> None:
    request = handshake_request(headers=("Sec-WebSocket-Extensions: permessage-deflate; =",))
    opened = opening(request, compression_bytes=0)
    assert opened.handshake is None
    assert opened.refused().startswith(b"HTTP/1.1 400 ")


# To the client.


def read_as_client(frames: bytes, *parameters: tuple[str, str | None]) -> list[bytes]:
    """Return the messages that websockets' client reads from frames after an answer with these parameters."""
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=15)
    client = Protocol(Side.CLIENT, max_size=None)
    extension: Extension = factory.process_response_params([("server_no_context_takeover", None), *parameters], [])
    client.extensions = [extension]
    client.receive_data(frames)
    received = client.events_received()
    assert all(isinstance(frame, Frame) and frame.opcode is Opcode.TEXT for frame in received)
    return [bytes(frame.data) for frame in received if isinstance(frame, Frame)]


def samples() -> Iterator[bytes]:
    """Yield messages of Autobahn's sizes: of JSON, of one character, and random ones, which do not shrink."""
    source = random.Random(7692)
    for size in (0, 1, 16, 64, 125, 126, 127, 256, 511, 512, 1024, 4096, 8192, 16384, 32768, 65535, 65536, 131072):
        row = json.dumps({"level": "info", "step": source.randrange(10_000), "message": "epoch done"}).encode()
        yield (row * (size // len(row) + 1))[:size]
        yield b"a" * size
        yield source.randbytes(size)


@pytest.mark.parametrize("bits", range(9, 16))
def test_compressed_frames_are_read_with_every_window(bits: int) -> None:
    messages = list(samples())
    deflate = Deflate(0, small_window=bits < 15)
    frames = [deflate.compress(text_frame(message)) for message in messages]
    assert read_as_client(b"".join(frames), ("server_max_window_bits", str(bits))) == messages


@pytest.mark.parametrize("deflate", [FULL, SMALL])
def test_frame_that_does_not_shrink_stays_as_it_is(deflate: Deflate) -> None:
    for message in samples():
        frame = text_frame(message)
        found = deflate.compress(frame)
        assert found is frame if not found[0] & 0x40 else len(found) < len(frame)
    noise = text_frame(random.Random(0).randbytes(4096))
    assert deflate.compress(noise) is noise


@pytest.mark.parametrize("size", [DEFAULT_COMPRESSION_BYTES - 1, DEFAULT_COMPRESSION_BYTES])
def test_short_frame_stays_as_it_is(size: int) -> None:
    frame = text_frame(b"a" * size)
    found = Deflate(DEFAULT_COMPRESSION_BYTES, small_window=False).compress(frame)
    assert (found is frame) == (size < DEFAULT_COMPRESSION_BYTES)


def test_frame_for_a_small_window_refers_to_the_last_512_bytes_only() -> None:
    noise = random.Random(1).randbytes(600)
    frame = text_frame(noise + noise)
    assert SMALL.compress(frame) is frame, "the repetition is too far away"
    assert len(FULL.compress(frame)) < len(frame)


# From the client.


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        # The examples of RFC 7692 §7.2.3.
        ("f248cdc9c90700", b"Hello"),
        ("00 05 00 fa ff 48 65 6c 6c 6f 00", b"Hello"),
        ("f348cdc9c90700 00", b"Hello"),
        ("f348cdc9c90700", b"Hello"),
        ("f24805000000ffff cac9c90700", b"Hello"),
        ("00", b""),
    ],
)
def test_examples_of_the_rfc_are_read(payload: str, message: bytes) -> None:
    assert inflate(bytes.fromhex(payload), 5) == message


@given(st.binary(max_size=2_000), st.integers(9, 15), st.integers(0, 9), st.booleans())
def test_what_any_compressor_writes_is_read(message: bytes, bits: int, level: int, final: bool) -> None:
    assert inflate(deflated(message, bits=bits, level=level, final=final), len(message)) == message


def test_incomplete_data_is_invalid() -> None:
    payload = deflated(b"".join(samples())[:20_000])
    for end in (*range(200), *range(200, len(payload), 97), len(payload) - 1):
        with pytest.raises(InflateError) as caught:
            inflate(payload[:end], MAX_MESSAGE_BYTES)
        assert caught.value.code == 1007


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 20,
        b"\x06",  # the reserved type of blocks
        deflated(b"Hello") + b"x",
        deflated(b"Hello", final=True) + b"more",
        deflated(b"Hello", final=True) + deflated(b"Hello"),
        zlib.compress(b"Hello"),  # with a header
        deflated(b"".join(samples())[-300:])[5:],
    ],
)
def test_other_data_is_invalid(payload: bytes) -> None:
    with pytest.raises(InflateError) as caught:
        inflate(payload, MAX_MESSAGE_BYTES)
    assert caught.value.code == 1007


@given(st.binary(max_size=300))
def test_any_data_is_read_or_invalid(payload: bytes) -> None:
    codes: list[int] = []
    message = b""
    try:
        message = inflate(payload, 1_000)
    except InflateError as error:
        codes.append(error.code)
    assert len(message) <= 1_000
    assert codes in ([], [1007], [1009])


@pytest.mark.parametrize("final", [False, True])
def test_message_of_the_limit_is_read_and_a_longer_one_refused(final: bool) -> None:
    message = bytes(MAX_MESSAGE_BYTES)
    assert inflate(deflated(message, final=final), MAX_MESSAGE_BYTES) == message
    with pytest.raises(InflateError) as caught:
        inflate(deflated(message + b"\x00", final=final), MAX_MESSAGE_BYTES)
    assert caught.value.code == 1009


def test_bomb_is_not_decompressed_beyond_the_limit() -> None:
    bomb = deflated(bytes(200 << 20), level=9)
    assert len(bomb) < MAX_MESSAGE_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(InflateError) as caught:
            inflate(bomb, MAX_MESSAGE_BYTES)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == 1009
    assert peak < 4 * MAX_MESSAGE_BYTES


def reader() -> MessageReader:
    """Return the reader of a connection that negotiated compression."""
    made = MessageReader()
    made.compressible = True
    return made


HELLO = deflated(b"Hello")


def test_compressed_and_plain_messages_are_read_in_one_go() -> None:
    sent = compressed(HELLO) + text(b"plain") + masked(Opcode.PING, b"p") + compressed(HELLO)
    expected = [(TEXT | COMPRESSED, HELLO), (TEXT, b"plain"), (PING, b"p"), (TEXT | COMPRESSED, HELLO)]
    assert read_plain_frames(sent, compressible=True).frames == expected
    for segments in ([sent], single_bytes(sent)):
        assert read(reader(), segments) == expected


@given(st.lists(st.integers(0, len(HELLO)), max_size=6), st.booleans(), st.booleans())
def test_fragments_of_a_compressed_message_are_joined(cuts: list[int], ping: bool, bytewise: bool) -> None:
    ends = [*sorted(cuts), len(HELLO)]
    sent = b""
    begin = 0
    for index, end in enumerate(ends):
        last = index == len(ends) - 1
        part = HELLO[begin:end]
        sent += compressed(part, fin=last) if index == 0 else masked(Opcode.CONT, part, fin=last)
        sent += masked(Opcode.PING, b"between") if ping and not last else b""
        begin = end
    sent += text(b"plain") + text(b"pl", fin=False) + masked(Opcode.CONT, b"ain") + compressed(HELLO)
    found = read(reader(), single_bytes(sent) if bytewise else [sent])
    assert [message for message in found if message[0] != PING] == [
        (TEXT | COMPRESSED, HELLO),
        (TEXT, b"plain"),
        (TEXT, b"plain"),
        (TEXT | COMPRESSED, HELLO),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(reserved(masked(Opcode.PING, b"p")), id="a ping"),
        pytest.param(reserved(masked(Opcode.PONG)), id="a pong"),
        pytest.param(reserved(masked(Opcode.CLOSE)), id="a close"),
        pytest.param(text(b"x", fin=False) + reserved(masked(Opcode.CONT, b"x")), id="a continuation"),
        pytest.param(
            compressed(HELLO[:2], fin=False) + reserved(masked(Opcode.CONT, HELLO[2:])), id="one that is compressed"
        ),
        pytest.param(reserved(masked(Opcode.TEXT, HELLO), bit=0x20), id="another bit"),
        pytest.param(reserved(compressed(HELLO), bit=0x10), id="two bits"),
    ],
)
def test_reserved_bit_elsewhere_is_a_violation(sent: bytes) -> None:
    for segments in ([sent], single_bytes(sent)):
        *_, (kind, frame) = read(reader(), segments)
        assert (kind, close_code(frame)) == (CLOSE, 1002)


@pytest.mark.parametrize("final", [False, True])
def test_compressed_message_without_negotiation_is_a_violation(final: bool) -> None:
    [(kind, frame)] = read(MessageReader(), [compressed(HELLO, fin=final)])
    assert (kind, close_code(frame)) == (CLOSE, 1002)


def test_compressed_bytes_have_the_limit_of_a_message() -> None:
    half = MAX_MESSAGE_BYTES // 2 + 1
    sent = compressed(bytes(half), fin=False) + masked(Opcode.CONT, bytes(half))
    [(kind, frame)] = read(reader(), [sent])
    assert (kind, close_code(frame)) == (CLOSE, 1009)
