"""Batches and their failures, and the start and end of a hub."""

from collections.abc import Sequence

import pytest
from msgspec import Raw
from tests.hub.events import make_entry, make_event, progress, publish_updates, update

from tidings.exceptions import Draining, LogBusy, LogFull, LogUnavailable
from tidings.hub.config import HubConfig
from tidings.log.base import Outcome, PublishResult, Retention
from tidings.log.memory import MemoryLog
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import MessageType
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

FULL = LogFull("no room", hint="Make some.")


def faulty(config: HubConfig | None = None) -> tuple[InMemoryHub, FaultyLog]:
    log = FaultyLog(MemoryLog(EPOCH))
    return InMemoryHub(config, log=log), log


# Batches.


def test_batch_is_bounded_and_the_rest_follows() -> None:
    hub, log = faulty(HubConfig(batch_events=10))
    client = hub.connect("channels=none")
    publish_updates(client, 25)
    for appends, head in ((1, 10), (2, 20), (3, 25), (3, 25)):
        hub.loop.run_round()
        assert (log.appends, log.head) == (appends, head)
    assert hub.hub.counters.ticks == 3


def test_next_batch_gathers_during_an_append() -> None:
    hub, log = faulty()
    client = hub.connect("channel=data")
    hub.settle()
    log.hold_appends()
    publish_updates(client, 3)
    hub.settle()
    publish_updates(client, 4)
    hub.settle()
    assert (log.appends, hub.hub.staged, len(client.read_events())) == (1, 7, 0)
    log.release_appends()
    assert (log.head, hub.hub.staged) == (3, 4)
    hub.settle()
    assert (log.appends, log.head, hub.hub.staged) == (2, 7, 0)
    assert [event["data"]["metadata"]["n"] for event in client.read_events()] == [0, 1, 2, 0, 1, 2, 3]


def test_failed_batch_is_not_delivered_and_fails_later_events() -> None:
    hub, log = faulty()
    client, other = hub.connect("channel=data"), hub.connect("channel=data")
    hub.settle()
    client.read()
    log.hold_appends()
    log.fail_append(FULL)
    publish_updates(client, 3)
    hub.settle()
    publish_updates(client, 2)
    publish_updates(other, 1)
    log.release_appends()
    hub.settle()
    replies = client.read()
    assert [reply["data"]["code"] for reply in replies] == ["log_full"] * 5
    assert [reply["reply_to"] for reply in replies] == ["1", "2", "3", "4", "5"]
    assert all(reply["data"]["recoverable"] and reply["data"]["hint"] == "Make some." for reply in replies)
    assert (log.head, hub.hub.staged, hub.hub.counters.refused, hub.hub.log_error) == (0, 0, 6, FULL)
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types() == ["event:accepted", "data:update"]
    assert other.read_types()[-2:] == ["connection:error", "data:update"]
    assert (log.head, hub.hub.log_error) == (1, None)


def test_replies_to_a_failed_batch_are_one_write() -> None:
    hub, log = faulty()
    client = hub.connect("channels=none")
    log.fail_append(FULL)
    publish_updates(client, 100)
    before = client.outlet.writes
    hub.settle()
    assert (client.outlet.writes - before, len(client.read())) == (1, 101)


def test_event_id_of_a_failed_batch_is_free_again() -> None:
    hub, log = faulty()
    client = hub.connect("channels=none")
    log.fail_append(FULL)
    for dataset in "ab":
        client.send("data:update", update(dataset), event_id="0123456789abcdef")
        hub.settle()
    assert client.read_types()[1:] == ["connection:error", "event:accepted"]


def test_operation_of_a_failed_batch_has_not_begun() -> None:
    hub, log = faulty()
    client = hub.connect("channel=operations")
    log.fail_append(FULL)
    client.send("operation:start", {"operation_id": "a", "name": "run"}, trace_id="lost")
    hub.settle()
    other = hub.connect("channels=none")
    other.send("operation:progress", progress("a"))
    hub.settle()
    assert client.read_events()[0]["trace_id"] != "lost"


def test_too_many_staged_events_raise_log_busy() -> None:
    hub, _ = faulty(HubConfig(staged_events=5))
    client = hub.connect("channels=none")
    for number in range(5):
        hub.hub.publish(Envelope(type="data:update", data=Raw(b'{"version":%d}' % number)), lambda _: None)
    with pytest.raises(LogBusy):
        hub.hub.publish(Envelope(type="data:update"), lambda _: None)
    publish_updates(client, 1)
    assert not client.outlet.reading
    hub.settle()
    assert client.read_types()[1:] == ["event:accepted"]
    assert hub.log.head == 6


