"""How a link to a hub is made."""

import random
from collections.abc import Callable

from msgspec import Struct

from tidings.client.connection import OpenConnection, open_websocket
from tidings.client.reconnect import Reconnect
from tidings.client.state import Status

OnChange = Callable[[Status], None]
"""Called when the state of a link, or the reason for it, has changed."""


class LinkOptions(Struct, frozen=True, kw_only=True):
    """How a link connects."""

    wait_for_hub: bool = False
    """Whether a hub that is not there yet is waited for; else the first connection must succeed."""
    open_timeout_s: float = 10.0
    """For TCP, TLS and the upgrade together, and once more for the hub's greeting."""
    reconnect: Reconnect = Reconnect()
    open_connection: OpenConnection = open_websocket
    random: Callable[[], float] = random.random
    """For the jitter."""
