"""Leases over several hubs of one log."""

from itertools import pairwise

from tests.hub.shared_hubs import SharedHub, SharedHubs

from tidings.log.journal.sessions import GONE_S
from tidings.testing.in_memory_hub import InMemoryClient


def ends(client: InMemoryClient) -> list[str]:
    """Return the codes with which operations failed, and the states of alerts, since the last call."""
    found = []
    for message in client.read_events():
        data = message["data"]
        if message["type"] in ("operation:failed", "system:alert"):
            found.append(data["code"] if message["type"] == "operation:failed" else data["state"])
    return found


def states(hubs: SharedHubs, operation_id: str = "op") -> set[str]:
    return {hub.state(operation_id) for hub in hubs.hubs if not hub.hub.hub.closed}


def test_producer_of_a_killed_hub_is_lost_once_when_its_lease_ends(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    watcher = hubs.watch(c)
    hubs.start(a)
    assert {hub.hub.hub.leases.presence("op") for hub in hubs.hubs} == {"attached"}
    a.kill()  # it led
    hubs.loop.advance(GONE_S + 27)
    assert states(hubs) == {"running 1"}
    assert b.hub.hub.leases.presence("op") == c.hub.hub.leases.presence("op") == "away"
    hubs.loop.advance(8)
    assert states(hubs) == {"failed 1"}
    assert ends(watcher) == ["raised", "producer_lost", "cleared"]
    hubs.loop.advance(100)
    assert ends(watcher) == []


def test_leases_run_on_while_the_hub_that_led_drains(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producer, watcher = hubs.start(b), hubs.watch(c)
    assert a.log.leads
    producer.drop()
    hubs.drain(a)
    assert [hub.log.leads for hub in hubs.hubs] == [False, True, False]
    hubs.loop.advance(35)
    assert states(hubs) == {"failed 1"}
    assert ends(watcher) == ["raised", "producer_lost", "cleared"]


def test_lease_does_not_end_while_all_hubs_drain(hubs: SharedHubs) -> None:
    producer = hubs.start(hubs.hubs[1])
    producer.drop()
    for hub in hubs.hubs:
        hubs.drain(hub)
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}, "its producer has a whole lease when they are back"


def test_producers_that_come_and_go_while_the_journal_is_away_leave_few_controls(hubs: SharedHubs) -> None:
    a, b, _ = hubs.hubs
    producer, stays = hubs.producer(a, "p-1"), hubs.producer(a, "p-2")
    producer.connect()
    producer.publish("start", "op")
    stays.connect()
    a.journal.leave()
    for _ in range(300):
        producer.client.drop()
        producer.client = a.hub.connect("channels=none")
        producer.client.send("producer:attach", {"producer_id": "p-1", "operations": [{"operation_id": "op"}]})
        hubs.loop.advance(0.001)
    assert len(vars(a.log)["_controls"]) <= 2
    a.journal.come_back()
    hubs.settle()
    hubs.loop.advance(GONE_S)
    for hub in hubs.hubs:
        assert dict(hub.log.producers.attached_to(a.log.session)).keys() == {"p-1", "p-2"}
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}
    assert b.hub.hub.leases.presence("op") == "attached"


def test_producer_that_comes_back_on_another_hub_keeps_its_operations(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producer, watcher = hubs.start(a), hubs.watch(c)
    a.kill()
    hubs.loop.advance(25)
    producer.move(b)
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "held"}
    assert c.hub.hub.leases.presence("op") == "attached"
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}
    assert ends(watcher) == ["raised", "cleared"]
    assert producer.publish("complete", "op") == "ok"
    assert states(hubs) == {"complete 1"}


def test_producer_that_comes_back_late_on_another_hub_has_lost_them(hubs: SharedHubs) -> None:
    a, b, _ = hubs.hubs
    producer = hubs.start(b)
    producer.drop()
    hubs.loop.advance(31)
    producer.move(a)
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "lost"}
    assert states(hubs) == {"failed 1"}


