"""Requests to the servers that a hub asks about credentials: one with a JWK Set, one for forward authentication.

A request runs on a thread of its own, because looking up a host name blocks. It is bounded in time, size and redirects,
and the number of requests is bounded, so that a server which hangs holds no more than a few threads.
"""

import asyncio
import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import IO, Any, Final, Protocol, cast
from urllib.parse import urlsplit

import truststore
from msgspec import Struct

from tidings.access.origins import is_loopback
from tidings.exceptions import AuthenticationUnavailable, ConfigError

DEFAULT_TIMEOUT_S: Final = 5.0
"""Time for a whole request, in seconds: a login should not take longer, and providers answer within 0.5 s."""
MAX_BODY_BYTES: Final = 1 << 20
"""Size of an answer that is read; the largest JWK Sets of public providers have 20 KB."""
MAX_REQUESTS: Final = 16
"""Requests in flight; each has a thread."""
MAX_QUEUED: Final = 1_000
"""Requests that wait until one of these is answered; the time limit of a request begins when it starts to wait."""
_MAX_REDIRECTS: Final = 3
_MIN_TIMEOUT_S: Final = 0.001
"""Time limit of a socket whose deadline is now; 0 would make it one that never blocks."""
_CUT_OFF: Final = "the answer is cut off"
_PIECE_BYTES: Final = 16_384
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOCAL_NAME: Final = "localhost"


class HttpAnswer(Struct, frozen=True):
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; different values of one name are joined with a comma (RFC 9110 §5.3)."""
    body: bytes
    ambiguous: frozenset[str] = frozenset()
    """Names of the headers that have several different values."""


Answered = Callable[[HttpAnswer | AuthenticationUnavailable], None]
"""Called once, on the event loop, with the answer, or with the reason why there is none. The reason is for the hub's
log: clients need not learn about the server."""


class Fetch(Protocol):
    """Sends a GET request without blocking."""

    def __call__(self, url: str, headers: Mapping[str, str], answered: Answered, /) -> None:
        """Send it; `answered` is called later, on the event loop."""


def check_url(url: str, *, option: str) -> str:
    """Return the address of a server that the hub asks about credentials.

    Raises:
        ConfigError: It is not an `https://` address (or `http://` of this machine), or contains a password.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not url.isprintable() or " " in url:
        raise ConfigError(f"invalid URL {url[:120]!r}: expected https://HOST/PATH", option=option)
    if parts.username is not None:
        raise ConfigError(
            f"the URL of {host!r} contains a user name or a password", option=option, hint="Leave them out."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_local(host)):
        raise ConfigError(
            f"invalid URL {url[:120]!r}: expected https://",
            option=option,
            hint="Without TLS anyone on the way can let anyone in; http:// is accepted for this machine only.",
        )
    return url


def _is_local(host: str) -> bool:
    return host == _LOCAL_NAME or host.endswith(f".{_LOCAL_NAME}") or is_loopback(host)


