"""The lines of a recording: a header, then envelopes, each with the time of its receipt.

NDJSON, so that every reader of envelopes reads it: the header is an envelope, too, of a type that no contract has, and
`received` is one field more, which readers ignore.
"""

from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from tidings.protocol.envelope import Envelope, encode_message, single_line
from tidings.protocol.payloads import ContractIdentity

HEADER_TYPE: Final = "tidings:recording"
FORMAT: Final = 1
"""Of the header's data; a reader refuses a later one."""


class Header(Struct, frozen=True, kw_only=True):
    """What a recording is of: the data of its first line. Another one follows where the hub's contract changes."""

    format: Literal[1] = FORMAT
    program: str
    """Which version wrote it."""
    url: str
    """Of the connection, without a password."""
    contract: ContractIdentity | None = None
    """The hub's; None where it did not say."""
    paths: list[str]
    since: str
    plain: bool = False
    """Whether it is what a connection without `tidings.v1` sees: no positions, no event ids."""


class RecordedEnvelope(Envelope, frozen=True, gc=False):
    """An envelope of a recording."""

    received: str | None = None
    """When it came: RFC 3339 in UTC. None in files that were not written by `tidings record`."""


def header_line(header: Header, *, timestamp: str, trace_id: str) -> bytes:
    """Return the line of a header.

    Args:
        header: It.
        timestamp: When the recording began.
        trace_id: Any: an envelope has one.
    """
    return encode_message(HEADER_TYPE, header, timestamp=timestamp, trace_id=trace_id) + b"\n"


def envelope_line(envelope: bytes, received: str) -> bytes:
    """Return the line of an envelope, which is a JSON object with members, received at `received`."""
    return b'%b,"received":"%b"}\n' % (single_line(envelope).rstrip()[:-1].rstrip(), received.encode())


def shown_url(url: str) -> str:
    """Return `url` without user, password and query values, which may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
