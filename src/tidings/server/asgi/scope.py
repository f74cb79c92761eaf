"""Accessors for an ASGI scope."""

import string
from collections.abc import Mapping
from urllib.parse import quote

from starlette.types import Scope

from tidings.access.origins import is_loopback

Headers = Mapping[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """Return the request's headers by their lower-case names; the last value of a repeated one."""
    return dict(scope["headers"])


def header(headers: Headers, name: bytes) -> str | None:
    """Return the header `name` (lower case), or None."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def query_of(scope: Scope) -> str:
    """Return the query of a request's URL, not yet decoded; bytes that are not ASCII are percent-encoded."""
    query: bytes = scope.get("query_string", b"")
    return query.decode() if query.isascii() else quote(query, safe=string.printable)


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
