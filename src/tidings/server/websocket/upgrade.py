"""uvicorn's HTTP protocol, with an upgrade that loses no bytes and leaks no memory."""

import asyncio
import contextlib
from http import HTTPStatus
from itertools import chain
from typing import Any, ClassVar, Final, NoReturn, cast

import httptools
from msgspec import structs
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidings.exceptions import (
    HeadTooLarge,
    MethodNotAllowed,
    NotSupported,
    RequestError,
    TidingsError,
    TooManyConnections,
    UrlTooLong,
)
from tidings.server.asgi.scope import check_repeated
from tidings.server.http.responses import SECURITY_FIELDS, error_answer
from tidings.server.tcp_limit import TcpLimit
from tidings.server.websocket.segment_turns import LARGE_BYTES, SegmentTurns
from tidings.server.websocket.socket_options import apply_socket_options

MAX_HEAD_BYTES: Final = 32_768
"""Bytes of a request's head: as nginx allows; other servers have limits from 16 KiB (Node) to 1 MiB (Go)."""
MAX_HEADERS: Final = 128
"""Headers of a request: each costs 200 bytes of memory, however short it is. Apache allows 100."""
MAX_URL_BYTES: Final = 16_384
"""Bytes of a request's URL: twice what common proxies allow, and room for 100 paths of medium length."""
MAX_PIPELINED: Final = 64
"""Requests of one connection that wait for earlier answers: each costs 5 KiB."""
MAX_CHUNK_OVERHEAD_BYTES: Final = 16_384
"""Bytes by which the chunks of a body may fall short of `PAID_CHUNK_BYTES` each: a chunk costs half a microsecond,
however short it is. Go's limit is the same."""
PAID_CHUNK_BYTES: Final = 16
HEAD_TIMEOUT_S: Final = 60.0
"""Time within which a client must complete the head of a request that it began, or of the first one."""
_HALF_CLOSE_TIMEOUT_S: Final = 5.0
"""Time for the answer to a client that has closed its half of the connection, and may be gone."""
_MAX_JOINED_BYTES: Final = 65_536
"""Bytes that are written in one round and not yet passed on: uvicorn's own mark for a buffer that is full."""
_UPGRADE: Final = b"upgrade"
_CHUNKED: Final = b"chunked"


