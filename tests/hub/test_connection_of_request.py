"""Connections whose subject comes from the request as a whole: its cookies, or what a proxy or an application says."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from tests.access.token_table import TokenTable, grants
from tests.hub.events import update

from tidings.access.control import AccessOptions
from tidings.access.subjects import AccessRequest, Authenticated, Credential, Subject
from tidings.exceptions import AccessError, AuthenticationUnavailable, Unauthenticated
from tidings.log.revocations import Revocation
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub


class Sessions:
    """Identifies every request as the sender that a test sets."""

    method = "session"

    def __init__(self, wall_ns: Callable[[], int]) -> None:
        self.wall_ns = wall_ns
        self.result: Subject | AccessError = Subject(name="ada", grants=grants("read data"))
        self.seen: list[Credential] = []

    def accepts(self, credential: Credential) -> bool:
        return not credential.value.startswith("tdk_")

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        self.seen.append(credential)
        result = self.result
        if isinstance(result, Subject):
            result = structs.replace(result, issued_ns=self.wall_ns())
        done(result)


class Served:
    def __init__(self, *, tokens: bool = False) -> None:
        self.clock = clock = ManualClock()
        self.sessions = Sessions(clock.wall_ns)
        self.tokens = TokenTable(clock.wall_ns)
        options = AccessOptions(authenticators=[self.tokens] if tokens else [], requests=self.sessions, recheck_s=60.0)
        self.hub = InMemoryHub(clock=clock, access=options)

    def connect(self, token: str | None = None, query: str = "") -> InMemoryClient:
        client = self.hub.connect(query, token=token)
        self.hub.settle()
        return client


def types(client: InMemoryClient) -> list[str]:
    return [message["type"] for message in client.read() if message["type"] != "connection:position"]


def test_request_without_credential_has_a_subject() -> None:
    served = Served()
    greeting, *others = served.connect(query="channel=data").read()
    assert (greeting["data"]["auth"], greeting["data"]["channels"]) == ("ada", ["global", "data"])
    assert [message["type"] for message in others] == ["channel:subscribed", "channel:live"]
    assert [credential.source for credential in served.sessions.seen] == ["request"]


@pytest.mark.parametrize("error", [Unauthenticated("sign in"), AuthenticationUnavailable("the database is away")])
def test_request_that_no_one_identifies_is_refused(error: AccessError) -> None:
    served = Served()
    served.sessions.result = error
    client = served.connect()
    greeting, failed, _ = client.read()
    assert greeting["data"]["auth"] == "required"
    assert (failed["type"], failed["data"]["code"]) == ("auth:failed", error.code)
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == (4001 if error.code == "unauthenticated" else 1013)


def test_unidentified_request_may_send_a_token_where_there_are_tokens() -> None:
    served = Served(tokens=True)
    served.tokens.add("t", "read data", name="bob")
    served.sessions.result = Unauthenticated("sign in")
    client = served.connect()
    greeting, required = client.read()
    assert (greeting["data"]["auth"], required["type"]) == ("required", "auth:required")
    assert required["data"]["methods"] == ["token"]
    client.send("auth:token", {"token": "t"})
    served.hub.settle()
    (success,) = client.read()
    assert success["data"]["subject"] == "bob"


def test_outage_of_the_identification_is_reported_although_there_are_tokens() -> None:
    served = Served(tokens=True)
    served.sessions.result = AuthenticationUnavailable("away")
    client = served.connect()
    assert types(client) == ["connection:established", "auth:failed", "connection:closed"]


def test_credentials_go_to_those_who_accept_them_first() -> None:
    served = Served(tokens=True)
    served.tokens.add("t", "read operations", name="bob")
    assert served.connect("t").read()[0]["data"]["auth"] == "bob"
    assert served.sessions.seen == []
    alone = Served()
    assert alone.connect("opaque").read()[0]["data"]["auth"] == "ada"
    assert [(each.source, each.value) for each in alone.sessions.seen] == [("header", "opaque")]
    assert alone.connect("tdk_a_b").read()[1]["data"]["code"] == "invalid_token"


CHANGES: list[tuple[Callable[[], Subject | AccessError], list[str]]] = [
    (lambda: Unauthenticated("signed out"), ["auth:failed", "connection:closed"]),
    (lambda: Subject(name="bob", grants=grants("read data")), ["auth:failed", "connection:closed"]),
    (lambda: Subject(name="ada", grants=grants("read operations")), ["auth:success"]),
    (lambda: AuthenticationUnavailable("away"), []),
    (lambda: Subject(name="ada", grants=grants("read data")), []),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_sender_of_an_open_connection_is_identified_again(
    change: Callable[[], Subject | AccessError], expected: list[str]
) -> None:
    served = Served()
    client = served.connect(query="channel=data")
    client.read()
    served.sessions.result = change()
    served.hub.loop.advance(59)
    assert types(client) == []
    served.hub.loop.advance(2)
    assert types(client) == expected
    assert (client.outlet.closed is not None) is ("connection:closed" in expected)
    assert ("data" in client.connection.subscriber.paths.names()) is (expected == [])


def test_connections_are_identified_again_every_minute_while_there_are_any() -> None:
    served = Served()
    first, second = served.connect(), served.connect()
    served.hub.loop.advance(130)
    assert len(served.sessions.seen) == 6
    first.connection.closed()
    second.connection.closed()
    served.hub.loop.advance(1_000)
    assert len(served.sessions.seen) == 6


def test_senders_are_identified_again_some_at_a_time_and_all_have_their_turn() -> None:
    served = Served()
    for number in range(450):
        served.sessions.result = Subject(name=f"user-{number}", grants=grants("read data"))
        served.connect()
    served.sessions.result = AuthenticationUnavailable("away")
    served.sessions.seen.clear()
    seen = []
    for _ in range(66):
        served.hub.loop.advance(1)
        seen.append(len(served.sessions.seen))
        served.sessions.seen.clear()
    assert seen[:58] == [0] * 58
    assert sum(seen) >= 450
    assert max(seen) == 150, "a hundred in turn, and fifty that could not be identified before"


def test_sender_who_could_not_be_identified_has_another_turn_soon() -> None:
    served = Served()
    clients = [served.connect() for _ in range(300)]
    control = served.hub.hub.access
    assert control is not None
    served.sessions.result = AuthenticationUnavailable("1,000 requests wait already")
    control.reevaluate()
    served.hub.loop.advance(1.5)
    assert all("auth:failed" not in types(client) for client in clients), "an outage takes no rights"
    served.sessions.result = Unauthenticated("signed out")
    served.hub.loop.advance(7)
    assert all("auth:failed" in types(client) for client in clients)


def test_clock_that_is_set_back_delays_no_identification() -> None:
    served = Served()
    served.connect()
    served.clock.jump(-86_400)
    served.hub.loop.advance(61)
    assert len(served.sessions.seen) >= 2


def test_revocation_ends_open_connections_and_leaves_later_ones() -> None:
    served = Served()
    client = served.connect()
    client.read()
    served.hub.loop.advance(1)
    row = Revocation(kind="subject", name="ada", issued_before_ns=served.sessions.wall_ns())
    served.hub.hub.log.revoke(row, lambda result: None)
    control = served.hub.hub.access
    assert control is not None
    control.end_revoked()
    served.hub.settle()
    failed, closed = (message for message in client.read() if message["type"] != "connection:position")
    assert (failed["data"]["code"], closed["data"]["code"]) == ("credential_revoked", 4001)
    served.hub.loop.advance(1)
    assert served.connect().read()[0]["data"]["auth"] == "ada", "it is the application that closes a session for good"


def test_subjects_of_tokens_are_not_identified_again() -> None:
    served = Served(tokens=True)
    served.tokens.add("t", "read data", "publish data", name="bob")
    client = served.connect("t")
    client.read()
    served.hub.loop.advance(200)
    assert len(served.tokens.requests) == 1
    sent: Any = update()
    client.send("data:update", sent)
    served.hub.settle()
    assert types(client) == ["event:accepted"]
