"""What a hub serves over HTTP about its contract and its log."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Raw, Struct

from tidings.cli.doctor.target import Target, parse_target
from tidings.client.options import read_token
from tidings.client.url import authority, is_loopback
from tidings.exceptions import CommandRefused, HubUnreachable, NotAHub
from tidings.protocol.payloads import ErrorData

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
            return _decode(_get(client, url, {}), object)
    with _client(url) as (client, target):
        return _decode(_get(client, target.http(_CONTRACT), {}), object)


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
            page = _decode(answer, History)
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


def _decode(answer: httpx.Response, type: Any) -> Any:
    try:
        return msgspec.json.decode(answer.content, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise NotAHub(f"what answers at {answer.url} is no hub of this version: {cause}") from cause
