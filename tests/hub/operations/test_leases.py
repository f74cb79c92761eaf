from typing import Any

import pytest
from msgspec import Raw, structs
from tests.hub.producers import Producer

from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.log.producers import MAX_PRODUCERS
from tidings.protocol.envelope import Envelope
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message

CONFIG = HubConfig(status_s=0, metrics_s=0, lease_s=30.0, heartbeat_s=1000.0, maintain_s=60.0)


def start(hub: InMemoryHub | None = None, **more: Any) -> tuple[InMemoryHub, Producer, InMemoryClient]:
    """Return a hub, an attached producer, and a client that watches operations and alerts."""
    hub = hub or InMemoryHub(CONFIG)
    watcher = hub.connect("channels=operations,system")
    producer = Producer(hub, "p-1", **more)
    producer.connect()
    hub.settle()
    watcher.read()
    return hub, producer, watcher


def published(client: InMemoryClient) -> list[tuple[str, str]]:
    """Summarize the events since the last call."""
    found = []
    for message in client.read_events():
        data = message["data"]
        found.append((message["type"].partition(":")[2], data.get("state") or data.get("code") or ""))
    return found


def state(hub: InMemoryHub, operation_id: str = "op") -> str:
    status = hub.hub.operations.get(operation_id)
    return "" if status is None else f"{status.state} {status.life.attempt}"


def test_attach_without_lease_gets_the_default() -> None:
    hub, producer, _ = start()
    answer = producer.ask("producer:attach", {"producer_id": "p-1", "operations": [{"operation_id": "new"}]})
    assert answer["data"] == {
        "producer_id": "p-1",
        "lease_s": 30.0,
        "operations": [{"operation_id": "new", "verdict": "held"}],
    }
    producer.publish("start", "op")
    life = hub.hub.operations.life("op")
    assert life is not None
    assert (life.producer_id, life.lease_s) == ("p-1", 30.0)


def test_lease_raises_alert_at_half_and_fails_at_end() -> None:
    hub, producer, watcher = start()
    producer.publish("start", "op", name="import")
    producer.drop()
    published(watcher)
    hub.loop.advance(14.9)
    assert published(watcher) == []
    hub.loop.advance(0.2)
    (alert,) = watcher.read_events()
    assert alert["data"] == {
        "alert_id": "producer_away:op",
        "severity": "warning",
        "state": "raised",
        "operation_id": "op",
        "code": "producer_away",
        "message": "the producer of 'import' has been away for 15 s",
        "recoverable": True,
        "hint": "The operation fails in 15 s unless it comes back.",
    }
    life = hub.hub.operations.life("op")
    assert life is not None
    assert alert["trace_id"] == life.trace_id
    hub.loop.advance(14.8)
    assert published(watcher) == []
    hub.loop.advance(0.2)
    failed, cleared = watcher.read_events()
    assert failed["type"] == "operation:failed"
    assert failed["data"]["code"] == "producer_lost"
    assert failed["data"]["recoverable"] is True
    assert failed["trace_id"] == alert["trace_id"]
    assert cleared["data"]["state"] == "cleared"
    hub.loop.advance(1000)
    assert published(watcher) == []
    assert state(hub) == "failed 1"


def test_attached_producer_may_stay_silent() -> None:
    hub, producer, watcher = start()
    producer.publish("start", "op")
    published(watcher)
    for _ in range(50):
        hub.loop.advance(10_000)
    assert published(watcher) == []
    assert state(hub) == "running 1"


def test_producer_back_in_time_continues() -> None:
    hub, producer, watcher = start()
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(20)
    assert published(watcher) == [("start", ""), ("alert", "raised")]
    assert hub.hub.leases.presence("op") == "away"
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "held"}
    assert published(watcher) == [("alert", "cleared")]
    assert hub.hub.leases.presence("op") == "attached"
    hub.loop.advance(100)
    assert producer.publish("complete", "op") == "ok"
    # And the lease is whole again the next time.
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(29)
    assert state(hub) == "running 2"
    hub.loop.advance(1.1)
    assert state(hub) == "failed 2"


