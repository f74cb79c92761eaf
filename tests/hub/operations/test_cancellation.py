import random
from typing import Any

import pytest
from tests.hub.producers import Producer

from tidings.exceptions import LogUnavailable
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message

CONFIG = HubConfig(status_s=0, metrics_s=0, heartbeat_s=1000.0, maintain_s=60.0)


class Requester:
    """A client that requests cancellations."""

    def __init__(self, hub: InMemoryHub) -> None:
        self.hub = hub
        self.client: InMemoryClient = hub.connect("channels=none")
        self.hub.settle()
        self.client.read()

    def ask(self, operation_id: str = "op", **data: Any) -> str | None:
        id = self.client.send("operation:cancel", {"operation_id": operation_id, **data})
        self.hub.settle()
        return id

    def answers(self) -> list[Message]:
        self.hub.settle()
        return [message["data"] for message in self.client.read()]

    def outcomes(self) -> list[str]:
        return [str(answer.get("outcome", answer.get("code"))) for answer in self.answers()]


def start(**start_data: Any) -> tuple[InMemoryHub, Producer, Requester]:
    hub = InMemoryHub(CONFIG)
    producer = Producer(hub, "p-1")
    producer.connect()
    producer.publish("start", "op", **start_data)
    return hub, producer, Requester(hub)


def test_holder_ends_operation_outcome_is_cancelled() -> None:
    hub, producer, requester = start()
    requester.ask(reason="too slow")
    (push,) = producer.pushes()
    assert push["data"] == {"operation_id": "op", "attempt": 1, "reason": "too slow"}
    life = hub.hub.operations.life("op")
    assert life is not None
    assert push["trace_id"] == life.trace_id
    producer.answer(push, "stopping")
    assert requester.answers() == []
    producer.publish("cancelled", "op")
    assert requester.answers() == [{"operation_id": "op", "attempt": 1, "outcome": "cancelled", "state": "cancelled"}]
    assert len(hub.hub.cancellations) == 0
    hub.loop.advance(100)
    assert requester.answers() == []


@pytest.mark.parametrize("end", ["complete", "failed"])
def test_operation_completes_outcome_is_finished_first(end: str) -> None:
    _, producer, requester = start()
    requester.ask()
    producer.publish(end, "op")
    (answer,) = requester.answers()
    assert answer["outcome"] == "finished_first"
    assert answer["state"] == end
    requester.ask()
    assert requester.outcomes() == ["finished_first"]


def test_cancelled_operation_reports_cancelled_again() -> None:
    _, producer, requester = start()
    producer.publish("cancelled", "op")
    requester.ask()
    assert requester.outcomes() == ["cancelled"]


def test_holder_refuses_outcome_is_refused() -> None:
    hub, producer, requester = start()
    requester.ask()
    (push,) = producer.pushes()
    producer.answer(push, "refused", reason="it is nearly done")
    (answer,) = requester.answers()
    assert (answer["outcome"], answer["state"], answer["reason"]) == ("refused", "running", "it is nearly done")
    requester.ask()
    (second,) = producer.pushes()
    assert second["id"] != push["id"]
    producer.answer(push, "stopping")  # to the first push, which is settled
    hub.loop.advance(10)
    assert requester.outcomes() == ["unreachable"]


def test_accepted_cancel_past_the_timeout_is_pending() -> None:
    hub, producer, requester = start()
    requester.ask(timeout_s=3)
    (push,) = producer.pushes()
    producer.answer(push, "stopping")
    hub.loop.advance(2.9)
    assert requester.outcomes() == []
    hub.loop.advance(0.2)
    assert requester.outcomes() == ["pending"]
    requester.ask(timeout_s=3)
    assert producer.pushes() == [], "the holder was asked, and accepted"
    producer.publish("cancelled", "op")
    assert requester.outcomes() == ["cancelled"]


def test_silent_holder_outcome_is_unreachable() -> None:
    hub, producer, requester = start()
    requester.ask(timeout_s=3)
    assert len(producer.pushes()) == 1
    hub.loop.advance(3)
    assert requester.outcomes() == ["unreachable"]


