"""The routes of the dashboard: its page, at every path that it shows something at, and its files."""

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidings.access.request_check import PUBLIC_FILE
from tidings.server.asgi.scope import route_path
from tidings.server.dashboard.bundle import PAGES, Bundle, BundleFile

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Allows the page to load files of this hub, and nothing that is made of text at run time. `connect-src 'self'` covers
the WebSocket in Chrome 71, Firefox and Safari 16 (CSP3 §6.7.2.8); older ones read the event stream instead."""
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATED: Final = "no-cache"
_ENCODING: Final = re.compile(r"\s*([^\s;,]+)\s*(?:;\s*q=([0-9.]+)\s*)?(?:,|$)")
_TAGS: Final = re.compile(r'(?:W/)?("[^"]*")')
_FOR_ALL: Final = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}


class DashboardRoutes:
    """The routes of one dashboard. Each file has a route of its own, so that no path leads to anything else.

    Args:
        bundle: The dashboard.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def routes(self) -> list[Route]:
        """Return the routes, without the one of `/`."""
        pages = [Route(path, self.page) for path in PAGES]
        return [*pages, *(Route(path, self._serve) for path in self._bundle.files)]

    async def page(self, request: Request) -> Response:
        """Answer with the page."""
        return _answer(request, self._bundle.index, {"content-security-policy": PAGE_POLICY}, vary="Accept, ")

    async def _serve(self, request: Request) -> Response:
        path = route_path(request.scope)
        return _answer(request, self._bundle.files[path], _FOR_ALL if path == PUBLIC_FILE else {})


def _answer(request: Request, file: BundleFile, fields: Mapping[str, str], *, vary: str = "") -> Response:
    """Return a file, compressed if the client reads that, or 304 if the client has it (RFC 9110 §13.1.2)."""
    zipped = file.gzipped if _reads_gzip(request.headers.get("accept-encoding", "")) else None
    # A strong tag belongs to one sequence of bytes, and so to one encoding.
    tag = f'"{file.tag}"' if zipped is None else f'"{file.tag}-gzip"'
    headers = {
        **fields,
        "etag": tag,
        "cache-control": _IMMUTABLE if file.immutable else _REVALIDATED,
        "vary": f"{vary}Accept-Encoding",
    }
    known = request.headers.get("if-none-match")
    if known is not None and (known.strip() == "*" or tag in _TAGS.findall(known)):
        return Response(status_code=304, headers=headers)
    headers["content-type"] = file.media_type
    if zipped is None:
        return Response(file.body, headers=headers)
    return Response(zipped, headers={**headers, "content-encoding": "gzip"})


def _reads_gzip(accepted: str) -> bool:
    """Return whether a header `Accept-Encoding` allows gzip (RFC 9110 §12.5.3)."""
    weights = {name.lower(): quality for name, quality in _ENCODING.findall(accepted)}
    quality = weights.get("gzip", weights.get("*"))
    return quality is not None and (not quality or quality.strip("0.") != "")
