"""Thousands of clients that connect together, in a process of their own: `python -m tests.hub.stampede`, a plan on
stdin.

Each resumes from an old position. A plain connection gets only events after its greeting, and all get the same bytes
for them: the bytes that every client must read are known beforehand, and are compared.

It prints `caught up` when all clients have read all old events and more. Then it reads a line with the number at which
the stream ends, and prints how many clients have read up to there: each event once, in order, and none missing.
"""

import os
import selectors
import socket
import sys
import time
from pathlib import Path

import msgspec
from tests.hub.raw_watcher import Stripped, receive
from tests.server.raw_client import handshake_request

TIMEOUT_S = 90.0
READ = 1 << 18


class Plan(msgspec.Struct):
    """The task of the clients."""

    port: int
    clients: int
    stream: str
    """File with the frames of all events, in order."""
    since: list[tuple[str, int]]
    """Positions to resume from, used in turn, and the place in the stream at which the events after each begin."""
    old: int
    """Place in the stream at which the old events end."""


class Client:
    """One connection, and the place in the stream that it has read to."""

    __slots__ = ("place", "request", "socket", "stripped")

    def __init__(self, port: int, since: str, place: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.request = handshake_request(f"/ws?channel=operations&since={since}")
        self.stripped = Stripped()
        self.place = place

    def fileno(self) -> int:
        return self.socket.fileno()


class Stampede:
    """All clients, in one loop."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stream = Path(plan.stream).read_bytes()
        self._selector = selectors.DefaultSelector()
        self._deadline = time.monotonic() + TIMEOUT_S
        self._behind = plan.clients
        self._clients: list[Client] = []

    def connect(self) -> None:
        since = self._plan.since
        for number in range(self._plan.clients):
            client = Client(self._plan.port, *since[number % len(since)])
            self._clients.append(client)
            self._selector.register(client, selectors.EVENT_WRITE)

    def catch_up(self) -> None:
        """Read until all clients have more than the old events."""
        while self._behind:
            self._turn()

    def read_to(self, end: int) -> int:
        """Read until all clients have reached `end`, and return how many have read exactly that."""
        while any(client.place < end for client in self._clients):
            self._turn()
        return sum(client.place == end for client in self._clients)

    def _turn(self) -> None:
        assert time.monotonic() < self._deadline, f"{self._behind} clients are behind"
        for key, events in self._selector.select(1.0):
            client = key.fileobj
            assert isinstance(client, Client)
            if events & selectors.EVENT_WRITE:
                client.socket.sendall(client.request)
                self._selector.modify(client, selectors.EVENT_READ)
            else:
                self._read(client)

    def _read(self, client: Client) -> None:
        frames = client.stripped.feed(receive(client.socket, READ))
        before = client.place
        assert self._stream.startswith(frames, before), f"unexpected bytes at {before}: {frames[:500]!r}"
        client.place += len(frames)
        if before <= self._plan.old < client.place:
            self._behind -= 1


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    stampede = Stampede(plan)
    stampede.connect()
    stampede.catch_up()
    os.write(1, b"caught up\n")
    os.write(1, b"%d\n" % stampede.read_to(int(sys.stdin.readline())))


if __name__ == "__main__":
    main()
