"""Bytes and connections that a hub has to keep while their senders do nothing."""

import contextlib
import socket

from benchmarks.hostile.peer import CONTINUATION, TEXT, Peer, connect, frame, handshake
from benchmarks.hostile.registry import Target, attack

MAX_MESSAGE_BYTES = 256 << 10


@attack("unfinished-frames", "2,000 connections with a frame of 256 KiB of which the last byte is missing")
def send_unfinished_frames(target: Target) -> None:
    data = frame(b'{"type":"data:update","data":"' + b"x" * (MAX_MESSAGE_BYTES - 40))[:-1]
    _send_from_all(target, 2_000, data)


@attack("unfinished-short-frames", "2,000 connections with a frame of 64 KiB of which the last byte is missing")
def send_unfinished_short_frames(target: Target) -> None:
    _send_from_all(target, 2_000, frame(b"x" * 65_000)[:-1])


@attack("unfinished-messages", "2,000 connections with a message of 250 KiB whose last fragment is missing")
def send_unfinished_messages(target: Target) -> None:
    part = b"x" * 50_000
    data = frame(part, TEXT, fin=False) + frame(part, CONTINUATION, fin=False) * 4
    _send_from_all(target, 2_000, data)


def _send_from_all(target: Target, connections: int, data: bytes) -> None:
    peers = []
    for _ in range(target.scaled(connections)):
        if target.over():
            break
        peers.append(Peer(target.host, target.port))
        peers[-1].send_some(data)
    target.hold()


@attack("half-open-handshakes", "5,000 TCP connections with a handshake whose end is missing")
def leave_handshakes_half_open(target: Target) -> None:
    kept = _connect_many(target, 5_000, handshake("/ws")[:-2])
    target.hold()
    del kept


@attack("silent-connections", "5,000 TCP connections that send nothing")
def connect_silently(target: Target) -> None:
    kept = _connect_many(target, 5_000, b"")
    target.hold()
    del kept


@attack("no-descriptors", "2,000 TCP connections to a hub with 512 descriptors", open_files=512)
def exhaust_descriptors(target: Target) -> None:
    kept = _connect_many(target, 2_000, b"")
    target.hold()
    del kept


@attack("reconnecting", "connections that are opened and dropped as fast as the hub accepts")
def reconnect(target: Target) -> None:
    while not target.over():
        with contextlib.suppress(OSError):
            Peer(target.host, target.port).close()


def _connect_many(target: Target, number: int, data: bytes) -> list[socket.socket]:
    kept: list[socket.socket] = []
    for _ in range(target.scaled(number)):
        if target.over():
            break
        with contextlib.suppress(OSError):
            kept.append(connect(target.host, target.port))
            if data:
                kept[-1].sendall(data)
    return kept
