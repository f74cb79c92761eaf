"""Cancelling with very many children and requests: bounded, linear, and in slices."""

from collections import Counter

import pytest
from tests.hub.operations.test_cancellation import CONFIG, Requester, start
from tests.hub.producers import Producer

from tidings.exceptions import InvalidCommand
from tidings.hub.connection import HubConnection
from tidings.hub.operations.cancellation import MAX_DESCENDANTS, MAX_WAITING, MAX_WAITING_OF_CONNECTION
from tidings.hub.operations.rounds import MAX_STEPS_PER_ROUND
from tidings.operations.table import OperationTable
from tidings.protocol.messages import Cancel, CancelOutcome, CancelPush
from tidings.testing.in_memory_hub import InMemoryHub

CHILDREN = 60_000


def begin_children(hub: InMemoryHub, producer: Producer, number: int, *, parent: str = "op") -> None:
    for child in range(number):
        producer.client.send("operation:start", {"operation_id": f"child-{child}", "parent_id": parent}, id=None)
        if child % 5_000 == 4_999:
            hub.settle()
    hub.settle()
    producer.client.read()


def test_parent_of_60_000_children_cancels_500_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, producer, requester = start()
    begin_children(hub, producer, CHILDREN)
    examined = 0
    live_children = OperationTable.live_children

    def counting(self: OperationTable, operation_id: str, limit: int) -> object:
        nonlocal examined
        found = live_children(self, operation_id, limit)
        examined += len(found)
        return found

    monkeypatch.setattr(OperationTable, "live_children", counting)
    pushes: Counter[int] = Counter()
    push_cancel = HubConnection.push_cancel

    def push(self: HubConnection, push_id: str, data: CancelPush) -> None:
        pushes[hub.loop.rounds] += 1
        push_cancel(self, push_id, data)

    monkeypatch.setattr(HubConnection, "push_cancel", push)
    for _ in range(MAX_WAITING_OF_CONNECTION - 1):
        requester.client.send("operation:cancel", {"operation_id": "op", "timeout_s": 0})
    requester.ask(timeout_s=60)
    assert sum(pushes.values()) == MAX_DESCENDANTS + 1
    assert max(pushes.values()) <= MAX_STEPS_PER_ROUND
    assert examined == MAX_DESCENDANTS, "one walk for all requests"
    producer.publish("cancelled", "op")
    answer = requester.answers()[-1]
    assert answer["outcome"] == "cancelled"
    assert len(answer["children"]) == MAX_DESCENDANTS


def test_ended_children_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, producer, _ = start()
    begin_children(hub, producer, 1_000)
    for child in range(999):
        producer.client.send("operation:complete", {"operation_id": f"child-{child}"}, id=None)
    hub.settle()
    (live,) = hub.hub.operations.live_children("op", 10)
    assert live.operation_id == "child-999"
    producer.publish("complete", "child-999")
    assert hub.hub.operations.live_children("op", 10) == []
    assert hub.hub.operations._live_children == {}
    producer.publish("start", "child-5")  # its next attempt, without a parent of its own
    assert [status.operation_id for status in hub.hub.operations.live_children("op", 10)] in (["child-5"], [])


@pytest.mark.parametrize("times_out", [False, True])
def test_many_requests_share_one_outcome_and_are_answered_in_slices(times_out: bool) -> None:
    hub, producer, _ = start()
    begin_children(hub, producer, 100)
    cancellations = hub.hub.cancellations
    answers: Counter[int] = Counter()
    outcomes: dict[int, CancelOutcome] = {}

    def answer(outcome: CancelOutcome) -> None:
        answers[hub.loop.rounds] += 1
        outcomes[id(outcome)] = outcome

    for _ in range(MAX_WAITING):
        cancellations.request(Cancel(operation_id="op", timeout_s=30), answer)
        hub.loop.run_round()
    with pytest.raises(InvalidCommand, match="10,000") as refused:
        cancellations.request(Cancel(operation_id="op"), answer)
    assert refused.value.hint
    hub.settle()
    if times_out:
        hub.loop.advance(31)
    else:
        producer.publish("cancelled", "op")
    hub.settle()
    assert sum(answers.values()) == MAX_WAITING
    assert max(answers.values()) <= MAX_STEPS_PER_ROUND
    assert len(outcomes) == 1
    (outcome,) = outcomes.values()
    assert outcome.outcome == ("unreachable" if times_out else "cancelled")
    assert cancellations._waiting == 0


def test_connection_may_wait_for_100_outcomes() -> None:
    hub, _, requester = start()
    for _ in range(MAX_WAITING_OF_CONNECTION):
        requester.ask(timeout_s=3_600)
    assert requester.answers() == []
    requester.ask()
    (refused,) = requester.answers()
    assert refused["code"] == "invalid_command"
    assert "100" in refused["message"]
    other = Requester(hub)
    other.ask(timeout_s=0)
    assert other.outcomes() == ["unreachable"]


def test_closed_connection_leaves_no_request_behind() -> None:
    hub = InMemoryHub(CONFIG)
    producer = Producer(hub, "p-1")
    producer.connect()
    producer.publish("start", "op")
    for _ in range(50):
        requester = Requester(hub)
        for _ in range(MAX_WAITING_OF_CONNECTION):
            requester.ask(timeout_s=3_600)
        requester.client.drop()
        hub.settle()
    assert hub.hub.cancellations._waiting == 0
    assert hub.hub.cancellations._waiting_of == {}
    assert len(producer.pushes()) == 1, "what they asked for continues"
