"""The hub's HTTP interface, as the commands about operations use it.

What a hub serves over HTTP about its contract and its log.

The hub's URL, taken apart.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

import httpx
import msgspec
from msgspec import Raw, Struct

from tidings.client.options import read_token
from tidings.client.url import authority, hub_url, is_loopback
from tidings.exceptions import CommandRefused, ConfigError, HubUnreachable, NotAHub, OperationUnknown
from tidings.operations.views import NamesPage, NameView, OperationDetail, OperationPage, OperationSummary
from tidings.protocol.messages import CancelOutcome
from tidings.protocol.payloads import ErrorData

_PORTS = {"ws": 80, "wss": 443}


class Target(Struct, frozen=True, kw_only=True):
    """Where a hub should be."""

    url: str
    """The WebSocket's."""
    host: str
    port: int
    corrected: bool
    """Whether the URL was written otherwise: as HTTP's, or without a path."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.url.startswith("wss:")

    def http(self, name: str) -> str:
        """Return the URL of an HTTP resource of the hub, which stands beside its WebSocket."""
        parts = urlsplit(self.url)
        base = parts.path.rsplit("/", 1)[0]
        return parts._replace(scheme="https" if self.secure else "http", path=f"{base}/{name}", query="").geturl()


def parse_target(text: str | None) -> Target:
    """Take a URL apart; None is the environment's, or a hub on this machine.

    Raises:
        ConfigError: It is no URL of a hub.
    """
    url = hub_url(text)
    parts = urlsplit(url)
    return Target(
        url=url,
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        corrected=text is not None and url != text.strip(),
    )


TIMEOUT_S = 10.0
"""For an answer that is not waited for on purpose."""
_MOST_OF_A_PAGE = 1_000
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")

_T = TypeVar("_T")
Query = list[tuple[str, str | int | float | None]]


class Reply(Struct, frozen=True):
    """What the hub said to a post of an event."""

    attempt: int | None
    """Of a start: which attempt began."""
    wanted: tuple[str, ...]
    """Operations that somebody wants to end."""


class HubAPI:
    """A connection to a hub over HTTP, kept open from one request to the next.

    Every method may raise `HubUnreachable` where nobody answers in time, `CommandRefused` where the hub refuses, and
    `NotAHub` where something else answers.

    Args:
        url: Where the hub is; None is the environment's, or one on this machine.
        timeout_s: For connecting, and for each answer that is not waited for on purpose.

    Raises:
        ConfigError: `url` is no address, or the token of the environment no token.
    """

    def __init__(self, url: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._target: Target = parse_target(url)
        self._timeout_s = timeout_s
        token = read_token(None, os.environ)
        # As the WebSocket client does: a proxy of the environment is used, but never to this very machine.
        self._http = httpx.Client(
            timeout=timeout_s,
            trust_env=not is_loopback(self._target.url),
            headers={} if token is None else {"authorization": f"Bearer {token}"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def operation(self, operation_id: str, *, wait_s: float = 0.0) -> OperationDetail:
        """Return all that is known of an operation.

        Args:
            operation_id: Which.
            wait_s: How long to wait for its end, 0–60.

        Raises:
            OperationUnknown: There is none.
        """
        query: Query = [("wait", f"{wait_s:.3f}")] if wait_s else []
        answer = self._request("GET", _place(operation_id), query, read_s=wait_s + self._timeout_s)
        return _decode(answer, OperationDetail)

    def operations(self, query: Query, limit: int) -> Iterator[OperationSummary]:
        """Yield operations, the one that began last first, and ask for them a page at a time.

        Args:
            query: What `GET /v1/operations` is asked for.
            limit: How many at most.
        """
        after: str | None = None
        while limit > 0:
            asked: Query = [*query, ("limit", min(limit, _MOST_OF_A_PAGE)), ("after", after)]
            page = _decode(self._request("GET", "v1/operations", asked), OperationPage)
            yield from page.operations
            limit -= len(page.operations)
            after = page.next
            if after is None:
                return

    def names(self, name: str | None) -> list[NameView]:
        """Return the newest run of each name, and what is known of the earlier ones.

        Args:
            name: Of one, or a prefix with `*`; None is of all.
        """
        return _decode(self._request("GET", "v1/operation-names", [("name", name)]), NamesPage).names

    def cancel(self, operation_id: str, reason: str | None, timeout_s: float) -> CancelOutcome:
        """Have an operation end, and return what came of it within `timeout_s` seconds.

        Raises:
            OperationUnknown: There is none.
        """
        body = {"timeout_s": timeout_s} if reason is None else {"timeout_s": timeout_s, "reason": reason}
        answer = self._request(
            "POST",
            f"{_place(operation_id)}/cancel",
            body=msgspec.json.encode(body),
            read_s=timeout_s + self._timeout_s,
        )
        return _decode(answer, CancelOutcome)

    def publish(self, envelope: bytes, headers: Mapping[str, str]) -> Reply:
        """Publish one event."""
        answer = self._request("POST", "v1/events", body=envelope, headers=headers)
        attempt = _decode(answer, _Accepted).attempt
        wanted = answer.headers.get("tidings-cancel", "")
        return Reply(attempt, tuple(unquote(part) for part in wanted.split(",") if part))

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> httpx.Response:
        where = authority(self._target.url)
        fields = dict(headers or {})
        if body is not None:
            fields["content-type"] = "application/json"
        try:
            answer = self._http.request(
                method,
                self._target.http(path),
                params=httpx.QueryParams([pair for pair in query or () if pair[1] is not None]),
                content=body,
                headers=fields,
                timeout=httpx.Timeout(self._timeout_s, read=read_s or self._timeout_s),
            )
        except httpx.InvalidURL as error:
            raise ConfigError(f"{path[:80]!r} is no address: {error}", option="id", source="argument") from error
        except httpx.ConnectError as error:
            raise HubUnreachable(f"no hub answers at {where}: {_reason(error)}") from error
        except httpx.TimeoutException as error:
            raise HubUnreachable(f"no hub answers at {where} in time") from error
        except httpx.HTTPError as error:
            raise HubUnreachable(f"the connection to {where} was lost: {_reason(error)}") from error
        if answer.is_success:
            return answer
        raise _refusal(answer, where)


class _Accepted(Struct):
    attempt: int | None = None


def _place(operation_id: str) -> str:
    return f"v1/operations/{quote(operation_id, safe='')}"


def _decode(answer: httpx.Response, type: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer.content, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise NotAHub(f"what answers at {answer.url.netloc.decode()} is no hub of this version") from cause


def _refusal(answer: httpx.Response, where: str) -> Exception:
    try:
        told = msgspec.json.decode(answer.content, type=ErrorData)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if answer.status_code in (502, 503, 504):
            return HubUnreachable(f"a proxy at {where} answers {answer.status_code}: the hub behind it does not")
        return NotAHub(f"what answers at {where} is no hub: status {answer.status_code}")
    hint = told.hint or ""
    if told.code == OperationUnknown.code:
        return OperationUnknown(told.message, operation_id="", hint=hint)
    return CommandRefused(
        told.message, refusal=told.code, recoverable=told.recoverable, hint=hint, details=told.details or ""
    )


def _reason(error: Exception) -> str:
    """Return what happened, without the number that the system has for it."""
    return _ERRNO.sub("", str(error)).lower() or type(error).__name__


_TIMEOUT_S = 30.0
"""For one answer."""
_PAGE = 1_000
"""Events in one answer, as many as a hub gives."""
_CONTRACT = "v1/contract.json"


class History(Struct, frozen=True):
    """One page of `GET /v1/events`."""

    events: list[Raw]
    next: str
    """Where to read on."""
    position: str
    """Of the newest event there was."""


def fetch_contract(url: str) -> Any:
    """Return the document at a hub, or at the address of a ``.json``.

    Raises:
        HubUnreachable: Nobody answers.
        NotAHub: What answers has none.
        CommandRefused: The hub refuses.
        ConfigError: `url` is no address, or the token of the environment no token.
    """
    if urlsplit(url).path.endswith(".json"):
        with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True, trust_env=not is_loopback(url)) as client:
            return _decode_json(_get(client, url, {}), object)
    with _client(url) as (client, target):
        return _decode_json(_get(client, target.http(_CONTRACT), {}), object)


def fetch_history(url: str) -> Iterator[Raw]:
    """Yield every event in a hub's log as its envelope, up to the newest there is when this begins.

    Raises:
        HubUnreachable: Nobody answers.
        NotAHub: What answers is no hub.
        CommandRefused: The hub refuses.
        ConfigError: `url` is no address, or the token of the environment no token.
    """
    with _client(url) as (client, target):
        since, end = "first", ""
        while True:
            answer = _get(client, target.http("v1/events"), {"since": since, "limit": str(_PAGE)})
            page = _decode_json(answer, History)
            end = end or page.position
            for envelope in page.events:
                yield envelope
                if _decode_position(envelope) == end:
                    return
            # A hub answers with less than it has where it looked for long; where it goes on, `next` does.
            if page.next in (since, page.position):
                return
            since = page.next


class _Positioned(Struct):
    position: str = ""


def _decode_position(envelope: Raw) -> str:
    return msgspec.json.decode(envelope, type=_Positioned).position


@contextmanager
def _client(url: str) -> Iterator[tuple[httpx.Client, Target]]:
    target = parse_target(url)
    token = read_token(None, os.environ)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    # As the WebSocket client does: a proxy of the environment is used, but never to this very machine.
    with httpx.Client(timeout=_TIMEOUT_S, headers=headers, trust_env=not is_loopback(target.url)) as client:
        yield client, target


def _get(client: httpx.Client, url: str, query: dict[str, str]) -> httpx.Response:
    where = authority(url)
    try:
        answer = client.get(url, params=query or None)
    except httpx.TimeoutException as error:
        raise HubUnreachable(f"nobody answers at {where} in time") from error
    except httpx.HTTPError as error:
        raise HubUnreachable(f"nobody answers at {where}: {error or type(error).__name__}") from error
    if answer.is_success:
        return answer
    try:
        told = msgspec.json.decode(answer.content, type=ErrorData)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotAHub(f"what answers at {where} has no {urlsplit(url).path}: status {answer.status_code}") from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotAHub(f"the hub at {where} has no {urlsplit(url).path}", hint="It may be older than this tidings.")
    raise CommandRefused(told.message, refusal=told.code, recoverable=told.recoverable, hint=told.hint or "")


def _decode_json(answer: httpx.Response, type: Any) -> Any:
    try:
        return msgspec.json.decode(answer.content, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise NotAHub(f"what answers at {answer.url} is no hub of this version: {cause}") from cause
