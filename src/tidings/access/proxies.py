"""Where a request comes from when it came through proxies: `Forwarded` (RFC 7239) and the `X-Forwarded-*` headers.

Any client can send these headers, so they count only on connections from proxies that the hub's operator has listed.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

from tidings.exceptions import ConfigError, RequestError

FieldReader = Callable[[str], Sequence[str]]
"""Returns the values of a request's header by its name in lower case: one per line, in order."""

_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~\-]+)+/?|/")
"""A path of plain segments: it becomes a part of links."""
_PAIR: Final = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))\s*(?:([;,])|$)')
"""One parameter of `Forwarded`, and what separates it from the next one (RFC 7239 §4)."""
_NODE: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+)(?::\d+)?|([0-9A-Fa-f:.%]+)")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SET_ONE_HINT: Final = "Let the proxy set one of them, and remove the other from what clients send (docs/deploying.md)."


class RequestAddress(Struct, frozen=True, kw_only=True, gc=False):
    """Where a request comes from, and how its client addressed the hub."""

    client: str
    """IP address of the client, as limits and audit lines count it; "" where there is none, as on a Unix socket."""
    peer: str
    """IP address at the other end of the TCP connection: the client's or the nearest proxy's."""
    scheme: str
    """`http` or `https`, as the client sees it."""
    host: str | None
    """Host and port in the client's URL; None if the request names none."""
    prefix: str = ""
    """Path below which the client reaches the hub, without a slash at its end."""

    def relative(self, path: str) -> str:
        """Return `path` without the prefix, which some proxies remove and others leave."""
        if not self.prefix:
            return path
        rest = path.removeprefix(self.prefix)
        if len(rest) == len(path) or rest[:1] not in ("", "/"):
            return path
        return rest or "/"


class TrustedProxies:
    """The proxies whose headers count.

    Without any, a request comes from the other end of its connection, whatever its headers claim. The nearest proxy
    adds its entry at the right, so the client is the right-most address that is not a trusted proxy; entries to the
    left of it may be invented. Its entry also gives the scheme and the host.

    A proxy that sets one family of headers and passes on the other lets clients invent the latter. So a request with
    both is refused, unless both mean the same.

    Args:
        networks: IP addresses and networks (`10.0.0.0/8`) of the proxies.
        prefix: Path below which clients reach the hub, where no trusted proxy names another (`X-Forwarded-Prefix`).

    Raises:
        ConfigError: A network or the prefix is not valid.
    """

    __slots__ = ("_networks", "prefix")

    def __init__(self, networks: Iterable[str] = (), *, prefix: str = "") -> None:
        self._networks = tuple(map(_parse_network, networks))
        if prefix and not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"invalid root path {prefix!r}: expected segments of letters, digits, '-', '.', '_' or '~'",
                option="root-path",
                hint="Write it as in a URL: /tidings.",
            )
        self.prefix = prefix.rstrip("/")

    def trusts(self, address: str) -> bool:
        """Return whether `address` is one of the proxies."""
        parsed = parse_address(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)

    def read(self, fields: FieldReader, *, peer: str, scheme: str) -> RequestAddress:
        """Return where a request comes from.

        Args:
            fields: Its headers.
            peer: IP address at the other end of its connection; "" where there is none.
            scheme: Scheme of the hub's own port.

        Raises:
            RequestError: The headers of a trusted proxy are not valid, or contradict each other.
        """
        hosts = fields("host")
        host = hosts[0] if hosts else None
        scheme = _SCHEMES.get(scheme, scheme)
        if not self.trusts(peer):
            return RequestAddress(client=peer, peer=peer, scheme=scheme, host=host, prefix=self.prefix)
        route = self._read_route(fields)
        return RequestAddress(
            client=route.client or peer,
            peer=peer,
            scheme=route.scheme or scheme,
            host=route.host or host,
            prefix=_read_prefix(fields, self.prefix),
        )

    def _read_route(self, fields: FieldReader) -> "_Route":
        standard = [_Route(*each) for each in _parse_forwarded(", ".join(fields("forwarded")))]
        clients, schemes, hosts = (_split(fields(f"x-forwarded-{name}")) for name in ("for", "proto", "host"))
        routes = []
        if standard:
            client, depth = self._find_client([each.client or "" for each in standard])
            # The proxy next to the client reports these; where it reports nothing, the next one does.
            known = standard[-1 - depth :]
            routes.append(
                _Route(
                    client,
                    _read_scheme(next((each.scheme for each in known if each.scheme), ""), "Forwarded"),
                    next((each.host for each in known if each.host), None),
                )
            )
        if clients or schemes or hosts:
            client, depth = self._find_client(clients)
            scheme = _read_scheme(_pick(schemes, depth) or "", "X-Forwarded-Proto")
            routes.append(_Route(client, scheme, _pick(hosts, depth)))
        if len(set(routes)) > 1:
            raise RequestError("Forwarded and X-Forwarded-* contradict each other", hint=_SET_ONE_HINT)
        return routes[0] if routes else _Route(None, None, None)

    def _find_client(self, nodes: Sequence[str]) -> tuple[str | None, int]:
        """Return the right-most address that is not a trusted proxy, and the number of entries to the right of it.

        An entry that is not an address (`unknown`, or hidden by the proxy) stands for the proxy that wrote it.
        """
        client = None
        for depth, node in enumerate(reversed(nodes)):
            address = _read_node(node)
            client = address or client
            if address is None or not self.trusts(address):
                return client, depth
        return client, max(0, len(nodes) - 1)


