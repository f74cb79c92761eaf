"""Requests about operations: their paths, their queries, and the body of a cancel."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
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
from tidings.protocol.message_types import ChannelType
from tidings.protocol.messages import Cancel, Reason, Requester
from tidings.protocol.paths import PathSet, parse_path
from tidings.protocol.strict_json import check_members, repair_members
from tidings.protocol.timestamps import restore_plus, to_nanoseconds
from tidings.server.asgi.scope import route_path
from tidings.server.http.query import check_count, read_limit, read_seconds

OPERATIONS_PREFIX: Final = "/v1/operations/"
OPERATION: Final = "/v1/operation"
OPERATION_CANCEL: Final = "/v1/operation/cancel"
MAX_WAIT_S: Final = 60.0
"""Longest wait of one request: common proxies cut longer ones; clients that wait longer ask again."""
_CANCEL: Final = "/cancel"
CURSOR_PATTERN: Final = "[A-Za-z0-9_-]{1,600}"
CURSOR_HINT: Final = "Use the `next` of an answer, with the same query."
AGO_PATTERN: Final = "[0-9]{1,9}[smhd]"
MAX_REASON_CHARS: Final = 1_000
MAX_REQUESTER_CHARS: Final = 128
MAX_CANCEL_TIMEOUT_S: Final = 3_600
MAX_SEARCH_CHARS: Final = 200
"""Characters of a search: it is compared with every operation."""
STALLED: Final = "stalled"
AWAY: Final = "away"
SORTS: Final = ("started", "ended", "heard", "name", "duration", "progress", "remaining")
"""Values of `sort`, the default first."""
ORDERS: Final = ("asc", "desc")
LIST_PARAMETERS: Final = (
    *("find", "state", "name", "since", "parent", "producer", "path", "q"),
    *("attention", "newest", "sort", "order", "totals", "limit", "after"),
)
_ASCENDING: Final = ("name", "remaining")
"""Values of `sort` whose default order is `asc`."""
_CURSOR: Final = re.compile(CURSOR_PATTERN)
_NUMBER: Final = re.compile("[1-9][0-9]{0,18}")
"""Cursors in the order of the numbers."""
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
    states: frozenset[str]
    """States to list, and `STALLED` and `AWAY`; empty for all."""
    names: tuple[tuple[str, bool], ...]
    """Names to list, and whether each is a prefix; empty for all."""
    since_ns: int | None
    """Only operations that were queued, began or ended at this time or later."""
    parent: str | None
    producer: str | None
    """Only operations that the producer with this id holds; see `Subject.qualify`."""
    paths: PathSet | None
    """Only operations on these paths."""
    words: tuple[str, ...]
    """Only operations with all of these words in their texts, in folded case."""
    attention: bool
    """Only operations that need a person's attention."""
    newest: bool
    """Only the newest operation of each name."""
    sort: str
    descending: bool
    totals: bool
    """Whether the answer counts what matches."""
    limit: int
    after: str | None
    """Cursor: where the previous page ended."""

    @property
    def is_plain(self) -> bool:
        """Whether the operations that match can be listed without examining those that follow them."""
        return not (self.totals or self.attention or self.newest or self.is_sorted)

    @property
    def is_sorted(self) -> bool:
        """Whether the order is another one than that of the numbers, the greatest first."""
        return self.sort != SORTS[0] or not self.descending

    def matches(self, status: OperationStatus, conditions: Container[str] = ()) -> bool:
        """Return whether an operation matches the query, as far as that does not depend on other operations.

        Args:
            status: The operation.
            conditions: Which of `STALLED` and `AWAY` hold for it.
        """
        return self.matches_state(status, conditions) and self.matches_rest(status)

    def matches_state(self, status: OperationStatus, conditions: Container[str]) -> bool:
        """Return whether an operation has one of the states to list."""
        states = self.states
        return (
            not states
            or status.state in states
            or any(each in states and each in conditions for each in (STALLED, AWAY))
        )

    def matches_rest(self, status: OperationStatus) -> bool:
        """Return whether an operation matches everything but the states."""
        find = self.find
        if find is not None and status.name != find and not status.operation_id.startswith(find):
            return False
        if self.parent is not None and status.parent_id != self.parent:
            return False
        if self.names and not any(_is_named(status.name, name, is_prefix=prefix) for name, prefix in self.names):
            return False
        if self.producer is not None and status.life.producer_id != self.producer:
            return False
        if self.paths is not None and not self.paths.matches(ChannelType.OPERATIONS, status.operation_id):
            return False
        if self.words and not self._has_words(status):
            return False
        since = self.since_ns
        newest_ns = max(status.queued_ns or 0, status.started_ns or 0, status.ended_ns or 0)
        return since is None or newest_ns + status.lag_ns >= since  # a slow clock hides nothing

    def _has_words(self, status: OperationStatus) -> bool:
        error = status.error
        texts = (
            *(status.name, status.operation_id, status.current_step, status.message or "", status.reason or ""),
            *(() if error is None else (error.code, error.message)),
        )
        text = "\n".join(texts).casefold()
        return all(word in text for word in self.words)


