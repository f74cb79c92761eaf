"""Options of a link to a hub."""

import random
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from tidings.client.reconnect import Reconnect
from tidings.client.status import Status
from tidings.client.websocket import OpenConnection, open_websocket
from tidings.exceptions import ConfigError

OnChange = Callable[[Status], None]
"""Called when the state of a link, or its error, has changed."""
TOKEN_VARIABLE = "TIDINGS_TOKEN"


class LinkOptions(Struct, frozen=True, kw_only=True):
    """Options of connecting to a hub."""

    wait_for_hub: bool = False
    """Whether to wait for a hub that does not answer yet; otherwise the first connection must succeed."""
    open_timeout_s: float = 10.0
    """Timeout, in seconds, for TCP, TLS and the upgrade together, and once more for the hub's greeting."""
    reconnect: Reconnect = Reconnect()
    open_connection: OpenConnection = open_websocket
    random: Callable[[], float] = random.random
    """Source of the reconnect jitter."""
    token: str | None = None
    """Credentials for `Authorization: Bearer`; a custom `open_connection` sends its own instead."""

    def opener(self) -> OpenConnection:
        """Return the function that opens connections with these options."""
        if self.token is None or self.open_connection is not open_websocket:
            return self.open_connection
        return partial(open_websocket, token=self.token)


def read_token(token: str | None, environment: Mapping[str, str]) -> str | None:
    """Return `token`, by default the value of TIDINGS_TOKEN; None if there is none.

    Raises:
        ConfigError: It cannot be sent in a header.
    """
    source = "argument" if token is not None else TOKEN_VARIABLE
    token = (environment.get(TOKEN_VARIABLE) or "").strip() if token is None else token
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        # Not shown: the message may be read by people who must not have the token.
        raise ConfigError("invalid token: expected printable ASCII without spaces", option="token", source=source)
    return token