class HttpFetcher:
    """A `Fetch` that uses urllib on threads: the machine's proxies, and the authorities that it trusts.

    Args:
        follow_redirects: Whether redirects within the same origin are followed; others never are.
        timeout_s: Time for a whole request, in seconds.
        tls: Context for `https://`; by default one that trusts what this machine trusts.
    """

    def __init__(
        self,
        *,
        follow_redirects: bool = True,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._follow_redirects = follow_redirects
        self._timeout_s = timeout_s
        self._in_flight = 0
        self._queue: deque[_Fetch] = deque()
        self._lock = threading.Lock()

    def __call__(self, url: str, headers: Mapping[str, str], answered: Answered, /) -> None:
        """See `Fetch`. To be called on a running event loop."""
        loop = asyncio.get_running_loop()
        once = _Once(answered)
        late = AuthenticationUnavailable(f"no answer within {self._timeout_s:g} s")
        fetch = _Fetch(url, dict(headers), time.monotonic() + self._timeout_s, loop, once)
        with self._lock:
            is_full = self._in_flight >= MAX_REQUESTS
            if is_full and len(self._queue) >= MAX_QUEUED:
                loop.call_soon(answered, AuthenticationUnavailable(f"{MAX_QUEUED:,} requests wait already"))
                return
            if is_full:
                self._queue.append(fetch)
            else:
                self._in_flight += 1
        timer = loop.call_later(self._timeout_s, once, late)
        once.on_call = timer.cancel
        if not is_full:
            threading.Thread(target=self._run, args=(fetch,), name="tidings-fetch", daemon=True).start()

    def _run(self, first: "_Fetch") -> None:
        fetch: _Fetch | None = first
        while fetch is not None:
            result: HttpAnswer | AuthenticationUnavailable
            try:
                result = self._request(fetch)
            except Exception as error:  # also those that http.client raises for nonsense
                result = AuthenticationUnavailable(_describe(error, self._timeout_s))
            finished, fetch = fetch, self._next()
            with contextlib.suppress(RuntimeError):  # the hub has stopped
                finished.loop.call_soon_threadsafe(finished.once, result)

    def _next(self) -> "_Fetch | None":
        """Return the next request that waits and is not late; None ends the thread."""
        with self._lock:
            while self._queue:
                fetch = self._queue.popleft()
                if not fetch.once.called and time.monotonic() < fetch.deadline:
                    return fetch
            self._in_flight -= 1
            return None

    def _request(self, fetch: "_Fetch") -> HttpAnswer:
        parts = urlsplit(fetch.url)
        handlers: list[urllib.request.BaseHandler] = [
            _SameOriginRedirects(self._follow_redirects),
            _PlainRequests(fetch.deadline),
        ]
        if _is_local(parts.hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        if parts.scheme == "https":
            tls = self._tls or truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            handlers.append(_TLSRequests(fetch.deadline, tls))
        opener = urllib.request.build_opener(*handlers)
        request = urllib.request.Request(fetch.url, headers={"User-Agent": "tidings", **fetch.headers})
        try:
            response = opener.open(request, timeout=max(fetch.deadline - time.monotonic(), _MIN_TIMEOUT_S))
        except urllib.error.HTTPError as error:  # an answer like any other
            response = error
        with response:
            body = bytearray()
            while piece := response.read1(_PIECE_BYTES):
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise AuthenticationUnavailable(f"the answer is larger than {MAX_BODY_BYTES >> 20} MiB")
            if response.length:
                raise AuthenticationUnavailable(_CUT_OFF)
            values: dict[str, dict[str, None]] = {}
            for name, value in response.headers.items():
                values.setdefault(name.lower(), {})[value] = None
            return HttpAnswer(
                response.status or 0,
                {name: ", ".join(each) for name, each in values.items()},
                bytes(body),
                frozenset(name for name, each in values.items() if len(each) > 1),
            )


class _Fetch(Struct, frozen=True):
    """A request, and where its answer goes."""

    url: str
    headers: Mapping[str, str]
    deadline: float
    """On the monotonic clock, in seconds."""
    loop: asyncio.AbstractEventLoop
    once: "_Once"


class _Once:
    """Calls a function once: with the answer, or at the deadline."""

    def __init__(self, answered: Answered) -> None:
        self._answered: Answered | None = answered
        self.on_call: Callable[[], object] = lambda: None

    @property
    def called(self) -> bool:
        """Whether the answer came, or the deadline."""
        return self._answered is None

    def __call__(self, result: HttpAnswer | AuthenticationUnavailable) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            self.on_call()
            answered(result)


class _UntilDeadline(io.RawIOBase):
    """The bytes of a socket until a deadline: the time limit of a socket alone begins again with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(max(left_s, _MIN_TIMEOUT_S))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LineReader(io.BufferedReader):
    """A reader that has the last line that was read."""

    last_line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last_line = super().readline(size)
        return self.last_line


class _WholeAnswer(http.client.HTTPResponse):
    """An answer that has its whole head before a deadline.

    `http.client` takes the end of a connection for the end of the head, and so the beginning of a user's name for the
    name.
    """

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._lines = _LineReader(_UntilDeadline(self.fp.detach(), sock, deadline))
        self.fp = self._lines

    def begin(self) -> None:
        super().begin()
        if self._lines.last_line not in (b"\r\n", b"\n"):
            raise AuthenticationUnavailable(_CUT_OFF)


class _PlainRequests(urllib.request.HTTPHandler):
    """Requests over HTTP that have whole answers before a deadline."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connect, http.client.HTTPConnection, self._deadline), req)


class _TLSRequests(urllib.request.HTTPSHandler):
    """Requests over HTTPS that have whole answers before a deadline."""

    def __init__(self, deadline: float, tls: ssl.SSLContext) -> None:
        super().__init__(context=tls)
        self._deadline = deadline
        self._tls = tls

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connect, http.client.HTTPSConnection, self._deadline), req, context=self._tls)


def _connect(
    kind: type[http.client.HTTPConnection], deadline: float, host: str, /, **options: Any
) -> http.client.HTTPConnection:
    connection = kind(host, **options)
    # Called as the class would be.
    connection.response_class = cast(type[http.client.HTTPResponse], partial(_WholeAnswer, deadline=deadline))
    return connection


class _SameOriginRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the origin: another one would receive headers that are not for it."""

    max_redirections = _MAX_REDIRECTS

    def __init__(self, follow: bool) -> None:
        self._follow = follow

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not self._follow or _origin(newurl) != _origin(req.full_url):
            return None  # the redirect is the answer
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", url, None


def _describe(error: Exception, timeout_s: float) -> str:
    """Return why a request failed, for the hub's log, without headers."""
    if isinstance(error, AuthenticationUnavailable):
        return error.message
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {reason.verify_message}"
    if isinstance(reason, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(reason, OSError):
        return reason.strerror or str(reason)
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)


def pick_headers(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return those of `headers`, which have lower-case names, that are in `names`."""
    return {name: headers[name] for name in names if name in headers}
