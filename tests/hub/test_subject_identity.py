"""What one subject may not do with the ids of another: producers, cancellations, events, traces, names of the hub."""

import pytest
from tests.hub.events import progress, update
from tests.hub.identified import IdentifyingHub, code

from tidings.testing.in_memory_hub import InMemoryClient, Message

EVENT_ID = "0123456789abcdef"
ALERT = {"severity": "info", "code": "c", "message": "m", "recoverable": True}


@pytest.fixture
def served() -> IdentifyingHub:
    served = IdentifyingHub()
    everything = "read *", "publish *", "cancel operations"
    served.tokens.add("ann", *everything)
    served.tokens.add("bob", *everything)
    return served


def attach(served: IdentifyingHub, client: InMemoryClient, *operations: str, producer_id: str = "p1") -> Message:
    claims = [{"operation_id": each} for each in operations]
    return served.ask(client, "producer:attach", {"producer_id": producer_id, "operations": claims})


def running(served: IdentifyingHub, token: str, operation_id: str = "op") -> InMemoryClient:
    client = served.connect(token)
    attach(served, client)
    assert served.ask(client, "operation:start", {"operation_id": operation_id, "name": "n"})["data"]["attempt"] == 1
    return client


def test_producer_of_another_subject_neither_takes_over_nor_ends_an_operation(served: IdentifyingHub) -> None:
    ann = running(served, "ann")
    bob = served.connect("bob")
    attached = attach(served, bob, "op")
    assert attached["data"]["producer_id"] == "p1"
    assert [verdict["verdict"] for verdict in attached["data"]["operations"]] == ["lost"]
    assert ann.outlet.closed is None
    assert code(served.ask(bob, "operation:complete", {"operation_id": "op"})) == "operation_fenced"
    again = served.connect("ann")
    assert [verdict["verdict"] for verdict in attach(served, again, "op")["data"]["operations"]] == ["held"]
    assert ann.outlet.closed is not None
    assert ann.outlet.closed[0] == 4102


def test_claim_of_an_operation_without_a_grant_is_lost(served: IdentifyingHub) -> None:
    served.tokens.add("eve", "publish operations/eve.*")
    attached = attach(served, served.connect("eve"), "eve.1", "unknown")
    assert attached["data"]["operations"] == [
        {"operation_id": "eve.1", "verdict": "held"},
        {"operation_id": "unknown", "verdict": "lost"},
    ]


def test_subject_that_may_publish_nothing_does_not_attach(served: IdentifyingHub) -> None:
    served.tokens.add("eve", "read *")
    eve = served.connect("eve")
    assert code(attach(served, eve)) == "forbidden"
    assert code(attach(served, eve, producer_id="p2")) == "forbidden", "the first one was refused, and binds nothing"


def test_second_producer_on_a_connection_is_refused_without_the_name_of_the_subject(served: IdentifyingHub) -> None:
    ann = served.connect("ann")
    attach(served, ann)
    refused = attach(served, ann, producer_id="p2")
    assert refused["data"]["message"] == "this connection already belongs to producer 'p1'"


def test_lease_of_a_producer_survives_the_next_token(served: IdentifyingHub) -> None:
    ann = running(served, "ann")
    served.tokens.add("ann2", "publish *", name="ann")
    assert served.ask(ann, "auth:token", {"token": "ann2"})["type"] == "auth:success"
    assert served.ask(ann, "operation:complete", {"operation_id": "op"})["type"] == "event:accepted"


def test_event_ids_of_two_subjects_are_independent(served: IdentifyingHub) -> None:
    ann, bob = served.connect("ann"), served.connect("bob")
    assert served.ask(ann, "data:update", update("a"), event_id=EVENT_ID)["type"] == "event:accepted"
    accepted = served.ask(bob, "data:update", update("b"), event_id=EVENT_ID)
    assert (accepted["type"], accepted["data"].get("duplicate")) == ("event:accepted", None)
    again = served.ask(ann, "data:update", update("a"), event_id=EVENT_ID)
    assert again["data"]["duplicate"]
    producer = served.connect("bob")
    attach(served, producer, producer_id="ann")
    assert served.ask(producer, "data:update", update("c"), event_id=EVENT_ID)["type"] == "event:accepted"


