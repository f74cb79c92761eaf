"""The queries of the reading routes (CONTRACT §2 and §5)."""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import unquote, unquote_plus

from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.exceptions import InvalidKey, InvalidParameter, UnknownType
from tidings.hub.connection_query import query_pairs
from tidings.protocol.envelope import check_trace_id
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.paths import Path, PathSet, check_key, parse_query
from tidings.protocol.positions import FIRST, NOW, SNAPSHOT, Position, parse_since

MAX_LIMIT: Final = 1_000
DEFAULT_LIMIT: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
MAX_VALUES: Final = 100
"""Paths, keys or types in one URL, which has to pass servers and proxies: `channel:subscribe` takes a thousand."""


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """The query of `GET /v1/events`."""

    paths: PathSet
    types: frozenset[str]
    """Empty: all."""
    trace_id: str | None
    since: Position | str
    """`first`, `now` or a position."""
    limit: int


def read_paths(query: str, contract: Contract) -> PathSet:
    """Return the paths that `?channel=` and `?channels=` name.

    Raises:
        InvalidParameter: There are more than `MAX_VALUES`.
        InvalidPath: One of them is no path.
        UnknownChannel: One names a channel that there is not.
    """
    pairs = query_pairs(query)
    _check_count("channel", sum(value.count(",") + 1 for name, value in pairs if name in ("channel", "channels")))
    return parse_query(pairs, contract.channels)


def read_history_query(query: str, contract: Contract) -> HistoryQuery:
    """Read the query of `GET /v1/events`.

    Raises:
        ContractError: One of its parameters cannot be used; see `read_paths` and below.
        InvalidParameter: `key` or `limit`, or `since` is `snapshot`.
        UnknownType: There is no such event.
        InvalidPosition: `since` is no position.
        InvalidTraceID: `trace_id` is none.
    """
    values = read_values(query)
    for name in ("key", "type"):
        _check_count(name, len(values.get(name, ())))
    paths = read_paths(query, contract)
    if "key" in values:
        paths = _keyed(paths, values["key"])
    since = parse_since(values["since"][-1]) if "since" in values else FIRST
    if since == SNAPSHOT:
        raise InvalidParameter(
            "since=snapshot: history is no snapshot", hint=f"Write {FIRST}, {NOW} or a position, or GET /v1/snapshot."
        )
    return HistoryQuery(
        paths=paths,
        types=frozenset(_known_type(name, contract) for name in values.get("type", ())),
        trace_id=check_trace_id(values["trace_id"][-1]) if "trace_id" in values else None,
        since=since,
        limit=read_limit(values),
    )


def read_values(query: str, *, texts: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the values of each parameter, percent-decoded, in their order.

    Args:
        query: What stands behind the `?`.
        texts: Parameters in which `+` is a space, as forms write it: what a person calls something.
    """
    values: dict[str, list[str]] = {}
    for name, value in query_pairs(query):
        values.setdefault(name, []).append(unquote_plus(value) if name in texts else unquote(value))
    return values


def _check_count(name: str, count: int) -> None:
    if count > MAX_VALUES:
        raise InvalidParameter(
            f"{count} values of `{name}`; {MAX_VALUES} are allowed",
            hint="Ask for a prefix (`channel/prefix*`) or for all.",
        )


def _keyed(paths: PathSet, keys: list[str]) -> PathSet:
    """Return what `paths` hold of `keys`: a path for each channel and key."""
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
            f"type={name[:80]!r}: there is no such event", type=name, hint=f"Events are {', '.join(contract.events)}."
        )
    return known


def read_limit(values: dict[str, list[str]]) -> int:
    """Return what `limit` says, or its default.

    Raises:
        InvalidParameter: It is not 1–`MAX_LIMIT`.
    """
    text = values["limit"][-1] if "limit" in values else str(DEFAULT_LIMIT)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) else 0
    if not 1 <= number <= MAX_LIMIT:
        raise InvalidParameter(f"limit={text[:40]!r} is not 1–{MAX_LIMIT}", hint=f"Write 1–{MAX_LIMIT}.")
    return number


def read_seconds(text: str) -> float:
    """Return a number of seconds; a negative one for what is no number."""
    return float(text) if _NUMBER.fullmatch(text) else -1.0
