"""The queries of the routes that read the log (docs/protocol/http.md)."""

import re
from typing import Final

from msgspec import Struct

from tidings.access.grants import Grants
from tidings.contract.contract import Contract
from tidings.exceptions import Forbidden, InvalidKey, InvalidParameter, UnknownType
from tidings.hub.connection_query import PATH_PARAMETERS, query_pairs, read_values
from tidings.protocol.envelope import check_trace_id
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.paths import Path, PathSet, check_key, parse_query
from tidings.protocol.positions import FIRST, NOW, SNAPSHOT, Position, Since, parse_position, parse_since

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 100
HISTORY_PARAMETERS: Final = (*PATH_PARAMETERS, "key", "type", "trace_id", "since", "limit", "last", "until")
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
MAX_VALUES: Final = 100
"""Paths, keys or types in one URL, which must fit through servers and proxies; `channel:subscribe` allows 1,000."""


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """The query of `GET /v1/events`."""

    paths: PathSet
    types: frozenset[str]
    """Event types to return; empty for all."""
    trace_id: str | None
    since: Since
    """Where to start: `first`, `now`, a time or a position."""
    limit: int
    """Maximum number of events."""
    is_last: bool
    """Whether to return the newest events of the range, instead of the oldest."""
    until: Position | None
    """Position of the last event of the range; None for the head of the log."""


def read_paths(query: str, contract: Contract, grants: Grants | None = None) -> PathSet:
    """Return the paths that `?channel=` and `?channels=` name; `*`, and no parameter, is all that may be read.

    Args:
        query: The URL's query, without the `?`.
        contract: The contract.
        grants: What may be read; None for everything.

    Raises:
        Forbidden: A path may not be read, in whole or in part.
        InvalidParameter: There are more than `MAX_VALUES` paths.
        InvalidPath: A path is not valid.
        UnknownChannel: A path names a channel that is not in the contract.
    """
    return _check_read(_parse_paths(query, contract, grants), grants)


def _parse_paths(query: str, contract: Contract, grants: Grants | None) -> PathSet:
    pairs = query_pairs(query)
    check_count("channel", sum(value.count(",") + 1 for name, value in pairs if name in ("channel", "channels")))
    if grants is None:
        return parse_query(pairs, contract.channels)
    if not grants.read:
        raise Forbidden("no grant to read anything")
    return parse_query(pairs, contract.channels, grants.read.paths)


def _check_read(paths: PathSet, grants: Grants | None) -> PathSet:
    if grants is not None:
        grants.check_read(paths)
    return paths


def read_history_query(query: str, contract: Contract, grants: Grants | None = None) -> HistoryQuery:
    """Read the query of `GET /v1/events`.

    Args:
        query: The URL's query, without the `?`.
        contract: The contract.
        grants: What may be read; None for everything.

    Raises:
        Forbidden: A path may not be read; with `key`, only its keys need grants.
        ContractError: A parameter is not valid; see `read_paths` and below.
        InvalidParameter: `key`, `limit` or `last` is not valid, or `since` is `snapshot`.
        UnknownType: `type` is not in the contract.
        InvalidPosition: `since` or `until` is not a valid position.
        InvalidTraceID: `trace_id` is not a valid trace id.
    """
    paths = _parse_paths(query, contract, grants)
    values = read_values(query, HISTORY_PARAMETERS)
    for name in ("key", "type"):
        check_count(name, len(values.get(name, ())))
    if "key" in values:
        paths = _keyed(paths, values["key"])
    _check_read(paths, grants)
    since = parse_since(values["since"][-1]) if "since" in values else FIRST
    if since == SNAPSHOT:
        raise InvalidParameter(
            "since=snapshot is not allowed for history",
            hint=f"Use {FIRST}, {NOW}, an RFC 3339 time or a position, or GET /v1/snapshot.",
        )
    is_last = "last" in values
    limit = read_limit(values)
    if is_last:
        last = read_limit(values, "last")
        limit = min(last, limit) if "limit" in values else last
    return HistoryQuery(
        paths=paths,
        types=frozenset(_known_type(name, contract) for name in values.get("type", ())),
        trace_id=check_trace_id(values["trace_id"][-1]) if "trace_id" in values else None,
        since=since,
        limit=limit,
        is_last=is_last,
        until=parse_position(values["until"][-1]) if "until" in values else None,
    )


def check_count(name: str, count: int) -> None:
    """Check the number of values of a parameter.

    Raises:
        InvalidParameter: There are more than `MAX_VALUES`.
    """
    if count > MAX_VALUES:
        raise InvalidParameter(
            f"{count} values of `{name}`: at most {MAX_VALUES} are allowed",
            hint="Use a prefix (`channel/prefix*`), or leave it out to read all.",
        )


def _keyed(paths: PathSet, keys: list[str]) -> PathSet:
    """Return the paths of `keys` on all channels of `paths`, as far as `paths` match them."""
    for key in keys:
        try:
            check_key(key)
        except InvalidKey as cause:
            raise InvalidParameter(f"key={key[:80]!r}: {cause}", hint="Leave it out to read all keys.") from cause
    channels = {path.channel for path in paths.paths}
    keyed = [Path(channel, key) for channel in channels for key in keys if paths.matches(channel, key)]
    return PathSet.of(keyed, with_global=False)


def _known_type(name: str, contract: Contract) -> str:
    known = LEGACY_TYPES.get(name, name)
    if known not in contract.events:
        raise UnknownType(
            f"unknown event type={name[:80]!r}", type=name, hint=f"Use one of {', '.join(contract.events)}."
        )
    return known


def read_limit(values: dict[str, list[str]], name: str = "limit") -> int:
    """Return the value of `limit`, or of the parameter `name`, or the default of both.

    Raises:
        InvalidParameter: It is not 1–`MAX_LIMIT`.
    """
    text = values[name][-1] if name in values else str(DEFAULT_LIMIT)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) else 0
    if not 1 <= number <= MAX_LIMIT:
        raise InvalidParameter(f"invalid {name}={text[:40]!r}: expected 1–{MAX_LIMIT}", hint=f"Use 1 to {MAX_LIMIT}.")
    return number


def read_seconds(text: str) -> float:
    """Return a number of seconds; a negative one if `text` is not a valid number."""
    return float(text) if _NUMBER.fullmatch(text) else -1.0
