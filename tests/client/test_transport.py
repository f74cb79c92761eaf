import asyncio
import random
from collections.abc import Iterator

import pytest
from tests.client.model_hub import established
from tests.client.test_link import Network, ScriptedConnection

from tidings.client.client import connect
from tidings.client.connection import Connection
from tidings.client.options import LinkOptions
from tidings.client.transport import NetworkTransport, add_route, remove_route, route_to

HOST = "ws://somewhere.test/ws"


class Scripted(NetworkTransport):
    """A transport over scripted connections, which remembers what it was asked for."""

    def __init__(self, name: str, network: Network) -> None:
        super().__init__(network.open, random.random)
        self.name = name
        self.opened: list[str] = []

    async def open(self, url: str) -> Connection:
        self.opened.append(url)
        return await super().open(url)


@pytest.fixture
def made() -> Iterator[list[Scripted]]:
    made: list[Scripted] = []

    def make(name: str) -> Scripted:
        made.append(Scripted(name, Network(ScriptedConnection(established()))))
        return made[-1]

    add_route(HOST, make)
    yield made
    remove_route(HOST)


async def test_a_route_leads_every_link_to_its_host_elsewhere(made: list[Scripted]) -> None:
    async with connect(f"{HOST}?pace_ms=50") as client, client.watch("data", pace_ms=100):
        await asyncio.sleep(0)
        assert [each.name for each in made] == ["tidings publisher", "tidings watch data"]
        assert made[0].opened == [f"{HOST}?pace_ms=50"]


async def test_other_hosts_are_the_networks(made: list[Scripted]) -> None:
    network = Network()
    async with connect("ws://elsewhere.test/ws", options=LinkOptions(open_connection=network.open)):
        assert network.attempts == 1
    assert made == []


def test_a_route_that_was_removed_is_gone(made: list[Scripted]) -> None:
    assert route_to(HOST) is not None
    remove_route(HOST)
    remove_route(HOST)
    assert route_to(HOST) is None
