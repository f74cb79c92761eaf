"""Commands about operations, and the events around them: each sees the operations as what was sent before left them."""

from tests.hub.events import progress, update

from tidings.exceptions import LogFull
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub

CLAIM = {"producer_id": "p-1", "operations": [{"operation_id": "op"}]}


def start() -> tuple[InMemoryHub, FaultyLog, InMemoryClient]:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    client = hub.connect("channels=none")
    client.read()
    return hub, log, client


def verdicts(client: InMemoryClient) -> list[object]:
    return [
        (each["operation_id"], each["attempt"], each["verdict"])
        for message in client.read()
        if message["type"] == "producer:attached"
        for each in message["data"]["operations"]
    ]


def test_claim_sees_the_start_sent_before_it() -> None:
    hub, _, client = start()
    client.send("operation:start", {"operation_id": "op"})
    client.send("producer:attach", CLAIM)
    assert client.read() == []
    hub.settle()
    assert verdicts(client) == [("op", 1, "held")]
    life = hub.hub.operations.life("op")
    assert life is not None
    assert life.producer_id == "p-1"


def test_events_sent_after_a_claim_follow_it() -> None:
    hub, _, client = start()
    other = hub.connect("channels=none")
    other.send("data:update", update())
    client.send("producer:attach", CLAIM)
    client.send("operation:start", {"operation_id": "op"})
    client.send("connection:ping", {})
    hub.settle()
    assert client.read_types() == ["producer:attached", "connection:pong", "event:accepted"]
    life = hub.hub.operations.life("op")
    assert life is not None
    assert life.producer_id == "p-1"


def test_command_without_staged_events_is_answered_immediately() -> None:
    _, _, client = start()
    client.send("producer:attach", CLAIM)
    client.send("operation:cancel", {"operation_id": "none"})
    assert client.read_types() == ["producer:attached", "connection:error"]


def test_cancel_finds_the_operation_sent_before_it() -> None:
    hub, _, client = start()
    client.send("operation:start", {"operation_id": "op", "queued": True})
    client.send("operation:cancel", {"operation_id": "op"})
    hub.settle()
    (outcome,) = [message["data"] for message in client.read() if message["type"] == "operation:cancel_outcome"]
    assert outcome["outcome"] == "cancelled"


def test_cancel_of_an_operation_whose_start_failed_is_answered() -> None:
    hub, log, client = start()
    log.fail_append(LogFull("no room"))
    client.send("operation:start", {"operation_id": "op"})
    client.send("operation:cancel", {"operation_id": "op"})
    hub.settle()
    codes = [message["data"]["code"] for message in client.read()]
    assert codes == ["log_full", "operation_unknown"]


def test_connection_that_closes_before_its_claim_is_read_is_not_attached() -> None:
    hub, log, client = start()
    log.hold_appends()
    client.send("data:update", update())
    client.send("producer:attach", CLAIM)
    hub.settle()
    client.connection.closed()
    log.release_appends()
    hub.settle()
    assert list(hub.hub.leases.producers()) == []


def test_rejected_event_is_answered_after_those_before_it() -> None:
    hub, _, client = start()
    client.send("operation:complete", {"operation_id": "op"})
    client.send("operation:progress", progress("op"))
    client.send("data:update", update())
    hub.settle()
    assert client.read_types() == ["event:accepted", "connection:error", "event:accepted"]
    assert (hub.hub.counters.accepted, hub.hub.counters.refused) == (2, 0)
