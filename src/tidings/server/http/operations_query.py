"""Requests about operations: their paths, their queries, and the body of a cancel."""

import re
from typing import Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct, structs
from starlette.types import Scope

from tidings.exceptions import InvalidJSON, InvalidParameter, InvalidTimestamp
from tidings.hub.connection_query import read_values
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import check_body, parse_validation_error
from tidings.protocol.messages import Cancel, Reason, Requester
from tidings.protocol.strict_json import check_members, repair_members
from tidings.protocol.timestamps import restore_plus, to_nanoseconds
from tidings.server.asgi.scope import route_path
from tidings.server.http.query import read_limit, read_seconds

OPERATIONS_PREFIX: Final = "/v1/operations/"
MAX_WAIT_S: Final = 60.0
"""Longest wait of one request: common proxies cut longer ones; clients that wait longer ask again."""
_CANCEL: Final = "/cancel"
CURSOR_PATTERN: Final = "[1-9][0-9]{0,18}"
AGO_PATTERN: Final = "[0-9]{1,9}[smhd]"
MAX_REASON_CHARS: Final = 1_000
MAX_REQUESTER_CHARS: Final = 128
MAX_CANCEL_TIMEOUT_S: Final = 3_600
LIST_PARAMETERS: Final = ("find", "state", "name", "since", "parent", "limit", "after")
_CURSOR: Final = re.compile(CURSOR_PATTERN)
_AGO: Final = re.compile(AGO_PATTERN)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class OperationPath(Struct, frozen=True):
    """A path below `/v1/operations/`."""

    operation_id: str
    cancels: bool
    """Whether it is the path that cancels the operation."""

    @property
    def allowed(self) -> str:
        """Methods of this path, as in the `Allow` header."""
        return "OPTIONS, POST" if self.cancels else "GET, HEAD, OPTIONS"


def parse_operation_path(scope: Scope) -> OperationPath | None:
    """Return the operation path of a request, or None if the path lies elsewhere.

    Parsed from the raw path if the server has it: an id may contain `cancel`, and `/` in percent-encoding.
    """
    path = route_path(scope)
    if not path.startswith(OPERATIONS_PREFIX):
        return None
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        rest = quote(path.removeprefix(OPERATIONS_PREFIX), safe="/")
    else:
        # The mount path of the application comes first, in any encoding.
        rest = raw.decode("latin-1").partition(OPERATIONS_PREFIX)[2].partition("?")[0]
    cancels = rest.endswith(_CANCEL) and rest != _CANCEL
    operation_id = unquote(rest.removesuffix(_CANCEL) if cancels else rest)
    return OperationPath(operation_id, cancels) if operation_id else None


class OperationQuery(Struct, frozen=True, kw_only=True):
    """The query of `GET /v1/operations`."""

    find: str | None
    """Only the operation with this id; without one, those whose id begins so, or that have this name."""
    states: frozenset[OperationState]
    """States to list; empty for all."""
    name: str | None
    name_is_prefix: bool
    since_ns: int | None
    """Only operations that were queued, began or ended at this time or later."""
    parent: str | None
    limit: int
    after: int | None
    """Cursor: the number of the last operation that the previous page examined."""

    def matches(self, status: OperationStatus) -> bool:
        """Return whether an operation matches the query."""
        if self.states and status.state not in self.states:
            return False
        find = self.find
        if find is not None and status.name != find and not status.operation_id.startswith(find):
            return False
        if self.parent is not None and status.parent_id != self.parent:
            return False
        if self.name is not None and not _is_named(status.name, self.name, is_prefix=self.name_is_prefix):
            return False
        since = self.since_ns
        newest_ns = max(status.queued_ns or 0, status.started_ns or 0, status.ended_ns or 0)
        return since is None or newest_ns + status.lag_ns >= since  # a slow clock hides nothing


