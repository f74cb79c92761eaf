"""Environment of a link: opens connections, clock, timers, jitter. Replaced in tests."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from tidings.client.url import authority

if TYPE_CHECKING:  # tokens and the HTTP client need this module, and no WebSocket
    from tidings.client.websocket import ClientConnection


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call."""


class ClientRuntime(Protocol):
    """Environment of one link. Its methods are called in the link's event loop."""

    async def open(self, url: str, token: str | None, /) -> "ClientConnection":
        """Open a connection, with `token` in its handshake if there is one; see `OpenConnection`."""

    def time(self) -> float:
        """Return monotonic time, in seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call `callback` in the link's loop at the time `when`."""

    def timeout(self, delay_s: float | None, /) -> AbstractAsyncContextManager[object]:
        """Return a context that raises TimeoutError after `delay_s`, like `asyncio.timeout`; None never does."""

    async def sleep(self, delay_s: float, /) -> None:
        """Wait before the next connection attempt."""

    def random(self) -> float:
        """Return a number in [0, 1): the jitter of that delay."""


class NetworkRuntime:
    """The real network, the running loop's clock, and random jitter.

    Args:
        open_connection: Opens the connections.
        random: See `ClientRuntime.random`.
    """

    def __init__(
        self, open_connection: Callable[[str, str | None], Awaitable["ClientConnection"]], random: Callable[[], float]
    ) -> None:
        loop = asyncio.get_running_loop()
        self._open_connection = open_connection
        self.random = random
        self.time = loop.time
        self.call_at: Callable[[float, Callable[[], object]], Timer] = loop.call_at
        self.timeout = asyncio.timeout

    async def open(self, url: str, token: str | None, /) -> "ClientConnection":
        """See `ClientRuntime.open`."""
        return await self._open_connection(url, token)

    async def sleep(self, delay_s: float, /) -> None:
        """See `ClientRuntime.sleep`."""
        await asyncio.sleep(delay_s)


RuntimeFactory = Callable[[str], ClientRuntime]
"""Makes the runtime of the link with the given name, in the link's event loop."""

_routes: dict[str, RuntimeFactory] = {}


def add_route(url: str, make: RuntimeFactory) -> None:
    """Route the host and port of `url` to a runtime other than the network, for all links made from now on.

    For `tidings.testing`, whose hubs have addresses without a socket.
    """
    _routes[authority(url)] = make


def remove_route(url: str) -> None:
    """Route the host and port of `url` to the network again."""
    _routes.pop(authority(url), None)


def find_route(url: str) -> RuntimeFactory | None:
    """Return the runtime factory added for the host and port of `url`; None if they are on the network."""
    return _routes.get(authority(url)) if _routes else None
