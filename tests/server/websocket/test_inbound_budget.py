"""The bytes of incomplete messages have one budget; the largest of them loses, and no one else does."""

import json
import select
from contextlib import ExitStack

import pytest
from tests.server.hub_server import TIMEOUT_S, HubServer
from tests.server.raw_client import RawClient, close, text
from tests.server.recorder import RecordingServer, connected

from tidings.server.websocket import inbound_budget

BUDGET_BYTES = 400_000


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound_budget, "MAX_INBOUND_BYTES", BUDGET_BYTES)
    monkeypatch.setattr(inbound_budget, "_TARGET_BYTES", BUDGET_BYTES * 9 // 10)


def unfinished(size: int, *, fragmented: bool = False) -> bytes:
    """Return a message of which the end is missing."""
    return text(b"x" * size, fin=False) if fragmented else text(b"x" * size)[:-1]


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("fragmented", [False, True])
def test_largest_incomplete_message_loses(server: RecordingServer, *, fragmented: bool) -> None:
    whole = text(b"{}")
    with ExitStack() as stack:
        small, _ = stack.enter_context(connected(server))
        small.send(whole[:-1])
        others = [stack.enter_context(connected(server)) for _ in range(5)]
        other = text(b"x" * 50_000)
        for client, _ in others:
            client.send(unfinished(50_000, fragmented=True) if fragmented else other[:-1])
        largest, handler = stack.enter_context(connected(server))
        largest.send(unfinished(250_000, fragmented=fragmented))
        closed = largest.closing()
        assert (closed.code, closed.reason) == (1013, "the server is overloaded")
        assert handler.next_call() == ("closed", 1013, "the server is overloaded")
        small.send(whole[-1:], close(1000))
        assert small.closing().code == 1000
        for client, _ in others:
            client.send(close(1000) if fragmented else other[-1:] + close(1000))
            assert client.closing().code == 1000


@pytest.mark.usefixtures("small_budget")
def test_hub_names_the_reason() -> None:
    with HubServer() as server, ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server.port)) for _ in range(6)]
        for client in clients:
            client.open("/ws?channels=none", headers=("Sec-WebSocket-Protocol: tidings.v1",))
            client.frame()  # the connection is established
        for client in clients:
            client.send(unfinished(100_000))
        readable, _, _ = select.select([client.socket for client in clients], [], [], TIMEOUT_S)
        refused = [client for client in clients if client.socket in readable]
        assert refused
        for client in refused:
            told = client.frame()
            assert json.loads(bytes(told.data))["data"]["code"] == "overloaded"
            assert client.closing().code == 1013
