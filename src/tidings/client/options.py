"""How a link to a hub is made."""

import random
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from tidings.client.reconnect import Reconnect
from tidings.client.status import Status
from tidings.client.websocket import OpenConnection, open_websocket
from tidings.exceptions import ConfigError

OnChange = Callable[[Status], None]
"""Called when the state of a link, or the reason for it, has changed."""
TOKEN_VARIABLE = "TIDINGS_TOKEN"


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
    token: str | None = None
    """Who we are, for `Authorization: Bearer`; another `open_connection` than ours sends what it likes itself."""

    def opener(self) -> OpenConnection:
        """Return what opens a connection as these options say."""
        if self.token is None or self.open_connection is not open_websocket:
            return self.open_connection
        return partial(open_websocket, token=self.token)


def read_token(token: str | None, environment: Mapping[str, str]) -> str | None:
    """Return `token`, by default that of the variable TIDINGS_TOKEN; None where there is none.

    Raises:
        ConfigError: It cannot stand in a header.
    """
    source = "argument" if token is not None else TOKEN_VARIABLE
    token = (environment.get(TOKEN_VARIABLE) or "").strip() if token is None else token
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        # Not shown: whoever reads the message need not know it.
        raise ConfigError("the token has characters that no token has", option="token", source=source)
    return token
