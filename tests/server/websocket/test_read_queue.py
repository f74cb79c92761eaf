"""Turns of reading: what one connection has left waits behind the others, and short segments come first."""

import asyncio

import pytest

from tidings.server.websocket import read_queue
from tidings.server.websocket.read_queue import BYTES_PER_ROUND, SHORT_BYTES, ReadQueue

Turns = list[str]


class Connection:
    """A connection that needs several turns; `order` records them."""

    def __init__(self, name: str, order: Turns, *, turns: int, size: int = 100_000) -> None:
        self.name = name
        self.order = order
        self.turns = turns
        self.size = size
        self.paused = False

    def unread_bytes(self) -> int:
        return self.size

    def take_turn(self, deadline: float) -> bool:
        self.order.append(self.name)
        self.turns -= 1
        return self.turns > 0

    def pause_transport(self) -> None:
        self.paused = True


def still() -> float:
    """Return the time of a clock that stands still: no round ends for lack of time."""
    return 0.0


async def settle(queue: ReadQueue) -> None:
    before = -1
    while queue.rounds != before:
        before = queue.rounds
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_first_turn_is_immediate_and_the_rest_waits() -> None:
    queue, order = ReadQueue(still), Turns()
    connection = Connection("a", order, turns=3)
    queue.run(connection)
    assert (order, connection.paused) == (["a"], True)
    await settle(queue)
    assert order == ["a"] * 3


async def test_connections_take_turns() -> None:
    queue, order = ReadQueue(still), Turns()
    for name in "abc":
        queue.run(Connection(name, order, turns=3))
    await settle(queue)
    assert order == list("abcabcabc")


async def test_short_segment_comes_before_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, order = ReadQueue(still), Turns()
    monkeypatch.setattr(read_queue, "ROUND_S", 0.0)  # no round has time left: every connection waits
    queue.run(Connection("long", order, turns=2))
    queue.run(Connection("short", order, turns=1, size=SHORT_BYTES))
    assert order == []
    monkeypatch.undo()
    await settle(queue)
    assert order == ["short", "long", "long"]


async def test_short_segments_come_in_the_order_of_their_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, order = ReadQueue(still), Turns()
    monkeypatch.setattr(read_queue, "ROUND_S", 0.0)
    for number in range(3):
        queue.run(Connection(f"commands {number}", order, turns=1, size=9_000))
    queue.run(Connection("event", order, turns=1, size=200))
    monkeypatch.undo()
    await settle(queue)
    assert order == ["event", "commands 0", "commands 1", "commands 2"]


async def test_longer_segment_is_not_overtaken_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, order = ReadQueue(still), Turns()
    monkeypatch.setattr(read_queue, "ROUND_S", 0.0)
    queue.run(Connection("commands", order, turns=1, size=9_000))
    queue.rounds += 9_000 // BYTES_PER_ROUND
    queue.run(Connection("event", order, turns=1, size=200))
    monkeypatch.undo()
    await settle(queue)
    assert order == ["commands", "event"]


async def test_failing_connection_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Connection):
        def take_turn(self, deadline: float) -> bool:
            super().take_turn(deadline)
            raise RuntimeError("as if a handler had failed")

    queue, order = ReadQueue(still), Turns()
    queue.run(Connection("a", order, turns=2))
    queue.run(Broken("broken", order, turns=2))
    queue.run(Connection("b", order, turns=2))
    await settle(queue)
    assert order == ["a", "broken", "b", "a", "b"]
    assert "reading from a connection failed" in caplog.text
