import asyncio
from collections import deque

import pytest
from msgspec import Raw
from tests.client.model_hub import closed, established

from tidings.client.drafts import Draft
from tidings.client.link import Link
from tidings.client.options import LinkOptions
from tidings.client.reconnect import Reconnect
from tidings.client.session import Session
from tidings.client.status import State, Status
from tidings.client.websocket import ClientConnection, ConnectionEnded
from tidings.contract.contract import Contract
from tidings.exceptions import HandshakeRefused, HubUnreachable, NotAHub, TidingsError


class ScriptedConnection:
    """A connection that delivers the given messages and then ends."""

    def __init__(self, *messages: bytes, end: ConnectionEnded | BaseException | None = None) -> None:
        self.messages = deque(messages)
        self.end = end
        self.sent: list[bytes] = []
        self.closed = False
        self._aborted = asyncio.Event()

    async def receive(self) -> bytes:
        if self.messages:
            return self.messages.popleft()
        if self.end is None:
            await self._aborted.wait()
            raise ConnectionEnded(1006, "")
        raise self.end

    async def send(self, body: bytes) -> None:
        self.sent.append(body)

    async def aclose(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self._aborted.set()


class Network:
    """Answers each connection attempt with the next given result; after the last, never."""

    def __init__(self, *answers: ScriptedConnection | TidingsError) -> None:
        self.answers = deque(answers)
        self.attempts = 0

    async def open(self, url: str) -> ClientConnection:
        self.attempts += 1
        answer = self.answers.popleft() if self.answers else ScriptedConnection(established())
        if isinstance(answer, TidingsError):
            raise answer
        return answer


class Linked:
    """A link over a scripted network, and the states that it reported."""

    def __init__(self, network: Network, *, wait_for_hub: bool = False) -> None:
        self.reported: list[Status] = []
        self.ends: list[BaseException | None] = []
        options = LinkOptions(
            open_connection=network.open,
            wait_for_hub=wait_for_hub,
            reconnect=Reconnect(base_s=0.001, cap_s=0.001),
            random=lambda: 0.5,
        )
        self.session = Session(Contract())
        self.link = Link(
            self.session,
            "ws://hub/ws",
            options,
            deliver=lambda items: None,
            on_end=self.ends.append,
            on_change=self.reported.append,
        )

    async def wait_greeted(self, connections: int = 1) -> None:
        async with asyncio.timeout(60):
            await self.link.wait_until(lambda: self.link.connections >= connections)


async def test_state_changes_are_reported_once_with_their_error() -> None:
    linked = Linked(Network(ScriptedConnection(established(), end=ConnectionEnded(1006, ""))))
    await linked.wait_greeted(2)
    await linked.link.aclose()
    assert [status.state for status in linked.reported] == [State.LIVE, State.CONNECTING, State.LIVE, State.CLOSED]
    assert [status.error is None for status in linked.reported] == [True, False, True, True]
    assert linked.reported[1].retry_at is not None
    assert linked.ends == [None]


async def test_unreachable_hub_ends_the_link_only_before_the_first_greeting() -> None:
    first = Linked(Network(HubUnreachable("nobody")))
    with pytest.raises(HubUnreachable):
        await first.wait_greeted()
    assert first.link.ended
    assert isinstance(first.ends[0], HubUnreachable)
    later = Linked(
        Network(
            ScriptedConnection(established(), end=ConnectionEnded(1006, "")),
            HubUnreachable("nobody"),
            HandshakeRefused("not now", status=404),
            NotAHub("a proxy's page"),
        )
    )
    await later.wait_greeted(2)
    await later.link.aclose()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_temporary_refusal_is_retried_if_it_waits_for_the_hub(status: int) -> None:
    network = Network(HandshakeRefused("later", status=status))
    linked = Linked(network, wait_for_hub=True)
    await linked.wait_greeted()
    assert network.attempts == 2
    await linked.link.aclose()


@pytest.mark.parametrize(("asked_s", "kept_s"), [(60.0, 60.0), (1e9, 300.0)])
async def test_refused_handshake_keeps_the_link_away_as_long_as_it_asks(asked_s: float, kept_s: float) -> None:
    network = Network(HandshakeRefused("later", status=503, retry_after_s=asked_s))
    linked = Linked(network, wait_for_hub=True)
    async with asyncio.timeout(60):
        await linked.link.wait_until(lambda: linked.link.status.retry_at is not None)
    retry_at = linked.link.status.retry_at
    assert retry_at is not None
    assert kept_s - 1 < retry_at - linked.link.now() <= kept_s + 0.001
    linked.link.hurry()
    await asyncio.sleep(0)
    assert network.attempts == 1, "also an owner that is about to end waits"
    await linked.link.aclose()


@pytest.mark.parametrize("error", [HandshakeRefused("no", status=404), NotAHub("no")])
async def test_permanent_refusal_is_not_retried(error: TidingsError) -> None:
    linked = Linked(Network(error), wait_for_hub=True)
    with pytest.raises(type(error)):
        await linked.wait_greeted()


async def test_connection_ended_before_its_greeting_is_unreachable() -> None:
    linked = Linked(Network(ScriptedConnection(end=ConnectionEnded(1006, ""))))
    with pytest.raises(TidingsError, match="before its greeting"):
        await linked.wait_greeted()


async def test_retry_after_is_respected() -> None:
    reported = closed(4100, reconnect=True, retry_after_ms=60_000)
    linked = Linked(Network(ScriptedConnection(established(), reported, end=ConnectionEnded(4100, "draining"))))
    await linked.wait_greeted()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        await linked.link.wait_until(lambda: linked.link.status.retry_at is not None)
    assert 59 < (linked.link.status.retry_at or 0) - loop.time() < 61
    await linked.link.aclose()


async def test_every_connection_is_closed_however_it_ends() -> None:
    connections = [
        ScriptedConnection(established(), end=ConnectionEnded(1006, "")),
        ScriptedConnection(established(), b"not json"),
        ScriptedConnection(established()),
    ]
    linked = Linked(Network(*connections))
    await linked.wait_greeted(3)
    await linked.link.aclose()
    assert [connection.closed for connection in connections] == [True, True, True]


async def test_exception_in_deliver_ends_the_link_and_is_raised() -> None:
    linked = Linked(Network(ScriptedConnection(established(), end=ZeroDivisionError("a fault"))))
    with pytest.raises(ZeroDivisionError):
        await linked.link.wait_until(lambda: False)
    assert isinstance(linked.ends[0], ZeroDivisionError)


async def test_exception_in_send_ends_the_receiver() -> None:
    class Broken(ScriptedConnection):
        async def send(self, body: bytes) -> None:
            raise ZeroDivisionError("a fault")

    linked = Linked(Network(Broken(established())))
    await linked.wait_greeted()
    draft = Draft(type="data:update", data=Raw(b"{}"), timestamp="t", event_id="0123456789abcdef")
    linked.session.publish(draft, "1")
    linked.link.flush()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(linked.link.wait_until(lambda: False), 5)


async def test_exception_in_on_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    network = Network()
    session = Session(Contract())

    def fail(status: Status) -> None:
        raise ValueError("the caller's fault")

    link = Link(
        session,
        "ws://hub/ws",
        LinkOptions(open_connection=network.open),
        deliver=lambda items: None,
        on_end=lambda failure: None,
        on_change=fail,
    )
    await link.wait_until(lambda: link.state is State.LIVE)
    await link.aclose()
    assert "the caller's fault" in caplog.text
