"""Publishers that keep every window full."""

import select

from benchmarks.hostile.peer import Peer, message
from benchmarks.hostile.registry import Target, attack

WINDOW = 1_000
REPLY = b'"event:accepted"'


@attack("greedy-publishers", "100 publishers that keep 1,000 unacknowledged events in flight each")
def publish_greedily(target: Target) -> None:
    event = message("data:update", {"dataset": "greedy", "version": 1}, id="1")
    size = len(event)
    peers = [Peer(target.host, target.port) for _ in range(target.scaled(100))]
    due = dict.fromkeys(peers, WINDOW * size)
    while due and not target.over():
        readable, writable, _ = select.select(list(due), [peer for peer in due if due[peer]], [], 0.1)
        for peer in readable:
            replies = sum(REPLY in body or b'"connection:error"' in body for _, body in peer.available())
            due[peer] += replies * size
        for peer in writable:
            place = -due[peer] % size
            sent = peer.send_some(memoryview(event * (due[peer] // size + 1))[place : place + due[peer]])
            if sent < 0:
                del due[peer]
            else:
                due[peer] -= sent
