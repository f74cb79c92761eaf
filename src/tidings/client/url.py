"""Addresses of hubs."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit, urlunsplit

from tidings.exceptions import ConfigError

DEFAULT_URL = "ws://127.0.0.1:8765/ws"
"""Default address of `tidings serve`."""
URL_VARIABLE = "TIDINGS_URL"
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_HINT = f"Use the form {DEFAULT_URL}."


def resolve_hub_url(url: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the WebSocket address for `url`.

    Args:
        url: As a person writes it: `http` and `https` stand for `ws` and `wss`, and no path for `/ws`. None means
            the variable TIDINGS_URL, else `DEFAULT_URL`.
        environment: Environment variables; by default the process's own.

    Raises:
        ConfigError: The URL is invalid.
    """
    source = "argument"
    if url is None:
        url = (os.environ if environment is None else environment).get(URL_VARIABLE) or ""
        source = URL_VARIABLE if url else "default"
        url = url or DEFAULT_URL
    try:
        parts = urlsplit(url.strip())
        fault = _fault(parts.scheme, parts.hostname, parts.port, parts.fragment)
    except ValueError as error:
        raise ConfigError(f"invalid URL {url!r}: {error}", option="url", source=source, hint=_HINT) from error
    if fault:
        raise ConfigError(f"invalid hub URL {url!r}: {fault}", option="url", source=source, hint=_HINT)
    path = "/ws" if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _fault(scheme: str, host: str | None, port: int | None, fragment: str) -> str:
    if scheme not in _SCHEMES:
        return "expected ws:// or wss://"
    if not host:
        return "it has no host"
    if port == 0:
        return "expected a port from 1 to 65535"
    return "expected no fragment (#), which servers do not receive" if fragment else ""


def add_query(url: str, **parameters: str | int) -> str:
    """Return `url` with `parameters` added to its query."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def authority(url: str) -> str:
    """Return the host and port of `url` for messages: without user name and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_loopback(url: str) -> bool:
    """Return whether `url` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
