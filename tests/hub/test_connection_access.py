"""Connections of a hub that identifies its clients."""

from typing import Any

import pytest
from tests.access.token_table import TokenTable
from tests.hub.events import progress, update

from tidings.log.revocations import Revocation
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message


class Served:
    """A hub that identifies its clients by a table of tokens."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.tokens = TokenTable(clock.wall_ns)
        self.hub = InMemoryHub(clock=clock, access=self.tokens.options)

    def connect(self, token: str | None = None, query: str = "", **more: Any) -> InMemoryClient:
        client = self.hub.connect(query, token=token, **more)
        self.hub.settle()
        return client

    def ask(self, client: InMemoryClient, type: str, data: object = None, **fields: Any) -> Message:
        """Send a message and return its answer; drop what else arrives."""
        id = client.send(type, data, **fields)
        self.hub.settle()
        (answer,) = [message for message in client.read() if message.get("reply_to") == id]
        return answer


@pytest.fixture
def served() -> Served:
    return Served()


def code(message: Message) -> str:
    return str(message["data"]["code"])


def test_credential_of_the_handshake_names_the_subject(served: Served) -> None:
    served.tokens.add("ann", "read operations/acme.*")
    (greeting,) = served.connect("ann").read()
    assert (greeting["data"]["auth"], greeting["data"]["channels"]) == ("ann", ["global", "operations"])


@pytest.mark.parametrize("versioned", [True, False])
def test_connection_without_credential_is_asked_for_one(served: Served, versioned: bool) -> None:
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


def test_ping_is_served_before_the_credential(served: Served) -> None:
    client = served.connect()
    assert served.ask(client, "connection:ping")["type"] == "connection:pong"


@pytest.mark.parametrize("versioned", [True, False])
def test_connection_that_sends_no_credential_in_time_is_closed(served: Served, versioned: bool) -> None:
    client = served.connect(versioned=versioned)
    client.read()
    served.hub.loop.advance(9.9)
    assert client.outlet.closed is None
    served.hub.loop.advance(0.2)
    failed, closed = (message for message in client.read() if message["type"] != "connection:position")
    assert (failed["type"], code(failed)) == ("auth:failed", "authentication_timeout")
    assert (closed["data"]["code"], closed["data"]["reconnect"]) == (4001, False)


@pytest.mark.parametrize("versioned", [True, False])
def test_refused_credential_closes_with_4001(served: Served, versioned: bool) -> None:
    greeting, failed, closed = served.connect("unknown", versioned=versioned).read()
    assert greeting["data"]["auth"] == "required"
    assert (failed["type"], code(failed), closed["data"]["code"]) == ("auth:failed", "invalid_token", 4001)
    client = served.connect(versioned=versioned)
    client.read()
    client.send("auth:token", {"token": "unknown"})
    failed, closed = client.read()
    assert (failed["type"], code(failed), closed["data"]["code"]) == ("auth:failed", "invalid_token", 4001)


def test_messages_wait_in_order_while_a_credential_is_verified(served: Served) -> None:
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


def test_subscription_needs_grants_for_all_paths(served: Served) -> None:
    served.tokens.add("ann", "read operations/acme.*", "read data/daily")
    client = served.connect("ann")
    refused = served.ask(client, "channel:subscribe", {"channels": ["operations/acme.1", "operations/other"]})
    assert code(refused) == "forbidden"
    assert "operations/other" in refused["data"]["message"]
    assert "operations/acme.*" in refused["data"]["hint"]
    assert client.connection.subscriber.paths.names() == []
    subscribed = served.ask(client, "channel:subscribe", {"channels": ["*"]})
    assert subscribed["data"]["channels"] == ["data/daily", "global", "operations/acme.*"]


def test_star_of_a_subject_that_may_read_nothing_is_refused(served: Served) -> None:
    served.tokens.add("bob", "publish data")
    client = served.connect("bob")
    assert code(served.ask(client, "channel:subscribe", {"channels": ["*"]})) == "forbidden"


@pytest.mark.parametrize("versioned", [True, False])
def test_url_that_names_a_path_without_a_grant_is_closed_with_4003(served: Served, versioned: bool) -> None:
    served.tokens.add("ann", "read data")
    _, error, closed = served.connect("ann", "channel=operations", versioned=versioned).read()
    assert (code(error), closed["data"]["code"], closed["data"]["reconnect"]) == ("forbidden", 4003, False)


def test_plain_connection_reads_everything_that_it_may_by_default(served: Served) -> None:
    served.tokens.add("ann", "read data/a", "publish data")
    served.tokens.add("bob", "publish data")
    reader, publisher = served.connect("ann", versioned=False), served.connect("bob", versioned=False)
    for dataset in "ab":
        publisher.send("data:update", update(dataset))
    served.hub.settle()
    assert [event["data"]["dataset"] for event in reader.read_events()] == ["a"]
    assert publisher.read_events() == []


@pytest.mark.parametrize("channel", [None, "global"])
def test_publishing_needs_a_grant_for_each_channel(served: Served, channel: str | None) -> None:
    served.tokens.add("bob", "publish operations/acme.* operation:*")
    client = served.connect("bob")
    allowed = served.ask(client, "operation:progress", progress("acme.1"))
    assert allowed["type"] == "event:accepted"
    fields = {} if channel is None else {"channel": channel}
    key = "other" if channel is None else "acme.1"
    refused = served.ask(client, "operation:progress", progress(key), **fields)
    assert code(refused) == "forbidden"
    assert served.hub.log.head == 1


def test_next_token_in_place_keeps_what_is_still_granted(served: Served) -> None:
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


def test_token_of_another_subject_is_refused_and_changes_nothing(served: Served) -> None:
    served.tokens.add("ann", "read data")
    served.tokens.add("bob", "read *")
    client = served.connect("ann")
    assert code(served.ask(client, "auth:token", {"token": "bob"})) == "forbidden"
    assert code(served.ask(client, "channel:subscribe", {"channels": ["operations"]})) == "forbidden"
    assert client.outlet.closed is None


def test_connection_is_asked_ahead_of_expiry_and_closed_at_expiry(served: Served) -> None:
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


def test_revoked_credential_ends_its_connections(served: Served) -> None:
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


def test_changed_roles_reach_open_connections(served: Served) -> None:
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
