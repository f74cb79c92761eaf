"""The opening handshake (RFC 6455 §4.2): from the request's bytes to a decision and the response's bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import unquote

from websockets.datastructures import Headers
from websockets.extensions import Extension
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from tidings.exceptions import MethodNotAllowed, RequestError, TidingsError, UpgradeRequired
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.payloads import encode_payload
from tidings.server.http.responses import SECURITY_FIELDS, retry_after_s
from tidings.server.websocket.deflate import EXTENSIONS, Deflate, negotiated_deflate

VERSION = "13"
"""The version of RFC 6455, the only one that is served."""
_SECURITY_HEADERS = [(name.decode(), value.decode()) for name, value in SECURITY_FIELDS]
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """A valid request to open a WebSocket connection."""

    path: str
    """Path without the query, percent-decoded."""
    query: str
    """Query as sent, without the question mark; "" if there is none."""
    headers: Headers
    """Request headers: case-insensitive, several values per name (`get_all`)."""
    peer: tuple[str, int] | None
    """Host and port of the TCP peer; None where the transport is not a TCP connection. Behind a proxy, the client is in
    the proxy's headers, which may or may not be trusted."""
    subprotocol: str | None
    """The selected subprotocol, if the client offered one that the server has."""
    scheme: Literal["ws", "wss"]
    """Scheme of this server's own port; a proxy in front of it may speak TLS."""
    deflate: Deflate | None = None
    """How messages to the client are compressed; None where the client or the server does not offer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An HTTP response instead of the upgrade. A web page sees only close code 1006 of it."""

    status: int
    """HTTP status, 400 or above."""
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    """Further response headers."""


def refusal(error: TidingsError, headers: tuple[tuple[str, str], ...] = (), *, wait_s: int | None = None) -> Refusal:
    """Return the answer that refuses a handshake for `error`.

    Args:
        error: The reason.
        headers: Further response headers.
        wait_s: Its Retry-After, in seconds; by default as in every other answer with the error.
    """
    wait_s = retry_after_s(error) if wait_s is None else wait_s
    if wait_s is not None:
        headers = (*headers, ("Retry-After", str(wait_s)))
    body = encode_payload(error_data(error))
    return Refusal(status=row_of(error).http, body=body, content_type="application/json", headers=headers)


class Opening:
    """One opening handshake, complete once constructed: if it is not valid, `handshake` is None."""

    __slots__ = ("_protocol", "_request_headers", "_response", "handshake")

    def __init__(
        self,
        request_bytes: bytes,
        *,
        subprotocols: Sequence[str],
        peer: tuple[str, int] | None,
        scheme: Literal["ws", "wss"],
        compression_bytes: int | None = None,
    ) -> None:
        """Read a request.

        Args:
            request_bytes: The head of the request with the empty line at its end, and nothing after it.
            subprotocols: Subprotocols of this server, the preferred one first. A client that offers none of them is
                served without one.
            peer: Host and port of the TCP peer.
            scheme: Scheme of this server's port.
            compression_bytes: Size from which messages are compressed; None to decline compression.
        """
        self._protocol = _LenientProtocol(
            subprotocols=[Subprotocol(name) for name in subprotocols],
            extensions=None if compression_bytes is None else EXTENSIONS,
        )
        self._protocol.receive_data(request_bytes)
        request = next((event for event in self._protocol.events_received() if isinstance(event, Request)), None)
        self.handshake: Handshake | None = None
        self._response: Response | None = None
        self._request_headers = Headers()
        if request is None:
            return
        self._request_headers = request.headers
        self._response = self._protocol.accept(request)
        if self._response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        path, _, query = request.path.partition("?")
        self.handshake = Handshake(
            path=unquote(path),
            query=query,
            headers=request.headers,
            peer=peer,
            subprotocol=self._protocol.subprotocol,
            scheme=scheme,
            deflate=negotiated_deflate(self._protocol.extensions, compression_bytes or 0),
        )

    def accepted(self) -> bytes:
        """Return the 101 response to a valid handshake."""
        assert self.handshake is not None
        assert self._response is not None
        return self._send(self._response)

    def refused(self, refusal: Refusal | None = None) -> bytes:
        """Return the response that refuses the request: `refusal`, or an error about the request itself."""
        if refusal is not None:
            response = self._protocol.reject(HTTPStatus(refusal.status), "")
            response.body = refusal.body
            response.headers = Headers(
                [
                    ("Date", response.headers["Date"]),
                    ("Connection", "close"),
                    ("Content-Length", str(len(refusal.body))),
                    ("Content-Type", refusal.content_type),
                    *_SECURITY_HEADERS,
                    *refusal.headers,
                ]
            )
            return self._send(response)
        if self._response is not None:
            return self.refused(self._explain(self._response))
        # The protocol has either prepared a response (for a line that is too long) or given up without one.
        written = b"".join(self._protocol.data_to_send())
        self._protocol.parser.close()
        if written:
            return written
        fault = self._protocol.handshake_exc
        cause = fault.__cause__ if fault is not None else None
        response = self._protocol.reject(HTTPStatus.BAD_REQUEST, f"Not a WebSocket handshake: {cause or fault}.\n")
        return response.serialize()

    def _explain(self, response: Response) -> Refusal:
        """Return the refusal of a request that is not a valid handshake, from the protocol's own response to it."""
        reason = str(self._protocol.handshake_exc)
        versions = self._request_headers.get_all("Sec-WebSocket-Version")
        if len(versions) == 1 and versions != [VERSION]:
            error = UpgradeRequired(f"unsupported WebSocket version {versions[0][:40]!r}: expected {VERSION}")
            return refusal(error, (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)))
        if response.status_code == HTTPStatus.UPGRADE_REQUIRED:
            return refusal(UpgradeRequired(reason), (("Upgrade", "websocket"),))
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return refusal(MethodNotAllowed(reason, hint="Use GET."), (("Allow", "GET"),))
        hint = "Connect with a WebSocket client, through a proxy that leaves the Sec-WebSocket headers as they are."
        return refusal(RequestError(f"not a WebSocket handshake: {reason}", hint=hint))

    def _send(self, response: Response) -> bytes:
        self._protocol.send_response(response)
        written = b"".join(self._protocol.data_to_send())
        # The suspended parser holds the request and its protocol in a cycle, some 8 KB that only the garbage
        # collector would free.
        self._protocol.parser.close()
        return written


class _LenientProtocol(ServerProtocol):
    """websockets' protocol, except that a client may offer only unknown subprotocols, or an empty list of extensions.

    A subclass, because the `select_subprotocol` argument would bind a method to its own instance: another cycle.
    """

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((name for name in self.available_subprotocols or () if name in subprotocols), None)

    def process_extensions(self, headers: Headers) -> tuple[str | None, list[Extension]]:
        # Python's websockets sends such a header if its option `extensions` is an empty list.
        offered = any(map(str.strip, headers.get_all("Sec-WebSocket-Extensions")))
        return super().process_extensions(headers) if offered else (None, [])
