"""Tokens over a link: the session and the link together, against scripted connections."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from tests.client.model_hub import auth_failed, auth_required, auth_success, established, event, message
from tests.client.test_link import ScriptedConnection
from tests.client.waiting import until

from tidings.client.events import Delivery, PathsRemoved, ReceivedEvent
from tidings.client.link import Link
from tidings.client.options import LinkOptions
from tidings.client.reconnect import Reconnect
from tidings.client.session import Session
from tidings.client.status import State, Status
from tidings.client.tokens import Token
from tidings.client.websocket import ClientConnection, ConnectionEnded
from tidings.contract.contract import Contract
from tidings.exceptions import (
    AuthenticationUnavailable,
    Forbidden,
    HubUnreachable,
    InvalidCredential,
    SignedOut,
    TidingsError,
    TokenExpired,
    TokenUnavailable,
    Unauthenticated,
)

REJECTED = ConnectionEnded(4001, "")
SUBSCRIBED = message(
    "channel:subscribed", {"channels": ["data"], "position": "e:5", "outcome": "live"}, reply_to="subscribe"
)
LIVE = message("channel:live", {"channels": ["data"], "position": "e:5"})


def sent(connection: ScriptedConnection) -> list[dict[str, object]]:
    return [msgspec.json.decode(body) for body in connection.sent]


def tokens_sent(connection: ScriptedConnection) -> list[object]:
    return [each["data"]["token"] for each in sent(connection) if each["type"] == "auth:token"]  # type: ignore[index]


class Linked:
    """A link over scripted connections, with a token."""

    def __init__(
        self,
        token: Token | None,
        *connections: ScriptedConnection | TidingsError,
        paths: Sequence[str] = (),
        wait_for_hub: bool = False,
        wait_for_token: bool = False,
    ) -> None:
        self.connections = list(connections)
        self.opened = 0
        self.items: list[Delivery] = []
        self.reported: list[Status] = []
        self.session = Session(Contract(), paths=paths)
        self.link = Link(
            self.session,
            "ws://127.0.0.1/ws",
            LinkOptions(
                token=token,
                open_connection=self._open,
                wait_for_hub=wait_for_hub,
                wait_for_token=wait_for_token,
                reconnect=Reconnect(base_s=0.001, cap_s=0.001),
                random=lambda: 0.5,
            ),
            deliver=self.items.extend,
            on_end=lambda failure: None,
            on_change=self.reported.append,
        )

    async def _open(self, url: str) -> ClientConnection:
        answer = self.connections[self.opened] if self.opened < len(self.connections) else ScriptedConnection()
        self.opened += 1
        if isinstance(answer, TidingsError):
            raise answer
        return answer

    async def ends_with(self, kind: type[TidingsError]) -> TidingsError:
        with pytest.raises(kind) as caught:
            async with asyncio.timeout(60):
                await self.link.wait_until(lambda: False)
        assert self.link.state is State.CLOSED
        assert self.link.status.error is caught.value
        return caught.value

    async def wait_live(self, connections: int = 1) -> None:
        async with asyncio.timeout(60):
            await self.link.wait_until(lambda: self.link.connections >= connections and self.link.state is State.LIVE)


async def test_hub_that_asks_for_a_token_gets_it_before_anything_else() -> None:
    hub = LiveConnection(established(auth="required"), auth_required())
    linked = Linked("secret", hub, paths=["data"])
    await until(lambda: bool(hub.sent))
    hub.put(auth_success(expires_at="2027-01-01T00:00:00Z"))
    await until(lambda: len(hub.sent) == 2)
    assert [each["type"] for each in sent(hub)] == ["auth:token", "channel:subscribe"]
    assert tokens_sent(hub) == ["secret"]
    access = linked.link.status.access
    assert access is not None
    assert (access.subject, access.grants, access.expires_at) == ("ann", ("read data",), "2027-01-01T00:00:00Z")
    await linked.link.aclose()


async def test_subject_of_the_greeting_is_the_status() -> None:
    linked = Linked("secret", ScriptedConnection(established(auth="ann")))
    await linked.wait_live()
    assert linked.link.status.access is not None
    assert linked.link.status.access.subject == "ann"
    await linked.link.aclose()


async def test_hub_that_asks_without_a_token_ends_the_link_with_a_hint() -> None:
    linked = Linked("", ScriptedConnection(established(auth="required"), auth_required()), wait_for_hub=True)
    error = await linked.ends_with(Unauthenticated)
    assert "TIDINGS_TOKEN" in error.hint
    assert "--pass-token" in error.hint


async def test_refused_token_ends_the_link_with_the_hubs_code_and_hint() -> None:
    linked = Linked("secret", ScriptedConnection(established(auth="required"), auth_failed(), end=REJECTED))
    error = await linked.ends_with(TokenExpired)
    assert (str(error), error.hint) == ("the token has expired", "Renew.")
    assert linked.opened == 1


async def test_unknown_code_of_a_newer_hub_is_an_invalid_credential() -> None:
    failed = auth_failed("token_on_fire", "too hot")
    linked = Linked("secret", ScriptedConnection(established(auth="required"), failed, end=REJECTED))
    error = await linked.ends_with(InvalidCredential)
    assert "too hot (token_on_fire)" in str(error)


async def test_refused_token_is_followed_by_another_of_the_source() -> None:
    tokens = iter(["old", "new"])
    refusing = ScriptedConnection(established(auth="ann"), auth_failed(), end=REJECTED)
    linked = Linked(lambda: next(tokens), refusing, ScriptedConnection(established(auth="ann")))
    await linked.wait_live(2)
    await linked.link.aclose()


async def test_source_that_repeats_the_refused_token_ends_the_link() -> None:
    linked = Linked(lambda: "same", ScriptedConnection(established(auth="ann"), auth_failed(), end=REJECTED))
    await linked.ends_with(TokenExpired)
    assert linked.opened == 1, "the refused token is not sent again"


async def test_producer_waits_for_another_token_without_bothering_the_hub() -> None:
    calls = 0

    def token() -> str:
        nonlocal calls
        calls += 1
        return "old" if calls < 10 else "new"

    refusing = ScriptedConnection(established(auth="ann"), auth_failed(), end=REJECTED)
    linked = Linked(
        token, refusing, ScriptedConnection(established(auth="ann")), wait_for_hub=True, wait_for_token=True
    )
    await linked.wait_live(2)
    assert (calls, linked.opened) == (10, 2)
    assert any(isinstance(status.error, TokenExpired) for status in linked.reported)
    await linked.link.aclose()


async def test_function_that_always_has_another_refused_token_ends_a_first_connection() -> None:
    count = iter(range(100))
    refusing = [ScriptedConnection(established(auth="required"), auth_failed(), end=REJECTED) for _ in range(9)]
    linked = Linked(lambda: f"token-{next(count)}", *refusing)
    await linked.ends_with(TokenExpired)
    assert linked.opened == 3


async def test_failing_function_raises_at_first_and_is_retried_later() -> None:
    def failing() -> str:
        raise ValueError("secret")

    error = await Linked(failing).ends_with(TokenUnavailable)
    assert "secret" not in str(error)
    results: list[str | Exception] = ["first", OSError("away"), OSError("away"), "second"]

    def later() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    lost = ScriptedConnection(established(auth="ann"), end=ConnectionEnded(1006, ""))
    linked = Linked(later, lost, ScriptedConnection(established(auth="ann")))
    await linked.wait_live(2)
    assert [type(status.error) for status in linked.reported if status.error].count(TokenUnavailable) >= 1
    await linked.link.aclose()


async def test_function_without_a_token_signs_out_for_good() -> None:
    tokens = iter(["first", None])
    lost = ScriptedConnection(established(auth="ann"), end=ConnectionEnded(1006, ""))
    linked = Linked(lambda: next(tokens), lost, wait_for_hub=True, wait_for_token=True)
    await linked.ends_with(SignedOut)


async def test_unavailable_authentication_is_retried_if_it_waits_for_the_hub() -> None:
    failed = auth_failed("authentication_unavailable", "no key set")
    for wait in (False, True):
        away = ScriptedConnection(established(auth="required"), failed, end=ConnectionEnded(1013, ""))
        linked = Linked("secret", away, ScriptedConnection(established(auth="ann")), wait_for_hub=wait)
        if wait:
            await linked.wait_live(2)
            await linked.link.aclose()
        else:
            await linked.ends_with(AuthenticationUnavailable)


class LiveConnection(ScriptedConnection):
    """A connection to which a test adds messages."""

    def __init__(self, *messages: bytes) -> None:
        super().__init__()
        self.queue: asyncio.Queue[bytes | ConnectionEnded] = asyncio.Queue()
        self.put(*messages)

    def put(self, *messages: bytes | ConnectionEnded) -> None:
        for each in messages:
            self.queue.put_nowait(each)

    async def receive(self) -> bytes:
        body = await self.queue.get()
        if isinstance(body, ConnectionEnded):
            raise body
        return body

    def abort(self) -> None:
        self.put(ConnectionEnded(1006, ""))


async def test_expiring_token_is_replaced_in_place() -> None:
    tokens = iter(["old", "old", "old", "new"])
    hub = LiveConnection(established(auth="ann"), SUBSCRIBED, LIVE)
    linked = Linked(lambda: next(tokens), hub, paths=["data"])
    await linked.wait_live()
    hub.put(event("e:6"), auth_required("expiring", 1_000.0))
    await until(lambda: bool(tokens_sent(hub)))
    assert tokens_sent(hub) == ["new"], "the expiring token is not sent again"
    assert linked.link.status.access is not None
    assert linked.link.status.access.expiring
    assert any(status.access and status.access.expiring for status in linked.reported)
    hub.put(auth_success(), event("e:7"))
    await until(lambda: len([item for item in linked.items if isinstance(item, ReceivedEvent)]) == 2)
    assert not linked.link.status.access.expiring
    assert linked.opened == 1
    await linked.link.aclose()


async def test_fixed_token_that_expires_is_not_sent_again() -> None:
    hub = LiveConnection(established(auth="ann"), auth_required("expiring", 1_000.0))
    linked = Linked("fixed", hub)
    await until(lambda: linked.link.status.access is not None and linked.link.status.access.expiring)
    hub.put(auth_failed(), ConnectionEnded(4001, ""))
    await linked.ends_with(TokenExpired)
    assert tokens_sent(hub) == []


async def test_question_for_another_reason_is_answered_with_the_same_token() -> None:
    hub = LiveConnection(established(auth="ann"), auth_required("roles changed"))
    linked = Linked("fixed", hub)
    await until(lambda: bool(tokens_sent(hub)))
    assert tokens_sent(hub) == ["fixed"]
    await linked.link.aclose()


async def test_function_that_signs_out_while_it_is_asked_ends_the_link() -> None:
    tokens = iter(["first", None])
    hub = LiveConnection(established(auth="ann"), auth_required("expiring"))
    linked = Linked(lambda: next(tokens), hub)
    await linked.ends_with(SignedOut)


async def test_token_of_another_subject_leads_to_a_new_connection() -> None:
    tokens = iter(["of ann", "of bob", "of bob"])
    first = LiveConnection(established(auth="ann"), auth_required("expiring"))
    linked = Linked(lambda: next(tokens).replace(" ", "-"), first, ScriptedConnection(established(auth="bob")))
    await until(lambda: bool(tokens_sent(first)))
    error = {"code": "forbidden", "message": "another subject", "recoverable": False}
    first.put(message("connection:error", error, reply_to="token"))
    await linked.wait_live(2)
    assert linked.link.status.access is not None
    assert linked.link.status.access.subject == "bob"
    await linked.link.aclose()


async def test_lost_path_is_reported_and_not_subscribed_to_again() -> None:
    first = LiveConnection(established(auth="ann"), SUBSCRIBED, LIVE, auth_success(removed=["system"]))
    second = LiveConnection(established(auth="ann"))
    linked = Linked("secret", first, second, paths=["data", "system"])
    await until(lambda: any(isinstance(item, PathsRemoved) for item in linked.items))
    assert PathsRemoved(paths=("system",), remaining=("data",)) in linked.items
    first.put(ConnectionEnded(1006, ""))
    await until(lambda: bool(second.sent))
    assert sent(second)[0]["data"] == {"channels": ["data"], "since": "e:5"}
    await linked.link.aclose()


async def test_watch_whose_last_path_is_lost_ends() -> None:
    hub = LiveConnection(established(auth="ann"), SUBSCRIBED, LIVE, auth_success(removed=["data"]))
    linked = Linked("secret", hub, paths=["data"])
    error = await linked.ends_with(Forbidden)
    assert "data" in str(error)


async def test_refused_subscription_raises_forbidden_with_what_is_allowed() -> None:
    error = {
        "code": "forbidden",
        "message": "no grant to read data",
        "recoverable": False,
        "hint": "You may read system.",
    }
    hub = LiveConnection(established(auth="ann"), message("connection:error", error, reply_to="subscribe"))
    linked = Linked("secret", hub, paths=["data"])
    raised = await linked.ends_with(Forbidden)
    assert raised.hint == "You may read system."


async def test_absent_hub_is_not_an_error_of_the_token() -> None:
    linked = Linked("secret", HubUnreachable("nobody"))
    await linked.ends_with(HubUnreachable)
