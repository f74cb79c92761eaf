"""Asking the hub, over HTTP and in one moment, what became of an operation."""

import os
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from tidings.client.options import read_token
from tidings.client.url import hub_url
from tidings.exceptions import TidingsError
from tidings.protocol.timestamps import nanoseconds

TIMEOUT_S = 2.0
"""How long a question may take: whoever asks has something to do, but a busy hub answers late."""
_PAUSE_S = 30.0
"""How long nothing is asked after a question without an answer."""
_MOST_BYTES = 1 << 20


class Found(Struct, frozen=True, kw_only=True):
    """What the hub knows of an operation, as far as somebody asks here."""

    state: str
    attempt: int
    ended_at: str | None = None
    reason: str | None = None
    cancelled_by: str | None = None

    @property
    def ended_s(self) -> float:
        """When it ended, seconds since 1970; 0 where it has not."""
        return 0.0 if self.ended_at is None else nanoseconds(self.ended_at) / 1e9


_decode = msgspec.json.Decoder(Found).decode


class Inquiry:
    """A way to ask one hub. Never raises; a hub that is away is left alone for a while.

    Args:
        url: See `tidings.operation`.
        token: See `tidings.operation`.
    """

    def __init__(self, url: str | None, token: str | None) -> None:
        self._url = url
        self._token = token
        self._silent_until = 0.0

    def ask(self, operation_id: str) -> Found | None:
        """Return what the hub knows of an operation, within `TIMEOUT_S`; None where it knows nothing or is silent."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            return self._ask(operation_id)
        except (OSError, HTTPException, TidingsError, ValueError):  # msgspec's errors are ValueErrors
            self._silent_until = time.monotonic() + _PAUSE_S
            return None

    def _ask(self, operation_id: str) -> Found | None:
        parts = urlsplit(hub_url(self._url))
        kind = HTTPSConnection if parts.scheme == "wss" else HTTPConnection
        token = read_token(self._token, os.environ)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            path = f"{parts.path.removesuffix('/ws')}/v1/operations/{quote(operation_id, safe='')}"
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return _decode(answer.read(_MOST_BYTES)) if answer.status == 200 else None
        finally:
            connection.close()
