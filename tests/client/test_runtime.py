import asyncio
from collections.abc import Iterator

import pytest
from tests.client.model_hub import established
from tests.client.test_link import Network, ScriptedConnection
from tests.client.waiting import until

from tidings.client.client import connect
from tidings.client.options import LinkOptions
from tidings.client.reconnect import Reconnect
from tidings.client.runtime import NetworkRuntime, add_route, find_route, remove_route
from tidings.client.status import State
from tidings.client.websocket import ClientConnection
from tidings.exceptions import HubUnreachable

HOST = "ws://somewhere.test/ws"


class Scripted(NetworkRuntime):
    """A runtime over scripted connections, which records its calls."""

    def __init__(self, name: str, network: Network) -> None:
        super().__init__(LinkOptions(open_connection=network.open).opener(), lambda: 0.5)
        self.name = name
        self.network = network
        self.connection = ScriptedConnection(established())
        network.answers.append(self.connection)
        self.opened: list[str] = []
        self.slept: list[float] = []

    async def open(self, url: str, token: str | None, /) -> ClientConnection:
        self.opened.append(url)
        return await super().open(url, token)

    async def sleep(self, delay_s: float, /) -> None:
        self.slept.append(delay_s)
        await super().sleep(0)


@pytest.fixture
def made() -> Iterator[list[Scripted]]:
    made: list[Scripted] = []

    def make(name: str) -> Scripted:
        made.append(Scripted(name, Network()))
        return made[-1]

    add_route(HOST, make)
    yield made
    remove_route(HOST)


async def test_route_replaces_the_network_for_its_host(made: list[Scripted]) -> None:
    async with connect(f"{HOST}?pace_ms=50") as client, client.watch("data", pace_ms=100):
        await asyncio.sleep(0)
        assert [each.name for each in made] == ["tidings publisher", "tidings watch data"]
        assert made[0].opened == [f"{HOST}?pace_ms=50"]


async def test_route_leaves_other_hosts_to_the_network(made: list[Scripted]) -> None:
    network = Network()
    async with connect("ws://elsewhere.test/ws", options=LinkOptions(open_connection=network.open)):
        assert network.attempts == 1
    assert made == []


async def test_absent_hub_is_tried_less_and_less_often(
    made: list[Scripted],
) -> None:
    waits = Reconnect(base_s=1.0, cap_s=8.0, settled_s=0.0001)
    async with connect(HOST, options=LinkOptions(reconnect=waits)) as client:
        [transport] = made
        away = [HubUnreachable("nobody")] * 5
        transport.network.answers.extend([*away, ScriptedConnection(established())])
        await asyncio.sleep(waits.settled_s)
        transport.connection.abort()
        await until(lambda: client.state is State.LIVE and len(transport.slept) == 6)
        assert transport.slept == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_removed_route_has_no_effect(made: list[Scripted]) -> None:
    assert find_route(HOST) is not None
    remove_route(HOST)
    remove_route(HOST)
    assert find_route(HOST) is None