class UpgradableHttpProtocol(HttpToolsProtocol):
    """The HTTP/1.1 side of a port that also speaks WebSocket; given to uvicorn as `Config(http=...)`.

    It differs from its base in a few ways. It sets the socket's options, so that events which an event stream has not
    read wait in the log and not in the kernel. At the upgrade, bytes in the same segment as the handshake (RFC 6455
    §4.1 forbids a client to send them before the response, yet some do, and a proxy may join the two) reach the
    WebSocket instead of being dropped, and this object is emptied, so that an open WebSocket does not keep the HTTP
    parser and the request in memory. An `Upgrade` to anything else is ignored (RFC 9110 §7.8) without losing the body,
    which the parser skips for every upgrade: Java's HttpClient and `curl --http2` offer `h2c` with each first request.
    A request that cannot be parsed is answered with ErrorData, as every other error is, and so is one without `Host`
    (RFC 9112 §3.2) or with a header twice that counts once. A head has a limit and a timeout. And a client that closes
    its half of the connection after a request still gets the answer.
    """

    tcp_limit: ClassVar[TcpLimit] = TcpLimit(None)
    segment_turns: ClassVar[SegmentTurns | None] = None
    """Turns of the connections of one server; None parses each segment when it arrives."""
    _unparsed = b""
    """Segments that wait for their turn."""
    _head_bytes = 0
    """Bytes since the parser's last sign of progress: an unfinished head, or unfinished trailers."""
    _head_timer: asyncio.TimerHandle | None = None
    _headers_complete = False
    _chunk_overhead = 0
    _refusal: TidingsError | None = None
    """The error of the request that is being parsed."""
    _ends = False
    """Whether the connection ends with the answers to the requests that it has sent."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start a new connection."""
        self._joining = _JoiningTransport(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(self._joining)
        apply_socket_options(transport)
        self._await_head()
        if not self.tcp_limit.admits(self, len(self.connections)):
            self._refuse(TooManyConnections("too many TCP connections are open"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Release all resources."""
        if self._unparsed and self.segment_turns is not None:
            self.segment_turns.discard(len(self._unparsed))
            self._unparsed = b""
        self._head_arrived()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # the base keeps no connection open
        """Keep the connection open for a response that has not begun; a stream's client is gone."""
        if self._unparsed and self.segment_turns is not None:
            self.segment_turns.discard(self.parse_waiting())
        waits = self.cycle is not None and not self.cycle.response_started
        if not waits or self.transport.get_extra_info("sslcontext") is not None:
            self._joining.release()
            return False
        self.cycle.keep_alive = False
        self.loop.call_later(_HALF_CLOSE_TIMEOUT_S, self.transport.close)
        return True

    def data_received(self, data: bytes) -> None:
        """Read a segment of HTTP, and hand the bytes after an upgrade over; a large one waits for its turn."""
        self._unset_keepalive_if_required()
        if self.segment_turns is not None and (self._unparsed or len(data) >= LARGE_BYTES):
            if self._unparsed:
                self.segment_turns.add(len(data))
            elif self.segment_turns.take(self, len(data)):
                self._parse(data)
                return
            self._unparsed += data
            self.flow.pause_reading()
            return
        self._parse(data)

    def parse_waiting(self) -> int:
        """Parse the segments that wait, and return their size in bytes."""
        data, self._unparsed = self._unparsed, b""
        if data and not self.transport.is_closing():
            self.flow.resume_reading()  # before the parser, which may pause it again
            self._parse(data)
        return len(data)

    def _parse(self, data: bytes) -> None:
        while data and not self._ends:
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
                if self._refusal is not None:
                    self._refuse(self._refusal)
                elif not self._ends:
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
            self._refuse(_too_large_head())
        elif self._head_timer is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)
        self.tcp_limit.add(self)

    def _head_arrived(self) -> None:
        self._head_bytes = -1
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
            self.tcp_limit.discard(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed, and close the connection."""
        self.logger.info("%s from %s", msg, self.client)
        hint = "Send HTTP/1.1, with a URL that is percent-encoded; if the port speaks TLS, use https:// or wss://."
        self._refuse(RequestError(msg, hint=hint))

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Start the head of a request."""
        super().on_message_begin()
        self._headers_complete = False
        self._chunk_overhead = 0

    def on_url(self, url: bytes) -> None:
        """Receive a part of the request's URL."""
        if len(self.url) + len(url) > MAX_URL_BYTES:
            self._fail(UrlTooLong(f"URL too long: at most {MAX_URL_BYTES:,} bytes are allowed"))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header of the request, or a trailer behind its body, which is dropped."""
        if self._headers_complete:
            return
        headers = self.headers
        if len(headers) >= MAX_HEADERS:
            self._fail(_too_large_head())
        headers.append((name.lower(), value))  # as the base does; for `Expect`, see `_check_headers`

    def on_headers_complete(self) -> None:
        """Start the request, except where the parser is about to skip its body."""
        self._head_arrived()
        self._headers_complete = True
        if self._is_ignored_upgrade():
            return
        self._check_headers()
        if self.url == b"*":  # `OPTIONS *`, about the server as a whole (RFC 9110 §9.3.7)
            self.url = b"/"
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and len(self.pipeline) > MAX_PIPELINED:
            self._end_pipeline()

    def _check_headers(self) -> None:
        if sum(map(len, chain.from_iterable(self.headers))) + 4 * len(self.headers) > MAX_HEAD_BYTES:
            self._fail(_too_large_head())
        fields = dict(self.headers)
        if b"host" not in fields and self.parser.get_http_version() == "1.1":
            self._fail(RequestError("no header `Host`: HTTP/1.1 requires it", hint="Send it once."))
        try:
            check_repeated(self.headers, fields)
        except RequestError as error:
            self._fail(error)
        self.expect_100_continue = fields.get(b"expect", b"").lower() == b"100-continue"
        codings = self._tokens(b"transfer-encoding") if b"transfer-encoding" in fields else [_CHUNKED]
        if codings != [_CHUNKED]:
            named = b", ".join(codings)[:80].decode("latin-1")
            hint = "Send the body with a length, or with `Transfer-Encoding: chunked`, not compressed."
            self._fail(NotSupported(f"unsupported Transfer-Encoding {named!r}", hint=hint))

    def _end_pipeline(self) -> None:
        """Answer the last request with an error, and stop to read: its client sends and does not read."""
        self._ends = True
        self.cycle.keep_alive = False
        self.pipeline[0] = (self.cycle, cast(Any, _refuse_pipelined))
        raise ValueError("too many pipelined requests")  # stops the parser

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(cycle, app)
        super()._start_asgi_task(cycle, app)

    def _fail(self, error: TidingsError) -> NoReturn:
        """Refuse the request that is being parsed; the parser raises its own error for this one."""
        self._refusal = error
        raise error

    def on_chunk_header(self) -> None:
        """Receive the length of a chunk of the body."""
        self._chunk_overhead += PAID_CHUNK_BYTES
        if self._chunk_overhead > MAX_CHUNK_OVERHEAD_BYTES:
            self._fail(RequestError("the chunks of the body are too short", hint="Send chunks of 16 bytes or more."))

    def on_body(self, body: bytes) -> None:
        """Receive a part of the request's body."""
        self._head_bytes = -1
        if self._chunk_overhead:
            self._chunk_overhead = max(0, self._chunk_overhead - len(body))
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
        transport = self.transport = self._joining.release()
        self.handle_websocket_upgrade()
        self._forget()
        if rest:
            websocket = transport.get_protocol()
            websocket.data_received(rest)  # type: ignore[attr-defined]  # a Protocol, by uvicorn's contract for `ws`

    def _refuse(self, error: TidingsError) -> None:
        """Answer with an error, and close the connection."""
        answers = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if answers or self.pipeline:  # the error would land in the middle of an earlier answer
            self.transport.close()
            return
        answer = error_answer(error)
        shown = HTTPStatus(answer.status)
        head = [
            f"HTTP/1.1 {shown} {shown.phrase}",
            "content-type: application/json",
            f"content-length: {len(answer.body)}",
            "connection: close",
            *(f"{name.decode()}: {value.decode()}" for name, value in SECURITY_FIELDS),
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + answer.body)
        self.transport.close()

    def _forget(self) -> None:
        """Drop the state of the request, and with it a cycle between the parser and this object."""
        for name in ("parser", "flow", "transport", "scope", "headers", "cycle", "_joining"):
            setattr(self, name, None)

    def abort(self) -> None:
        """End the TCP connection immediately, as `WebSocket.abort` does."""
        self.transport.abort()


class _JoiningTransport(asyncio.Transport):
    """A transport that joins what is written in one round of the event loop; it has the methods that uvicorn calls.

    uvicorn writes the head of an answer and then its body. Sent one by one, they cost two calls of the kernel and two
    packets: a tenth of the time of a post.
    """

    __slots__ = ("_loop", "_parts", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MAX_JOINED_BYTES:
            self._send()

    def _send(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def release(self) -> asyncio.Transport:
        """Write what is left, and return the transport: for its other users."""
        self._send()
        return self._transport

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


def _too_large_head() -> HeadTooLarge:
    return HeadTooLarge(f"head too large: at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES:,} bytes are allowed")


async def _refuse_pipelined(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request beyond those that may be pipelined."""
    error = RequestError(f"more than {MAX_PIPELINED} requests without an answer", hint="Read the answers first.")
    await structs.replace(error_answer(error), status=429).send(send)


def _without_chunks(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """Return `app` for an HTTP/1.0 client, which does not know chunks: the end of the connection ends the body."""

    async def delimited(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_plain(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name == b"content-length" for name, _ in message.get("headers", ()))
                if not has_length:
                    cycle.chunked_encoding = False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))  # of this part
            await send(message)

        await app(scope, receive, send_plain)

    return delimited
