"""Hubs that come late, go away in the middle, and come back."""

import secrets

import pytest
from tests.client.hub_server import HubServer
from tests.producer.reported import Reported, until

import tidings
from tidings.log.memory import MemoryLog
from tidings.producer.runtime import RUNTIME


@pytest.fixture
def log() -> MemoryLog:
    """What a file would be: it outlives the hub."""
    return MemoryLog(secrets.token_hex(4))


def test_a_hub_that_goes_away_in_the_middle_gets_the_end_when_it_is_back(log: MemoryLog) -> None:
    with HubServer(event_log=log) as hub:
        op = tidings.start("Import", total=1_000, url=hub.url)
        for _ in range(100):
            op.advance()
        until(lambda: bool(RUNTIME.running) and Reported(hub).last(op.id)[0] == "progress")
    for _ in range(899):
        op.advance()
    op.log("while it was away")
    op.complete(result={"rows": 999})
    assert op.state == "complete"
    with HubServer(hub.port, event_log=log) as again:
        reported = Reported(again)
        assert reported.kinds(op.id) == ["start", "log", "complete"]
        told = reported.told(op.id)
        assert [data["progress"] for kind, data in told if kind == "progress"][-1] == 99.9
        assert told[-1][1]["result"] == {"rows": 999}
        RUNTIME.close()


def test_a_hub_that_comes_late_is_told_everything_that_matters(log: MemoryLog) -> None:
    with HubServer(event_log=log) as hub:
        url, port = hub.url, hub.port
    with tidings.operation("Early", url=url) as op:
        for number in range(100):
            op.progress(number)
        op.log("still here")
    with HubServer(port, event_log=log) as late:
        reported = Reported(late)
        told = reported.told(op.id)
        assert [kind for kind, _ in told] == ["start", "log", "progress", "complete"] or [kind for kind, _ in told] == [
            "start",
            "progress",
            "log",
            "complete",
        ]
        RUNTIME.close()


def test_what_one_process_left_unsent_the_next_operation_s_brings(log: MemoryLog) -> None:
    """The spool is the outbox's; here an operation's events are in it."""
    with HubServer(event_log=log) as hub:
        url, port = hub.url, hub.port
    with tidings.operation("Left", url=url) as left:
        pass
    assert RUNTIME.close(0.0) > 0
    with HubServer(port, event_log=log) as late:
        reported = Reported(late)
        with tidings.operation("Next", url=url):
            until(lambda: any(event.key == left.id for event in reported.events()))
        until(lambda: "complete" in reported.kinds(left.id))
        assert reported.kinds(left.id) == ["start", "complete"]
        RUNTIME.close()
