"""The hub's URL, taken apart."""

from urllib.parse import urlsplit

from msgspec import Struct

from tidings.client.url import hub_url

_PORTS = {"ws": 80, "wss": 443}


class Target(Struct, frozen=True, kw_only=True):
    """Where a hub should be."""

    url: str
    """The WebSocket's."""
    host: str
    port: int
    corrected: bool
    """Whether the URL was written otherwise: as HTTP's, or without a path."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.url.startswith("wss:")

    def http(self, name: str) -> str:
        """Return the URL of an HTTP resource of the hub, which stands beside its WebSocket."""
        parts = urlsplit(self.url)
        base = parts.path.rsplit("/", 1)[0]
        return parts._replace(scheme="https" if self.secure else "http", path=f"{base}/{name}", query="").geturl()


def parse_target(text: str | None) -> Target:
    """Take a URL apart; None is the environment's, or a hub on this machine.

    Raises:
        ConfigError: It is no URL of a hub.
    """
    url = hub_url(text)
    parts = urlsplit(url)
    return Target(
        url=url,
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        corrected=text is not None and url != text.strip(),
    )
