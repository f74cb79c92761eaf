"""Addresses of hubs."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from tidings.exceptions import ConfigError

DEFAULT_URL = "ws://127.0.0.1:8765/ws"
"""Default address of `tidings serve`."""
URL_VARIABLE = "TIDINGS_URL"
DEFAULT_PORT = 8765
"""Port of an address without a scheme."""
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_SECRET_PARAMETERS = frozenset({"token", "access_token", "auth_token", "jwt", "api_key", "apikey"})
_SECRET_VALUE = re.compile(rf"(?i)([?&](?:{'|'.join(sorted(_SECRET_PARAMETERS))}|ticket)=)[^&#]*")
_TOKEN_HINT = "Set TIDINGS_TOKEN or TIDINGS_TOKEN_FILE, or run `tidings login`."
_HINT = f"Use the form {DEFAULT_URL}, or a host and port."


def resolve_hub_url(url: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the WebSocket address for `url`.

    Args:
        url: As a person writes it. `HOST` and `HOST:PORT` stand for `ws://HOST:PORT/ws`, with port 8765 by default.
            `http` and `https` stand for `ws` and `wss`, and their path is the prefix of the hub's paths. The path of
            a `ws` or `wss` URL is the WebSocket's own; one that is empty or ends with a slash is a prefix, too. None
            means the variable TIDINGS_URL, else `DEFAULT_URL`.
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
        parts = urlsplit(_with_scheme(url.strip()))
        fault = _fault(parts)
    except ValueError as error:
        fault = str(error)
    if fault:
        shown = hide_password(url)
        hint = _TOKEN_HINT if "token" in fault else _HINT
        raise ConfigError(f"invalid hub URL {shown!r}: {fault}", option="url", source=source, hint=hint)
    path = parts.path.rstrip("/") if parts.path.rstrip("/").endswith("/ws") else parts.path
    if not path.endswith("/ws") and (parts.scheme in ("http", "https") or path in ("", "/") or path.endswith("/")):
        path = f"{path.rstrip('/')}/ws"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def _with_scheme(text: str) -> str:
    """Return `text` as a URL, if it is a host, or a host and port, perhaps with a prefix."""
    if "://" in text:
        return text
    with suppress(ValueError):
        text = f"[{IPv6Address(text)}]"
    parts = urlsplit(f"http://{text}")
    if parts.hostname and parts.port is None:
        parts = parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{DEFAULT_PORT}")
    return parts.geturl()


def _fault(parts: SplitResult) -> str:
    if parts.scheme not in _SCHEMES:
        return "expected ws://, wss://, http:// or https://"
    if not parts.hostname:
        return "it has no host"
    if any(character.isspace() or not character.isprintable() for character in parts.netloc):
        return "expected no blanks or control characters in the host"
    if parts.port == 0:
        return "expected a port from 1 to 65535"
    if any(name.lower() in _SECRET_PARAMETERS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return "a token in a URL ends in logs and in lists of processes"
    return "expected no fragment (#), which servers do not receive" if parts.fragment else ""


def hide_password(url: str) -> str:
    """Return `url` for messages: with three dots instead of the password, and of a token in the query."""
    url = _SECRET_VALUE.sub(r"\1...", url)
    before, at, rest = url.rpartition("@")
    scheme, separator, credentials = before.rpartition("://")
    if not at or ":" not in credentials:
        return url
    return f"{scheme}{separator}{credentials.partition(':')[0]}:...@{rest}"


def add_query(url: str, **parameters: str | int) -> str:
    """Return `url` with `parameters` added to its query."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))


def authority(url: str) -> str:
    """Return the host and port of `url` for messages: without user name and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def origin(url: str) -> str:
    """Return the scheme, host and port of `url`: what must be equal for credentials to go to both of two URLs."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def is_loopback(url: str) -> bool:
    """Return whether `url` is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