class _Route(NamedTuple):
    """The way of a request, as one family of headers describes it."""

    client: str | None
    scheme: str | None
    host: str | None


@lru_cache(maxsize=256)  # called for every request, with few addresses
def parse_address(address: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address, or None if `address` is not one; an IPv4 address that is mapped to IPv6 as IPv4.

    A dual-stack socket names IPv4 peers in that form, such as `::ffff:127.0.0.1`.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text.strip())
    except ValueError as cause:
        raise ConfigError(
            f"invalid trusted proxy {text!r}: expected an IP address or a network",
            option="trusted-proxy",
            hint="Write an address, or a network without host bits: 127.0.0.1, 10.0.0.0/8 or fd00::/8.",
        ) from cause


def _parse_forwarded(value: str) -> list[tuple[str, str, str]]:
    """Return `for`, `proto` and `host` of each element of `Forwarded`; "" for those that it lacks.

    Raises:
        RequestError: The header is not valid.
    """
    elements: list[tuple[str, str, str]] = []
    pairs: dict[str, str] = {}
    place = 0
    while place < len(value):
        match = _PAIR.match(value, place)
        if match is None:
            raise RequestError(
                f"invalid Forwarded {value[:80]!r}: expected for=ADDRESS;proto=SCHEME;host=HOST",
                hint="Let the proxy in front of the hub set it as in RFC 7239, section 4.",
            )
        name, quoted, token, separator = match.groups()
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        place = match.end()
        if separator != ";":
            elements.append((pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
            pairs = {}
    return elements


def _split(lines: Sequence[str]) -> list[str]:
    return [part.strip() for line in lines for part in line.split(",")]


def _pick(values: Sequence[str], depth: int) -> str | None:
    """Return the value at `depth` from the right; the left-most one, where proxies replace the value and add none."""
    return values[-1 - min(depth, len(values) - 1)] or None if values else None


def _read_node(node: str) -> str | None:
    """Return the address in an entry, without its port (RFC 7239 §6), or None."""
    match = _NODE.fullmatch(node)
    address = None if match is None else parse_address(match[1] or match[2] or match[3])
    return None if address is None else str(address)


def _read_scheme(value: str, name: str) -> str | None:
    if not value:
        return None
    scheme = _SCHEMES.get(value.lower())
    if scheme is None:
        raise RequestError(
            f"invalid scheme {value[:20]!r} in {name}: expected http or https",
            hint="Let the proxy set the scheme of its client's URL (nginx: $scheme).",
        )
    return scheme


def _read_prefix(fields: FieldReader, configured: str) -> str:
    """Return the prefixes that proxies removed, the outer one first; without any, the configured one."""
    prefix = ""
    for value in _split(fields("x-forwarded-prefix")):
        if not _PREFIX.fullmatch(value):
            raise RequestError(
                f"invalid X-Forwarded-Prefix {value[:80]!r}: expected a path such as /tidings",
                hint="Let the proxy set the path that it removes.",
            )
        prefix += value.rstrip("/")
    return prefix or configured
