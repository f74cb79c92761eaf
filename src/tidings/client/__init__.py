"""The client library: publishes and watches events over connections that reconnect by themselves.

Names are imported at their first use: much of what imports a module of this package, such as the HTTP client of the
command line, needs no WebSocket.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    "tidings.client.client": "PUBLISH_TIMEOUT_S Client connect",
    "tidings.client.events": "Gap Live Notice Outcome ReceivedEvent",
    "tidings.client.options": "LinkOptions",
    "tidings.client.publish_queue": "WindowLimits",
    "tidings.client.receive_buffer": "BufferLimits",
    "tidings.client.reconnect": "Reconnect",
    "tidings.client.status": "State Status",
    "tidings.client.url": "DEFAULT_URL",
    "tidings.client.watch": "Watch WatchStatistics",
    "tidings.client.websocket": "ClientConnection ConnectionEnded OpenConnection open_websocket",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    # fmt: off
    # isort: off
    from tidings.client.client import (
        PUBLISH_TIMEOUT_S as PUBLISH_TIMEOUT_S, Client as Client, connect as connect,
    )
    from tidings.client.events import (
        Gap as Gap, Live as Live, Notice as Notice, Outcome as Outcome, ReceivedEvent as ReceivedEvent,
    )
    from tidings.client.options import LinkOptions as LinkOptions
    from tidings.client.publish_queue import WindowLimits as WindowLimits
    from tidings.client.receive_buffer import BufferLimits as BufferLimits
    from tidings.client.reconnect import Reconnect as Reconnect
    from tidings.client.status import State as State, Status as Status
    from tidings.client.url import DEFAULT_URL as DEFAULT_URL
    from tidings.client.watch import Watch as Watch, WatchStatistics as WatchStatistics
    from tidings.client.websocket import (
        ClientConnection as ClientConnection, ConnectionEnded as ConnectionEnded, OpenConnection as OpenConnection,
        open_websocket as open_websocket,
    )
    # isort: on
    # fmt: on


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
