"""Forward authentication: a server such as Authelia or oauth2-proxy identifies the sender of each request.

The hub passes the cookies and the `Authorization` of a request to the server, which answers with the identity in
headers, or with 401. Answers are remembered for a short time under a hash: a page that opens ten requests causes one.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from msgspec import Struct

from tidings.access.claims import GrantRules
from tidings.access.fetching import Fetch, HttpAnswer, check_url
from tidings.access.quotas import Quota, network_of
from tidings.access.subjects import API_KEY_PREFIX, AccessRequest, Authenticated, Credential, Subject
from tidings.access.tokens import SEND_WHOLE, is_name
from tidings.exceptions import (
    AccessError,
    AuthenticationUnavailable,
    ConfigError,
    Forbidden,
    InvalidToken,
    Unauthenticated,
)

DEFAULT_CACHE_S: Final = 10.0
"""Time for which an answer counts, in seconds: within it, a session that was closed there still opens connections."""
MAX_CACHED: Final = 10_000
"""Answers that are remembered; beyond it the oldest is forgotten."""
MAX_WAITING: Final = 1_000
"""Requests that wait for answers; further ones are refused with `authentication_unavailable`."""
MAX_WAITING_OF_ADDRESS: Final = MAX_WAITING // 2
"""How many of them may be of one address: invented cookies must not keep everyone else from signing in."""
DEFAULT_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("remote-user", "x-auth-request-user", "x-forwarded-user"),
    "groups": ("remote-groups", "x-auth-request-groups", "x-forwarded-groups"),
    "email": ("remote-email", "x-auth-request-email", "x-forwarded-email"),
    "name": ("remote-name", "x-auth-request-preferred-username", "x-forwarded-preferred-username"),
}
"""Claims for templates of grants, and the headers of Authelia and oauth2-proxy that hold them; the first one counts."""
_LISTS: Final = frozenset({"groups"})
"""Claims whose header is a list with commas."""
_PASSED: Final = ("cookie", "authorization")

log = structlog.get_logger("tidings.access")


class _Known(Struct, frozen=True):
    result: Subject | AccessError
    until: float


class ForwardAuthenticator:
    """The `tidings.access.subjects.Authenticator` that asks a server about each request.

    Args:
        url: Address that is asked, such as `https://auth.example.com/api/authz/forward-auth` (Authelia) or
            `http://127.0.0.1:4180/oauth2/auth` (oauth2-proxy).
        fetch: Sends requests; it must not follow redirects, because one leads to a page for people.
        rules: What the identity grants; see `DEFAULT_HEADERS` for the claims.
        monotonic: Returns seconds of a clock that never goes back.
        wall_ns: Returns nanoseconds since 1970.
        headers: Replaces entries of `DEFAULT_HEADERS`: by claim, the headers that may hold it.
        name_claim: Claim with the name of the subject.
        cache_s: See `DEFAULT_CACHE_S`.
        option: Name of the option with the URL, for errors.

    Raises:
        ConfigError: The URL is not an `https://` address (or `http://` of this machine), or no header holds
            `name_claim`.
    """

    method = "forward"

    def __init__(
        self,
        url: str,
        fetch: Fetch,
        rules: GrantRules,
        *,
        monotonic: Callable[[], float],
        wall_ns: Callable[[], int],
        headers: Mapping[str, tuple[str, ...]] | None = None,
        name_claim: str = "user",
        cache_s: float = DEFAULT_CACHE_S,
        option: str = "forward_auth_url",
    ) -> None:
        self._url = check_url(url, option=option)
        self._fetch = fetch
        self._rules = rules
        self._monotonic = monotonic
        self._wall_ns = wall_ns
        merged = {**DEFAULT_HEADERS, **(headers or {})}
        self._headers = {claim: tuple(name.lower() for name in names) for claim, names in merged.items()}
        if not self._headers.get(name_claim):
            raise ConfigError(f"no header holds the name of the subject ({name_claim!r})", option=option)
        self._name_claim = name_claim
        self._cache_s = cache_s
        self._known: dict[bytes, _Known] = {}
        """The answers by hash, the oldest first."""
        self._waiting: dict[bytes, list[Authenticated]] = {}
        self._waiting_count = 0
        self._waiting_of = Quota(MAX_WAITING_OF_ADDRESS, "requests that wait for the authentication server")
        """Waiting requests by network."""
        self._is_out = False
        self._reported: set[str] = set()
        """Faults of answers that were logged: a few words for each status."""

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`: everything but API keys, which the server does not have."""
        return not credential.value.startswith(API_KEY_PREFIX)

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`."""
        passed = {name: request.headers[name] for name in _PASSED if name in request.headers}
        if credential.source in ("message", "header") and credential.value:
            # `http.client` accepts a line end that a blank follows, which some servers read as the end of the header.
            if not (credential.value.isascii() and credential.value.isprintable()):
                done(InvalidToken("the token contains characters that a header cannot have", hint=SEND_WHOLE))
                return
            passed["authorization"] = f"Bearer {credential.value}"
        if not passed:
            done(Unauthenticated("the request has no cookie and no `Authorization`", hint="Sign in first."))
            return
        place = _hash(request, passed)
        known = self._known.get(place)
        if known is not None and self._monotonic() < known.until:
            done(known.result)
            return
        network = network_of(request.address)
        if self._waiting_count >= MAX_WAITING or self._waiting_of.used(network) >= MAX_WAITING_OF_ADDRESS:
            done(_unavailable())
            return
        self._waiting_count += 1
        self._waiting_of.count(network)
        waiting = self._waiting.get(place)
        if waiting is not None:
            waiting.append(done)
            return
        self._waiting[place] = [done]
        self._fetch(self._url, {**passed, **_describe(request)}, lambda answer: self._answered(place, network, answer))

    def _answered(self, place: bytes, network: str, answer: HttpAnswer | AuthenticationUnavailable) -> None:
        result = self._judge(answer)
        if not isinstance(result, AuthenticationUnavailable):
            self._known.pop(place, None)
            if len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[place] = _Known(result, self._monotonic() + self._cache_s)
        waiting = self._waiting.pop(place, [])
        self._waiting_count -= len(waiting)
        for done in waiting:
            self._waiting_of.release(network)  # equal requests are of one address
            try:
                done(result)
            except Exception:  # the others wait, too
                log.exception("a request could not be answered")

    def _judge(self, answer: HttpAnswer | AuthenticationUnavailable) -> Subject | AccessError:
        if isinstance(answer, AuthenticationUnavailable):
            return self._note_outage(answer.message)
        if answer.status >= 500 or answer.status in (404, 429):
            return self._note_outage(f"the status is {answer.status}")
        self._note_answer()
        if answer.status == 403:
            return Forbidden("the authentication server refuses this user")
        if answer.status == 401 or 300 <= answer.status < 400:
            return Unauthenticated("the authentication server has no session for this request", hint="Sign in first.")
        if not 200 <= answer.status < 300:
            return self._note_unusable(f"the status is {answer.status}")
        claims = self._claims(answer)
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not is_name(name):
            return self._note_unusable(f"no header of {', '.join(self._headers[self._name_claim])} names one user")
        try:
            return Subject(name=name, grants=self._rules.grants_of(claims), issued_ns=self._wall_ns())
        except AccessError as error:
            return error

    def _claims(self, answer: HttpAnswer) -> dict[str, str | list[str]]:
        claims: dict[str, str | list[str]] = {}
        for claim, names in self._headers.items():
            found = next((name for name in names if answer.headers.get(name)), "")
            if not found or (claim not in _LISTS and found in answer.ambiguous):
                continue  # nothing shows which one of several values is meant
            text = _decode(answer.headers[found])
            claims[claim] = [each.strip() for each in text.split(",")] if claim in _LISTS else text
        return claims

    def _note_outage(self, reason: str) -> AuthenticationUnavailable:
        if not self._is_out:
            self._is_out = True
            log.warning("the authentication server does not work", url=self._url, reason=reason)
        return _unavailable()

    def _note_unusable(self, reason: str) -> AuthenticationUnavailable:
        """Log a fault of an answer, once. The server works all the same: the next request may have a good answer."""
        if reason not in self._reported:
            self._reported.add(reason)
            log.warning("an answer of the authentication server cannot be used", url=self._url, reason=reason)
        return AuthenticationUnavailable("the answer of the authentication server cannot be used")

    def _note_answer(self) -> None:
        if self._is_out:
            self._is_out = False
            log.info("the authentication server works again", url=self._url)


def _hash(request: AccessRequest, passed: Mapping[str, str]) -> bytes:
    """Return the key of an answer: a hash, so that the cache holds no secrets."""
    digest = hashlib.sha256()
    for part in (request.method, request.path, request.headers.get("host", ""), request.address, *passed.items()):
        digest.update(repr(part).encode(errors="surrogatepass"))
    return digest.digest()


def _describe(request: AccessRequest) -> dict[str, str]:
    """Return the headers with which proxies describe a request to such a server."""
    host = request.headers.get("host", "")
    described = {
        "x-forwarded-method": request.method,
        "x-forwarded-proto": "https",
        "x-forwarded-host": host,
        "x-forwarded-uri": request.path,
        "x-forwarded-for": request.address,
        "x-original-method": request.method,
        "x-original-url": f"https://{host}{request.path}",
        "accept": "application/json",
    }
    return {name: value for name, value in described.items() if value.isascii() and value.isprintable() and value}


def _decode(value: str) -> str:
    """Return a header's value, which servers send in UTF-8 and Python reads as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("the authentication server, which identifies users, does not answer")
