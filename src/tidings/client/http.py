"""HTTP client of a hub: the one place that holds the hub's HTTP routes, and their errors and hints.

Built on `http.client`, because `client` needs msgspec and websockets only: so the command line, the Celery integration
and `tidings doctor` share it. It blocks; asynchronous callers run it in a thread.
"""

import contextlib
from collections.abc import Iterator, Mapping
from email.message import Message
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

import msgspec
from msgspec import Raw, Struct

from tidings.client.http_transport import PORTS, HTTPAnswer, HTTPTransport
from tidings.client.network import proxy_hint
from tidings.client.pending import make_access_error
from tidings.client.tokens import Token, TokenSource, describe_owner, find_token_source
from tidings.client.url import authority, resolve_hub_url
from tidings.exceptions import (
    CommandRefused,
    ConfigError,
    HubUnreachable,
    InvalidCredential,
    NotAHub,
    OperationUnknown,
    SignedOut,
)
from tidings.operations.views import NamesPage, NameView, OperationDetail, OperationPage, OperationSummary
from tidings.protocol.messages import CancelOutcome
from tidings.protocol.payloads import ErrorData

TIMEOUT_S = 10.0
"""Default timeout, in seconds, for connecting and for an answer that does not wait for an event."""
_PAGE_TIMEOUT_S = 30.0
"""Timeout for one page of a hub's history, or for a contract."""
_PAGE_SIZE = 1_000
"""Operations or events in one answer: the most that a hub returns."""
_MAX_TARGET_BYTES = 65_535
"""Length of a request target. Servers refuse longer ones, most without a readable answer."""
_MAX_REDIRECTS = 5

_T = TypeVar("_T")
Query = list[tuple[str, str | int | float | None]]


class HubAddress(Struct, frozen=True, kw_only=True):
    """Address of a hub, split into its parts."""

    url: str
    """URL of the WebSocket."""
    host: str
    port: int

    @property
    def secure(self) -> bool:
        """Whether the hub is reached over TLS."""
        return self.url.startswith("wss:")

    def http(self, name: str) -> str:
        """Return the URL of an HTTP resource of the hub: a sibling of its WebSocket."""
        parts = urlsplit(self.url)
        base = parts.path.rsplit("/", 1)[0]
        return parts._replace(scheme="https" if self.secure else "http", path=f"{base}/{name}", query="").geturl()


def parse_address(text: str | None) -> HubAddress:
    """Split the URL of a hub; None means TIDINGS_URL, or without it a hub on this machine.

    Raises:
        ConfigError: `text` is not the URL of a hub.
    """
    url = resolve_hub_url(text)
    parts = urlsplit(url)
    return HubAddress(
        url=url,
        host=parts.hostname or "",
        port=parts.port or PORTS[parts.scheme],
    )


class PublishAnswer(Struct, frozen=True):
    """Answer of `POST /v1/events` to one event."""

    attempt: int | None
    """The attempt that began, if the event was a start."""
    cancel_requests: tuple[str, ...]
    """Ids of operations of this producer that someone asked to cancel."""