def test_connection_to_another_hub_takes_the_place_of_the_first(hubs: SharedHubs) -> None:
    a, b, _ = hubs.hubs
    producer = hubs.start(a)
    old = producer.client
    producer.move(b)
    producer.connect({"operation_id": "op"})
    assert old.outlet.closed is not None
    assert old.outlet.closed[0] == 4102
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}
    assert producer.publish("complete", "op") == "ok"


def test_lease_is_that_of_the_claim_on_all_hubs(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producer = hubs.producer(b)
    producer.connect()
    for key in ("short", "usual"):
        producer.publish("start", key)
    producer.attach({"operation_id": "short", "lease_s": 10})
    assert {hub.hub.hub.operations.life("short") for hub in hubs.hubs} == {a.hub.hub.operations.life("short")}
    b.kill()
    hubs.loop.advance(GONE_S + 14)
    assert [a.state(key) for key in ("short", "usual")] == ["failed 1", "running 1"]
    hubs.loop.advance(20)
    assert [c.state(key) for key in ("short", "usual")] == ["failed 1", "failed 1"]


def test_posts_to_any_hub_are_signs_of_life(hubs: SharedHubs) -> None:
    _, b, c = hubs.hubs
    post(b, "start")
    for number in range(12):
        hubs.loop.advance(8)
        (c if number % 2 else b).hub.hub.leases.post("script", 20.0)
    hubs.settle()
    assert states(hubs) == {"running 1"}
    assert {hub.hub.hub.leases.presence("op") for hub in hubs.hubs} == {"attached"}
    posts = sum(b"script" in entry.body for entry in hubs.engine.entries)
    hubs.loop.advance(16)
    assert states(hubs) == {"running 1"}
    hubs.loop.advance(6)
    assert states(hubs) == {"failed 1"}
    for _ in range(1_000):
        b.hub.hub.leases.post("script", 20.0)
    hubs.loop.advance(4.9)
    reported = sum(b"script" in entry.body for entry in hubs.engine.entries)
    assert reported - posts <= 8, "a few times during a lease, however many posts"


def post(hub: SharedHub, action: str) -> None:
    hub.hub.hub.leases.post("script", 20.0)
    poster = hub.hub.connect("channels=none")
    poster.connection.producer_id = "script"  # as an edge does for the header
    poster.send(f"operation:{action}", {"operation_id": "op"})


def test_hub_that_was_taken_for_dead_keeps_its_producers() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(a, lease_s=10)
    before = a.log.session
    a.journal.leave()
    hubs.loop.advance(GONE_S + 3)
    assert b.hub.hub.leases.presence("op") == "away"
    a.journal.come_back()
    hubs.settle()
    assert a.log.session != before
    assert b.hub.hub.leases.presence("op") == "attached"
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}
    assert producer.publish("complete", "op") == "ok"


def test_producer_of_a_hub_that_was_taken_for_dead_learns_what_it_has_lost() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer, other = hubs.start(a, lease_s=10), hubs.start(a, "p-2", "other", lease_s=1_000)
    a.journal.leave()
    hubs.loop.advance(GONE_S + 20)
    assert b.state() == "failed 1"
    a.journal.come_back()
    hubs.settle()
    assert producer.client.outlet.closed is not None
    assert producer.client.outlet.closed[0] == 4100
    assert other.client.outlet.closed is None
    assert producer.connect({"operation_id": "op", "attempt": 1}) == {"op": "lost"}
    assert producer.publish("start", "op") == "ok"
    hubs.loop.advance(100)
    assert states(hubs) == {"running 2"}
    assert states(hubs, "other") == {"running 1"}


