"""What a hub does differently because others share its log."""

from tests.hub.shared_hubs import SharedHubs

from tidings.log.journal.entries import MAX_BYTES, decode_batch
from tidings.testing.manual_journal import MAX_BODY_BYTES


def test_large_ticks_are_several_entries() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    client = b.hub.connect("channels=none")
    for number in range(40):
        client.send("data:update", {"dataset": f"d-{number}", "text": "x" * 60_000})
    hubs.settle()
    accepted = [message for message in client.read() if message["type"] == "event:accepted"]
    assert len(accepted) == 40
    assert a.log.head == b.log.head == 40
    bodies = [entry.body for entry in hubs.engine.entries]
    assert max(map(len, bodies)) < MAX_BYTES + 70_000 < MAX_BODY_BYTES
    assert sum(bool(decode_batch(body).events) for body in bodies) > 4


def test_jump_of_the_clock_is_recorded_once() -> None:
    hubs = SharedHubs(3)
    client = hubs.hubs[2].hub.connect("channels=none")
    client.send("data:update", {"dataset": "d"})
    hubs.settle()
    before = [hub.log.received_ns(1, 0) for hub in hubs.hubs]
    hubs.clock.jump(1_000)
    hubs.loop.advance(300)
    assert before == [0, 0, 0]
    assert [round(hub.log.received_ns(1, 0) / 1e9) for hub in hubs.hubs] == [1_000] * 3


def test_idle_hubs_record_heartbeats_and_little_else() -> None:
    hubs = SharedHubs(2)
    before = len(hubs.engine.entries)
    hubs.loop.advance(300)
    heartbeats = 2 * 300
    assert len(hubs.engine.entries) - before < heartbeats + 300 / hubs.config.maintain_s + 20
