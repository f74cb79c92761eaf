"""Reads over HTTP that look at much and return little, or return much and are not read."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice

from benchmarks.hostile.peer import Peer, connect, message
from benchmarks.hostile.registry import Target, attack

_GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _parts(frames: Iterable[bytes], size: int) -> Iterator[bytes]:
    rest = iter(frames)
    while part := b"".join(islice(rest, size)):
        yield part


def _publish(target: Target, frames: Iterable[bytes]) -> None:
    """Publish events, and wait until the hub has read them."""
    peer = Peer(target.host, target.port)
    for part in _parts(frames, 500):
        if target.over() or not peer.send(part):
            return
        peer.discard()
    peer.send(message("connection:ping", {}, id="p"))
    peer.read_until("connection:pong")


def _ask_again_and_again(target: Target, number: int, requests: Callable[[int], Iterable[bytes]]) -> None:
    """Send requests on many connections, each after the answer to the one before, until the attack is over."""
    asking: dict[socket.socket, Iterator[bytes]] = {}
    for index in range(target.scaled(number)):
        with contextlib.suppress(OSError):
            asking[connect(target.host, target.port)] = iter(requests(index))
    for opened, paths in asking.items():
        opened.sendall(_GET % next(paths))
    while asking and not target.over():
        readable, _, _ = select.select(list(asking), [], [], 0.1)
        for opened in readable:
            received = opened.recv(1 << 20)
            if not received:
                del asking[opened]
            elif received.endswith((b"}", b"]", b"0\r\n\r\n", b"\n")):
                opened.sendall(_GET % next(asking[opened]))


def _start(number: int, **facts: object) -> bytes:
    return message("operation:start", {"operation_id": f"read-{number}", **facts})


@attack("searches", "50 connections that search 20,000 operations for words that none of them has, in every order")
def search_operations(target: Target) -> None:
    words = "the quick brown fox jumps over the lazy dog " * 4
    _publish(target, (_start(number, name=f"{number} {words}") for number in range(target.scaled(20_000))))
    query = b"/v1/operations?q=%b&totals=true&limit=1000&sort=" % b"+".join([b"fo"] * 20)
    sorts = [query + order for order in (b"name", b"progress", b"duration", b"remaining", b"heard")]
    _ask_again_and_again(target, 50, lambda index: cycle(sorts[index % 5 :] + sorts[: index % 5]))


@attack("backward-scans", "50 connections that ask for the last event of paths that have none, behind 100,000 events")
def scan_backwards(target: Target) -> None:
    _publish(target, (message("data:update", {"dataset": f"key-{number}"}) for number in range(target.scaled(100_000))))
    _ask_again_and_again(target, 50, lambda index: cycle([b"/v1/events?channels=data/none-%d-*&last=1" % index]))


@attack("log-downloads", "300 downloads of the log of one operation, of 20,000 lines, that no one reads")
def download_logs(target: Target) -> None:
    lines = (
        message("operation:log", {"operation_id": "read-0", "level": "info", "message": "x" * 200 + str(number)})
        for number in range(target.scaled(20_000))
    )
    _publish(target, [_start(0), *lines])
    opened = []
    for _ in range(target.scaled(300)):
        opened.append(connect(target.host, target.port, receive_buffer=4_096))
        opened[-1].sendall(_GET % b"/v1/operation-log?operation_id=read-0&format=text")
    target.hold()


@attack("stream-storm", "event streams of 50,000 events that are opened, and left after their first bytes")
def open_and_leave_streams(target: Target) -> None:
    _publish(target, (message("data:update", {"dataset": f"key-{number}"}) for number in range(target.scaled(50_000))))
    request = (
        b"GET /v1/stream?channels=data&since=first HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    )
    while not target.over():
        opened = connect(target.host, target.port)
        with contextlib.suppress(OSError):
            opened.sendall(request)
            opened.recv(1_000)
        opened.close()


@attack("children-pages", "50 connections that ask for one operation with 20,000 children and 20,000 steps")
def show_large_operation(target: Target) -> None:
    def frames() -> Iterable[bytes]:
        yield _start(0)
        for number in range(1, target.scaled(20_000)):
            yield _start(number, parent_id="read-0")
            yield message("operation:progress", {"operation_id": "read-0", "progress": 1, "current_step": f"s{number}"})

    _publish(target, frames())
    paths = [b"/v1/operations/read-0", b"/v1/operations?parent=read-0&limit=1000", b"/v1/operation-names?limit=1000"]
    _ask_again_and_again(target, 50, lambda _: cycle(paths))