def test_producer_back_late_continues_with_the_next_attempt() -> None:
    hub, producer, watcher = start()
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(31)
    published(watcher)
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "lost"}
    assert producer.publish("progress", "op", attempt=1) == "operation_finished"
    answer = producer.ask("operation:start", {"operation_id": "op", "resumes": "op"})
    assert answer["data"]["attempt"] == 2
    assert watcher.read_events()[-1]["data"] == {"operation_id": "op", "resumes": "op", "attempt": 2}
    assert producer.publish("progress", "op", attempt=1) == "operation_fenced"


def test_claim_of_an_ended_operation_is_finished() -> None:
    _, producer, _ = start()
    for key in ("failed", "done"):
        producer.publish("start", key)
    producer.publish("failed", "failed")
    producer.publish("complete", "done")
    claims: list[Message] = [{"operation_id": "failed"}, {"operation_id": "done", "attempt": 1}]
    assert producer.connect(*claims) == {"failed": "finished", "done": "finished"}
    producer.publish("start", "done")
    assert producer.attach({"operation_id": "done", "attempt": 1}) == {"done": "lost"}


def test_claim_of_another_producers_operation_is_lost() -> None:
    hub, producer, _ = start()
    producer.publish("start", "op")
    other = Producer(hub, "p-2")
    assert other.connect({"operation_id": "op"}) == {"op": "lost"}
    producer.drop()
    assert other.attach({"operation_id": "op"}) == {"op": "lost"}
    assert other.publish("progress", "op") == "operation_fenced"
    hub.loop.advance(31)
    assert other.publish("start", "op") == "ok"
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "lost"}


def test_operation_without_holder_can_be_claimed() -> None:
    hub, producer, _ = start()
    hub.connect("channels=none").send("operation:start", {"operation_id": "op"})
    hub.settle()
    assert producer.attach({"operation_id": "op", "lease_s": 5}) == {"op": "held"}
    producer.drop()
    hub.loop.advance(5.1)
    assert state(hub) == "failed 1"


def test_claims_set_the_lease_per_operation() -> None:
    hub, producer, _ = start(lease_s=10)
    producer.attach({"operation_id": "short", "lease_s": 2}, {"operation_id": "long", "lease_s": 100})
    for key in ("short", "usual", "long"):
        producer.publish("start", key)
    producer.drop()
    ends = []
    for second in range(1, 111):
        hub.loop.advance(1.001)
        ends += [(second, key) for key in ("short", "usual", "long") if state(hub, key) == "failed 1"]
    first: dict[str, int] = {}
    for second, key in ends:
        first.setdefault(key, second)
    assert first == {"short": 2, "usual": 10, "long": 100}


def test_newer_connection_of_a_producer_replaces_the_older() -> None:
    hub, producer, _ = start()
    producer.publish("start", "op")
    old = producer.client
    producer.connect({"operation_id": "op"})
    assert old.outlet.closed is not None
    assert old.outlet.closed[0] == 4102
    hub.loop.advance(1000)
    assert state(hub) == "running 1"
    assert producer.publish("complete", "op") == "ok"


def test_restarted_hub_gives_leased_operations_a_whole_lease() -> None:
    log = MemoryLog(EPOCH)
    hub, producer, _ = start(InMemoryHub(CONFIG, log=log))
    producer.publish("start", "gone")
    producer.publish("start", "back")
    again = InMemoryHub(CONFIG, log=log, clock=hub.clock)
    watcher = again.connect("channels=operations,system")
    again.loop.advance(29)
    assert state(again, "gone") == "running 1"
    returned = Producer(again, "p-1")
    assert returned.connect({"operation_id": "back", "attempt": 1}) == {"back": "held"}
    again.loop.advance(2)
    assert state(again, "back") == "running 1"
    # It has not claimed the other operation, and still holds it: it is attached.
    assert state(again, "gone") == "running 1"
    third = InMemoryHub(CONFIG, log=log, clock=again.clock)
    third.loop.advance(30.1)
    assert [state(third, key) for key in ("gone", "back")] == ["failed 1", "failed 1"]
    assert watcher.read() != []


def test_leases_after_a_restart_begin_when_all_producers_had_time_to_return() -> None:
    log = MemoryLog(EPOCH)
    hub = InMemoryHub(CONFIG, log=log)
    for number in range(20):
        producer = Producer(hub, f"p-{number}")
        producer.connect()
        assert producer.publish("start", f"op-{number}") == "ok"
    slow = InMemoryHub(structs.replace(CONFIG, reconnect_rate=2.0), log=log, clock=hub.clock)
    slow.loop.advance(39)  # the last producer returns after 10 s, and its lease is 30 s
    assert state(slow, "op-19") == "running 1"
    slow.loop.advance(1.1)
    assert state(slow, "op-19") == "failed 1"