def read_filter(
    query: str,
    now_ns: int,
    channels: Iterable[str] = (),
    qualify: Callable[[str], str] = str,
) -> OperationQuery:
    """Read the query of `GET /v1/operations`.

    Args:
        query: The URL's query, without the `?`.
        now_ns: The present time, from which ages are counted, nanoseconds since 1970.
        channels: The channels of the contract.
        qualify: Returns the id that the hub uses for a producer of the reader.

    Raises:
        InvalidParameter: A parameter is not valid.
        InvalidPath: A path is not valid.
        UnknownChannel: A path names a channel that is not in the contract.
    """
    values = read_values(query, LIST_PARAMETERS)
    for name in ("name", "path"):
        check_count(name, len(values.get(name, ())))
    single = {name: given[-1] for name, given in values.items()}
    sort = _choice(single, "sort", SORTS) or SORTS[0]
    order = _choice(single, "order", ORDERS) or ("asc" if sort in _ASCENDING else "desc")
    after = single.get("after")
    is_numbered = sort == SORTS[0] and order == "desc"
    if after is not None and (_NUMBER if is_numbered else _CURSOR).fullmatch(after) is None:
        raise InvalidParameter(f"invalid cursor after={after[:40]!r}", hint=CURSOR_HINT)
    paths = [path for text in values.get("path", ()) for path in parse_path(text, tuple(channels))]
    return OperationQuery(
        find=single.get("find"),
        states=frozenset(map(_state, values.get("state", ()))),
        names=read_names(values),
        since_ns=_since(single["since"], now_ns) if "since" in single else None,
        parent=single.get("parent"),
        producer=qualify(single["producer"]) if "producer" in single else None,
        paths=PathSet.of(paths, with_global=False) if "path" in values else None,
        words=_words(single.get("q", "")),
        attention=_flag(single, "attention"),
        newest=_flag(single, "newest"),
        sort=sort,
        descending=order == "desc",
        totals=_flag(single, "totals"),
        limit=read_limit(values),
        after=after,
    )


def read_names(values: dict[str, list[str]]) -> tuple[tuple[str, bool], ...]:
    """Return the names in the query, and whether each is a prefix; none for any name."""
    return tuple((name[:-1], True) if name.endswith("*") else (name, False) for name in values.get("name", ()))


def matches_name(values: dict[str, list[str]], name: str) -> bool:
    """Return whether a query matches the name of an operation."""
    wanted = read_names(values)
    return not wanted or any(_is_named(name, each, is_prefix=prefix) for each, prefix in wanted)


def _choice(single: dict[str, str], name: str, known: tuple[str, ...]) -> str | None:
    value = single.get(name)
    if value is not None and value not in known:
        raise InvalidParameter(f"invalid {name}={value[:40]!r}", hint=f"Use one of {', '.join(known)}.")
    return value


def _flag(single: dict[str, str], name: str) -> bool:
    return _choice(single, name, ("true", "false")) == "true"


def _words(search: str) -> tuple[str, ...]:
    if len(search) > MAX_SEARCH_CHARS:
        raise InvalidParameter(
            f"a search of {len(search)} characters: at most {MAX_SEARCH_CHARS} are allowed",
            hint="Search for fewer words.",
        )
    return tuple(dict.fromkeys(search.casefold().split()))


def _is_named(name: str, wanted: str, *, is_prefix: bool) -> bool:
    return name.startswith(wanted) if is_prefix else name == wanted


def _state(text: str) -> str:
    known = (*OperationState, STALLED, AWAY)
    if text not in known:
        raise InvalidParameter(f"invalid state={text[:40]!r}", hint=f"Use one of {', '.join(known)}.")
    return text


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


def read_operation_id(values: Mapping[str, list[str]]) -> str:
    """Return the id of an operation that is named in a query.

    Raises:
        InvalidParameter: There is none.
    """
    if "operation_id" not in values:
        raise InvalidParameter("no operation_id", hint="Name the operation: ?operation_id=ID.")
    return values["operation_id"][-1]


def read_wait(values: Mapping[str, list[str]]) -> float:
    """Return how long a request waits for an operation's end, in seconds; 0 without a wait.

    Raises:
        InvalidParameter: It is not 0–`MAX_WAIT_S`.
    """
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