def test_failing_publisher_callback_does_not_block_delivery() -> None:
    hub, _ = faulty()
    client = hub.connect("channel=data")
    hub.settle()

    def broken(result: Outcome) -> None:
        raise RuntimeError("as if a future had been cancelled")

    hub.hub.publish(Envelope(type="data:update"), broken)
    publish_updates(client, 1)
    hub.settle()
    assert client.read_types()[-3:] == ["event:accepted", "data:update", "data:update"]


def test_event_published_while_settling_goes_in_the_next_batch() -> None:
    hub, log = faulty()
    results: list[Outcome] = []

    def again(result: Outcome) -> None:
        results.append(result)
        hub.hub.publish(Envelope(type="data:update"), results.append)

    hub.hub.publish(Envelope(type="data:update"), again)
    hub.settle()
    assert ([isinstance(result, PublishResult) for result in results], log.appends) == ([True, True], 2)


def test_event_without_trace_takes_its_operations_or_requests_trace() -> None:
    hub, _ = faulty()
    client = hub.connect("channels=*")
    hub.settle()
    client.send("operation:start", {"operation_id": "a", "name": "run"}, trace_id="its own")
    for type, data in (("operation:log", b'{"operation_id":"a","message":"m"}'), ("data:update", b"{}")):
        hub.hub.publish(Envelope(type=type, data=Raw(data)), lambda _: None, trace_id="the request's")
    hub.settle()
    events = client.read_events()
    assert [event["trace_id"] for event in events] == ["its own", "its own", "the request's"]
    assert {event["timestamp"] for event in events} == {"2026-01-01T00:00:00Z"}


# Start and end.


def test_live_operations_survive_a_restart() -> None:
    log = MemoryLog(EPOCH)
    entries = [make_entry(make_event("operation:start", f"{number}", trace_id=f"t{number}")) for number in range(50)]
    entries += [make_entry(make_event("operation:complete", f"{number}")) for number in range(0, 50, 2)]
    entries += [make_entry(make_event("operation:start", "0", channel="global", trace_id="again"))]
    entries += [make_entry(make_event("data:update", f"{number}")) for number in range(50)]
    log.append(entries, lambda _: None)
    hub = InMemoryHub(log=log)
    hub.settle()
    assert len(hub.hub.operations) == 26
    lives = [hub.hub.operations.life(operation_id) for operation_id in "702"]
    assert [(life.trace_id, life.live) for life in lives if life] == [("t7", True), ("again", True), ("t2", False)]


def test_draining_hub_accepts_only_its_own_events() -> None:
    hub, log = faulty()
    hub.hub.draining = True
    with pytest.raises(Draining):
        hub.hub.publish(Envelope(type="data:update"), lambda _: None)
    hub.hub.publish(Envelope(type=MessageType.LICENSE_EXPIRED), lambda _: None, by_hub=True)
    hub.settle()
    assert log.head == 1


def test_close_appends_staged_events() -> None:
    hub, log = faulty(HubConfig(batch_events=10))
    client = hub.connect("channels=none")
    publish_updates(client, 25)
    hub.hub.close()
    hub.hub.close()
    assert (log.head, client.read_types()[1:]) == (25, ["event:accepted"] * 25)
    with pytest.raises(Draining):
        hub.hub.publish(Envelope(type="data:update"), lambda _: None, by_hub=True)
    rounds = hub.loop.rounds
    hub.loop.advance(100)
    assert hub.loop.rounds - rounds < 5, "no timer is left"


# Retention.


class MaintainedLog(FaultyLog):
    """Counts the steps of retention, reports that more work is left, or fails."""

    steps = 0
    more = 0
    fails = False

    def maintain(self, now_ns: int) -> bool:
        self.steps += 1
        if self.fails:
            raise LogUnavailable("as if")
        self.more = max(0, self.more - 1)
        return self.more > 0


def test_retention_is_fast_while_busy_and_continues_after_an_error() -> None:
    log = MaintainedLog(MemoryLog(EPOCH))
    log.more = 50
    hub = InMemoryHub(HubConfig(maintain_s=1.0), log=log)
    hub.loop.advance(0.9)
    assert log.steps == 50
    log.fails = True
    hub.loop.advance(3)
    assert log.steps == 53


def test_hub_forgets_event_ids_below_the_range() -> None:
    hub = InMemoryHub(HubConfig(retention=Retention(events=5)))
    client = hub.connect("channels=none")
    hub.settle()  # retention has run, and runs again later
    ids = [f"{number:016}" for number in range(20)]

    def publish(event_ids: Sequence[str]) -> list[object]:
        client.read()
        for event_id in event_ids:
            client.send("data:update", update(), event_id=event_id)
        hub.settle()
        return [message["data"].get("duplicate", False) for message in client.read()]

    assert publish(ids) == [False] * 20
    assert publish(ids) == [True] * 20
    hub.loop.advance(5)
    assert publish((ids[0], ids[19])) == [False, True]
