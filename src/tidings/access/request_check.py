"""The check that every request and every handshake passes first, whatever edge it came to."""

from tidings.access.origins import Origins
from tidings.access.proxies import FieldReader, RequestAddress, TrustedProxies


class RequestCheck:
    """Finds out where a request comes from, and whether a web page may have sent it.

    Args:
        origins: The web origins whose pages may use the hub.
        proxies: The proxies whose headers count.
    """

    def __init__(self, origins: Origins, proxies: TrustedProxies) -> None:
        self.origins = origins
        self._proxies = proxies

    def admit(self, fields: FieldReader, *, method: str, peer: str, scheme: str) -> RequestAddress:
        """Return where a request comes from.

        Args:
            fields: The headers.
            method: The method; that of a handshake is GET.
            peer: IP address at the other end of the connection; "" where there is none.
            scheme: Scheme of the hub's own port.

        Raises:
            OriginRefused: The request comes from a web page that may not use the hub.
            RequestError: A header is not valid.
        """
        address = self._proxies.read(fields, peer=peer, scheme=scheme)
        origin = _first(fields, "origin")
        self.origins.check(origin, address.host)
        # The connection's own name, too: a page whose name leads to a hub behind a proxy may send any other header.
        self.origins.check_host(_first(fields, "host"))
        site = _first(fields, "sec-fetch-site")
        if site is not None:
            mode, dest = _first(fields, "sec-fetch-mode"), _first(fields, "sec-fetch-dest")
            self.origins.check_fetch(origin, site, mode, dest, method=method)
        return address


def _first(fields: FieldReader, name: str) -> str | None:
    values = fields(name)
    return values[0] if values else None
