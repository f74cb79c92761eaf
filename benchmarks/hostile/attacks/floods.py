"""Sockets that send at full speed what costs them nothing: Pings, empty fragments, refused messages, garbage, bombs."""

import time

from benchmarks.hostile.peer import CONTINUATION, PING, TEXT, Peer, compressed, flood, frame, message
from benchmarks.hostile.registry import Target, attack

SENDERS = 4


def _flood(
    target: Target,
    data: bytes,
    *,
    senders: int = SENDERS,
    first: bytes = b"",
    versioned: bool = True,
    compresses: bool = False,
) -> None:
    peers = [Peer(target.host, target.port, versioned=versioned, compresses=compresses) for _ in range(senders)]
    for peer in peers:
        peer.send(first)
    flood(peers, data, target.over)


@attack("pings", "4 sockets that send Pings at full speed and read the Pongs")
def send_pings(target: Target) -> None:
    _flood(target, frame(b"", PING) * 8_000)


@attack("full-pings", "4 sockets that send Pings of 125 bytes at full speed")
def send_full_pings(target: Target) -> None:
    _flood(target, frame(b"x" * 125, PING) * 2_000)


@attack("empty-fragments", "4 sockets that send empty fragments of one message without end")
def send_empty_fragments(target: Target) -> None:
    _flood(target, frame(b"", CONTINUATION, fin=False) * 8_000, first=frame(b"", TEXT, fin=False))


@attack("one-byte-fragments", "4 sockets that send messages in fragments of one byte")
def send_one_byte_fragments(target: Target) -> None:
    body = b'{"type":"data:update","data":{"dataset":"x"}}'
    parts = [frame(body[:1], TEXT, fin=False)]
    parts += [frame(body[place : place + 1], CONTINUATION, fin=False) for place in range(1, len(body))]
    _flood(target, b"".join([*parts, frame(b"", CONTINUATION)]) * 200)


@attack("refused-messages", "4 sockets that send events of unknown types at full speed and read the refusals")
def send_refused_messages(target: Target) -> None:
    _flood(target, message("no:such", None, id="x") * 4_000)


@attack("garbage", "4 sockets that send text that is not JSON at full speed")
def send_garbage(target: Target) -> None:
    _flood(target, frame(b"{" * 60) * 4_000)


@attack("plain-garbage", "4 plain connections that send text that is not JSON at full speed")
def send_plain_garbage(target: Target) -> None:
    _flood(target, frame(b"garbage") * 16_000, versioned=False)


@attack("large-refused", "4 sockets that send messages of 256 KiB with a wrong member at their end")
def send_large_refused(target: Target) -> None:
    body = b'{"type":"data:update","data":{"dataset":"x"},"more":"%b","event_id":3}' % (b"x" * 250_000)
    _flood(target, frame(body) * 4)


@attack("small-bombs", "4 sockets that send refused messages of 256 KiB, compressed to 300 bytes, at full speed")
def send_small_bombs(target: Target) -> None:
    body = b'{"type":"data:update","data":{"dataset":"x"},"more":"%b","event_id":3}' % (b"x" * 250_000)
    _flood(target, compressed(body) * 500, compresses=True)


@attack("large-bombs", "sockets that each send one message of 200 MiB, compressed to 200 KiB, and come back")
def send_large_bombs(target: Target) -> None:
    bomb = compressed(bytes(200 << 20))
    while not target.over():
        peers = [Peer(target.host, target.port, compresses=True) for _ in range(target.scaled(100))]
        for peer in peers:
            peer.send(bomb)
        for peer in peers:
            while peer.take() is not None and not target.over():
                time.sleep(0.001)
            peer.close()


@attack("valid-pings-command", "4 sockets that send connection:ping commands at full speed")
def send_ping_commands(target: Target) -> None:
    _flood(target, message("connection:ping", None, id="x") * 4_000)


@attack("unread-answers", "4 sockets that send refused messages at full speed and never read")
def never_read_answers(target: Target) -> None:
    peers = [Peer(target.host, target.port, receive_buffer=4_096) for _ in range(SENDERS)]
    data = message("no:such", None, id="x") * 4_000
    while not target.over():
        for peer in peers:
            peer.send_some(data)
