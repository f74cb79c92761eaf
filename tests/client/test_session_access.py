"""A model of the client's session under questions for tokens, refusals, lost paths and lost connections."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.model_hub import ModelHub, auth_failed, auth_required, auth_success, established, event
from tests.client.test_session import CONTRACT, draft

from tidings.client.close_reason import CloseReason
from tidings.client.credentials import Credentials
from tidings.client.events import Delivery, PathsRemoved, ReceivedEvent, Settled
from tidings.client.publish_queue import PublishQueue, QueueLimits, Rank
from tidings.client.session import Phase, Session
from tidings.client.tokens import TokenFunction
from tidings.exceptions import SignedOut, TidingsError, TokenExpired, TokenUnavailable
from tidings.protocol.messages import Accepted
from tidings.protocol.payloads import AuthRequired

SECRET_SET = "s"
"""Events of this dataset are on the channel `system`, which the hub may withdraw."""


class AccessHub(ModelHub):
    """A hub that serves a connection only after the token of the present generation."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self.inside = False
        self.closing = False
        self.allowed = ["data", "system"]
        self.questions = 0

    def connect(self, *, token: str | None = None) -> None:
        super().connect()
        self.toward_client.clear()
        self.inside, self.closing = token == self.token, False
        position = f"e:{len(self.log)}"
        self.toward_client.append(established(position=position, auth="ann" if self.inside else "required"))
        if not self.inside and token is not None:
            self.refuse()
        elif not self.inside:
            self.ask("missing")

    @property
    def token(self) -> str:
        return f"token-{self.generation}"

    def ask(self, reason: str) -> None:
        self.questions += 1
        self.toward_client.append(auth_required(reason))

    def refuse(self) -> None:
        self.closing = True
        self.toward_client.append(auth_failed())

    def withdraw(self) -> None:
        """Take the right to read `system` away."""
        if "system" in self.allowed:
            self.allowed = ["data"]
            if self.inside and self._cursor is not None:
                self.toward_client.append(auth_success(removed=["system"]))

    def receive(self, body: bytes) -> None:
        command = msgspec.json.decode(body)
        if self.closing:
            return
        if command["type"] == "auth:token":
            if command["data"]["token"] == self.token:
                self.inside = True
                self.toward_client.append(auth_success())
            else:
                self.refuse()
            return
        assert self.inside, f"{command['type']} before the token"
        if command["type"] == "channel:subscribe" and not set(command["data"]["channels"]) <= set(self.allowed):
            # The right was lost while the client was away; the model gives it back, so that the run goes on.
            self.allowed = ["data", "system"]
        super().receive(body)

    def _send(self, offset: int) -> None:
        dataset, version, event_id = self.log[offset - 1]
        if self.closing:
            return
        body = event(f"e:{offset}", dataset, version, event_id or None)
        if dataset != SECRET_SET:
            self.toward_client.append(body)
        elif "system" in self.allowed:
            self.toward_client.append(body.replace(b'"channel":"data"', b'"channel":"system"'))


class Drive:
    """One session and its queue against the hub, step by step."""

    def __init__(self, *, in_handshake: bool) -> None:
        self.session = Session(CONTRACT, paths=["data", "system"], since="first")
        self.session.authentication.on_asked = self._asked
        self.hub = AccessHub()
        self.in_handshake = in_handshake
        self.token = self.hub.token
        self.items: list[Delivery] = []
        self.queue = PublishQueue(QueueLimits())
        self.published = 0
        self.appended = 0
        self.refusals: list[TidingsError] = []
        self.connect()

    def _asked(self, asked: AuthRequired) -> None:
        self.session.send_token(self.token)

    def connect(self) -> None:
        if self.session.phase is not Phase.DISCONNECTED:
            self.lose(1006)
        self.session.opened(0.0)
        self.hub.connect(token=self.token if self.in_handshake else None)

    def lose(self, code: int) -> None:
        reason = self.session.lost(code, "")
        self.queue.connection_lost()
        if reason.token_refused:
            assert reason.final
            self.refusals.append(reason.error)
            self.token = self.hub.token

    def do(self, kind: str, amount: int) -> None:
        if kind == "append":
            self.appended += 1
            self.hub.append(SECRET_SET if amount % 3 == 0 else f"d{amount}", self.appended)
        elif kind == "publish":
            assert self.queue.put(draft(self.published), Rank.DURABLE)
            self.published += 1
        elif kind == "cut":
            self.connect()
        elif kind == "ask" and self.hub.inside and not self.hub.closing:
            self.token = self.hub.token
            self.hub.ask("expiring")
        elif kind == "rotate":
            self.hub.generation += 1  # the client's token is refused from now on
        elif kind == "withdraw":
            self.hub.withdraw()
        elif kind == "pump":
            self.pump()
        elif kind == "send":
            self.send(amount)
        elif kind == "deliver":
            self.deliver(amount)

    def send(self, most: int) -> None:
        for _ in range(most):
            if self.session.ready:
                for entry in self.queue.take(2):
                    self.session.publish(entry.draft, entry.id)
            body = self.session.take_outgoing()
            if body is None:
                return
            self.hub.receive(body)

    def deliver(self, most: int) -> None:
        for _ in range(most):
            if not self.hub.toward_client:
                if self.hub.closing:
                    self.lose(4001)
                    self.connect()
                return
            for item in self.session.received(self.hub.toward_client.popleft(), 0.0):
                self.items.append(item)
                if isinstance(item, Settled):
                    entry = self.queue.in_flight(item.id)
                    assert entry is not None
                    assert isinstance(item.result, Accepted)
                    self.queue.accept(entry, item.result)

    def pump(self) -> None:
        """Move messages until there are none."""
        while self.hub.toward_client or self.hub.closing:
            self.deliver(1_000_000)
            self.send(1_000_000)

    def settle(self) -> None:
        """Let one last connection, with the right token, run to its end."""
        self.token = self.hub.token
        self.connect()
        self.pump()

    def read(self, channel: str) -> list[int]:
        return [
            int(item.position.partition(":")[2])
            for item in self.items
            if isinstance(item, ReceivedEvent) and item.channel == channel
        ]