def test_operation_without_holder_is_unreachable_immediately() -> None:
    hub = InMemoryHub(CONFIG)
    client = hub.connect("channels=none")
    client.send("operation:start", {"operation_id": "op"})
    hub.settle()
    requester = Requester(hub)
    requester.ask(timeout_s=60)
    assert requester.outcomes() == ["unreachable"]
    # The next post that writes to it gets the cancellation.
    assert hub.hub.cancellations.pending(["op", "other"]) == ["op"]
    client.send("operation:cancelled", {"operation_id": "op"})
    hub.settle()
    assert hub.hub.cancellations.pending(["op"]) == []


def test_cancel_of_an_unknown_operation_raises() -> None:
    hub = InMemoryHub(CONFIG)
    requester = Requester(hub)
    requester.ask("nothing")
    assert requester.outcomes() == ["operation_unknown"]
    requester.ask(timeout_s=-1)
    requester.ask(timeout_s=3601)
    requester.ask(reason="x" * 1001)
    assert requester.outcomes() == ["invalid_command"] * 3


def test_timeout_of_zero_is_answered_immediately() -> None:
    hub, producer, requester = start()
    requester.ask(timeout_s=0)
    hub.loop.advance(0)
    assert requester.outcomes() == ["unreachable"]
    assert len(producer.pushes()) == 1


def test_many_requesters_are_answered_with_one_push() -> None:
    hub, producer, requester = start()
    others = [Requester(hub) for _ in range(5)]
    for index, each in enumerate([requester, *others]):
        each.ask(timeout_s=1 + index)
    (push,) = producer.pushes()
    producer.answer(push, "stopping")
    hub.loop.advance(2.5)
    producer.publish("cancelled", "op")
    outcomes = [each.outcomes() for each in [requester, *others]]
    assert outcomes == [["pending"], ["pending"], *[["cancelled"]] * 4]


def test_lost_requester_changes_nothing() -> None:
    _, producer, requester = start()
    requester.ask()
    requester.client.drop()
    (push,) = producer.pushes()
    producer.answer(push, "stopping")
    assert producer.publish("cancelled", "op") == "ok"


def test_reconnected_holder_gets_the_same_push_again() -> None:
    hub, producer, requester = start()
    requester.ask(timeout_s=60)
    (push,) = producer.pushes()
    producer.drop()
    requester.ask(timeout_s=60)
    hub.loop.advance(5)
    assert requester.outcomes() == []
    producer.connect({"operation_id": "op", "attempt": 1})
    (again,) = producer.pushes()
    assert again["id"] == push["id"]
    producer.answer(again, "stopping")
    producer.publish("cancelled", "op")
    assert requester.outcomes() == ["cancelled"] * 2


def test_lost_holder_outcome_is_finished_first() -> None:
    hub, producer, requester = start()
    producer.drop()
    requester.ask(timeout_s=60)
    hub.loop.advance(31)
    (answer,) = requester.answers()
    assert (answer["outcome"], answer["state"]) == ("finished_first", "failed")


def test_unexpected_answer_is_ignored() -> None:
    hub, producer, requester = start()
    stranger = Producer(hub, "p-2")
    stranger.connect()
    requester.ask(timeout_s=1)
    (push,) = producer.pushes()
    stranger.answer(push, "stopping")
    producer.answer({"id": "none"}, "stopping")
    hub.loop.advance(1)
    assert requester.outcomes() == ["unreachable"]
    producer.client.send("operation:cancel_answer", {"verdict": "stopping"})
    hub.settle()
    assert [message["data"]["code"] for message in producer.client.read()] == ["invalid_command"]


def test_queued_operation_without_producer_is_cancelled_by_the_hub() -> None:
    hub, producer, requester = start(queued=True)
    requester.ask()
    assert len(producer.pushes()) == 1, "the producer that queued it is asked while it is connected"
    producer.drop()
    requester.ask(reason="not today")
    assert requester.outcomes() == ["cancelled"] * 2
    status = hub.hub.operations.get("op")
    assert status is not None
    assert status.reason == "not today" or status.reason is None
    worker = Producer(hub, "worker")
    worker.connect()
    assert worker.publish("start", "op", attempt=1) == "operation_finished"


