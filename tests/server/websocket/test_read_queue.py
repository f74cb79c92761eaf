"""Turns of reading: what one connection has left waits behind the others, and short segments come first."""

import asyncio

import pytest

from tidings.server.websocket import read_queue
from tidings.server.websocket.read_queue import BYTES_PER_ROUND, SHORT_BYTES, TURN_S, ReadQueue

Turns = list[str]


class Work:
    """A clock that turns move, each by its own time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.taken: dict[str, float] = {}

    def __call__(self) -> float:
        return self.now


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


class Busy(Connection):
    """A connection that has the next segment as soon as it has had its turn, until the clock shows `END_S`."""

    END_S = 60.0

    def __init__(self, name: str, work: Work, queue: ReadQueue, *, cost_s: float, size: int) -> None:
        super().__init__(name, Turns(), turns=1, size=size)
        self.work, self.queue, self.cost_s = work, queue, cost_s

    def take_turn(self, deadline: float) -> bool:
        self.work.now += self.cost_s
        self.work.taken[self.name] = self.work.taken.get(self.name, 0.0) + self.cost_s
        if self.work.now >= self.END_S:
            return False
        if self.size > SHORT_BYTES:
            return True
        asyncio.get_running_loop().call_soon(self.queue.run, self)
        return False


@pytest.mark.parametrize(("short", "long"), [(1, 1), (20, 1), (20, 20), (1, 20)])
async def test_long_segments_get_the_share_of_time_of_the_short_ones(short: int, long: int) -> None:
    work = Work()
    queue = ReadQueue(work)
    costs = [(0.002, 200)] * short + [(TURN_S, 100_000)] * long
    for number, (cost_s, size) in enumerate(costs):
        queue.run(Busy(f"{size} {number}", work, queue, cost_s=cost_s, size=size))
    await settle(queue)
    shares = {size: [work.taken.get(f"{size} {number}", 0.0) for number in range(len(costs))] for _, size in costs}
    shorts, longs = shares[200][:short], shares[100_000][short:]
    assert min(longs) > 0.4 * sum(work.taken.values()) / len(costs)
    assert max(longs) - min(longs) <= 2 * TURN_S, "those with long segments have turns"
    assert max(shorts) - min(shorts) <= 0.1 * max(shorts)


async def test_short_segments_that_leave_time_in_a_round_do_not_wait_for_long_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Costly(Connection):
        def take_turn(self, deadline: float) -> bool:
            work.now += 0.001 if self.size <= SHORT_BYTES else TURN_S
            return super().take_turn(deadline)

    work, order = Work(), Turns()
    queue = ReadQueue(work)
    monkeypatch.setattr(read_queue, "ROUND_S", 0.0)
    for number in range(3):
        queue.run(Costly(f"long {number}", order, turns=1))
        queue.run(Costly(f"short {number}", order, turns=1, size=200))
    monkeypatch.undo()
    await settle(queue)
    assert order == ["short 0", "short 1", "short 2", "long 0", "long 1", "long 2"]


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