def read_filter(query: str, now_ns: int) -> OperationQuery:
    """Read the query of `GET /v1/operations`.

    Args:
        query: The URL's query, without the `?`.
        now_ns: The present time, from which ages are counted, nanoseconds since 1970.

    Raises:
        InvalidParameter: A parameter is not valid.
    """
    values = read_values(query, LIST_PARAMETERS)
    name, is_prefix = read_name(values)
    after = values["after"][-1] if "after" in values else None
    if after is not None and _CURSOR.fullmatch(after) is None:
        raise InvalidParameter(f"invalid cursor after={after[:40]!r}", hint="Use the `next` of an answer.")
    return OperationQuery(
        find=values["find"][-1] if "find" in values else None,
        states=frozenset(_state(text) for text in values.get("state", ())),
        name=name,
        name_is_prefix=is_prefix,
        since_ns=_since(values["since"][-1], now_ns) if "since" in values else None,
        parent=values["parent"][-1] if "parent" in values else None,
        limit=read_limit(values),
        after=None if after is None else int(after),
    )


def read_name(values: dict[str, list[str]]) -> tuple[str | None, bool]:
    """Return the name in the query, None for any, and whether it is a prefix."""
    if "name" not in values:
        return None, False
    name = values["name"][-1]
    return (name[:-1], True) if name.endswith("*") else (name, False)


def matches_name(values: dict[str, list[str]], name: str) -> bool:
    """Return whether a query matches the name of an operation."""
    wanted, is_prefix = read_name(values)
    return wanted is None or _is_named(name, wanted, is_prefix=is_prefix)


def _is_named(name: str, wanted: str, *, is_prefix: bool) -> bool:
    return name.startswith(wanted) if is_prefix else name == wanted


def _state(text: str) -> OperationState:
    try:
        return OperationState(text)
    except ValueError as cause:
        known = ", ".join(OperationState)
        raise InvalidParameter(f"invalid state={text[:40]!r}", hint=f"Use one of {known}.") from cause


def _since(text: str, now_ns: int) -> int:
    if _AGO.fullmatch(text):
        return now_ns - int(text[:-1]) * _UNITS_S[text[-1]] * 1_000_000_000
    try:
        return to_nanoseconds(restore_plus(text))
    except InvalidTimestamp as cause:
        raise InvalidParameter(
            f"invalid time since={text[:40]!r}",
            hint="Use an age such as 30m, 6h or 7d, or RFC 3339 in UTC such as 2025-07-30T12:00:00Z.",
        ) from cause


def read_wait(query: str) -> float:
    """Return how long a request waits for an operation's end, in seconds; 0 without a wait.

    Raises:
        InvalidParameter: It is not 0–`MAX_WAIT_S`.
    """
    values = read_values(query, ("wait",))
    text = values["wait"][-1] if "wait" in values else "0"
    wait_s = read_seconds(text)
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise InvalidParameter(f"invalid wait={text[:40]!r}: expected seconds", hint=f"Use 0 to {MAX_WAIT_S:g}.")
    return wait_s


class _CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a cancel."""

    reason: Reason | None = None
    timeout_s: float | None = None
    cancelled_by: Requester | None = None


def read_cancel(operation_id: str, body: bytes) -> Cancel:
    """Return the cancel request of a body, which may be empty.

    Raises:
        ContractError: The body is not valid JSON; see `check_body`.
        InvalidParameter: A member is not valid.
    """
    check_body(body)
    try:
        text = body.strip() or b"{}"
        text = repair_members(text, _CancelBody) or text
        decoded = msgspec.json.decode(text, type=_CancelBody)
        check_members(body.strip() or b"{}")
        members = {"operation_id": operation_id, **structs.asdict(decoded)}
        if decoded.timeout_s is None:
            del members["timeout_s"]
        return msgspec.convert(members, Cancel)
    except msgspec.ValidationError as cause:
        message, path = parse_validation_error(cause)
        raise InvalidParameter(
            f"{path}: {message}",
            path=path,
            hint='Send no body, or {"reason": "…", "timeout_s": 10, "cancelled_by": "ada"} with 0–3600 seconds.',
        ) from cause
    except msgspec.DecodeError as cause:
        raise InvalidJSON(f"$: this is not JSON: {str(cause).removeprefix('JSON is malformed: ')}") from cause
