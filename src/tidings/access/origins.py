"""Which web pages may use a hub (RFC 6454; the WebSocket handshake's own check, RFC 6455 §10.2).

Every page in a developer's browser can reach a hub on the developer's machine. This module prevents two attacks. A page
of a foreign origin may open a WebSocket, and post plain text, to any address; the browser names the page in `Origin`.
And a page may let its own host name resolve to 127.0.0.1 (DNS rebinding): the browser then takes the hub for the page's
own origin, but sends that name in `Host`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from tidings.exceptions import ConfigError, OriginRefused, RequestError

ANY = "*"
"""Allows pages of every origin."""
_HOST_HINT = "Send the host and the port of the URL, such as `Host: 127.0.0.1:8765`."
_FOREIGN_SITES = ("cross-site", "same-site")
"""Values of `Sec-Fetch-Site` for other origins; pages of all ports of a host are of one site."""
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/?#@\[\]\\]*))(?::[0-9]{0,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Origins:
    """The web origins whose pages may use a hub: the hub's own origin, and the listed ones.

    A request without `Origin` is allowed: programs do not send it, and browsers leave it out only for a page of the
    hub's own origin, or where the page cannot read the response.

    Args:
        listed: Origins as browsers write them (`https://app.example.com`, `http://localhost:5173`), `null` for pages
            without an origin (files, sandboxes), or `*` for every page.
        check_host: Whether a request over the loopback interface must name the hub by an IP address, by `localhost`, or
            by the host of a listed origin. An application in which a hub is mounted checks its hosts itself.

    Raises:
        ConfigError: One of `listed` is not a valid origin.
    """

    __slots__ = ("_any", "_check_host", "_hosts", "_listed")

    def __init__(self, listed: Iterable[str] = (), *, check_host: bool = True) -> None:
        self._listed = frozenset(_normalised(origin) for origin in listed)
        self._any = ANY in self._listed
        self._hosts = frozenset(urlsplit(origin).hostname or "" for origin in self._listed)
        self._check_host = check_host and not self._any

    def is_listed(self, origin: str) -> bool:
        """Return whether pages of `origin`, which is not the hub's own, may read responses."""
        return self._any or origin.lower() in self._listed

    def allows_credentials(self, origin: str) -> bool:
        """Return whether pages of `origin` may send cookies and passwords, which a proxy in front of the hub checks.

        Only an origin that is listed by its name may: with `*`, any page could act as the person who looks at it.
        """
        return origin != "null" and origin.lower() in self._listed

    def check(self, origin: str | None, host: str | None, *, is_local: bool) -> None:
        """Check the headers of a request before the hub processes it.

        Args:
            origin: The `Origin` header.
            host: The `Host` header.
            is_local: Whether the request came over the loopback interface.

        Raises:
            OriginRefused: The request comes from a page that may not use the hub.
            RequestError: `Host` is not valid (RFC 9110 §7.2).
        """
        if host is not None:
            name = _host_name(host)
            if is_local and self._check_host and not (_is_own_name(name) or name in self._hosts):
                raise OriginRefused(
                    f"unknown host name {name[:80]!r}",
                    origin=host,
                    hint="A web page may have pointed its own name at this hub. If the name is yours, as behind a "
                    f"proxy, allow its origin: --allow-origin https://{name[:80]}",
                )
        if origin is None or self.is_listed(origin) or _is_same(origin, host):
            return
        raise OriginRefused(
            f"pages of {origin[:120]!r} may not use this hub",
            origin=origin,
            hint=f"To allow them, pass --allow-origin {origin[:120]}",
        )

    def check_fetch(self, origin: str | None, site: str | None, mode: str | None) -> None:
        """Check what a browser reports of a request without `Origin` (W3C Fetch Metadata).

        A page may embed any address as an image, a script or a style without `Origin`, and cause work. A person may
        follow a link to the hub from any page. A request with `Origin` is decided by that alone.

        Args:
            origin: The `Origin` header.
            site: The `Sec-Fetch-Site` header.
            mode: The `Sec-Fetch-Mode` header.

        Raises:
            OriginRefused: A page of another origin embeds the address.
        """
        if origin is None and site in _FOREIGN_SITES and mode != "navigate" and not self._any:
            raise OriginRefused(
                "a page of another origin embeds this address",
                origin=str(site),
                hint="Request it with `fetch` or `EventSource` (without `mode: 'no-cors'`), from an origin that is "
                "allowed with --allow-origin.",
            )


@lru_cache(maxsize=256)  # called for every request, with few addresses
def is_loopback(address: str) -> bool:
    """Return whether `address` is an IP address of the loopback interface."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)  # a dual-stack socket names IPv4 peers as ::ffff:127.0.0.1
    return (mapped or parsed).is_loopback


def _normalised(origin: str) -> str:
    lowered = origin.strip().lower().removesuffix("/")
    if lowered in (ANY, "null"):
        return lowered
    try:
        parts = urlsplit(lowered)
        well_formed = _is_bare(parts) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ConfigError(
            f"invalid origin {origin!r}: expected scheme://host or scheme://host:port",
            option="allow-origin",
            hint="Write the origin as a browser does: https://app.example.com or http://localhost:5173.",
        )
    return lowered.removesuffix(_DEFAULT_PORTS.get(parts.scheme, "/"))


def _is_bare(parts: SplitResult) -> bool:
    rest = parts.path or parts.query or parts.fragment or parts.username
    return bool(parts.scheme and parts.hostname and not rest)


def _is_same(origin: str, host: str | None) -> bool:
    # The scheme is not compared: a proxy that terminates TLS in front of the hub changes it.
    scheme, separator, place = origin.lower().partition("://")
    if host is None or not separator:
        return False
    usual = _DEFAULT_PORTS.get(scheme, "/")
    return place.removesuffix(usual) == host.lower().removesuffix(usual)


@lru_cache(maxsize=256)  # called for every request, with few hosts
def _host_name(host: str) -> str:
    """Return the name in a `Host` header, without its port and an IPv6 address's brackets.

    Raises:
        RequestError: It is not a name or an address, with or without a port.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        raise RequestError(f"invalid Host {host[:80]!r}: expected a name or an address, and a port", hint=_HOST_HINT)
    return match["address"] or match["name"].lower().removesuffix(".")


def _is_own_name(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True  # an address is not resolved by a name service, so an attacker cannot redirect it
