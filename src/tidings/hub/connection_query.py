"""The query of a connection's URL (PROTOCOL.md, "Handshake")."""

from collections.abc import Iterable
from urllib.parse import unquote

from msgspec import Struct

from tidings.exceptions import InvalidParameter, NotSupported
from tidings.hub.config import round_pace
from tidings.protocol.paths import NO_PATHS, PathSet, parse_query
from tidings.protocol.positions import NOW, Position, parse_since
from tidings.protocol.revisions import REVISION, REVISIONS


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """The parameters of a handshake's query."""

    paths: PathSet = NO_PATHS
    """Paths that it reads from the start."""
    named: bool = False
    """Whether the query names paths, even if only `none`."""
    since: Position | str = NOW
    pace_ms: int = 0
    revision: str = REVISION
    """Revision of the contract that the client speaks."""


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the names and values of a URL's query in order; the values are not yet percent-decoded."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), value) for name, _, value in pairs]


def parse_connection_query(query: str, channels: Iterable[str], *, default_since: str = NOW) -> ConnectionOptions:
    """Parse the query of a handshake.

    Args:
        query: The URL's query, without the `?`.
        channels: The channels of the contract.
        default_since: Value of an absent `since`.

    Raises:
        InvalidPath: A path is not valid.
        UnknownChannel: A path names a channel that is not in the contract.
        InvalidPosition: `since` is not a valid position.
        InvalidParameter: `pace_ms` is not a valid number.
        NotSupported: `contract` names an unknown revision.
    """
    pairs = query_pairs(query)
    values = {name: unquote(value) for name, value in pairs}
    revision = values.get("contract", REVISION)
    if revision not in REVISIONS:
        raise NotSupported(f"unknown revision contract={revision[:40]!r}", hint=f"Use one of {', '.join(REVISIONS)}.")
    pace = values.get("pace_ms", "0")
    if not (pace.isascii() and pace.isdigit() and len(pace) <= 9):
        raise InvalidParameter(f"invalid pace_ms={pace[:40]!r}: expected milliseconds", hint="Use 0 to 5000.")
    return ConnectionOptions(
        paths=parse_query(pairs, channels),
        named="channel" in values or "channels" in values,
        since=parse_since(values["since"]) if "since" in values else default_since,
        pace_ms=round_pace(int(pace)),
        revision=revision,
    )