def test_queued_operation_has_no_lease_until_it_begins() -> None:
    hub, producer, _ = start()
    producer.publish("start", "op", queued=True)
    producer.drop()
    hub.loop.advance(1000)
    assert state(hub) == "queued 1"
    worker = Producer(hub, "worker")
    worker.connect()
    assert worker.publish("start", "op", attempt=1) == "ok"
    worker.drop()
    hub.loop.advance(31)
    assert state(hub) == "failed 1"


def test_connection_without_attach_has_no_lease() -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect("channels=none")
    client.send("operation:start", {"operation_id": "op"})
    hub.settle()
    client.drop()
    hub.loop.advance(80_000)
    assert state(hub) == "running 1"
    assert hub.hub.leases.presence("op") == "unknown"


def test_operation_without_lease_fails_after_a_silent_day() -> None:
    hub, producer, watcher = start()
    producer.publish("start", "leased")
    client = hub.connect("channels=none")
    for key in ("silent", "speaking"):
        client.send("operation:start", {"operation_id": key})
    client.send("operation:start", {"operation_id": "queued", "queued": True})
    hub.settle()
    published(watcher)
    hub.loop.advance(50_000)
    client.send("operation:progress", {"operation_id": "speaking", "progress": 2})
    hub.settle()
    hub.loop.advance(36_500)
    codes = {message["data"]["operation_id"]: message["data"].get("code") for message in watcher.read_events()}
    assert codes == {"speaking": None, "silent": "unattended", "queued": "unattended"}
    assert [state(hub, key) for key in ("leased", "speaking")] == ["running 1", "running 1"]


@pytest.mark.parametrize("half", [True, False])
def test_post_renews_the_lease_until_posts_stop(half: bool) -> None:
    hub = InMemoryHub(CONFIG)
    leases = hub.hub.leases
    leases.post("script", 10.0)
    envelope = hub.connect("channels=none")
    envelope.connection.producer_id = "script"  # as an edge does for the header
    envelope.send("operation:start", {"operation_id": "op"})
    hub.settle()
    for _ in range(10):
        hub.loop.advance(6 if half else 4)
        leases.post("script", 10.0)
        hub.settle()
        assert leases.presence("op") == "attached"
    hub.loop.advance(9.9)
    assert state(hub) == "running 1"
    hub.loop.advance(0.2)
    assert state(hub) == "failed 1"


def test_post_without_lease_keeps_its_length() -> None:
    hub = InMemoryHub(CONFIG)
    hub.hub.leases.post("script", 100.0)
    poster = hub.connect("channels=none")
    poster.connection.producer_id = "script"  # as an edge does for the header
    poster.send("operation:start", {"operation_id": "op"})
    hub.settle()
    hub.hub.leases.post("script")
    poster.send("operation:progress", {"operation_id": "op", "progress": 1})
    hub.settle()
    status = hub.hub.operations.get("op")
    assert status is not None
    assert status.life.lease_s == 100.0
    assert [moment.state for moment in status.timeline] == ["running"]
    hub.loop.advance(99)
    assert state(hub) == "running 1"
    hub.loop.advance(2)
    assert state(hub) == "failed 1"


def test_refused_failure_is_published_again() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub, producer, _ = start(InMemoryHub(CONFIG, log=log))
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(20)
    for _ in range(3):
        log.fail_append(LogFull("as if"))
    hub.loop.advance(11)
    assert state(hub) == "running 1"
    hub.loop.advance(5)
    assert state(hub) == "failed 1"


