"""Failures that no part expects: whatever is raised on the way to the log, the next event is published."""

from collections.abc import Sequence

import pytest
from tests.hub.events import publish_updates

from tidings.log.base import AppendDone, EventToAppend, Log
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

ERRORS = [MemoryError(), OSError(2, "No such file or directory"), RuntimeError("a defect")]


class RaisingLog(FaultyLog):
    """A log with a defect: `append` raises the next of `errors`, before or after the batch is in the log."""

    def __init__(self, log: Log, *, after_append: bool = False) -> None:
        super().__init__(log)
        self.errors: list[Exception] = []
        self._after_append = after_append

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        error = self.errors.pop() if self.errors else None
        if error is not None and not self._after_append:
            raise error
        super().append(batch, done)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_batch_that_raises_is_refused_and_the_next_one_appended(error: Exception) -> None:
    log = RaisingLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    client = hub.connect("channel=data")
    hub.settle()
    client.read()
    log.errors.append(error)
    publish_updates(client, 2)
    hub.settle()
    assert [reply["data"]["code"] for reply in client.read()] == ["log_unavailable"] * 2
    assert (hub.hub.staged, hub.hub.counters.refused) == (0, 2)
    assert hub.hub.log_error is not None
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types() == ["event:accepted", "data:update"]
    assert hub.hub.log_error is None


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_error_after_the_append_does_not_settle_a_batch_twice(error: Exception) -> None:
    log = RaisingLog(MemoryLog(EPOCH), after_append=True)
    hub = InMemoryHub(log=log)
    client = hub.connect("channel=data")
    hub.settle()
    client.read()
    log.errors.append(error)
    publish_updates(client, 1)
    hub.settle()
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types() == ["event:accepted", "data:update"] * 2
    assert (hub.log.head, hub.hub.log_error) == (2, None)


def test_batch_that_cannot_be_taken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = InMemoryHub()
    client = hub.connect("channel=data")
    hub.settle()
    client.read()
    with monkeypatch.context() as patched:
        patched.setattr("tidings.hub.staging.Staging.take", _raise_memory_error)
        publish_updates(client, 2)
        hub.settle()
    assert [reply["data"]["code"] for reply in client.read()] == ["log_unavailable"] * 2
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types() == ["event:accepted", "data:update"]


def test_failing_reply_does_not_keep_the_others_back() -> None:
    hub = InMemoryHub()
    client = hub.connect("channel=data")
    hub.settle()
    client.read()
    hub.hub.after_commit(_raise_memory_error)
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types() == ["event:accepted", "data:update"]
    assert hub.hub.staged == 0


@pytest.mark.parametrize("part", ["ring.Ring.add", "ring.Ring.frame", "delivery.Delivery.write"])
def test_subscriber_misses_no_event_of_a_batch_whose_delivery_failed(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    hub = InMemoryHub()
    client, paced = hub.connect("channel=data"), hub.connect("channel=data&pace_ms=100")
    hub.settle()
    publish_updates(client, 2)
    hub.settle()
    with monkeypatch.context() as patched:
        patched.setattr(f"tidings.hub.{part}", _raise_memory_error)
        publish_updates(client, 3)
        hub.loop.run_round()
    publish_updates(client, 2)
    hub.loop.advance(5)
    for subscriber in (client, paced):
        positions = {str(event["position"]) for event in subscriber.read_events()}
        assert positions == {str(hub.log.position(offset)) for offset in range(1, 8)}


def _raise_memory_error(*arguments: object) -> None:
    raise MemoryError