def test_cancel_names_the_subject_whatever_was_sent(served: IdentifyingHub) -> None:
    ann, bob = running(served, "ann"), served.connect("bob")
    bob.send("operation:cancel", {"operation_id": "op", "cancelled_by": "root", "timeout_s": 5})
    served.hub.settle()
    (push,) = ann.read_where(lambda message: message["type"] == "operation:cancel")
    assert push["data"]["cancelled_by"] == "bob"
    mallory = served.connect("bob")
    mallory.send("operation:cancel_answer", {"verdict": "refused"}, reply_to=push["id"])
    served.hub.settle()
    assert [message["type"] for message in bob.read()] == ["connection:established"]


def test_cancel_without_a_grant_does_not_show_whether_an_operation_exists(served: IdentifyingHub) -> None:
    running(served, "ann")
    served.tokens.add("eve", "read data", "cancel operations/eve.*")
    eve = served.connect("eve")
    refusals = [served.ask(eve, "operation:cancel", {"operation_id": each}) for each in ("op", "xx")]
    assert [code(refusal) for refusal in refusals] == ["forbidden"] * 2
    texts = [str(refusal["data"]).replace("xx", "op") for refusal in refusals]
    assert texts[0] == texts[1]
    assert code(served.ask(eve, "operation:cancel", {"operation_id": "eve.1"})) == "operation_unknown"


def test_cancel_reaches_and_shows_only_descendants_with_a_grant(served: IdentifyingHub) -> None:
    ann = running(served, "ann", "acme.1")
    bob = running(served, "bob", "acme.parent")
    for client, child in ((ann, "other.1"), (bob, "acme.2")):
        client.send("operation:start", {"operation_id": child, "parent_id": "acme.parent"})
    served.hub.settle()
    ann.read(), bob.read()
    served.tokens.add("eve", "cancel operations/acme.*")
    eve = served.connect("eve")
    id = eve.send("operation:cancel", {"operation_id": "acme.parent", "timeout_s": 1})
    served.hub.loop.advance(2)
    pushed = [
        message["data"]["operation_id"]
        for client in (ann, bob)
        for message in client.read_where(lambda message: message["type"] == "operation:cancel")
    ]
    assert sorted(pushed) == ["acme.2", "acme.parent"]
    (outcome,) = eve.read_where(lambda message: message.get("reply_to") == id)
    assert [child["operation_id"] for child in outcome["data"]["children"]] == ["acme.2"]
    # A requester with more rights, at the same time, reaches the others.
    id = served.connect("ann").send("operation:cancel", {"operation_id": "acme.parent", "timeout_s": 1})
    served.hub.settle()
    (push,) = ann.read_where(lambda message: message["type"] == "operation:cancel")
    assert push["data"]["operation_id"] == "other.1"
    id = eve.send("operation:cancel", {"operation_id": "acme.parent", "timeout_s": 1})
    served.hub.loop.advance(2)
    (outcome,) = eve.read_where(lambda message: message.get("reply_to") == id)
    assert [child["operation_id"] for child in outcome["data"]["children"]] == ["acme.2"]


def test_plain_error_joins_only_operations_with_a_grant(served: IdentifyingHub) -> None:
    trace = "0" * 31 + "1"
    ann = served.connect("ann")
    ann.send("operation:progress", progress("secret"), trace_id=trace)
    served.hub.settle()
    served.tokens.add("eve", "publish operations/eve.*")
    eve = served.connect("eve")
    error = {"code": "c", "message": "m", "recoverable": False}
    refused = served.ask(eve, "operation:failed", error, trace_id=trace)
    assert code(refused) == "forbidden"
    assert "secret" not in str(refused)
    eve.send("operation:progress", progress("eve.1"), trace_id=trace)
    assert served.ask(eve, "operation:failed", error, trace_id=trace)["type"] == "event:accepted"
    status = served.hub.hub.operations.get("secret")
    assert status is not None
    assert status.live


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("system:alert", {"alert_id": "tidings:log", **ALERT}),
        ("system:alert", {"alert_id": "producer_away:op", "state": "cleared", **ALERT}),
        ("system:alert", {"operation_id": "op", **ALERT, "code": "producer_away"}),
        ("system:alert", {"alert_id": "unknown_type:a:b", **ALERT}),
        (
            "system:status",
            {"status": "healthy", "uptime": 1, "active_operations": 0, "metrics": {}, "source": "tidings"},
        ),
        ("system:metrics", {"metrics": {}, "source": "tidings"}),
    ],
)
def test_names_of_the_hub_are_reserved(served: IdentifyingHub, type: str, data: Message) -> None:
    served.tokens.add("root", "admin")
    refused = served.ask(served.connect("root"), type, data)
    assert code(refused) == "reserved_name"
    assert served.hub.log.head == 0
