"""The query of a connection's URL (PROTOCOL.md, "Handshake")."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from tidings.access.credentials import TICKET_PARAMETER
from tidings.exceptions import InvalidParameter, NotSupported
from tidings.hub.config import round_pace
from tidings.protocol.near_names import find_near
from tidings.protocol.paths import EVERYTHING, NO_PATHS, Path, PathSet, decode_form, parse_paths, query_texts
from tidings.protocol.positions import NOW, Since, parse_since
from tidings.protocol.revisions import REVISION, REVISIONS

PATH_PARAMETERS: Final = ("channel", "channels")
CONNECTION_PARAMETERS: Final = (*PATH_PARAMETERS, "since", "pace_ms", "contract")
FOREIGN_PARAMETERS: Final = ("access_token", "token", TICKET_PARAMETER)
"""Parameters that are not read here. Without authentication, they are for a proxy that authenticates: pages cannot give
a WebSocket or an EventSource a header. With it, a ticket is one of `tidings.access.credentials`."""


class ConnectionOptions(Struct, frozen=True, kw_only=True):
    """The parameters of a handshake's query."""

    paths: PathSet = NO_PATHS
    """Paths that it reads from the start."""
    named: bool = False
    """Whether the query names paths, even if only `none`."""
    everything: bool = False
    """Whether `*` is among them."""
    since: Since = NOW
    pace_ms: int = 0
    revision: str = REVISION
    """Revision of the contract that the client speaks."""


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the names and values of a URL's query in order; the values are not yet decoded.

    Raises:
        InvalidParameter: A name is not UTF-8.
    """
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_decode(name, name), value) for name, _, value in pairs]


def read_values(query: str, known: Iterable[str]) -> dict[str, list[str]]:
    """Return the decoded values of each parameter, in order.

    Args:
        query: The URL's query, without the `?`.
        known: The parameters that the address takes.

    Raises:
        InvalidParameter: There is another parameter, or a value is not UTF-8.
    """
    names = list(known)
    values: dict[str, list[str]] = {}
    for name, value in query_pairs(query):
        if name in names:
            values.setdefault(name, []).append(_decode(name, value))
        elif name not in FOREIGN_PARAMETERS:
            near = find_near(name, names)
            meant = f"Did you mean `{near[0]}`? " if near else ""
            listed = f"The parameters are {', '.join(names)}." if names else "This address takes no parameters."
            raise InvalidParameter(f"unknown parameter {name[:40]!r}", hint=meant + listed)
    return values


def show_query(query: str) -> str:
    """Return a query for a log: the names of the hub's parameters, and nothing that a client can put a secret into."""
    names = (part.partition("=")[0] for part in query.split("&") if part)
    return "&".join(name if name in CONNECTION_PARAMETERS else "…" for name in names)


def _decode(name: str, text: str) -> str:
    try:
        return decode_form(text)
    except UnicodeDecodeError as cause:
        raise InvalidParameter(
            f"invalid parameter {name[:40]!r}: expected percent-encoded UTF-8", hint="Encode the query as UTF-8."
        ) from cause


def parse_connection_query(
    query: str,
    channels: Iterable[str],
    *,
    default_since: str = NOW,
    everything: tuple[Path, ...] | None = None,
) -> ConnectionOptions:
    """Parse the query of a handshake.

    Args:
        query: The URL's query, without the `?`.
        channels: The channels of the contract.
        default_since: Value of an absent `since`.
        everything: The paths that `*` stands for. Default: every channel.

    Raises:
        InvalidPath: A path is not valid.
        UnknownChannel: A path names a channel that is not in the contract.
        InvalidPosition: `since` is not a valid position.
        InvalidParameter: `pace_ms` is not a valid number, or there is an unknown parameter.
        NotSupported: `contract` names an unknown revision.
    """
    pairs = query_pairs(query)
    texts = query_texts(pairs)
    paths = parse_paths(texts, channels, everything)
    values = {name: found[-1] for name, found in read_values(query, CONNECTION_PARAMETERS).items()}
    revision = values.get("contract", REVISION)
    if revision not in REVISIONS:
        raise NotSupported(f"unknown revision contract={revision[:40]!r}", hint=f"Use one of {', '.join(REVISIONS)}.")
    pace = values.get("pace_ms", "0")
    if not (pace.isascii() and pace.isdigit() and len(pace) <= 9):
        raise InvalidParameter(f"invalid pace_ms={pace[:40]!r}: expected milliseconds", hint="Use 0 to 5000.")
    return ConnectionOptions(
        paths=paths,
        everything=EVERYTHING in texts,
        named="channel" in values or "channels" in values,
        since=parse_since(values["since"]) if "since" in values else default_since,
        pace_ms=round_pace(int(pace)),
        revision=revision,
    )
