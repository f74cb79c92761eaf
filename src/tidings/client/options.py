"""Options of a link to a hub."""

import random
from collections.abc import Awaitable, Callable

from msgspec import Struct

from tidings.client.reconnect import Reconnect
from tidings.client.status import Status
from tidings.client.tokens import Token, TokenSource
from tidings.client.websocket import ClientConnection, OpenConnection, open_websocket

OnChange = Callable[[Status], None]
"""Called when the state of a link, or its error, has changed."""


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
    token: Token | TokenSource | None = None
    """The token, or a function that returns it; by default TIDINGS_TOKEN, TIDINGS_TOKEN_FILE or the stored login. It is
    sent in the handshake, unless a custom `open_connection` makes that, and when the hub asks for it."""
    allow_plaintext_token: bool = False
    """Whether the token may go over an unencrypted network (`ws://` to another machine)."""
    wait_for_token: bool = False
    """Whether to wait, after the hub has refused the token, until its source has another; otherwise that is the end."""

    def __repr__(self) -> str:
        return f"LinkOptions({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        return list((shown | ({} if self.token is None else {"token": "..."})).items())

    def opener(self) -> Callable[[str, str | None], Awaitable[ClientConnection]]:
        """Return the function that opens a connection to a URL with a token."""
        custom = self.open_connection
        if custom is open_websocket:
            return open_websocket

        async def open_custom(url: str, token: str | None) -> ClientConnection:
            return await custom(url)

        return open_custom