class HTTPClient:
    """A connection to a hub over HTTP, kept open between requests.

    Every method may raise `HubUnreachable` if no answer arrives in time, `CommandRefused` or `AccessError` if the hub
    refuses, `TokenUnavailable` or `SignedOut` if there is no token, and `NotAHub` if something else answers.

    Args:
        url: URL of the hub; None means TIDINGS_URL, or without it a hub on this machine.
        token: The token, or a function that returns it; see `tidings.client.tokens`. It is obtained with the first
            request, and again when the hub refuses it.
        allow_plaintext_token: Whether the token may go over an unencrypted network.
        timeout_s: Timeout, in seconds, for connecting and for each answer that does not wait for an event.

    Raises:
        ConfigError: `url` or the token is invalid, or the token would go over an unencrypted network.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: Token | TokenSource | None = None,
        allow_plaintext_token: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.address = parse_address(url)
        self._tokens = find_token_source(token, self.address.url, allow_plaintext=allow_plaintext_token)
        self._token: str | None = None
        self._timeout_s = timeout_s
        self._transport = HTTPTransport(self.address.http(""), timeout_s, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a request that another thread has under way fails immediately."""
        self._transport.close()

    @property
    def owner(self) -> str:
        """Owner of the token, without its secret; see `describe_owner`.

        Raises:
            TokenUnavailable: It cannot be obtained now.
            SignedOut: Its source no longer has one.
        """
        self._authorization()
        return describe_owner(self._token)

    def probe(self, name: str) -> HTTPAnswer:
        """Return the response for `name`, whatever its status."""
        return self._transport.exchange("GET", self.address.http(name), headers=self._authorization())

    def _authorization(self) -> dict[str, str]:
        if self._token is None and self._tokens is not None:
            self._token = self._read_token(self._tokens)
        return {} if self._token is None else {"authorization": f"Bearer {self._token}"}

    def _read_token(self, tokens: TokenSource) -> str:
        token = tokens.read()
        if token is None:
            raise SignedOut(f"{tokens.name} no longer has a token")
        return token

    def _renew_token(self) -> bool:
        """Obtain the token again; return whether it is another one."""
        if self._tokens is None or not self._tokens.renewable:
            return False
        before, self._token = self._token, self._read_token(self._tokens)
        return self._token != before

    def operation(self, operation_id: str, *, wait_s: float = 0.0) -> OperationDetail:
        """Return the details of an operation.

        Args:
            operation_id: Id of the operation.
            wait_s: Time to wait for its end, 0–60 s.

        Raises:
            OperationUnknown: The hub has no such operation.
        """
        query: Query = [("wait", f"{wait_s:.3f}")] if wait_s else []
        answer = self._request("GET", _operation_path(operation_id), query, read_s=wait_s + self._timeout_s)
        return self._decode(answer, OperationDetail)

    def operations(self, query: Query, limit: int) -> Iterator[OperationSummary]:
        """Yield operations, the latest start first, reading a page at a time.

        Args:
            query: Query of `GET /v1/operations`.
            limit: Maximum number of operations.
        """
        after: str | None = None
        while limit > 0:
            paged: Query = [*query, ("limit", min(limit, _PAGE_SIZE)), ("after", after)]
            page = self._decode(self._request("GET", "v1/operations", paged), OperationPage)
            yield from page.operations
            limit -= len(page.operations)
            after = page.next
            if after is None:
                return

    def names(self, name: str | None) -> list[NameView]:
        """Return the newest run of each operation name, with statistics of the earlier ones.

        Args:
            name: One name, or a prefix with `*`; None means all.
        """
        return self._decode(self._request("GET", "v1/operation-names", [("name", name)]), NamesPage).names

    def cancel(
        self, operation_id: str, reason: str | None, timeout_s: float, *, cancelled_by: str | None = None
    ) -> CancelOutcome:
        """Request the cancellation of an operation, and return the outcome after at most `timeout_s` seconds.

        Raises:
            OperationUnknown: The hub has no such operation.
            ConfigError: The reason is not Unicode text.
        """
        members = {"timeout_s": timeout_s, "reason": reason, "cancelled_by": cancelled_by}
        fields = {name: value for name, value in members.items() if value is not None}
        path = f"{_operation_path(operation_id)}/cancel"
        try:
            body = msgspec.json.encode(fields)
        except UnicodeEncodeError as error:
            raise ConfigError(
                "invalid reason: expected Unicode text", option="reason", source="argument", hint="Write it in UTF-8."
            ) from error
        answer = self._request("POST", path, body=body, read_s=timeout_s + self._timeout_s)
        return self._decode(answer, CancelOutcome)

    def revoke(self, revocation: Mapping[str, str]) -> Any:
        """Revoke credentials, and return the revocation as the hub has it.

        Args:
            revocation: Body of `POST /v1/admin/revocations`.
        """
        body = msgspec.json.encode(revocation)
        return self._decode(self._request("POST", "v1/admin/revocations", body=body), object)

    def publish(self, envelope: bytes, headers: Mapping[str, str] | None = None) -> PublishAnswer:
        """Publish one event."""
        answer = self._request("POST", "v1/events", body=envelope, headers=headers)
        requests = answer.headers.get("tidings-cancel", "")
        ids = tuple(unquote(part) for part in requests.split(",") if part)
        return PublishAnswer(self._decode(answer, _Accepted).attempt, ids)

    def contract(self) -> Any:
        """Return the contract of the hub, as JSON."""
        return self._decode(self._request("GET", "v1/contract.json", read_s=_PAGE_TIMEOUT_S), object)

    def history(self) -> Iterator[Raw]:
        """Yield the envelope of every event in the log, up to the newest when this begins."""
        since, end = "first", ""
        while True:
            answer = self._request(
                "GET", "v1/events", [("since", since), ("limit", _PAGE_SIZE)], read_s=_PAGE_TIMEOUT_S
            )
            page = self._decode(answer, _EventPage)
            end = end or page.position
            for envelope in page.events:
                yield envelope
                if msgspec.json.decode(envelope, type=_Positioned).position == end:
                    return
            # A hub that searched for long returns a short page with a `next` that advances.
            if page.next in (since, page.position):
                return
            since = page.next

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> HTTPAnswer:
        try:
            given = urlencode([pair for pair in query or () if pair[1] is not None])
        except UnicodeEncodeError as error:
            raise ConfigError(
                "invalid query: expected Unicode text", option="query", source="argument", hint="Write it in UTF-8."
            ) from error
        url = self.address.http(path) + (f"?{given}" if given else "")
        if len(url) > _MAX_TARGET_BYTES:
            raise ConfigError("the operation id is too long for a URL", option="id", source="argument")
        fields = {**(headers or {}), **({} if body is None else {"content-type": "application/json"})}
        renewed = False
        while True:
            sent = {**fields, **self._authorization()}
            answer = self._transport.exchange(method, url, body=body, headers=sent, read_s=read_s)
            if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return answer
            refusal = _refusal(answer, authority(self.address.url))
            if renewed or not (isinstance(refusal, InvalidCredential) and self._renew_token()):
                raise refusal
            renewed = True

    def _decode(self, answer: HTTPAnswer, type: type[_T]) -> _T:
        return _decode(answer, type, authority(self.address.url))


