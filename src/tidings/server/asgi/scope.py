"""Accessors for an ASGI scope."""

import re
import string
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote

from starlette.types import Scope

from tidings.access.origins import is_loopback
from tidings.exceptions import RequestError

Headers = Mapping[bytes, bytes]
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~\-]+)+/?")
_HOST: Final = re.compile(r"[A-Za-z0-9._\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_SINGLE_FIELDS: Final = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"content-type",
        b"content-encoding",
        b"idempotency-key",
        b"last-event-id",
        b"tidings-producer",
        b"tidings-lease",
    }
)
"""Headers that the hub acts on, and that a request has once (RFC 9110 §5.3)."""


def headers_of(scope: Scope) -> Headers:
    """Return the request's headers by their lower-case names; the first value of a repeated one.

    Some servers append trailers to the headers, and a trailer may not replace a header (RFC 9110 §6.5.1).
    """
    return dict(reversed(list(scope["headers"])))


def check_repeated(fields: Collection[tuple[bytes, bytes]]) -> None:
    """Check that no header that a request has once is repeated in `fields`: programs disagree which one counts.

    Raises:
        RequestError: One is.
    """
    if len(dict(fields)) == len(fields):
        return
    for name, count in Counter(name for name, _ in fields).items():
        if count > 1 and name in _SINGLE_FIELDS:
            shown = name.decode().title()
            raise RequestError(f"{count} headers `{shown}`: expected one", hint=f"Send `{shown}` once.")


def header(headers: Headers, name: bytes) -> str | None:
    """Return the header `name` (lower case), or None."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def query_of(scope: Scope) -> str:
    """Return the query of a request's URL, not yet decoded; bytes that are not ASCII are percent-encoded."""
    query: bytes = scope.get("query_string", b"")
    return query.decode() if query.isascii() else quote(query, safe=string.printable)


def address_of(scope: Scope) -> tuple[str, str, str]:
    """Return the address of the application, as the client of this request reaches it.

    Returns:
        "s" if the scheme is https, or ""; the host and port; and the path that the application is mounted at, or that
        a proxy removes (`X-Forwarded-Prefix`, as Traefik sends it).
    """
    prefix = header(headers_of(scope), b"x-forwarded-prefix") or ""
    path = (prefix if _PREFIX.fullmatch(prefix) else "").rstrip("/") + scope.get("root_path", "").rstrip("/")
    host = header(headers_of(scope), b"host") or ""
    secure = "s" if scope.get("scheme") in ("https", "wss") else ""
    return secure, host if _HOST.fullmatch(host) else "127.0.0.1", path


def is_local(scope: Scope) -> bool:
    """Return whether the request came over the loopback interface.

    Decided by the server's own address: the client's may come from a proxy.
    """
    server = scope.get("server")
    return server is not None and is_loopback(server[0])


def route_path(scope: Scope) -> str:
    """Return the path relative to the one that the application is mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        rest = path[len(root) :]
        if rest[:1] in ("", "/"):
            return rest or "/"
    return path
