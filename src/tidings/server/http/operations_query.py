"""What the requests for operations ask for: their paths, their queries, and the body of a cancel."""

import re
from typing import Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct
from starlette.types import Scope

from tidings.exceptions import InvalidJSON, InvalidParameter, InvalidTimestamp
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import check_body, parse_validation_error
from tidings.protocol.messages import Cancel, Reason
from tidings.protocol.timestamps import to_nanoseconds
from tidings.server.asgi.scope import route_path
from tidings.server.http.query import read_limit, read_seconds, read_values

OPERATIONS_PREFIX: Final = "/v1/operations/"
MAX_WAIT_S: Final = 60.0
"""A request that waits longer is cut by common proxies; who waits on asks again."""
_CANCEL: Final = "/cancel"
CURSOR_PATTERN: Final = "[1-9][0-9]{0,18}"
AGO_PATTERN: Final = "[0-9]{1,9}[smhd]"
MAX_REASON_CHARS: Final = 1_000
MAX_CANCEL_TIMEOUT_S: Final = 3_600
TEXT_PARAMETERS: Final = frozenset({"name", "parent"})
"""Parameters that hold what people call things."""
_CURSOR: Final = re.compile(CURSOR_PATTERN)
_AGO: Final = re.compile(AGO_PATTERN)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class OperationPath(Struct, frozen=True):
    """What a path below `/v1/operations/` names."""

    operation_id: str
    cancels: bool
    """Whether it is where the operation is cancelled."""

    @property
    def allowed(self) -> str:
        """The methods that it takes, as `Allow` has them."""
        return "OPTIONS, POST" if self.cancels else "GET, HEAD, OPTIONS"


def parse_operation_path(scope: Scope) -> OperationPath | None:
    """Return what the path of a request names, or None where it lies elsewhere.

    Read from the path as it was sent, if the server tells it: an id may hold `/`, percent-encoded, and `cancel`.
    """
    path = route_path(scope)
    if not path.startswith(OPERATIONS_PREFIX):
        return None
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        rest = quote(path.removeprefix(OPERATIONS_PREFIX), safe="/")
    else:
        # What the application is mounted at comes first, in whatever way it was encoded.
        rest = raw.decode("latin-1").partition(OPERATIONS_PREFIX)[2].partition("?")[0]
    cancels = rest.endswith(_CANCEL) and rest != _CANCEL
    operation_id = unquote(rest.removesuffix(_CANCEL) if cancels else rest)
    return OperationPath(operation_id, cancels) if operation_id else None


class OperationQuery(Struct, frozen=True, kw_only=True):
    """The query of `GET /v1/operations`."""

    states: frozenset[OperationState]
    """Empty: all."""
    name: str | None
    name_is_prefix: bool
    since_ns: int | None
    """Only what began, was queued or ended at this time or later."""
    parent: str | None
    limit: int
    after: int | None
    """The number of the last operation that the page before looked at."""

    def matches(self, status: OperationStatus) -> bool:
        """Return whether an operation is asked for."""
        if self.states and status.state not in self.states:
            return False
        if self.parent is not None and status.parent_id != self.parent:
            return False
        if self.name is not None and not _is_named(status.name, self.name, is_prefix=self.name_is_prefix):
            return False
        since = self.since_ns
        return since is None or max(status.queued_ns or 0, status.started_ns or 0, status.ended_ns or 0) >= since


def read_filter(query: str, now_ns: int) -> OperationQuery:
    """Read the query of `GET /v1/operations`.

    Args:
        query: What stands behind the `?`.
        now_ns: The time that ages are counted from, nanoseconds since 1970.

    Raises:
        InvalidParameter: One of them cannot be used.
    """
    values = read_values(query, texts=TEXT_PARAMETERS)
    name, is_prefix = read_name(values)
    after = values["after"][-1] if "after" in values else None
    if after is not None and _CURSOR.fullmatch(after) is None:
        raise InvalidParameter(f"after={after[:40]!r} is no cursor", hint="Write what `next` of an answer said.")
    return OperationQuery(
        states=frozenset(_state(text) for text in values.get("state", ())),
        name=name,
        name_is_prefix=is_prefix,
        since_ns=_since(values["since"][-1], now_ns) if "since" in values else None,
        parent=values["parent"][-1] if "parent" in values else None,
        limit=read_limit(values),
        after=None if after is None else int(after),
    )


def read_name(values: dict[str, list[str]]) -> tuple[str | None, bool]:
    """Return the name that is asked for, None for any, and whether it is the beginning of those asked for."""
    if "name" not in values:
        return None, False
    name = values["name"][-1]
    return (name[:-1], True) if name.endswith("*") else (name, False)


def matches_name(values: dict[str, list[str]], name: str) -> bool:
    """Return whether a query asks for operations called `name`."""
    wanted, is_prefix = read_name(values)
    return wanted is None or _is_named(name, wanted, is_prefix=is_prefix)


def _is_named(name: str, wanted: str, *, is_prefix: bool) -> bool:
    return name.startswith(wanted) if is_prefix else name == wanted


def _state(text: str) -> OperationState:
    try:
        return OperationState(text)
    except ValueError as cause:
        known = ", ".join(OperationState)
        raise InvalidParameter(f"state={text[:40]!r} is no state", hint=f"States are {known}.") from cause


def _since(text: str, now_ns: int) -> int:
    if _AGO.fullmatch(text):
        return now_ns - int(text[:-1]) * _UNITS_S[text[-1]] * 1_000_000_000
    try:
        return to_nanoseconds(text)
    except InvalidTimestamp as cause:
        raise InvalidParameter(
            f"since={text[:40]!r} is no time",
            hint="Write an age, such as 30m, 6h or 7d, or RFC 3339 in UTC, such as 2025-07-30T12:00:00Z.",
        ) from cause


def read_wait(query: str) -> float:
    """Return how long a request waits for an operation's end, in seconds; 0 is not at all.

    Raises:
        InvalidParameter: It is not 0–`MAX_WAIT_S`.
    """
    values = read_values(query)
    text = values["wait"][-1] if "wait" in values else "0"
    wait_s = read_seconds(text)
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise InvalidParameter(f"wait={text[:40]!r} is not 0–{MAX_WAIT_S:g} seconds", hint=f"Write 0–{MAX_WAIT_S:g}.")
    return wait_s


class _CancelBody(Struct, frozen=True):
    """The body of a cancel."""

    reason: Reason | None = None
    timeout_s: float | None = None


def read_cancel(operation_id: str, body: bytes) -> Cancel:
    """Return what a cancel asks for; an empty body asks for nothing more.

    Raises:
        ContractError: It is no JSON that can be read; see `check_body`.
        InvalidParameter: A member cannot be used.
    """
    check_body(body)
    try:
        wanted = msgspec.json.decode(body.strip() or b"{}", type=_CancelBody)
        members = {"operation_id": operation_id, "reason": wanted.reason, "timeout_s": wanted.timeout_s}
        if wanted.timeout_s is None:
            del members["timeout_s"]
        return msgspec.convert(members, Cancel)
    except msgspec.ValidationError as cause:
        message, path = parse_validation_error(cause)
        raise InvalidParameter(
            f"{path}: {message}", path=path, hint='Send nothing, or {"reason": "…", "timeout_s": 10}, 0–3600 seconds.'
        ) from cause
    except msgspec.DecodeError as cause:
        raise InvalidJSON(f"$: this is not JSON: {str(cause).removeprefix('JSON is malformed: ')}") from cause