def fetch_json(url: str) -> Any:
    """Return the JSON document at any HTTP URL, following redirects.

    Raises:
        HubUnreachable: The server does not answer.
        NotAHub: The answer is not JSON.
    """
    answer = HTTPAnswer(HTTPStatus.LOOP_DETECTED, Message(), b"")
    for _ in range(_MAX_REDIRECTS + 1):
        transport = HTTPTransport(url, _PAGE_TIMEOUT_S, {})
        with contextlib.closing(transport):
            answer = transport.exchange("GET", url)
        place = answer.headers.get("location")
        if not (HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST and place):
            break
        url = urljoin(url, place)
        scheme = urlsplit(url).scheme
        if scheme not in ("http", "https"):
            raise NotAHub(f"invalid redirect to a {scheme} URL: expected http or https", hint="Check the URL.")
    if answer.status != HTTPStatus.OK:
        raise NotAHub(f"no document at {url}: status {answer.status}", hint="Check the URL.")
    return _decode(answer, object, authority(url))


class _Accepted(Struct):
    attempt: int | None = None


class _EventPage(Struct, frozen=True):
    """One page of `GET /v1/events`."""

    events: list[Raw]
    next: str
    """Position to continue from."""
    position: str
    """Position of the newest event in the log."""


class _Positioned(Struct):
    position: str = ""


def _operation_path(operation_id: str) -> str:
    try:
        return f"v1/operations/{quote(operation_id, safe='')}"
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"invalid operation id {operation_id!r}: expected Unicode text",
            option="id",
            source="argument",
            hint="Write it in UTF-8.",
        ) from error


def _decode(answer: HTTPAnswer, type: type[_T], where: str) -> _T:
    try:
        return msgspec.json.decode(answer.body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise NotAHub(f"unexpected answer from {where}: not from a hub of this version ({cause})") from cause


def _refusal(answer: HTTPAnswer, where: str) -> Exception:
    try:
        error = msgspec.json.decode(answer.body, type=ErrorData)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if answer.status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
            return HubUnreachable(f"a proxy at {where} answers {answer.status}: it cannot reach the hub")
        return NotAHub(
            f"unexpected answer from {where}: status {answer.status}, not from a hub", hint=proxy_hint(answer.status)
        )
    hint = error.hint or ""
    if error.code == OperationUnknown.code:
        return OperationUnknown(error.message, operation_id="", hint=hint)
    if (refusal := make_access_error(error.code, error.message, hint)) is not None:
        return refusal
    return CommandRefused(
        error.message, refusal=error.code, recoverable=error.recoverable, hint=hint, details=error.details or ""
    )
