"""Accessors for an ASGI scope."""

import re
import string
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import quote

from msgspec import structs
from starlette.types import Scope

from tidings.access.credentials import headers_by_name
from tidings.access.proxies import FieldReader, RequestAddress
from tidings.access.request_check import CHECKED_FIELDS, RequestCheck
from tidings.access.subjects import AccessRequest
from tidings.exceptions import RequestError

Headers = Mapping[bytes, bytes]
_HOST: Final = re.compile(r"[A-Za-z0-9._\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_ADDRESS: Final = "tidings.address"
"""Key of the `RequestAddress` in a scope that `admit` returned."""
_SINGLE_FIELDS: Final = frozenset(
    {
        b"host",
        b"origin",
        b"authorization",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"idempotency-key",
        b"last-event-id",
    }
)
"""Headers that the hub acts on, and that a request has once (RFC 9110 §5.3); so do all that begin with `_OWN_FIELD`."""
_OWN_FIELD: Final = b"tidings-"


def headers_of(scope: Scope) -> Headers:
    """Return the request's headers by their lower-case names; the first value of a repeated one.

    Some servers append trailers to the headers, and a trailer may not replace a header (RFC 9110 §6.5.1).
    """
    return dict(reversed(list(scope["headers"])))


def check_repeated(fields: Collection[tuple[bytes, bytes]], headers: Headers) -> None:
    """Check that no header that a request has once is repeated: programs disagree which one counts.

    Args:
        fields: The request's headers.
        headers: The same by their names.

    Raises:
        RequestError: One is.
    """
    if len(headers) == len(fields):
        return
    for name, count in Counter(name for name, _ in fields).items():
        if count > 1 and (name in _SINGLE_FIELDS or name.startswith(_OWN_FIELD)):
            shown = name.decode().title()
            raise RequestError(f"{count} headers `{shown}`: expected one", hint=f"Send `{shown}` once.")


def header(headers: Headers, name: bytes) -> str | None:
    """Return the header `name` (lower case), or None."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def access_request(scope: Scope) -> AccessRequest:
    """Return what is known about a request that was admitted, to identify its sender."""
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return AccessRequest(
        headers=headers_by_name(fields),
        address=request_address(scope).client,
        method=scope.get("method", "GET"),
        path=route_path(scope),
        host=scope,
    )


def query_of(scope: Scope) -> str:
    """Return the query of a request's URL, not yet decoded; bytes that are not ASCII are percent-encoded."""
    query: bytes = scope.get("query_string", b"")
    return query.decode() if query.isascii() else quote(query, safe=string.printable)


def admit(scope: Scope, check: RequestCheck, headers: Headers) -> Scope:
    """Check a request, and return its scope with its `RequestAddress`.

    The path may begin with the prefix below which a proxy serves the hub; it is then a part of `root_path`, as the path
    is at which another application mounts the hub.

    Args:
        scope: The request.
        check: The check.
        headers: The request's headers, as `headers_of` returns them.

    Raises:
        OriginRefused: The request comes from a web page that may not use the hub.
        RequestError: A header is not valid, or repeated.
    """
    check_repeated(scope["headers"], headers)
    client = scope.get("client")
    peer = client[0] if client else ""
    scheme = scope.get("scheme", "http")
    path = route_path(scope)
    if headers.keys().isdisjoint(CHECKED_FIELDS):
        address = check.admit_plain(header(headers, b"host"), peer=peer, scheme=scheme)
    else:
        fields = _field_reader(scope["headers"])
        # A handshake has no method in its scope, and is not a request for a file.
        method, own_path = scope.get("method", "GET"), path if "method" in scope else ""
        address = check.admit(fields, method=method, peer=peer, scheme=scheme, path=own_path)
    root: str = scope.get("root_path", "").rstrip("/")
    inner = address.relative(path)
    if root:
        address = structs.replace(address, prefix=address.prefix + root)
    return {**scope, "root_path": root + path.removesuffix(inner), _ADDRESS: address}


def port_of(scope: Scope) -> int | None:
    """Return the port of the hub at which a request arrived; None on a Unix socket."""
    server = scope.get("server")
    return None if server is None else server[1]


def request_address(scope: Scope) -> RequestAddress:
    """Return where a request comes from that was admitted, and how its client addressed the hub."""
    address: RequestAddress = scope[_ADDRESS]
    return address


def address_of(scope: Scope) -> tuple[str, str, str]:
    """Return the address of the application, as the client of this request reaches it.

    Returns:
        "s" if the scheme is https, or ""; the host and port; and the path below which the client reaches it.
    """
    address = request_address(scope)
    host = address.host or ""
    return "s" if address.scheme == "https" else "", host if _HOST.fullmatch(host) else "127.0.0.1", address.prefix


def _field_reader(fields: Sequence[tuple[bytes, bytes]]) -> FieldReader:
    def read(name: str) -> list[str]:
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in fields if key == wanted]

    return read


def route_path(scope: Scope) -> str:
    """Return the path relative to the one that the application is mounted at."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        rest = path[len(root) :]
        if rest[:1] in ("", "/"):
            return rest or "/"
    return path
