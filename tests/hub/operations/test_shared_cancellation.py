"""Cancelling over several hubs of one log."""

import asyncio

import pytest
from tests.hub.shared_hubs import SharedHub, SharedHubs

from tidings.exceptions import OperationUnknown
from tidings.log.catch_ups import MAX_CATCH_UP_S
from tidings.log.journal.sessions import GONE_S
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.server.http.long_poll import wait_until_known


def cancel(hub: SharedHub, operation_id: str = "op", timeout_s: float = 10.0) -> list[CancelOutcome]:
    """Request the end of an operation from one hub; return the list of its outcome."""
    outcomes: list[CancelOutcome] = []
    command = Cancel(operation_id=operation_id, reason="because", timeout_s=timeout_s, cancelled_by="ada")
    hub.hub.hub.cancellations.request(command, outcomes.append)
    return outcomes


def shown(outcomes: list[CancelOutcome]) -> list[tuple[str, str]]:
    return [(outcome.outcome, outcome.state) for outcome in outcomes]


def pending(hubs: SharedHubs) -> list[int]:
    return [len(hub.hub.hub.cancellations) for hub in hubs.hubs if not hub.hub.hub.closed]


def test_request_on_one_hub_reaches_the_holder_on_another(hubs: SharedHubs) -> None:
    a, b, _ = hubs.hubs
    producer = hubs.start(a)
    outcomes = cancel(b)
    (push,) = producer.pushes()
    assert push["data"] == {"operation_id": "op", "attempt": 1, "reason": "because", "cancelled_by": "ada"}
    assert pending(hubs) == [1, 1, 1]
    producer.answer(push, "stopping")
    assert outcomes == []
    producer.publish("cancelled", "op")
    assert shown(outcomes) == [("cancelled", "cancelled")]
    assert pending(hubs) == [0, 0, 0]
    assert producer.pushes() == []


