"""Operations whose hub restarts or is late."""

import secrets

import pytest
from tests.client.hub_server import HubServer
from tests.producer.reported import Reported, until

import tidings
from tidings.log.memory import MemoryLog
from tidings.producer.runtime import RUNTIME


@pytest.fixture
def log() -> MemoryLog:
    """A log that outlives its hub, as a file does."""
    return MemoryLog(secrets.token_hex(4))


def test_hub_that_restarts_receives_the_end_of_the_operation(log: MemoryLog) -> None:
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
        received = reported.received(op.id)
        assert [data["progress"] for kind, data in received if kind == "progress"][-1] == 99.9
        assert received[-1][1]["result"] == {"rows": 999}
        RUNTIME.close()


def test_hub_that_starts_late_receives_all_durable_events(log: MemoryLog) -> None:
    with HubServer(event_log=log) as hub:
        url, port = hub.url, hub.port
    with tidings.operation("Early", url=url) as op:
        for number in range(100):
            op.progress(number)
        op.log("still here")
    with HubServer(port, event_log=log) as late:
        reported = Reported(late)
        kinds = [kind for kind, _ in reported.received(op.id)]
        assert kinds in (["start", "log", "progress", "complete"], ["start", "progress", "log", "complete"])
        RUNTIME.close()


def test_next_operation_sends_the_spool_of_an_earlier_one(log: MemoryLog) -> None:
    """The outbox has tests of its spool; here it contains the events of an operation."""
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
