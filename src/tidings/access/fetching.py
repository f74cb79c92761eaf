"""Requests to the servers that a hub asks about credentials: one with a JWK Set, one for forward authentication.

A request runs on a thread of its own, because looking up a host name blocks. It is bounded in time, size and redirects,
and the number of requests is bounded, so that a server which hangs holds no more than a few threads.
"""

import asyncio
import contextlib
import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Final, Protocol
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
_PIECE_BYTES: Final = 16_384
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOCAL_NAME: Final = "localhost"


class HttpAnswer(Struct, frozen=True):
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; the last of several."""
    body: bytes


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
        handlers: list[urllib.request.BaseHandler] = [_SameOriginRedirects(self._follow_redirects)]
        if _is_local(parts.hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        if parts.scheme == "https":
            tls = self._tls or truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            handlers.append(urllib.request.HTTPSHandler(context=tls))
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
                if time.monotonic() > fetch.deadline:
                    raise AuthenticationUnavailable(f"no whole answer within {self._timeout_s:g} s")
            found = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status or 0, found, bytes(body))


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
