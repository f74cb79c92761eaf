import asyncio
import socket
import threading

import pytest
from tests.server.hub_server import HubServer

from tidings.server.websocket.segment_turns import LARGE_SEGMENTS, MAX_WAITING_BYTES, SegmentTurns


class Connection:
    def __init__(self, name: int, parsed: list[int]) -> None:
        self.name = name
        self.size = 0
        self._parsed = parsed

    def read(self, turns: SegmentTurns, size: int) -> None:
        if turns.take(self, size):
            self._parsed.append(self.name)
        else:
            self.size = size

    def parse_waiting(self) -> int:
        self._parsed.append(self.name)
        return self.size


async def next_turn() -> None:
    await asyncio.sleep(0)


async def test_large_segments_are_parsed_in_order_a_few_in_each_turn() -> None:
    turns, parsed = SegmentTurns(), list[int]()
    for name in range(20):
        Connection(name, parsed).read(turns, 10_000)
    counts = [len(parsed)]
    for _ in range(3):
        await next_turn()
        counts.append(len(parsed))
    assert counts == [LARGE_SEGMENTS, 2 * LARGE_SEGMENTS, 20, 20]
    assert parsed == list(range(20))


async def test_newcomer_does_not_overtake_those_that_wait() -> None:
    turns, parsed = SegmentTurns(), list[int]()
    for name in range(2 * LARGE_SEGMENTS + 1):
        Connection(name, parsed).read(turns, 10_000)
    await next_turn()
    Connection(99, parsed).read(turns, 10_000)
    assert 99 not in parsed
    await next_turn()
    assert parsed == [*range(2 * LARGE_SEGMENTS + 1), 99]


async def test_segments_beyond_the_memory_are_parsed_immediately() -> None:
    turns, parsed = SegmentTurns(), list[int]()
    for name in range(LARGE_SEGMENTS + 1):
        Connection(name, parsed).read(turns, 10_000)
    turns.add(MAX_WAITING_BYTES - 20_000)
    Connection(100, parsed).read(turns, 10_001)
    assert parsed[-1] == 100
    turns.discard(10_001)
    Connection(101, parsed).read(turns, 10_000)
    assert 101 not in parsed


@pytest.mark.parametrize("half_closes", [False, True])
def test_many_large_posts_in_one_turn_are_all_answered(half_closes: bool) -> None:
    event = b'{"type":"data:update","data":{"dataset":"prices","note":"%b"}}' % (b"x" * 60_000)
    post = (
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with HubServer("native") as server:
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(40)]

        def send(client: socket.socket) -> None:
            client.sendall(post % len(event) + event)
            if half_closes:
                client.shutdown(socket.SHUT_WR)

        senders = [threading.Thread(target=send, args=(client,)) for client in clients]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        answers = [client.recv(12) for client in clients]
        for client in clients:
            client.close()
    assert answers == [b"HTTP/1.1 200"] * 40