def test_children_are_cancelled_with_their_parent_and_reported() -> None:
    hub, producer, requester = start()
    worker = Producer(hub, "p-2")
    worker.connect()
    worker.publish("start", "child", parent_id="op")
    producer.publish("start", "grandchild", parent_id="child")
    worker.publish("start", "done", parent_id="op")
    worker.publish("complete", "done")
    worker.publish("start", "loop", parent_id="loop")
    requester.ask(reason="all of it")
    mine, theirs = producer.pushes(), worker.pushes()
    assert {push["data"]["operation_id"] for push in mine} == {"op", "grandchild"}
    assert {push["data"]["operation_id"] for push in theirs} == {"child"}
    for push in mine:
        producer.answer(push, "stopping")
    worker.answer(theirs[0], "refused", reason="no")
    producer.publish("cancelled", "grandchild")
    producer.publish("cancelled", "op")
    (answer,) = requester.answers()
    assert answer["outcome"] == "cancelled"
    (child,) = answer["children"]
    assert (child["operation_id"], child["outcome"], child["reason"]) == ("child", "refused", "no")
    (grandchild,) = child["children"]
    assert (grandchild["operation_id"], grandchild["outcome"]) == ("grandchild", "cancelled")
    requester.ask("loop", timeout_s=1)
    hub.loop.advance(1)
    assert requester.outcomes() == ["unreachable"]


def test_refused_end_does_not_settle_the_cancellation() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(CONFIG, log=log)
    producer = Producer(hub, "p-1")
    producer.connect()
    producer.publish("start", "op")
    requester = Requester(hub)
    requester.ask(timeout_s=5)
    log.fail_append(LogUnavailable("as if"))
    assert producer.publish("complete", "op") == "log_unavailable"
    assert requester.outcomes() == []
    producer.publish("cancelled", "op")
    assert requester.outcomes() == ["cancelled"]


def test_ten_thousand_races_of_end_and_cancel_end_once_each() -> None:
    """Each operation has one end, whichever event is first, and the requester gets its outcome."""
    chance = random.Random(20_261_123)
    hub = InMemoryHub(CONFIG)
    producers = [Producer(hub, f"p-{number}") for number in range(2)]
    for producer in producers:
        producer.connect()
    watcher = hub.connect("channel=operations")
    requester = Requester(hub)
    requests: dict[str, str] = {}
    for number in range(10_000):
        key = f"op-{number}"
        holder = producers[number % 2].client
        holder.send("operation:start", {"operation_id": key})
        hub.loop.run_round()
        turns = ["complete", "ask", *(["cancelled"] if chance.random() < 0.5 else [])]
        chance.shuffle(turns)
        for turn in turns:
            if turn == "ask":
                id = requester.client.send("operation:cancel", {"operation_id": key, "timeout_s": 1})
                assert id is not None
                requests[id] = key
            else:
                holder.send(f"operation:{turn}", {"operation_id": key})
            if chance.random() < 0.5:
                hub.loop.run_round()
        if number % 1000 == 0:
            hub.loop.advance(10)  # a connection may have some refused ends a second
            producers[number % 2].drop()
            producers[number % 2].connect()
    hub.loop.advance(2)
    ends: dict[str, list[str]] = {}
    for event in watcher.read_events():
        action = event["type"].partition(":")[2]
        if action in ("complete", "cancelled", "failed"):
            ends.setdefault(event["data"]["operation_id"], []).append(action)
    assert {len(of_one) for of_one in ends.values()} == {1}
    assert len(ends) == 10_000
    outcomes = {message["reply_to"]: message["data"] for message in requester.client.read() if "reply_to" in message}
    assert outcomes.keys() == requests.keys()
    for id, key in requests.items():
        expected = "cancelled" if ends[key] == ["cancelled"] else "finished_first"
        assert outcomes[id]["outcome"] == expected, (key, ends[key], outcomes[id])


def test_queued_operation_is_cancelled_when_its_holder_disconnects() -> None:
    _, producer, requester = start(queued=True)
    requester.ask(timeout_s=60)
    assert len(producer.pushes()) == 1
    producer.drop()
    assert requester.outcomes() == ["cancelled"]


def test_descendants_are_cancelled_up_to_the_limit() -> None:
    _, producer, requester = start()
    for number in range(700):
        producer.publish("start", f"child-{number}", parent_id=f"child-{number - 1}" if number else "op")
    requester.ask(timeout_s=60)
    assert len(producer.pushes()) == 501
    producer.publish("cancelled", "op")
    assert requester.outcomes() == ["cancelled"]
