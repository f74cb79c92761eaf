"""Clients that ask for much and read nothing, and crowds whose paths or paces make each event costly."""

import json
import select
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection

from benchmarks.hostile.peer import Peer, connect
from benchmarks.hostile.registry import Target, attack

LARGE_BYTES = 60_000
"""Bytes of data of a large event; the hub accepts 64 KiB."""
_SMALL_BUFFER = 4_096


def _event(number: int, padding: int) -> str:
    data = {"dataset": "large", "version": number, "metadata": {"padding": "x" * padding}}
    return json.dumps({"type": "data:update", "data": data})


def _progress(operation_id: str, progress: float) -> str:
    return json.dumps({"type": "operation:progress", "data": {"operation_id": operation_id, "progress": progress}})


class Poster:
    """Posts events over one HTTP connection."""

    def __init__(self, target: Target) -> None:
        self._connection = HTTPConnection(target.host, target.port, timeout=60)

    def post(self, events: list[str]) -> None:
        """Post events in one request."""
        body = "\n".join(events)
        self._connection.request("POST", "/v1/events", body, {"Content-Type": "application/x-ndjson"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"{answer.status} {text[:200]!r}")


def _readers(target: Target, number: int, query: str, *, versioned: bool = True) -> list[Peer]:
    """Connect clients that have read their greeting and read nothing more."""
    return [
        Peer(target.host, target.port, query=query, versioned=versioned, receive_buffer=_SMALL_BUFFER)
        for _ in range(target.scaled(number))
    ]


def _requests(target: Target, number: int, path: str) -> list[socket.socket]:
    """Send HTTP requests whose answers no one reads."""
    opened = [connect(target.host, target.port, receive_buffer=_SMALL_BUFFER) for _ in range(target.scaled(number))]
    for each in opened:
        each.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return opened


@attack("unread-events", "9,000 readers that never read, and one small event after the other")
def read_no_events(target: Target) -> None:
    kept = _readers(target, 9_000, "channel=data")
    poster = Poster(target)
    number = 0
    while not target.over():
        poster.post([_event(number + each, 100) for each in range(20)])
        number += 20
    del kept


def _read_nothing(target: Target, readers: int, posts: int, events: int) -> None:
    """Connect readers that never read, and publish many large events beside them."""
    kept = _readers(target, readers, "channel=data")
    poster = Poster(target)
    for number in range(posts):
        poster.post([_event(number * events + each, LARGE_BYTES) for each in range(events)])
    target.hold()
    del kept


@attack("unread-ticks", "100 readers that never read, and 25 posts of 3.9 MB")
def read_no_ticks(target: Target) -> None:
    _read_nothing(target, 100, posts=target.scaled(25), events=65)


@attack("unread-large-event", "4,000 readers that stop inside events of 60 KB")
def read_no_large_event(target: Target) -> None:
    _read_nothing(target, 4_000, posts=20, events=1)


def _history(target: Target, megabytes: int) -> None:
    poster = Poster(target)
    for number in range(target.scaled(megabytes)):
        poster.post([_event(number * 16 + each, LARGE_BYTES) for each in range(16)])


@attack("unread-history", "2,000 readers that ask for history, each from another position, and read nothing")
def read_no_history(target: Target) -> None:
    poster = Poster(target)
    for first in range(0, 20_000, 1_000):
        poster.post([_event(number, 1_000) for number in range(first, first + 1_000)])
    epoch = Peer(target.host, target.port).read_until("connection:established")["data"]["position"].partition(":")[0]
    kept = [
        Peer(
            target.host,
            target.port,
            query=f"channel=data&since={epoch}:{number * 4 + 1}",
            receive_buffer=_SMALL_BUFFER,
        )
        for number in range(target.scaled(2_000))
    ]
    target.hold()
    del kept


def _read_no_answers(target: Target, path: str) -> None:
    """Ask 500 times for a history of 50 MB, and read nothing."""
    _history(target, 50)
    kept = _requests(target, 500, path)
    target.hold()
    del kept


@attack("unread-streams", "500 event streams of a history of 50 MB that no one reads")
def read_no_streams(target: Target) -> None:
    _read_no_answers(target, "/v1/stream?channel=data&since=first")


@attack("unread-pages", "500 pages of history, of 1,000 events each, that no one reads")
def read_no_pages(target: Target) -> None:
    _read_no_answers(target, "/v1/events?channel=data&since=first&limit=1000")


@attack("many-routes", "1,000 sets of paths that match the same events, with 65,000 keys")
def match_many_routes(target: Target) -> None:
    # The events of one tick go to all of them: each reads one channel, and one path that no one else has.
    kept = [
        Peer(target.host, target.port, query=f"channel=operations&channel=data/{number}")
        for number in range(target.scaled(1_000))
    ]
    poster = Poster(target)
    for first in range(0, target.scaled(65_000), 500):
        if target.over():
            break
        poster.post([_progress(f"key-{number:030}", 1) for number in range(first, first + 500)])
        for peer in kept:
            peer.discard()
    target.hold()


def _publish_steadily(target: Target, rate: int) -> Iterator[None]:
    """Publish progress of many operations, and pause after each post."""
    poster, number, due = Poster(target), 0, time.monotonic()
    while not target.over():
        poster.post([_progress(f"other-{(number + each) % 5_000}", number % 100) for each in range(rate // 20)])
        number += rate // 20
        due += 0.05
        yield
        time.sleep(max(0.0, due - time.monotonic()))


def _discard(peers: list[Peer]) -> None:
    for peer in select.select(peers, [], [], 0)[0]:
        peer.discard()


@attack("paced-watchers", "1,000 watchers of one operation each with a pace, beside 2,000 events per second of others")
def watch_with_a_pace(target: Target) -> None:
    kept = [
        Peer(target.host, target.port, query=f"channel=operations/mine-{number}&pace_ms=1000")
        for number in range(target.scaled(1_000))
    ]
    for _ in _publish_steadily(target, 2_000):
        pass
    del kept


@attack("paced-readers", "1,000 sets of paths with a pace that match the same 500 events per second")
def read_all_with_a_pace(target: Target) -> None:
    kept = [
        Peer(target.host, target.port, query=f"channel=operations&channel=data/{number}&pace_ms=1000")
        for number in range(target.scaled(1_000))
    ]
    for _ in _publish_steadily(target, 500):
        _discard(kept)


@attack("resuming-watchers", "1,000 watchers of one operation each that resume 30,000 events, again and again")
def resume_watchers(target: Target) -> None:
    poster = Poster(target)
    for first in range(0, target.scaled(30_000), 1_000):
        poster.post([_progress(f"op-{number}", 1) for number in range(first, first + 1_000)])
    while not target.over():
        kept = [
            Peer(target.host, target.port, query=f"channel=operations/op-{number}&since=first")
            for number in range(target.scaled(1_000))
        ]
        _discard(kept)
        for peer in kept:
            peer.close()