KINDS = (
    "append",
    "append",
    "publish",
    "deliver",
    "deliver",
    "send",
    "pump",
    "pump",
    "cut",
    "ask",
    "rotate",
    "withdraw",
)
scripts = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 6)), max_size=80)


def run(script: Sequence[tuple[str, int]], *, in_handshake: bool) -> Drive:
    drive = Drive(in_handshake=in_handshake)
    for kind, amount in script:
        drive.do(kind, amount)
    drive.settle()
    return drive


@given(scripts, st.booleans())
def test_no_event_is_missed_or_repeated_whatever_happens_to_the_token(
    script: list[tuple[str, int]], in_handshake: bool
) -> None:
    drive = run(script, in_handshake=in_handshake)
    log = drive.hub.log
    assert drive.read("data") == [offset for offset, (dataset, _, _) in enumerate(log, 1) if dataset != SECRET_SET]
    secret = drive.read("system")
    assert secret == sorted(set(secret)), "in order, and each once"
    if not any(isinstance(item, PathsRemoved) for item in drive.items) and "withdraw" not in dict(script):
        assert secret == [offset for offset, (dataset, _, _) in enumerate(log, 1) if dataset == SECRET_SET]
    assert all(isinstance(error, TokenExpired) for error in drive.refusals)


@given(scripts, st.booleans())
def test_nothing_is_read_from_a_path_that_was_withdrawn(script: list[tuple[str, int]], in_handshake: bool) -> None:
    drive = run(script, in_handshake=in_handshake)
    removed = [place for place, item in enumerate(drive.items) if isinstance(item, PathsRemoved)]
    if removed:
        later = drive.items[removed[0] :]
        assert not [item for item in later if isinstance(item, ReceivedEvent) and item.channel == "system"]
        assert drive.session.cursor.paths == ("data",)


@given(scripts, st.booleans())
def test_publications_are_stored_once_in_order(script: list[tuple[str, int]], in_handshake: bool) -> None:
    drive = run(script, in_handshake=in_handshake)
    stored = [event_id for _, _, event_id in drive.hub.log if event_id]
    assert stored == [f"event-{number:012}" for number in range(drive.published)]
    assert drive.queue.left == 0


Result = str | None | Exception
results: st.SearchStrategy[list[Result]] = st.lists(
    st.one_of(st.sampled_from(["a", "b", "c"]), st.none(), st.just(OSError("away"))), max_size=20
)


@given(results, st.lists(st.booleans(), min_size=20, max_size=20), st.booleans())
def test_refused_token_is_never_sent_again_until_another_was(
    results: list[Result], refusals: list[bool], wait: bool
) -> None:
    pending = list(results)

    def token() -> str | None:
        result = pending.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    credentials = Credentials(TokenFunction(token), wait=wait)
    refused: str | None = None
    error = TokenExpired("the token has expired")
    outcomes: list[tuple[Result, str | None, bool, bool]] = []

    async def script() -> None:
        nonlocal refused
        while pending:
            expected = pending[0]
            try:
                sent = await credentials.next()
            except TokenUnavailable:
                assert isinstance(expected, Exception)
            except (SignedOut, TokenExpired) as ended:
                outcomes.append((expected, refused, isinstance(ended, SignedOut), credentials.is_final(ended)))
            else:
                assert sent == expected != refused
                if refusals[len(pending)]:
                    refused = sent
                    reason = CloseReason(error=error, final=True, token_refused=True)
                    assert credentials.refused(reason, admitted=True)

    asyncio.run(script())
    for expected, before, signed_out, final in outcomes:
        assert expected is None if signed_out else expected == before
        assert final is (signed_out or not wait)


@pytest.mark.parametrize("phase", [Phase.DISCONNECTED, Phase.GREETING])
def test_token_is_sent_on_an_open_connection_only(phase: Phase) -> None:
    session = Session(CONTRACT)
    if phase is Phase.GREETING:
        session.opened(0.0)
    session.send_token("secret")
    assert session.take_outgoing() is None


def commands(session: Session) -> list[dict[str, Any]]:
    found = []
    while (body := session.take_outgoing()) is not None:
        found.append(msgspec.json.decode(body))
    return found


def test_token_overtakes_the_events_that_wait() -> None:
    session = Session(CONTRACT)
    session.opened(0.0)
    session.received(established(auth="ann"), 0.0)
    session.publish(draft(1), "1")
    session.received(auth_required("expiring"), 0.0)
    session.send_token("secret")
    assert [command["type"] for command in commands(session)] == ["auth:token", "data:update"]


def test_nothing_is_sent_before_the_hub_has_accepted_a_token() -> None:
    session = Session(CONTRACT, paths=["data"])
    session.opened(0.0)
    session.received(established(auth="required"), 0.0)
    session.received(auth_required(), 0.0)
    assert not session.ready
    assert commands(session) == []
    session.received(auth_success(), 0.0)
    assert session.ready
    assert [command["type"] for command in commands(session)] == ["channel:subscribe"]