def test_posters_without_operations_are_bounded_in_number() -> None:
    hub, producer, _ = start(lease_s=50.0)
    publish = hub.hub.leases.post
    publish("worker", 60.0)
    start_of_work = Envelope(type="operation:start", data=Raw(b'{"operation_id":"posted"}'))
    hub.hub.publish(start_of_work, lambda result: None, producer_id="worker")
    hub.settle()
    for number in range(MAX_PRODUCERS + 2_000):
        publish(f"stranger-{number}", 86_400.0)
    known = sum(hub.hub.leases.lease_of(f"stranger-{number}", "op") > 0 for number in range(MAX_PRODUCERS + 2_000))
    assert MAX_PRODUCERS - 10 < known <= MAX_PRODUCERS
    assert hub.hub.leases.lease_of("worker", "posted") == 60.0, "it holds an operation"
    assert hub.hub.leases.lease_of(producer.producer_id, "op") == 50.0, "it is connected"


def test_jumping_wall_clock_ends_no_lease() -> None:
    hub, producer, _ = start()
    producer.publish("start", "op")
    producer.drop()
    hub.clock.jump(1_000_000)
    hub.loop.advance(1)
    assert state(hub) == "running 1"


def test_connection_belongs_to_one_producer() -> None:
    _, producer, _ = start()
    answer = producer.ask("producer:attach", {"producer_id": "p-2"})
    assert answer["data"]["code"] == "invalid_command"
    for bad in ("", "with space", "x" * 65, "ü"):
        assert producer.ask("producer:attach", {"producer_id": bad})["data"]["code"] == "invalid_command"
    claims = {"producer_id": "p-1", "operations": [{"operation_id": "x" * 300}]}
    assert producer.ask("producer:attach", claims)["data"]["code"] == "invalid_key"


def test_lost_producer_without_operations_is_removed() -> None:
    hub, producer, _ = start()
    producer.publish("start", "op")
    producer.publish("complete", "op")
    producer.drop()
    hub.loop.advance(100)
    assert hub.hub.leases._producers == {}


def test_many_producers_with_long_leases_and_no_operations_leave_nothing_behind() -> None:
    hub = InMemoryHub(CONFIG)
    for number in range(500):
        producer = Producer(hub, f"p-{number}", lease_s=86_400)
        producer.connect()
        producer.drop()
    hub.loop.advance(60)
    assert hub.hub.leases._producers == {}
    assert len(hub.hub.leases._checks) == 0


def test_event_ids_are_unique_per_producer() -> None:
    hub, producer, _ = start()
    other = Producer(hub, "p-2")
    other.connect()
    name = "event-id-of-both-"
    one = producer.ask("data:update", {"dataset": "a"}, event_id=name)
    two = other.ask("data:update", {"dataset": "b"}, event_id=name)
    assert one["type"] == two["type"] == "event:accepted"
    again = producer.ask("data:update", {"dataset": "a"}, event_id=name)
    assert again["data"] == {**one["data"], "duplicate": True}


def test_repeated_start_returns_the_same_attempt() -> None:
    _, producer, _ = start()
    for attempt in (1, 2):
        name = f"event-id-of-start-{attempt}"
        first = producer.ask("operation:start", {"operation_id": "op"}, event_id=name)
        assert first["data"]["attempt"] == attempt
        assert producer.ask("operation:start", {"operation_id": "op"}, event_id=name)["data"]["duplicate"] is True
        end = producer.ask("operation:complete", {"operation_id": "op"}, event_id=name + "-end")
        again = producer.ask("operation:complete", {"operation_id": "op"}, event_id=name + "-end")
        assert again["data"] == {**end["data"], "duplicate": True}
        assert producer.ask("operation:start", {"operation_id": "op"}, event_id=name)["data"]["duplicate"] is True


def test_claimed_lease_applies_to_the_next_attempt() -> None:
    hub, producer, _ = start()
    producer.attach({"operation_id": "op", "lease_s": 2})
    for attempt in (1, 2):
        producer.publish("start", "op")
        life = hub.hub.operations.life("op")
        assert life is not None
        assert (life.attempt, life.lease_s) == (attempt, 2.0)
        producer.publish("complete", "op")
        assert producer.attach({"operation_id": "op", "lease_s": 2}) == {"op": "finished"}


def test_attach_sets_the_peer_timeout_to_the_lease() -> None:
    _, producer, _ = start(lease_s=12)
    assert producer.client.outlet.peer_timeout_s == 12.0


def test_draining_hub_fails_no_operation() -> None:
    hub, producer, _ = start(lease_s=2)
    producer.publish("start", "op")
    hub.hub.draining = True
    producer.drop()
    hub.loop.advance(5)
    assert state(hub) == "running 1"