def test_producer_that_went_to_another_hub_stays_there_when_the_first_is_back() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(a)
    old = producer.client
    a.journal.leave()
    hubs.loop.advance(GONE_S + 3)
    producer.move(b)
    producer.connect({"operation_id": "op"})
    a.journal.come_back()
    hubs.settle()
    assert old.outlet.closed is not None
    assert old.outlet.closed[0] == 4102
    assert b.log.producers.attached_to(b.log.session) == [("p-1", 1)]
    assert producer.client.outlet.closed is None
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}


def test_two_leads_end_an_operation_once() -> None:
    hubs = SharedHubs(3)
    a, b, c = hubs.hubs
    producer, watcher = hubs.start(c, lease_s=10), hubs.watch(c)
    producer.drop()
    b.journal.leave()  # it sees no sign of life of any other hub
    hubs.loop.advance(4)
    c.journal.leave()
    hubs.loop.advance(3)
    c.journal.come_back()
    for hub in (a, b, c):  # as if all of them saw themselves as the one that leads
        hub.log.__class__ = LeadingLog
    hubs.loop.advance(5)
    b.journal.come_back()
    hubs.settle()
    assert states(hubs) == {"failed 1"}
    found = [message["type"] for message in watcher.read_events()]
    assert found.count("operation:failed") == 1


class LeadingLog(type(SharedHubs(1).hubs[0].log)):  # type: ignore[misc]
    """A log whose hub always leads."""

    @property
    def leads(self) -> bool:
        return True


def test_producer_that_is_back_while_its_end_is_under_way_keeps_its_operations() -> None:
    hubs = SharedHubs(2, max_delay_s=0.5)
    a, b = hubs.hubs
    outcomes: set[str] = set()
    for number in range(30):
        key = f"op-{number}"
        producer = hubs.producer(b, f"p-{number}", lease_s=10)
        producer.connect()
        producer.publish("start", key)
        producer.drop()
        hubs.loop.advance(6.3 + number / 20)  # with the settling after `drop`, about when the lease ends
        (verdict,) = producer.connect({"operation_id": key, "attempt": 1}).values()
        outcomes.add(verdict)
        assert states(hubs, key) == {"running 1" if verdict == "held" else "failed 1"}
        hubs.loop.advance(20)
        assert states(hubs, key) == {"running 1" if verdict == "held" else "failed 1"}
    assert outcomes == {"held", "lost"}
    assert a.hub.hub.leads


def test_all_hubs_gone_give_one_whole_lease() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    hubs.start(b)
    a.kill()
    b.kill()
    hubs.loop.advance(1_000)
    again = hubs.restart(a)
    assert again.state() == "running 1"
    hubs.loop.advance(27)
    assert again.state() == "running 1"
    hubs.loop.advance(GONE_S + 6)
    assert again.state() == "failed 1"


def test_restarted_hub_knows_the_producers_of_the_others() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(b)
    a.kill()
    hubs.loop.advance(1)
    again = hubs.restart(a)
    assert again.hub.hub.leases.presence("op") == "attached"
    hubs.loop.advance(100)
    assert states(hubs) == {"running 1"}
    assert b.hub.hub.leads
    producer.drop()
    b.kill()
    hubs.loop.advance(31 + GONE_S + 3)
    assert again.state() == "failed 1"


def test_only_the_lead_fails_silent_operations_and_publishes_estimates() -> None:
    hubs = SharedHubs(3)
    a, _, c = hubs.hubs
    client, watcher = c.hub.connect("channels=none"), hubs.watch(c)
    client.send("operation:start", {"operation_id": "op"})
    hubs.settle()
    for progress in range(10, 60, 10):
        client.send("operation:progress", {"operation_id": "op", "progress": progress})
        hubs.loop.advance(10)
    estimates = [message["data"] for message in watcher.read_events() if message["type"] == "operation:estimate"]
    assert estimates
    assert all(before != after for before, after in pairwise(estimates))
    assert [hub.hub.hub.estimates.get("op") is not None for hub in hubs.hubs] == [True, True, True]
    assert a.hub.hub.leads
