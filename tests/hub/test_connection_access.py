"""Connections of a hub that identifies its clients."""

import pytest
from tests.hub.events import progress, update
from tests.hub.identified import IdentifyingHub, code

from tidings.access.control import MAX_TICKETS_ASKED, MAX_VERIFICATION_S
from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import TicketFound, Tickets
from tidings.exceptions import AuthenticationUnavailable, InvalidTicket, TooManyFailures
from tidings.hub.rate_limits import MAX_OVERHEAD
from tidings.log.memory import MemoryLog
from tidings.log.revocations import Revocation
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH


@pytest.fixture
def served() -> IdentifyingHub:
    return IdentifyingHub()


def test_credential_of_the_handshake_names_the_subject(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read operations/acme.*")
    (greeting,) = served.connect("ann").read()
    assert (greeting["data"]["auth"], greeting["data"]["channels"]) == ("ann", ["global", "operations"])


@pytest.mark.parametrize("versioned", [True, False])
def test_connection_without_credential_is_asked_for_one(served: IdentifyingHub, versioned: bool) -> None:
    served.tokens.add("ann", "read data")
    client = served.connect(query="channel=data", versioned=versioned)
    greeting, required = client.read()
    assert (greeting["data"]["auth"], greeting["data"]["channels"]) == ("required", [])
    assert required["type"] == "auth:required"
    assert required["data"] == {"methods": ["token"], "reason": "missing", "deadline_s": 10}
    client.send("data:update", update())
    served.hub.settle()
    assert [code(message) for message in client.read()] == ["unauthenticated"]
    client.send("auth:token", {"token": "ann"})
    served.hub.settle()
    success, *others = client.read()
    assert success["type"] == "auth:success"
    assert success["data"] == {"subject": "ann", "grants": ["read data", "read global"]}
    assert ("reply_to" in success) is versioned
    assert [message["type"] for message in others] == ["channel:subscribed", "channel:live"][: 2 * versioned]
    assert client.connection.subscriber.paths.names() == ["data", "global"]


def test_ping_is_served_before_the_credential(served: IdentifyingHub) -> None:
    client = served.connect()
    assert served.ask(client, "connection:ping")["type"] == "connection:pong"


@pytest.mark.parametrize("versioned", [True, False])
def test_connection_that_sends_no_credential_in_time_is_closed(served: IdentifyingHub, versioned: bool) -> None:
    client = served.connect(versioned=versioned)
    client.read()
    served.hub.loop.advance(9.9)
    assert client.outlet.closed is None
    served.hub.loop.advance(0.2)
    failed, closed = (message for message in client.read() if message["type"] != "connection:position")
    assert (failed["type"], code(failed)) == ("auth:failed", "authentication_timeout")
    assert (closed["data"]["code"], closed["data"]["reconnect"]) == (4001, False)


@pytest.mark.parametrize("versioned", [True, False])
def test_refused_credential_closes_with_4001(served: IdentifyingHub, versioned: bool) -> None:
    greeting, failed, closed = served.connect("unknown", versioned=versioned).read()
    assert greeting["data"]["auth"] == "required"
    assert (failed["type"], code(failed), closed["data"]["code"]) == ("auth:failed", "invalid_token", 4001)
    client = served.connect(versioned=versioned)
    client.read()
    client.send("auth:token", {"token": "unknown"})
    failed, closed = client.read()
    assert (failed["type"], code(failed), closed["data"]["code"]) == ("auth:failed", "invalid_token", 4001)


def test_messages_wait_in_order_while_a_credential_is_verified(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "publish data", "read data")
    served.tokens.waiting = []
    client = served.connect("ann")
    client.send("data:update", update("a"))
    client.subscribe("data", since="first")
    client.send("data:update", update("b"))
    served.hub.settle()
    assert client.read() == []
    served.tokens.answer()
    served.hub.settle()
    messages = client.read()
    assert messages[0]["type"] == "connection:established"
    assert [message["reply_to"] for message in messages if "reply_to" in message] == ["2", "1", "3"]
    assert [message["data"]["dataset"] for message in messages if "channel" in message] == ["a", "b"]


def test_verification_that_never_ends_is_given_up(served: IdentifyingHub) -> None:
    served.tokens.waiting = []
    client = served.connect("ann")
    served.hub.loop.advance(MAX_VERIFICATION_S + 1)
    greeting, failed, closed = client.read()
    assert (greeting["data"]["auth"], code(failed)) == ("required", "authentication_unavailable")
    assert (closed["data"]["code"], closed["data"]["reconnect"]) == (1013, True)
    served.tokens.add("ann", "read *")
    served.tokens.answer()
    assert client.read() == []


def test_renewal_during_an_outage_keeps_the_credential(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data")
    client = served.connect("ann", "channel=data")
    client.read()
    served.tokens.subjects["later"] = AuthenticationUnavailable("the issuer does not answer")
    failed = served.ask(client, "auth:token", {"token": "later"})
    assert (failed["type"], failed["data"]["recoverable"], client.outlet.closed) == ("auth:failed", True, None)
    assert client.connection.subscriber.paths.names() == ["data", "global"]


def test_flood_of_tokens_closes_the_connection(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data")
    client = served.connect("ann")
    for _ in range(MAX_OVERHEAD + 1):
        client.send("auth:token", {"token": "ann"})
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == 4029


def test_subscription_needs_grants_for_all_paths(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read operations/acme.*", "read data/daily")
    client = served.connect("ann")
    refused = served.ask(client, "channel:subscribe", {"channels": ["operations/acme.1", "operations/other"]})
    assert code(refused) == "forbidden"
    assert "operations/other" in refused["data"]["message"]
    assert "operations/acme.*" in refused["data"]["hint"]
    assert client.connection.subscriber.paths.names() == []
    subscribed = served.ask(client, "channel:subscribe", {"channels": ["*"]})
    assert subscribed["data"]["channels"] == ["data/daily", "global", "operations/acme.*"]


def test_star_of_a_subject_that_may_read_nothing_is_refused(served: IdentifyingHub) -> None:
    served.tokens.add("bob", "publish data")
    client = served.connect("bob")
    assert code(served.ask(client, "channel:subscribe", {"channels": ["*"]})) == "forbidden"


@pytest.mark.parametrize("versioned", [True, False])
def test_url_that_names_a_path_without_a_grant_is_closed_with_4003(served: IdentifyingHub, versioned: bool) -> None:
    served.tokens.add("ann", "read data")
    _, error, closed = served.connect("ann", "channel=operations", versioned=versioned).read()
    assert (code(error), closed["data"]["code"], closed["data"]["reconnect"]) == ("forbidden", 4003, False)


def test_plain_connection_reads_everything_that_it_may_by_default(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data/a", "publish data")
    served.tokens.add("bob", "publish data")
    reader, publisher = served.connect("ann", versioned=False), served.connect("bob", versioned=False)
    for dataset in "ab":
        publisher.send("data:update", update(dataset))
    served.hub.settle()
    assert [event["data"]["dataset"] for event in reader.read_events()] == ["a"]
    assert publisher.read_events() == []


@pytest.mark.parametrize("channel", [None, "global"])
def test_publishing_needs_a_grant_for_each_channel(served: IdentifyingHub, channel: str | None) -> None:
    served.tokens.add("bob", "publish operations/acme.* operation:*")
    client = served.connect("bob")
    allowed = served.ask(client, "operation:progress", progress("acme.1"))
    assert allowed["type"] == "event:accepted"
    fields = {} if channel is None else {"channel": channel}
    key = "other" if channel is None else "acme.1"
    refused = served.ask(client, "operation:progress", progress(key), **fields)
    assert code(refused) == "forbidden"
    assert served.hub.log.head == 1


def test_next_token_in_place_keeps_what_is_still_granted(served: IdentifyingHub) -> None:
    served.tokens.add("t1", "read data", "read operations", "publish *", name="ann")
    served.tokens.add("t2", "read data", name="ann")
    client = served.connect("t1")
    client.subscribe("data", "operations")
    served.hub.settle()
    client.read()
    success = served.ask(client, "auth:token", {"token": "t2"})
    assert success["data"] == {"subject": "ann", "grants": ["read data", "read global"], "removed": ["operations"]}
    publisher = served.connect(served.tokens.add("p", "publish *"))
    publisher.send("operation:progress", progress("a"))
    publisher.send("data:update", update("b"))
    served.hub.settle()
    assert [event["type"] for event in client.read_events()] == ["data:update"]
    assert code(served.ask(client, "data:update", update())) == "forbidden"


def test_token_of_another_subject_is_refused_and_changes_nothing(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data")
    served.tokens.add("bob", "read *")
    client = served.connect("ann")
    assert code(served.ask(client, "auth:token", {"token": "bob"})) == "forbidden"
    assert code(served.ask(client, "channel:subscribe", {"channels": ["operations"]})) == "forbidden"
    assert client.outlet.closed is None


def test_connection_is_asked_ahead_of_expiry_and_closed_at_expiry(served: IdentifyingHub) -> None:
    served.tokens.add("t1", "read data", name="ann", expires_s=100)
    client, late = served.connect("t1"), served.connect("t1")
    served.hub.loop.advance(81)
    for each in (client, late):
        (required,) = each.read_where(lambda message: message["type"] == "auth:required")
        assert required["data"]["reason"] == "expiring"
        assert 15 < required["data"]["deadline_s"] <= 20
    served.tokens.add("t2", "read data", name="ann", expires_s=100)
    assert served.ask(client, "auth:token", {"token": "t2"})["data"]["expires_at"] == "2026-01-01T00:03:01Z"
    served.hub.loop.advance(20)
    assert client.outlet.closed is None
    failed, closed = late.read_where(lambda message: message["type"] in ("auth:failed", "connection:closed"))
    assert (code(failed), closed["data"]["code"]) == ("token_expired", 4001)
    served.hub.loop.advance(100)
    assert client.outlet.closed is not None


def test_revoked_credential_ends_its_connections(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data")
    served.tokens.add("bob", "read data")
    ann, bob = served.connect("ann"), served.connect("bob")
    ann.read()
    revocation = Revocation(kind="credential", name="ann", issued_before_ns=served.tokens.wall_ns() + 1)
    served.hub.log.revoke(revocation, lambda stored: None)
    assert served.hub.hub.access is not None
    served.hub.hub.access.end_revoked()
    served.hub.settle()
    failed, closed = ann.read()
    assert (code(failed), closed["data"]["code"]) == ("credential_revoked", 4001)
    assert bob.outlet.closed is None
    assert code(served.connect("ann").read()[1]) == "credential_revoked"


def test_revoked_reader_receives_nothing_while_its_own_events_are_stored() -> None:
    log = FaultyLog(MemoryLog(EPOCH))
    served = IdentifyingHub(log=log)
    served.tokens.add("ann", "read data", "publish data")
    ann = served.connect("ann", "channel=data")
    log.hold_appends()
    for dataset in "ab":  # two batches: the log has the first when the second is still on its way
        ann.send("data:update", update(dataset))
        served.hub.settle()
    ann.read()
    revocation = Revocation(kind="subject", name="ann", issued_before_ns=served.tokens.wall_ns() + 1)
    log.revoke(revocation, lambda stored: None)
    assert served.hub.hub.access is not None
    served.hub.hub.access.end_revoked()
    log.release_appends()
    served.hub.settle()
    assert [message["type"] for message in ann.read()] == [
        "auth:failed",
        "event:accepted",
        "event:accepted",
        "connection:closed",
    ]


def test_changed_roles_reach_open_connections(served: IdentifyingHub) -> None:
    served.tokens.add("ann", "read data", "read operations")
    served.tokens.add("bob", "read data")
    ann, bob = served.connect("ann", "channel=data&channel=operations"), served.connect("bob", "channel=data")
    ann.read(), bob.read()
    served.tokens.add("ann", "read operations")
    del served.tokens.subjects["bob"]
    assert served.hub.hub.access is not None
    served.hub.hub.access.reevaluate()
    served.hub.settle()
    (success,) = ann.read()
    assert (success["type"], success["data"]["removed"]) == ("auth:success", ["data"])
    failed, _ = bob.read()
    assert (failed["type"], code(failed)) == ("auth:failed", "invalid_token")


def test_failures_of_others_at_an_address_stop_no_renewal(served: IdentifyingHub) -> None:
    served.tokens.add("t1", "read data", name="ann")
    served.tokens.add("t2", "read data", name="ann")
    client = served.connect("t1", "channel=data")
    client.read()
    while code(served.connect("unknown").read()[1]) != "too_many_failures":
        pass
    assert served.ask(client, "auth:token", {"token": "t2"})["type"] == "auth:success"
    assert code(served.connect("t2 of another").read()[1]) == "too_many_failures"
    assert code(served.ask(client, "auth:token", {"token": "unknown"})) == "invalid_token"


def test_ticket_of_another_process_counts_despite_failures_of_others(served: IdentifyingHub) -> None:
    access = served.hub.hub.access
    assert access is not None
    other = Tickets(served.clock.monotonic)
    access.tickets.ask_others = other.redeem
    for _ in range(served.tokens.options.max_failures + 1):
        access.failures.count("192.0.2.1")
    credential, request = Credential("t1", "header"), AccessRequest(address="192.0.2.1")
    ticket = Credential(other.issue("ann", credential, request), "ticket")
    results: list[object] = []
    for _ in range(2):
        access.redeem(ticket, request, results.append)
    assert results[0] == (credential, request)
    assert isinstance(results[1], TooManyFailures)
    asked: list[TicketFound] = []
    access.tickets.ask_others = lambda value, found: asked.append(found)
    for _ in range(MAX_TICKETS_ASKED + 1):
        access.redeem(ticket, request, results.append)
    assert (len(asked), len(results)) == (MAX_TICKETS_ASKED, 3)
    asked[0](InvalidTicket("unknown"))
    assert isinstance(results[3], TooManyFailures)
    access.redeem(ticket, request, results.append)
    assert len(asked) == MAX_TICKETS_ASKED + 1


def test_failures_from_an_address_keep_no_session_whose_key_is_gone_open() -> None:
    served = IdentifyingHub()
    served.tokens.add("ann", "read data")
    served.tokens.add("bob", "read data")
    limit = served.tokens.options.max_failures
    clients = [served.connect("ann", "channel=data") for _ in range(limit + 20)]
    bob = served.connect("bob", "channel=data")
    for _ in range(limit):
        served.connect("unknown").read()
    control = served.hub.hub.access
    assert control is not None
    assert control.failures.retry_after_ms("") > 0
    for client in (*clients, bob):
        client.read()
    del served.tokens.subjects["ann"]
    control.reevaluate()
    served.hub.settle()
    assert [client.outlet.closed is not None for client in clients] == [True] * len(clients)
    assert bob.outlet.closed is None


def test_star_follows_the_grants_of_the_subject(served: IdentifyingHub) -> None:
    served.tokens.add("t1", "read operations", name="ann")
    served.tokens.add("t2", "read operations/acme.*", "read data", name="ann")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    client = served.connect("t1")
    client.subscribe("*")
    served.hub.settle()
    client.read()
    client.send("auth:token", {"token": "t2"})
    for type, data in (("operation:progress", progress("acme.1")), ("operation:progress", progress("other"))):
        publisher.send(type, data)
    publisher.send("data:update", update("d"))
    served.hub.settle()
    success, subscribed, live, *events = client.read()
    assert (success["type"], success["data"]["removed"]) == ("auth:success", ["operations"])
    assert subscribed["data"]["channels"] == ["data", "global", "operations/acme.*"]
    assert live["type"] == "channel:live"
    assert [event["data"].get("operation_id", "d") for event in events] == ["acme.1", "d"]


def test_plain_connection_that_may_read_nothing_follows_its_grants(served: IdentifyingHub) -> None:
    served.tokens.add("t1", name="ann")
    served.tokens.add("t2", "read data", name="ann")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    client = served.connect("t1", versioned=False)
    client.send("auth:token", {"token": "t2"})
    publisher.send("data:update", update("d"))
    served.hub.settle()
    assert [event["type"] for event in client.read_events()] == ["data:update"]


def test_subscription_from_the_future_begins_with_the_grants_of_then(served: IdentifyingHub) -> None:
    served.tokens.add("t1", "read data", "read operations", name="ann")
    served.tokens.add("t2", "read data", name="ann")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    publisher.send("data:update", update("d"))
    served.hub.settle()
    client = served.connect("t1")
    client.subscribe("data", "operations", since=f"{EPOCH}:3")
    client.send("auth:token", {"token": "t2"})
    for _ in range(3):
        publisher.send("operation:progress", progress("secret"))
        publisher.send("data:update", update("d"))
    served.hub.settle()
    assert {event["type"] for event in client.read_events()} == {"data:update"}


@pytest.mark.parametrize("behind", [False, True])
def test_next_token_misses_and_repeats_no_event(served: IdentifyingHub, behind: bool) -> None:
    served.tokens.add("t1", "read data", "read operations", name="ann")
    served.tokens.add("t2", "read data", name="ann")
    publisher = served.connect(served.tokens.add("p", "publish *"))
    client = served.connect("t1", past_transport=not behind)
    client.subscribe("data", "operations", since="first")
    for number in range(300):
        if number == 100 and behind:
            client.outlet.stall()
        if number == 150:
            client.send("auth:token", {"token": "t2"})
        publisher.send("data:update", update("d", metadata={"n": number, "pad": "x" * 2_000}))
        publisher.send("operation:log", {"operation_id": "a", "message": "m"})
        if number % 7 == 0:
            served.hub.settle()
    client.outlet.take()
    served.hub.settle()
    events = client.read_events()
    assert [event["data"]["metadata"]["n"] for event in events if event["type"] == "data:update"] == list(range(300))
    logs = [event for event in events if event["type"] == "operation:log"]
    assert len(logs) <= 150
