"""The address of a hub."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit, urlunsplit

from tidings.exceptions import ConfigError

DEFAULT_URL = "ws://127.0.0.1:8765/ws"
"""Where `tidings serve` listens unless it is told otherwise."""
VARIABLE = "TIDINGS_URL"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_HINT = f"Write it like {DEFAULT_URL}."


def hub_url(url: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the WebSocket address that `url` means.

    Args:
        url: As a person writes it: `http` and `https` stand for `ws` and `wss`, and no path for `/ws`. None is the
            variable TIDINGS_URL, and without that `DEFAULT_URL`.
        environment: Where the variable is looked up.

    Raises:
        ConfigError: It is no such address.
    """
    source = "argument"
    if url is None:
        url = (os.environ if environment is None else environment).get(VARIABLE) or ""
        source = VARIABLE if url else "default"
        url = url or DEFAULT_URL
    try:
        parts = urlsplit(url.strip())
        fault = _fault(parts.scheme, parts.hostname, parts.port, parts.fragment)
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address: {error}", option="url", source=source, hint=_HINT) from error
    if fault:
        raise ConfigError(f"{url!r} is no address of a hub: {fault}", option="url", source=source, hint=_HINT)
    path = "/ws" if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _fault(scheme: str, host: str | None, port: int | None, fragment: str) -> str:
    if scheme not in _SCHEMES:
        return "it does not begin with ws:// or wss://"
    if not host:
        return "it names no host"
    if port == 0:
        return "0 is no port to connect to"
    return "it has a fragment (#), which no server would see" if fragment else ""


def with_query(url: str, **parameters: str | int) -> str:
    """Return `url` with `parameters` added to its query."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def authority(url: str) -> str:
    """Return host and port of `url`, as messages show them: without a password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_loopback(url: str) -> bool:
    """Return whether `url` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
