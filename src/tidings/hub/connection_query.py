"""What a connection asks for in its URL (CONTRACT §2 and §5)."""

from collections.abc import Iterable
from urllib.parse import unquote

from msgspec import Struct

from tidings.exceptions import InvalidParameter, NotSupported
from tidings.hub.config import rounded_pace
from tidings.protocol.paths import NOTHING, PathSet, parse_query
from tidings.protocol.positions import NOW, Position, parse_since
from tidings.protocol.revisions import REVISION, REVISIONS


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """The query of a handshake, read."""

    paths: PathSet = NOTHING
    """What it reads from the start."""
    named: bool = False
    """Whether the query named paths, if only `none`."""
    since: Position | str = NOW
    pace_ms: int = 0
    revision: str = REVISION
    """Which revision of the contract it speaks."""


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the names and values of a URL's query, in order, the values not yet percent-decoded."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), value) for name, _, value in pairs]


def parse_connection_query(query: str, channels: Iterable[str], *, default_since: str = NOW) -> ConnectionOptions:
    """Read the query of a handshake.

    Args:
        query: What stands behind the `?`.
        channels: All channels of the contract.
        default_since: What an absent `since` means.

    Raises:
        InvalidPath: A path cannot be read.
        UnknownChannel: A path names a channel that there is not.
        InvalidPosition: `since` is no position.
        InvalidParameter: `pace_ms` is no number.
        NotSupported: `contract` asks for a revision that there is not.
    """
    pairs = query_pairs(query)
    values = {name: unquote(value) for name, value in pairs}
    revision = values.get("contract", REVISION)
    if revision not in REVISIONS:
        raise NotSupported(
            f"contract={revision[:40]!r}: there is no such revision", hint=f"This hub speaks {', '.join(REVISIONS)}."
        )
    pace = values.get("pace_ms", "0")
    if not (pace.isascii() and pace.isdigit() and len(pace) <= 9):
        raise InvalidParameter(f"pace_ms={pace[:40]!r} is no number of milliseconds", hint="Write 0–5000.")
    return ConnectionOptions(
        paths=parse_query(pairs, channels),
        named="channel" in values or "channels" in values,
        since=parse_since(values["since"]) if "since" in values else default_since,
        pace_ms=rounded_pace(int(pace)),
        revision=revision,
    )