def test_refusal_and_silence_reach_the_hub_that_was_asked(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producer = hubs.start(a)
    refused = cancel(b)
    (push,) = producer.pushes()
    producer.answer(push, "refused", reason="almost done")
    assert [(outcome.outcome, outcome.reason) for outcome in refused] == [("refused", "almost done")]
    assert pending(hubs) == [0, 0, 0]
    silent = cancel(c)
    (again,) = producer.pushes()
    assert again["id"] != push["id"]
    hubs.loop.advance(10)
    assert shown(silent) == [("unreachable", "running")]
    assert pending(hubs) == [1, 1, 1]


def test_requests_on_all_hubs_are_one_push_with_one_outcome_each(hubs: SharedHubs) -> None:
    producer = hubs.start(hubs.hubs[1])
    waiting = [cancel(hub) for hub in hubs.hubs for _ in range(2)]
    (push,) = producer.pushes()
    producer.answer(push, "stopping")
    producer.publish("cancelled", "op")
    assert [shown(outcomes) for outcomes in waiting] == [[("cancelled", "cancelled")]] * 6


def test_children_on_other_hubs_are_cancelled_first(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producers = {
        "root": hubs.producer(a, "root"),
        "child": hubs.producer(b, "child"),
        "below": hubs.producer(c, "below"),
    }
    parent = None
    for name, producer in producers.items():
        producer.connect()
        more: dict[str, str] = {} if parent is None else {"parent_id": parent}
        assert producer.publish("start", name, **more) == "ok"
        parent = name
    outcomes = cancel(c, "root", timeout_s=60)
    for name in ("below", "child", "root"):
        (push,) = producers[name].pushes()
        producers[name].answer(push, "stopping")
        producers[name].publish("cancelled", name)
    (outcome,) = outcomes
    found: list[tuple[str, str]] = []
    while True:
        found.append((outcome.operation_id, outcome.outcome))
        if not outcome.children:
            break
        (outcome,) = outcome.children
    assert found == [("root", "cancelled"), ("child", "cancelled"), ("below", "cancelled")]


def test_queued_operation_is_cancelled_once(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    client, watcher = b.hub.connect("channels=none"), hubs.watch(a)
    client.send("operation:start", {"operation_id": "op", "queued": True})
    hubs.settle()
    outcomes = cancel(c)
    hubs.settle()
    assert shown(outcomes) == [("cancelled", "cancelled")]
    assert [message["type"] for message in watcher.read_events()].count("operation:cancelled") == 1


def test_request_survives_the_hub_that_was_asked(hubs: SharedHubs) -> None:
    a, b, c = hubs.hubs
    producer = hubs.start(b)
    producer.drop()
    cancel(a)
    hubs.settle()
    a.kill()
    hubs.loop.advance(GONE_S + 3)
    producer.move(c)
    assert producer.connect({"operation_id": "op"}) == {"op": "held"}
    (push,) = producer.pushes()
    assert push["data"]["cancelled_by"] == "ada"
    producer.publish("cancelled", "op")
    assert pending(hubs) == [0, 0]


def test_request_whose_hub_dies_before_the_descendants_were_asked_is_pushed() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(b)
    cancel(a)
    a.hub.hub.closed = True  # its rounds stop after the first control
    hubs.settle()
    assert producer.pushes() == []
    a.kill()
    hubs.loop.advance(GONE_S + 3)
    (push,) = producer.pushes()
    assert push["data"]["operation_id"] == "op"


def test_restarted_hub_knows_the_requests(hubs: SharedHubs) -> None:
    a, b, _ = hubs.hubs
    producer = hubs.start(b)
    producer.drop()
    cancel(b)
    hubs.settle()
    a.kill()
    again = hubs.restart(a)
    assert pending(hubs) == [1, 1, 1]
    producer.move(again)
    producer.connect({"operation_id": "op"})
    assert [push["data"]["operation_id"] for push in producer.pushes()] == ["op"]


def test_queued_operation_is_cancelled_by_the_next_lead() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    client = b.hub.connect("channels=none")
    client.send("operation:start", {"operation_id": "op", "queued": True})
    hubs.settle()
    assert a.log.leads
    a.kill()  # without a word
    outcomes = cancel(b, timeout_s=30)
    hubs.loop.advance(1)
    assert outcomes == []
    hubs.loop.advance(GONE_S + 3)
    assert shown(outcomes) == [("cancelled", "cancelled")]


def test_operation_that_ended_on_the_way_has_finished_first() -> None:
    hubs = SharedHubs(2, max_delay_s=0.5)
    a, b = hubs.hubs
    producer = hubs.producer(b)
    producer.connect()
    for number in range(20):
        producer.publish("start", f"op-{number}")
        producer.client.send("operation:complete", {"operation_id": f"op-{number}"})
        outcomes = cancel(a, f"op-{number}")
        hubs.settle()
        assert shown(outcomes) == [("finished_first", "complete")]
    producer.client.read()
    assert pending(hubs) == [0, 0]
    with pytest.raises(OperationUnknown):
        cancel(a, "other")


def test_request_that_the_journal_does_not_bring_is_answered_in_time() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(b)
    a.journal.leave()
    outcomes = cancel(a, timeout_s=2)
    hubs.loop.advance(2.1)
    assert shown(outcomes) == [("unreachable", "running")]
    a.journal.come_back()
    assert [push["data"]["operation_id"] for push in producer.pushes()] == ["op"]


def test_requests_that_are_repeated_while_the_journal_is_away_are_one() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.start(b)
    a.journal.leave()
    repeated = []
    for _ in range(200):
        repeated.append(cancel(a, timeout_s=0.01))
        hubs.loop.advance(0.02)
    last = cancel(a, timeout_s=60)
    assert len(vars(a.log)["_controls"]) <= 2
    assert [shown(outcomes) for outcomes in repeated] == [[("unreachable", "running")]] * 200
    a.journal.come_back()
    (push,) = producer.pushes()
    producer.answer(push, "stopping")
    producer.publish("cancelled", "op")
    assert shown(last) == [("cancelled", "cancelled")]
    assert pending(hubs) == [0, 0]


def test_operation_that_another_hub_acknowledged_is_known_to_one_that_lags() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    client = a.hub.connect("channels=none")
    producer = hubs.producer(b)
    producer.connect()
    a.journal.leave()
    assert producer.publish("start", "op") == "ok"
    id = client.send("operation:cancel", {"operation_id": "op"})
    client.send("operation:start", {"operation_id": "next"})
    hubs.loop.advance(0.5)
    assert [message["type"] for message in client.read()] == ["connection:established"]
    a.journal.come_back()
    (push,) = producer.pushes()
    producer.answer(push, "refused")
    answers = client.read()
    assert {(answer["type"], answer.get("reply_to") == id) for answer in answers} == {
        ("event:accepted", False),
        ("operation:cancel_outcome", True),
    }


def test_unknown_operation_is_refused_in_time_while_the_journal_is_away() -> None:
    hubs = SharedHubs(2)
    a, _ = hubs.hubs
    client = a.hub.connect("channels=none")
    a.journal.leave()
    id = client.send("operation:cancel", {"operation_id": "op"})
    hubs.loop.advance(MAX_CATCH_UP_S)
    *_, answer = client.read()
    assert (answer["reply_to"], answer["data"]["code"]) == (id, "operation_unknown")


async def test_request_over_http_waits_until_the_operation_is_known() -> None:
    hubs = SharedHubs(2)
    a, b = hubs.hubs
    producer = hubs.producer(b)
    producer.connect()
    a.journal.leave()
    producer.publish("start", "op")
    waiting = asyncio.ensure_future(wait_until_known(a.hub.hub, "op"))
    await asyncio.sleep(0)
    assert not waiting.done()
    a.journal.come_back()
    hubs.loop.advance(1.0)
    await waiting
    assert a.state() == "running 1"
    await wait_until_known(a.hub.hub, "op")
    waiting = asyncio.ensure_future(wait_until_known(a.hub.hub, "other"))
    await asyncio.sleep(0)
    hubs.loop.advance(1.0)
    await waiting
