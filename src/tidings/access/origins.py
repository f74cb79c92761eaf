"""Which web pages may use a hub (RFC 6454; the WebSocket handshake's own check, RFC 6455 §10.2).

Every page in a person's browser can reach a hub on that person's machine or in their network. This module prevents two
attacks. A page of a foreign origin may open a WebSocket, and post plain text, to any address; the browser names the
page in `Origin`. And a page may let its own host name resolve to the hub's address (DNS rebinding): the browser then
takes the hub for the page's own origin, but sends that name in `Host`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from tidings.access.proxies import parse_address
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
        hosts: Names of the hub, without a port, besides IP addresses, `localhost` and the hosts of listed origins; `*`
            for every name.
        check_host: Whether a request must name the hub by one of its names. An application in which a hub is mounted
            checks its hosts itself.

    Raises:
        ConfigError: One of `listed` is not a valid origin, or one of `hosts` not a valid name.
    """

    __slots__ = ("_any", "_check_host", "_hosts", "_listed")

    def __init__(self, listed: Iterable[str] = (), *, hosts: Iterable[str] = (), check_host: bool = True) -> None:
        self._listed = frozenset(_normalised(origin) for origin in listed)
        self._any = ANY in self._listed
        names = frozenset(map(_parse_host, hosts))
        self._hosts = names | {urlsplit(origin).hostname or "" for origin in self._listed}
        self._check_host = check_host and not self._any and ANY not in names

    def is_listed(self, origin: str) -> bool:
        """Return whether pages of `origin`, which is not the hub's own, may read responses."""
        return self._any or origin.lower() in self._listed

    def allows_credentials(self, origin: str) -> bool:
        """Return whether pages of `origin` may send cookies and passwords, which a proxy in front of the hub checks.

        Only an origin that is listed by its name may: with `*`, any page could act as the person who looks at it.
        """
        return origin != "null" and origin.lower() in self._listed

    def check(self, origin: str | None, host: str | None) -> None:
        """Check the headers of a request before the hub processes it.

        Args:
            origin: The `Origin` header.
            host: The `Host` header.

        Raises:
            OriginRefused: The request comes from a page that may not use the hub.
            RequestError: `Host` is not valid (RFC 9110 §7.2).
        """
        self.check_host(host)
        if origin is None or self.is_listed(origin) or is_own_origin(origin, host):
            return
        raise OriginRefused(
            f"pages of {origin[:120]!r} may not use this hub",
            origin=origin,
            hint=f"To allow them, pass --allow-origin {origin[:120]}",
        )

    def check_host(self, host: str | None) -> None:
        """Check that a `Host` header names this hub; HTTP/1.0 may leave it out.

        Raises:
            OriginRefused: It is another name.
            RequestError: It is not valid.
        """
        if host is None:
            return
        name = _host_name(host)
        if self._check_host and not (_is_own_name(name) or name in self._hosts):
            raise OriginRefused(
                f"unknown host name {name[:80]!r}",
                origin=host,
                hint="A web page may have pointed its own name at this hub. If the name is the hub's, allow it: "
                f"--allow-host {name[:80]}",
            )

    def check_fetch(
        self, origin: str | None, site: str | None, mode: str | None, dest: str | None, *, method: str
    ) -> None:
        """Check what a browser reports of a request (W3C Fetch Metadata).

        A page may embed any address as an image, a script or a style without `Origin`, and cause work, or send a form
        from which a browser removes it. A person may follow a link to the hub from any page.

        Args:
            origin: The `Origin` header.
            site: The `Sec-Fetch-Site` header.
            mode: The `Sec-Fetch-Mode` header.
            dest: The `Sec-Fetch-Dest` header.
            method: Method of the request.

        Raises:
            OriginRefused: A page of another origin, which is not listed, sent the request by itself.
        """
        if site not in _FOREIGN_SITES or self._any or (origin is not None and self.is_listed(origin)):
            return
        is_link = mode == "navigate" and dest in (None, "document") and method in ("GET", "HEAD")
        if origin is None and is_link:
            return
        raise OriginRefused(
            "a page of another origin sent this request",
            origin=origin or str(site),
            hint="Request the address with `fetch` or `EventSource` (without `mode: 'no-cors'`), from an origin that "
            "is allowed with --allow-origin.",
        )


def is_loopback(address: str) -> bool:
    """Return whether `address` is an IP address of the loopback interface."""
    parsed = parse_address(address)
    return parsed is not None and parsed.is_loopback


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


def _parse_host(name: str) -> str:
    lowered = name.strip().lower().removesuffix(".")
    match = _HOST.fullmatch(lowered)
    if lowered != ANY and (match is None or not match["name"] or ":" in lowered or "*" in lowered):
        raise ConfigError(
            f"invalid host name {name!r}: expected a name without a port",
            option="allow-host",
            hint="Write the name as in the hub's URL: hub.example.com. Ports and IP addresses need no permission.",
        )
    return lowered


def _is_bare(parts: SplitResult) -> bool:
    rest = parts.path or parts.query or parts.fragment or parts.username
    return bool(parts.scheme and parts.hostname and not rest)


def is_own_origin(origin: str, host: str | None) -> bool:
    """Return whether `origin` is that of the hub, which a request names `host`."""
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


@lru_cache(maxsize=256)  # as above
def _is_own_name(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return parse_address(name) is not None  # no name service resolves it, so an attacker cannot redirect it
