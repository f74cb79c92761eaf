"""Readers with and without the grant `details`: what they receive, and what the hub does for each."""

import sys
from types import FrameType

import pytest
from structlog.testing import capture_logs
from tests.hub.identified import IdentifyingHub

from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message

FAILED = {"operation_id": "a", "code": "c", "message": "m", "details": "stack", "recoverable": False}


def failures(client: InMemoryClient) -> list[Message]:
    return [event["data"] for event in client.read_events() if event["type"] == "operation:failed"]


@pytest.mark.parametrize("query", ["", "pace_ms=50", "contract=2025-01-30"])
@pytest.mark.parametrize("since", ["first", "snapshot", "now"])
def test_details_reach_only_readers_with_the_grant(query: str, since: str) -> None:
    served = IdentifyingHub()
    served.tokens.add("plain", "read *")
    served.tokens.add("full", "read *", "details")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    if since != "now":
        publisher.send("operation:failed", FAILED)
        served.hub.settle()
    plain, full = served.connect("plain", query), served.connect("full", query)
    for client in (plain, full):
        client.subscribe("operations", since=since)
    served.hub.settle()
    if since == "now":
        publisher.send("operation:failed", FAILED)
    served.hub.loop.advance(1)
    (concealed,) = plain.read_events()
    (revealed,) = full.read_events()
    assert revealed["data"]["details"] == "stack"
    assert concealed["data"] == {name: value for name, value in revealed["data"].items() if name != "details"}


def test_next_token_without_the_grant_conceals_from_then_on() -> None:
    served = IdentifyingHub()
    served.tokens.add("t1", "read *", "details", name="ann")
    served.tokens.add("t2", "read *", name="ann")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    client = served.connect("t1")
    client.subscribe("operations")
    for number, token in enumerate(("t1", "t2", "t1")):
        client.send("auth:token", {"token": token})
        publisher.send("operation:failed", {**FAILED, "operation_id": f"{number}"})
        served.hub.settle()
    assert ["details" in data for data in failures(client)] == [True, False, True]


def test_lane_holds_frames_without_details_for_a_reader_that_pauses() -> None:
    served = IdentifyingHub()
    served.tokens.add("plain", "read *")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    client = served.connect("plain", past_transport=False)
    client.subscribe("operations")
    served.hub.settle()
    client.outlet.stall()
    with capture_logs() as lines:
        for number in range(20):
            publisher.send("operation:log", {"operation_id": "a", "message": f"{number} " + "x" * 3_000})
            served.hub.settle()
        client.outlet.take()
        served.hub.settle()
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert [int(event["data"]["message"].split()[0]) for event in client.read_events()] == list(range(20))
    ring = served.hub.hub.delivery.ring
    assert ring.encodes == 20


def connect_readers(hub: InMemoryHub, count: int, *, tokens: bool) -> None:
    """Connect readers of two kinds: with and without details, or without authentication of two revisions."""
    for _ in range(count):
        for token, query in (("plain", ""), ("full", "contract=2025-01-30")):
            client = hub.connect("" if tokens else query, token=token if tokens else None)
            client.subscribe("operations", since="now")
    hub.settle()


def count_calls(hub: InMemoryHub, publisher: InMemoryClient, operation_id: str) -> int:
    """Return the number of Python functions that publishing and delivering four events calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        for number in range(3):
            publisher.send("operation:log", {"operation_id": operation_id, "message": f"m{number}"})
        publisher.send("operation:failed", {**FAILED, "operation_id": operation_id})
        hub.settle()
    finally:
        sys.setprofile(None)
    return calls


def test_grants_add_no_work_per_subscriber_to_an_event() -> None:
    more: list[int] = []
    for count in (1, 1_000):
        served = IdentifyingHub()
        served.tokens.add("plain", "read *")
        served.tokens.add("full", "read *", "details")
        publisher = served.connect(served.tokens.add("p", "publish *"))
        connect_readers(served.hub, count, tokens=True)
        count_calls(served.hub, publisher, "a")  # fills caches
        delivery = served.hub.hub.delivery
        encodes, writes = delivery.ring.encodes, delivery.counters.lane_writes
        with_grants = count_calls(served.hub, publisher, "b")
        # Three events are the same for both kinds of readers, and one is encoded twice.
        assert (delivery.ring.encodes - encodes, len(list(delivery.lanes))) == (5, 2)
        assert delivery.counters.lane_writes - writes == 2 * count
        open_hub = InMemoryHub()
        publisher = open_hub.connect("channels=none")
        connect_readers(open_hub, count, tokens=False)
        count_calls(open_hub, publisher, "a")
        more.append(with_grants - count_calls(open_hub, publisher, "b"))
    assert more[0] == more[1]
