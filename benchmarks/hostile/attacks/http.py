"""HTTP requests with endless heads, bodies that stop, unread answers, and waits."""

import contextlib
import select
import socket

from benchmarks.hostile.peer import connect
from benchmarks.hostile.registry import Target, attack

_REQUEST = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
_POST = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def _send_to_all(target: Target, connections: list[socket.socket], data: bytes) -> None:
    """Send `data` on all connections, as far as the hub reads; answers are not read."""
    rest = {opened: memoryview(data) for opened in connections}
    while rest and not target.over():
        _, writable, _ = select.select([], list(rest), [], 0.1)
        for opened in writable:
            try:
                rest[opened] = rest[opened][opened.send(rest[opened][:65_536], socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                continue
            except OSError:
                del rest[opened]
                continue
            if not rest[opened]:
                del rest[opened]


def _connections(target: Target, number: int) -> list[socket.socket]:
    opened = []
    for _ in range(target.scaled(number)):
        with contextlib.suppress(OSError):
            opened.append(connect(target.host, target.port))
    return opened


@attack("short-headers", "900 connections with an unfinished head of 13,000 headers of one letter")
def send_short_headers(target: Target) -> None:
    opened = _connections(target, 900)
    _send_to_all(target, opened, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 13_000)
    target.hold()


@attack("endless-head", "900 connections with one header of 63 MB")
def send_endless_header(target: Target) -> None:
    opened = _connections(target, 900)
    _send_to_all(target, opened, b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"x" * 63_000_000)
    target.hold()


@attack("stalled-bodies", "150 posts of 4 MiB whose last byte is missing")
def stall_bodies(target: Target) -> None:
    opened = _connections(target, 150)
    _send_to_all(target, opened, _POST % 4_194_304 + b" " * 4_194_303)
    target.hold()


@attack("pipelining-unread", "100 connections that pipeline requests and read no answer")
def pipeline_unread(target: Target) -> None:
    opened = _connections(target, 100)
    _send_to_all(target, opened, _REQUEST % b"/openapi.json" * 100_000)
    target.hold()


@attack("unknown-operations", "requests for operations that do not exist, with ids like those that do")
def ask_for_unknown_operations(target: Target) -> None:
    made = connect(target.host, target.port)
    for number in range(1_000):
        operation = b"%032x" % (number * 0x9E3779B97F4A7C15 % 2**128)
        event = b'{"type":"operation:start","data":{"operation_id":"%b"}}' % operation
        made.sendall(_POST % len(event) + event)
        made.recv(65_536)
    while not target.over():
        made.sendall(_REQUEST % b"/v1/operations/0123456789abcdef0123456789abcdef")
        if not made.recv(65_536):
            made = connect(target.host, target.port)


@attack("wait-storm", "900 requests that wait for one operation, which reports as fast as it can")
def wait_for_one_operation(target: Target) -> None:
    opened = _connections(target, 900)
    for each in opened:
        each.sendall(_REQUEST % b"/v1/operations/busy?wait=60")
    made = connect(target.host, target.port)
    for number in range(1_000_000):
        if target.over():
            break
        event = b'{"type":"operation:progress","data":{"operation_id":"busy","progress":%d}}' % (number % 100)
        made.sendall(_POST % len(event) + event)
        made.recv(65_536)


@attack("tiny-chunks", "100 posts in chunks of one byte, each with an extension of 100")
def post_tiny_chunks(target: Target) -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    opened = _connections(target, 100)
    body = b"".join(b"1;%b\r\n \r\n" % (b"x" * 100) for _ in range(100_000))
    _send_to_all(target, opened, head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    target.hold()


@attack("repeated-posts", "20 connections that send one post of 1,000 events with one key, again and again")
def repeat_posts(target: Target) -> None:
    events = b",".join(b'{"type":"data:update","data":{"dataset":"repeated-%d"}}' % number for number in range(1_000))
    head = _POST % (len(events) + 2)
    post = head.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: again-and-again-and-again\r\n\r\n") + b"[%b]" % events
    opened = _connections(target, 20)
    for each in opened:
        each.sendall(post)
    while not target.over():
        for each in select.select(opened, [], [], 0.1)[0]:
            if not each.recv(1 << 20).endswith(b"]}"):
                continue
            each.sendall(post)
