"""Each alert of an absent producer is cleared in the end, also over restarts and refused appends."""

import pytest
from tests.hub.events import update
from tests.hub.operations.test_leases import CONFIG, start, state
from tests.hub.producers import Producer

from tidings.exceptions import LogFull
from tidings.hub.operations.away_alerts import RETRY_S
from tidings.log.base import Log
from tidings.log.memory import MemoryLog
from tidings.protocol.message_types import MessageType
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub


def raised(hub: InMemoryHub) -> list[str]:
    """Return the alerts in a snapshot of the log."""
    hub.settle()
    return hub.hub.event_keys(MessageType.SYSTEM_ALERT)


def lose(log: Log, seconds: float = 16) -> tuple[InMemoryHub, Producer]:
    """Return a hub and a producer of a running operation that has been away; after 15 s, the alert is raised."""
    hub, producer, _ = start(InMemoryHub(CONFIG, log=log))
    producer.publish("start", "op")
    producer.drop()
    hub.loop.advance(seconds)
    return hub, producer


def test_producer_back_after_a_restart_clears_the_alert() -> None:
    log = MemoryLog(EPOCH)
    hub, _ = lose(log)
    assert raised(hub) == ["producer_away:op"]
    again = InMemoryHub(CONFIG, log=log, clock=hub.clock)
    watcher = again.connect("channels=system")
    returned = Producer(again, "p-1")
    assert returned.connect({"operation_id": "op"}) == {"op": "held"}
    assert raised(again) == []
    (cleared,) = watcher.read_events()
    assert cleared["data"]["state"] == "cleared"
    assert cleared["data"]["message"] == "the producer is back"


@pytest.mark.parametrize("id", ["x" * 241, "x" * 242, "x" * 255, "é" * 127, ":" + "0" * 64])
def test_alert_of_an_operation_with_any_id_is_raised_and_cleared_after_a_restart(id: str) -> None:
    log = MemoryLog(EPOCH)
    hub, producer, _ = start(InMemoryHub(CONFIG, log=log))
    watcher = hub.connect("channels=system")
    producer.publish("start", id)
    producer.drop()
    hub.loop.advance(16)
    (alert,) = watcher.read_events()
    assert (alert["data"]["state"], alert["data"]["operation_id"]) == ("raised", id)
    assert raised(hub) == [alert["data"]["alert_id"]]
    again = InMemoryHub(CONFIG, log=log, clock=hub.clock)
    watcher = again.connect("channels=system")
    assert Producer(again, "p-1").connect({"operation_id": id}) == {id: "held"}
    assert raised(again) == []
    (cleared,) = watcher.read_events()
    assert (cleared["data"]["state"], cleared["data"]["operation_id"]) == ("cleared", id)


def test_alert_of_a_forgotten_operation_with_a_long_id_is_cleared_after_a_restart() -> None:
    log = MemoryLog(EPOCH)
    hub, producer, _ = start(InMemoryHub(CONFIG, log=log))
    producer.publish("start", "x" * 255)
    producer.drop()
    hub.loop.advance(29)
    hub.hub.on_operation.clear()  # as if the hub had been killed right after the end
    hub.loop.advance(2)
    assert len(raised(hub)) == 1
    assert log.forget(hub.hub.now_ns() + int(1e18), log.forgettable) or log.operations.get("x" * 255) is None
    again = InMemoryHub(CONFIG, log=log, clock=hub.clock)
    assert raised(again) == []


def test_restarted_hub_raises_a_raised_alert_no_second_time() -> None:
    log = MemoryLog(EPOCH)
    hub, _ = lose(log)
    again = InMemoryHub(CONFIG, log=log, clock=hub.clock)
    watcher = again.connect("channels=system")
    again.loop.advance(31)
    assert [event["data"]["state"] for event in watcher.read_events()] == ["cleared"]
    assert state(again) == "failed 1"


def test_restarted_hub_clears_the_alert_of_an_operation_that_has_ended() -> None:
    faulty = FaultyLog(MemoryLog(EPOCH))
    hub, _ = lose(faulty, 29)
    hub.hub.on_operation.clear()  # as if the hub had been killed right after the end
    hub.loop.advance(2)
    assert state(hub) == "failed 1"
    assert raised(hub) == ["producer_away:op"]
    again = InMemoryHub(CONFIG, log=faulty, clock=hub.clock)
    assert raised(again) == []


def test_refused_end_of_an_alert_is_published_again() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub, producer = lose(log)
    producer.client = hub.connect("channels=none")
    log.fail_append(LogFull("as if"))
    log.fail_append(LogFull("as if"))
    assert producer.attach({"operation_id": "op"}) == {"op": "held"}
    hub.loop.advance(RETRY_S / 2)
    assert raised(hub) == ["producer_away:op"]
    hub.loop.advance(2 * RETRY_S)
    assert raised(hub) == []
    assert state(hub) == "running 1"


def test_refused_alert_is_raised_again_and_cleared_by_the_end() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub, producer = lose(log, 14)
    log.fail_append(LogFull("as if"))
    hub.loop.advance(1.5)
    assert raised(hub) == []
    hub.loop.advance(RETRY_S)
    assert raised(hub) == ["producer_away:op"]
    hub.loop.advance(10)
    assert producer.connect() == {}
    producer.publish("complete", "op")
    assert raised(hub) == []


@pytest.mark.parametrize("refused", [True, False])
def test_producer_that_is_back_before_the_end_is_in_the_log_continues(refused: bool) -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub, producer = lose(log, 29.9)
    log.hold_appends()
    producer.client = hub.connect("channels=none")
    producer.client.send("data:update", update())
    hub.settle()
    data = {"producer_id": "p-1", "operations": [{"operation_id": "op"}]}
    producer.client.send("producer:attach", data)  # answered after the event before it
    hub.loop.advance(0.5)
    assert hub.hub.staged == 2
    log.release_appends()
    if refused:
        log.fail_append(LogFull("as if"))
    hub.settle()
    (attached,) = [message for message in producer.client.read() if message["type"] == "producer:attached"]
    assert attached["data"]["operations"][0]["verdict"] == "held"
    hub.loop.advance(RETRY_S + 0.5)
    assert state(hub) == "running 1"
    assert raised(hub) == []
    assert producer.publish("complete", "op") == "ok"


def test_alerts_of_10_000_lost_operations_are_all_cleared() -> None:
    hub, producer, _ = start()
    for number in range(10_000):
        producer.client.send("operation:start", {"operation_id": f"op-{number}"}, id=None)
        if number % 1_000 == 0:
            hub.settle()
    hub.settle()
    producer.drop()
    hub.loop.advance(16)
    assert len(raised(hub)) == 10_000
    producer.connect()
    assert raised(hub) == []
    producer.drop()
    hub.loop.advance(40)
    assert raised(hub) == []
    assert len(hub.hub.operations) == 0
