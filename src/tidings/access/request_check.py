"""The check that every request and every handshake passes first, whatever edge it came to."""

from collections.abc import Callable
from typing import Final

from tidings.access.origins import Origins
from tidings.access.proxies import FieldReader, RequestAddress, TrustedProxies
from tidings.exceptions import NotFound, TidingsError

METRICS_PATH: Final = "/metrics"
ADMIN_PREFIX: Final = "/v1/admin/"
_PROBES: Final = ("/healthz", "/readyz")
PUBLIC_FILE: Final = "/elements.js"
"""The one path that pages of every origin may read: a script that holds nothing of this hub."""
CHECKED_FIELDS: Final = frozenset(
    {
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
    }
)
"""Headers that `RequestCheck.admit` reads besides `Host`: browsers and proxies send them."""
_READING: Final = ("GET", "HEAD")
_MAX_REMEMBERED: Final = 1_024
"""Results of `RequestCheck.admit_plain` that are kept."""
_MAX_HOST_CHARS: Final = 255
"""Characters of a host whose results are kept, as the name service allows."""


def is_admin_path(path: str) -> bool:
    """Return whether an admin listener, if there is one, alone serves `path`."""
    return path == METRICS_PATH or path.startswith(ADMIN_PREFIX)


class RequestCheck:
    """Finds out where a request comes from, and whether a web page may have sent it.

    Args:
        origins: The web origins whose pages may use the hub.
        proxies: The proxies whose headers count.
    """

    def __init__(self, origins: Origins, proxies: TrustedProxies) -> None:
        self.origins = origins
        self.proxies = proxies
        self.refused: Callable[[str, TidingsError], object] = _ignore
        """Called with the address at the other end of a connection whose request is refused, and the reason."""
        self.remembered: dict[tuple[str | None, str, str], RequestAddress] = {}
        """Results of `admit_plain`, by host, peer and scheme."""
        self.admin_port: int | None = None
        """Port of the admin listener, which alone serves `/metrics` and `/v1/admin/`, and only these and the probes;
        None where the hub has no such listener."""

    def is_admin_port(self, port: int | None) -> bool:
        """Return whether the admin listener has `port`."""
        return port is not None and port == self.admin_port

    def check_port(self, path: str, port: int | None) -> None:
        """Check that a path is served at the port at which its request arrived.

        Raises:
            NotFound: It is not.
        """
        if self.admin_port is None:
            return
        if port == self.admin_port:
            if not is_admin_path(path) and path not in _PROBES:
                raise NotFound(
                    f"no such route at the admin listener: {path[:200]!r}",
                    hint="It serves /metrics, /v1/admin/, /healthz and /readyz.",
                )
        elif is_admin_path(path):
            raise NotFound(f"no such route: {path[:200]!r}")

    def admit_plain(self, host: str | None, *, peer: str, scheme: str) -> RequestAddress:
        """Return where a request comes from that has none of `CHECKED_FIELDS`, as most of programs have none.

        Args:
            host: The `Host` header.
            peer: See `admit`.
            scheme: See `admit`.

        Raises:
            OriginRefused: See `admit`.
            RequestError: See `admit`.
        """
        key = host, peer, scheme
        address = self.remembered.get(key)
        if address is None:
            hosts = () if host is None else (host,)
            address = self.admit(lambda name: hosts if name == "host" else (), method="GET", peer=peer, scheme=scheme)
            if len(self.remembered) >= _MAX_REMEMBERED:
                self.remembered.clear()
            if len(host or "") <= _MAX_HOST_CHARS:
                self.remembered[key] = address
        return address

    def admit(self, fields: FieldReader, *, method: str, peer: str, scheme: str, path: str = "") -> RequestAddress:
        """Return where a request comes from.

        Args:
            fields: The headers.
            method: The method; that of a handshake is GET.
            peer: IP address at the other end of the connection; "" where there is none.
            scheme: Scheme of the hub's own port.
            path: Path of a request that is not a handshake, which may begin with the prefix of a proxy.

        Raises:
            OriginRefused: The request comes from a web page that may not use the hub.
            RequestError: A header is not valid.
        """
        try:
            return self._admit(fields, method=method, peer=peer, scheme=scheme, path=path)
        except TidingsError as error:
            self.refused(peer, error)
            raise

    def _admit(self, fields: FieldReader, *, method: str, peer: str, scheme: str, path: str) -> RequestAddress:
        address = self.proxies.read(fields, peer=peer, scheme=scheme)
        if method in _READING and address.relative(path) == PUBLIC_FILE:
            self.origins.check_host(address.host)
            self.origins.check_host(_first(fields, "host"))
            return address
        origin = _first(fields, "origin")
        self.origins.check(origin, address.host)
        # The connection's own name, too: a page whose name leads to a hub behind a proxy may send any other header.
        self.origins.check_host(_first(fields, "host"))
        site = _first(fields, "sec-fetch-site")
        if site is not None:
            mode, dest = _first(fields, "sec-fetch-mode"), _first(fields, "sec-fetch-dest")
            self.origins.check_fetch(origin, site, mode, dest, method=method)
        return address


def _ignore(peer: str, error: TidingsError) -> None:
    """Do nothing: until a hub with an audit trail runs."""


def _first(fields: FieldReader, name: str) -> str | None:
    values = fields(name)
    return values[0] if values else None
