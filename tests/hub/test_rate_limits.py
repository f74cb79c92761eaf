"""Refused messages, Pings and small fragments have a limit, and their log lines are sampled."""

import pytest
from tests.hub.events import publish_updates

from tidings.exceptions import LogFull
from tidings.hub.rate_limits import MAX_LINES_PER_S, MAX_OVERHEAD, OVERHEAD_PER_S, LogSampler
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub


def test_refused_messages_beyond_the_limit_close_the_connection() -> None:
    client = InMemoryHub().connect("channels=none")
    sent = 0
    while client.outlet.closed is None:
        client.send("no:such")
        client.read()
        sent += 1
        assert sent <= MAX_OVERHEAD + 1
    assert client.outlet.closed == (4029, "too many refused messages, Pings or small fragments")
    assert sent == MAX_OVERHEAD + 1


def test_closed_connection_is_told_the_code() -> None:
    client = InMemoryHub().connect("channels=none")
    client.connection.overhead_received(MAX_OVERHEAD + 1)
    error, closed = client.read()[-2:]
    assert (error["type"], error["data"]["code"]) == ("connection:error", "abuse")
    assert (closed["type"], closed["data"]["code"], closed["data"]["reconnect"]) == ("connection:closed", 4029, False)


def test_limit_fills_again_with_time() -> None:
    hub = InMemoryHub()
    client = hub.connect("channels=none")
    client.connection.overhead_received(MAX_OVERHEAD)
    hub.loop.advance(1)
    client.connection.overhead_received(int(OVERHEAD_PER_S))
    assert client.outlet.closed is None
    client.connection.overhead_received(1)
    assert client.outlet.closed is not None


def test_refusals_of_the_log_do_not_count() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    client = hub.connect("channels=none")
    for _ in range(5):
        log.fail_append(LogFull("no room"))
        publish_updates(client, 500)
        hub.settle()
    assert client.outlet.closed is None


@pytest.mark.parametrize("start", [0.0, 1e9])
def test_lines_of_each_second_are_counted_apart(start: float) -> None:
    sampler = LogSampler()
    allowed = [sampler.allows(start + number / 100) for number in range(200)]
    assert allowed[:100].count(True) == allowed[100:].count(True) == MAX_LINES_PER_S
    assert sampler.take_suppressed() == 200 - 2 * MAX_LINES_PER_S
    assert sampler.take_suppressed() == 0
