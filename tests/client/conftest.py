import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
async def proxy(hub: HubServer) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(hub.port) as running:
        yield running


@pytest.fixture(autouse=True)
async def leaves_nothing_behind() -> AsyncIterator[None]:
    """No task of the client may outlive the test that started it."""
    yield
    await asyncio.sleep(0)
    names = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tidings")]
    assert names == []
