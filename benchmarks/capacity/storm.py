"""Clients that return together to one node, simulated with the delays of the client and the rules of the hub."""

import heapq
from collections import deque
from functools import cache
from random import Random
from typing import Final

from msgspec import Struct

from tidings.client.reconnect import Backoff, Reconnect
from tidings.server.websocket.accept_queue import MAX_WAIT_S

STEP_S: Final = 0.05
"""Time between two looks at the queue: the node opens the connections of this time together."""
MAX_SECONDS: Final = 3_600.0


class Storm(Struct, frozen=True, kw_only=True):
    """How the clients came back."""

    clients: int
    half_s: float
    """Seconds until half of them are back."""
    all_s: float
    attempts: int
    refused: int
    """Handshakes that were answered with 503, because too many waited."""
    most_waiting: int


@cache
def simulate(clients: int, *, rate: float, seed: int = 1) -> Storm:
    """Let clients that lost their connection at the same moment return to one node, as after a crash.

    Args:
        clients: Their number.
        rate: `--reconnect-rate` of the node, in connections per second.
        seed: Seed of the clients' random delays.

    Raises:
        RuntimeError: They did not return within an hour.
    """
    random = Random(seed)
    backoffs = [Backoff(Reconnect(), random.random) for _ in range(clients)]
    arriving = [(backoff.next_delay(), number) for number, backoff in enumerate(backoffs)]
    heapq.heapify(arriving)
    waiting: deque[int] = deque()
    most = max(1, int(rate * MAX_WAIT_S))
    back, attempts, refused, most_waiting, room, half_s = 0, 0, 0, 0, 0.0, 0.0
    step = 0
    while back < clients:
        step += 1
        now = step * STEP_S
        if now > MAX_SECONDS:
            raise RuntimeError("the clients do not return")
        while arriving and arriving[0][0] <= now:
            at, number = heapq.heappop(arriving)
            attempts += 1
            if len(waiting) < most:
                waiting.append(number)
            else:
                refused += 1
                heapq.heappush(arriving, (at + backoffs[number].next_delay(), number))
        most_waiting = max(most_waiting, len(waiting))
        room = min(room + rate * STEP_S, rate)
        while waiting and room >= 1:
            waiting.popleft()
            room -= 1
            back += 1
        if not half_s and back * 2 >= clients:
            half_s = now
    return Storm(
        clients=clients,
        half_s=half_s,
        all_s=step * STEP_S,
        attempts=attempts,
        refused=refused,
        most_waiting=most_waiting,
    )
