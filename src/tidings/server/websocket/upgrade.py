"""uvicorn's HTTP protocol, with an upgrade that loses no bytes and leaks no memory."""

import asyncio
import contextlib
from http import HTTPStatus
from typing import Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidings.exceptions import MethodNotAllowed, RequestError, TidingsError
from tidings.server.http.responses import error_answer
from tidings.server.websocket.socket_options import apply_socket_options

MAX_HEAD_BYTES: Final = 65_536
"""Bytes of a request's head that may wait for its end; servers have limits from 8 KiB (nginx) to 1 MiB (Go)."""
HEAD_TIMEOUT_S: Final = 60.0
"""Time within which a client must complete the head of a request that it began, or of the first one."""
_HALF_CLOSE_TIMEOUT_S: Final = 5.0
"""Time for the answer to a client that has closed its half of the connection, and may be gone."""
_UPGRADE: Final = b"upgrade"


class UpgradableHttpProtocol(HttpToolsProtocol):
    """The HTTP/1.1 side of a port that also speaks WebSocket; given to uvicorn as `Config(http=...)`.

    It differs from its base in a few ways. It sets the socket's options, so that events which an event stream has not
    read wait in the log and not in the kernel. At the upgrade, bytes in the same segment as the handshake (RFC 6455
    §4.1 forbids a client to send them before the response, yet some do, and a proxy may join the two) reach the
    WebSocket instead of being dropped, and this object is emptied, so that an open WebSocket does not keep the HTTP
    parser and the request in memory. An `Upgrade` to anything else is ignored (RFC 9110 §7.8) without losing the body,
    which the parser skips for every upgrade: Java's HttpClient and `curl --http2` offer `h2c` with each first request.
    A request that cannot be parsed is answered with ErrorData, as every other error is, and so is one without `Host`
    or with several (RFC 9112 §3.2). A head has a limit and a timeout. And a client that closes its half of the
    connection after a request still gets the answer.
    """

    _head_bytes = 0
    """Bytes since the parser's last sign of progress: an unfinished head, or unfinished trailers."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start a new connection."""
        super().connection_made(cast(asyncio.Transport, transport))
        apply_socket_options(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release all resources."""
        self._head_arrived()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # the base keeps no connection open
        """Keep the connection open for a response that has not begun; a stream's client is gone."""
        waits = self.cycle is not None and not self.cycle.response_started
        if not waits or self.transport.get_extra_info("sslcontext") is not None:
            return False
        self.cycle.keep_alive = False
        self.loop.call_later(_HALF_CLOSE_TIMEOUT_S, self.transport.close)
        return True

    def data_received(self, data: bytes) -> None:
        """Read a segment of HTTP, and hand the bytes after an upgrade over."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
                if self._should_upgrade():
                    self._hand_over(rest)
                    return
                if self.parser.get_method() == b"CONNECT":
                    self._refuse(MethodNotAllowed("method not allowed: CONNECT", hint="The hub is not a proxy."))
                    return
                data = self._start_again() + rest
            except httptools.HttpParserError:
                self.send_400_response("invalid HTTP request")
                return
            else:
                self._check_head(len(data))
                return

    def _check_head(self, size: int) -> None:
        """Bound a head that is not complete after a segment of `size` bytes, in bytes and in time."""
        if self._head_bytes < 0:  # the segment completed a head, or is part of a body
            self._head_bytes = 0
            return
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            hint = f"Send at most {MAX_HEAD_BYTES:,} bytes of headers."
            self._refuse(RequestError("the head of the request is too large", hint=hint), status=431)
        elif self._head_timer is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _head_arrived(self) -> None:
        self._head_bytes = -1
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed, and close the connection."""
        self.logger.info("%s from %s", msg, self.client)
        hint = "Send HTTP/1.1, with a URL that is percent-encoded; if the port speaks TLS, use https:// or wss://."
        self._refuse(RequestError(msg, hint=hint))

    # Called by the parser.

    def on_headers_complete(self) -> None:
        """Start the request, except where the parser is about to skip its body."""
        self._head_arrived()
        if self._is_ignored_upgrade():
            return
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise ValueError(f"{hosts} Host headers")  # the parser then refuses the request
        if self.url == b"*":  # `OPTIONS *`, about the server as a whole (RFC 9110 §9.3.7)
            self.url = b"/"
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the request's body."""
        self._head_bytes = -1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body, except where it was skipped."""
        self._head_bytes = -1
        if not self._is_ignored_upgrade():
            super().on_message_complete()

    def _is_ignored_upgrade(self) -> bool:
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _should_upgrade(self) -> bool:
        is_handshake = self.parser.get_method() == b"GET" and self._tokens(_UPGRADE) == [b"websocket"]
        return is_handshake and _UPGRADE in self._tokens(b"connection") and self._should_upgrade_to_ws()

    def _tokens(self, header: bytes) -> list[bytes]:
        return [token.strip().lower() for name, value in self.headers if name == header for token in value.split(b",")]

    def _start_again(self) -> bytes:
        """Replace the parser, and return the head of its request without the header `Upgrade`."""
        version = self.parser.get_http_version().encode()
        fields = [name + b": " + value for name, value in self.headers if name != _UPGRADE]
        head = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version), *fields, b"", b""]
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(AttributeError):  # httptools before 0.6.3
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the base does
        return b"\r\n".join(head)

    def _hand_over(self, rest: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # The previous response is still being written; the 101 would land in its middle.
            self.transport.close()
            return
        if self.parser.get_http_version() != "1.1":
            # RFC 6455 §4.1. Checked here, because the base rewrites the request line as HTTP/1.1.
            hint = "Let the proxy speak HTTP/1.1 to the hub (nginx: `proxy_http_version 1.1`)."
            self._refuse(RequestError("a WebSocket handshake needs HTTP/1.1", hint=hint))
            return
        transport = self.transport
        self.handle_websocket_upgrade()
        self._forget()
        if rest:
            websocket = transport.get_protocol()
            websocket.data_received(rest)  # type: ignore[attr-defined]  # a Protocol, by uvicorn's contract for `ws`

    def _refuse(self, error: TidingsError, *, status: int | None = None) -> None:
        """Answer with an error, and close the connection; `status` is by default the error's own."""
        answer = error_answer(error)
        shown = HTTPStatus(status or answer.status)
        head = [
            f"HTTP/1.1 {shown} {shown.phrase}",
            "content-type: application/json",
            f"content-length: {len(answer.body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + answer.body)
        self.transport.close()

    def _forget(self) -> None:
        """Drop the state of the request, and with it a cycle between the parser and this object."""
        for name in ("parser", "flow", "transport", "scope", "headers", "cycle"):
            setattr(self, name, None)

    def abort(self) -> None:
        """End the TCP connection immediately, as `WebSocket.abort` does."""
        self.transport.abort()
