"""Publishers that fill the stage are held back, share it, and lose nothing; nothing overtakes a refused start."""

from tests.hub.events import publish_updates, update

from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub


def held(config: HubConfig | None = None) -> tuple[InMemoryHub, FaultyLog]:
    """Return a hub whose log takes nothing until `release_appends`; one event of another client is on its way to it."""
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(config, log=log)
    log.hold_appends()
    publish_updates(hub.connect("channels=none"), 1)
    hub.settle()
    return hub, log


def refuse_start() -> tuple[InMemoryHub, InMemoryClient]:
    """Return a hub and a client whose start of the operation `a` the log has refused."""
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(log=log)
    client = hub.connect("channels=none")
    log.fail_append(LogFull("no room", hint="Make some."))
    client.send("operation:start", {"operation_id": "a"})
    hub.settle()
    return hub, client


def send_window(client: InMemoryClient, events: int) -> int:
    """Send events as an edge delivers them, only while the hub reads; return their number."""
    sent = 0
    while client.outlet.reading and sent < events:
        client.send("data:update", update(str(sent)))
        sent += 1
    return sent


def test_publisher_is_held_back_at_the_bound_and_refused_nothing() -> None:
    hub, log = held(HubConfig(batch_events=10))
    client = hub.connect("channels=none")
    sent = send_window(client, 100)
    assert sent < 25
    assert hub.hub.staged <= 20
    log.release_appends()
    while sent < 100:
        sent += send_window(client, 100 - sent)
        hub.settle()
    hub.settle()
    assert client.read_types()[1:] == ["event:accepted"] * 100
    assert log.head == 101


def test_stage_is_bounded_in_bytes() -> None:
    hub, log = held(HubConfig(staged_bytes=10_000))
    client = hub.connect("channels=none")
    for _ in range(100):
        if client.outlet.reading:
            publish_updates(client, 1, size=2_000)
    assert hub.hub.staged <= 1 + 6
    log.release_appends()
    hub.settle()
    assert client.outlet.reading


def test_publisher_with_one_event_passes_those_that_fill_their_windows() -> None:
    hub, _ = held(HubConfig(batch_events=100))
    greedy = [hub.connect("channels=none") for _ in range(8)]
    for client in greedy:
        send_window(client, 1_000)
    assert hub.hub.room.waiting == 8
    polite = hub.connect("channels=none")
    publish_updates(polite, 1)
    assert polite.outlet.reading
    assert hub.hub.staged <= 200


def test_publishers_get_equal_shares() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(HubConfig(batch_events=100), log=log)
    clients = [hub.connect("channels=none") for _ in range(20)]
    sent = [0] * 20
    for _ in range(100):
        for number, client in enumerate(clients):
            sent[number] += send_window(client, 1_000)
        hub.loop.run_round()
    assert log.head > 5_000
    assert min(sent) > 0.8 * max(sent)


def test_messages_behind_a_held_event_keep_their_order() -> None:
    hub, log = held(HubConfig(batch_events=1))
    client = hub.connect("channels=none")
    for number in range(4):
        client.send("data:update", update(str(number)))
        client.send("connection:ping")
    log.release_appends()
    for _ in range(20):
        hub.loop.run_round()
    replies = [str(message.get("reply_to")) for message in client.read()[1:]]
    assert sorted(replies) == [str(number) for number in range(1, 9)]
    assert [each for each in replies if int(each) % 2] == ["1", "3", "5", "7"]
    # A pong is sent when its command is read: after the event before it was staged, and before the next one is.
    assert replies.index("8") > replies.index("5")
    assert log.head == 5


def test_closed_publisher_is_forgotten() -> None:
    hub, log = held(HubConfig(batch_events=2))
    client = hub.connect("channels=none")
    send_window(client, 100)
    assert hub.hub.room.waiting == 1
    client.drop()
    assert hub.hub.room.waiting == 0
    log.release_appends()
    hub.settle()
    assert (hub.hub.staged, hub.hub.room.active) == (0, 0)


def test_events_behind_a_refused_start_fail_with_it() -> None:
    hub, client = refuse_start()
    client.send("operation:complete", {"operation_id": "a"})
    client.send("operation:start", {"operation_id": "b"})
    hub.settle()
    refusals = [message["data"].get("code") for message in client.read()[1:]]
    assert refusals == ["log_full", "log_full", None]
    client.send("operation:start", {"operation_id": "a"})
    client.send("operation:complete", {"operation_id": "a"})
    hub.settle()
    assert [message["data"].get("attempt") for message in client.read()] == [1, None]
    status = hub.hub.operations.get("a")
    assert status is not None
    assert status.state == "complete"


def test_refused_start_is_forgotten_after_a_while() -> None:
    hub, client = refuse_start()
    hub.loop.advance(3)
    client.send("operation:progress", {"operation_id": "a", "progress": 5})
    hub.settle()
    assert client.read_types()[-1] == "event:accepted"
