"""What one link needs of the world outside: connections, the time, and chance."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tidings.client.url import authority
from tidings.client.websocket import ClientConnection, OpenConnection


class Timer(Protocol):
    """A call that was set for later."""

    def cancel(self) -> None:
        """Do not make the call."""
        ...


class ClientRuntime(Protocol):
    """The world as one link sees it. Everything is called in the link's own event loop."""

    async def open(self, url: str) -> ClientConnection:
        """Open a connection; see `OpenConnection`."""
        ...

    def time(self) -> float:
        """Return seconds that never go back."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call `callback` in the link's loop when `time` is `when`."""
        ...

    def timeout(self, delay_s: float | None, /) -> AbstractAsyncContextManager[object]:
        """Return a block that is left with TimeoutError after `delay_s`, as `asyncio.timeout` does; None is never."""
        ...

    async def sleep(self, delay_s: float, /) -> None:
        """Wait before the next connection is tried."""
        ...

    def random(self) -> float:
        """Return a number from 0 up to, not including, 1: the jitter of that wait."""
        ...


class NetworkRuntime:
    """The network, the running loop's clock, and real chance.

    Args:
        open_connection: Opens the connections.
        random: See `ClientRuntime.random`.
    """

    def __init__(self, open_connection: OpenConnection, random: Callable[[], float]) -> None:
        loop = asyncio.get_running_loop()
        self._open_connection = open_connection
        self.random = random
        self.time = loop.time
        self.call_at: Callable[[float, Callable[[], object]], Timer] = loop.call_at
        self.timeout = asyncio.timeout

    async def open(self, url: str) -> ClientConnection:
        """See `ClientRuntime.open`."""
        return await self._open_connection(url)

    async def sleep(self, delay_s: float, /) -> None:
        """See `ClientRuntime.sleep`."""
        await asyncio.sleep(delay_s)


MakeTransport = Callable[[str], ClientRuntime]
"""Makes the transport of the link that is named, in its event loop."""

_routes: dict[str, MakeTransport] = {}


def add_route(url: str, make: MakeTransport) -> None:
    """Let the host and port of `url` lead somewhere else than into the network, for every link made from now on.

    For `tidings.testing`, whose hubs have addresses without a socket.
    """
    _routes[authority(url)] = make


def remove_route(url: str) -> None:
    """Let the host and port of `url` be an address of the network again."""
    _routes.pop(authority(url), None)


def route_to(url: str) -> MakeTransport | None:
    """Return what was added for the host and port of `url`; None where they are the network's."""
    return _routes.get(authority(url)) if _routes else None
