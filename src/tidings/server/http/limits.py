"""The shares of clients over HTTP: expensive reads, and requests that wait (docs/protocol/limits.md)."""

from typing import Final

from starlette.types import Scope

from tidings.access.origins import is_loopback
from tidings.access.quotas import Quota, network_of
from tidings.hub.config import HubConfig
from tidings.server.asgi.scope import request_address
from tidings.server.http.access import subject_of

_RETRY_READ_MS: Final = 500
"""A read takes a quarter of a second at most, and waits for others."""
_RETRY_WAIT_MS: Final = 5_000


class HttpLimits:
    """The shares of the clients of one hub.

    A client is a subject; where the hub identifies no one, it is an address. Clients on the hub's own machine then have
    no limit: they are one person's, or come through a proxy that the hub does not trust.

    Args:
        config: The limits.
    """

    def __init__(self, config: HubConfig) -> None:
        self.reads = Quota(
            config.reads_of_client,
            "reads of history, snapshots, operations and names",
            hint="Await an answer before the next request, or read a stream.",
            retry_after_ms=_RETRY_READ_MS,
        )
        self.waits = Quota(
            config.waits_of_client,
            "requests that wait for operations",
            hint="Subscribe to the operations over the WebSocket or `GET /v1/stream`: one connection for all.",
            retry_after_ms=_RETRY_WAIT_MS,
        )


def client_of(scope: Scope) -> str:
    """Return whom a request counts for; "" for no one."""
    subject = subject_of(scope)
    if subject is not None:
        return f"subject {subject.name}"
    address = request_address(scope).client
    return "" if not address or is_loopback(address) else network_of(address)
