"""The contract over HTTP: one route per export format, and a page for people."""

import hashlib
import re
from typing import Final

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidings.contract.contract import Contract
from tidings.contract.export.asyncapi import build_asyncapi_document
from tidings.contract.export.document import format_json
from tidings.contract.export.formats import FORMATS
from tidings.server.asgi.scope import address_of, route_path
from tidings.server.http.docs_page import HTML, SECURITY_POLICY, contract_page

PAGE_PATH: Final = "/docs"
ASYNCAPI_PATH: Final = "/asyncapi.json"
DOCUMENTS: Final = {
    "/v1/contract.json": FORMATS["json"],
    "/v1/contract.schema.json": FORMATS["json-schema"],
    ASYNCAPI_PATH: FORMATS["asyncapi"],
    "/v1/contract.ts": FORMATS["typescript"],
    "/v1/contract.go": FORMATS["go"],
}
"""Export formats by path."""
_TAGS: Final = re.compile(r'(?:W/)?("[^"]*")')
_MAX_DOCUMENTS: Final = 32
"""Cached documents: one per format, and for AsyncAPI one per address of the hub, which rarely has more than two."""


class ServedDocument(Struct, frozen=True, kw_only=True):
    """A document, ready to be sent."""

    body: bytes
    media_type: str
    tag: str
    """Entity tag, quotes included; equal documents have equal tags on all hubs."""


class ContractRoutes:
    """The routes of the contract's documents.

    Args:
        contract: The contract.
        ws_path: Path of the WebSocket, relative to the hub.
    """

    def __init__(self, contract: Contract, ws_path: str) -> None:
        self._contract = contract
        self._ws_path = ws_path
        self._documents: dict[tuple[str, ...], ServedDocument] = {}
        """Documents by path and address, made at the first request; most hubs never serve most of them."""

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(path, self._serve) for path in (*DOCUMENTS, PAGE_PATH)]

    async def _serve(self, request: Request) -> Response:
        path = route_path(request.scope)
        key: tuple[str, ...] = (path,)
        if path == ASYNCAPI_PATH:
            key = (path, *self._address(request))
        document = self._documents.get(key)
        if document is None:
            # In a thread, because it takes tens of milliseconds.
            document = await run_in_threadpool(self._make, *key)
            if len(self._documents) >= _MAX_DOCUMENTS:
                self._documents.clear()
            self._documents[key] = document
        return _answer(request, document, policy=SECURITY_POLICY if path == PAGE_PATH else "")

    def _address(self, request: Request) -> tuple[str, str, str]:
        """Return scheme, host and path of the WebSocket, as a client that sent this request reaches it."""
        secure, host, path = address_of(request.scope)
        return f"ws{secure}", host, path + self._ws_path

    def _make(self, path: str, protocol: str = "", host: str = "", ws_path: str = "") -> ServedDocument:
        if path == PAGE_PATH:
            links = [(where.removeprefix("/"), format.title) for where, format in DOCUMENTS.items()]
            return _document(contract_page(self._contract, [*links, ("openapi.json", "OpenAPI")]), HTML)
        format = DOCUMENTS[path]
        if path == ASYNCAPI_PATH:
            document = build_asyncapi_document(self._contract, host=host, path=ws_path, protocol=protocol)
            return _document(format_json(document), format.media_type)
        return _document(format.render(self._contract), format.media_type)


def _document(text: str, media_type: str) -> ServedDocument:
    body = text.encode()
    return ServedDocument(body=body, media_type=media_type, tag=f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(request: Request, document: ServedDocument, *, policy: str = "") -> Response:
    """Return a document, or 304 if the client has the same one (RFC 9110 §13.1.2)."""
    headers = {
        "etag": document.tag,
        # Cached, and revalidated each time: the hub may have been restarted with another contract.
        "cache-control": "no-cache",
        # The headers for pages of another origin must not be kept for the hub's own, nor the other way around.
        "vary": "Origin",
    }
    if policy:
        headers["content-security-policy"] = policy
    known = request.headers.get("if-none-match")
    if known is not None and (known.strip() == "*" or document.tag in _TAGS.findall(known)):
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers={**headers, "content-type": document.media_type})
