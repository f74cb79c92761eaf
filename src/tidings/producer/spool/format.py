"""The lines of a spool file: a header, then what is kept and what is done with, in the order it happened."""

import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from tidings.client.pending import Draft
from tidings.protocol.payloads import OperationStartData

_FORMAT = 1
SUFFIX = ".ndjson"
UNFINISHED = ".new"
"""Of a file that is not whole yet: it gets its name when its header is in it and its lock is taken."""


class Header(Struct, frozen=True, kw_only=True):
    """The first line: whose events these are, and where they go."""

    spool: int = _FORMAT
    url: str
    producer_id: str
    pid: int


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that the hub may not have."""

    draft: Draft
    attempt: int | None = None
    """The attempt that it ends, as far as that is known."""
    again: OperationStartData | None = None
    """The start of the next attempt, for an end that comes after the hub has given this one up."""


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line behind the header."""

    keep: Kept | None = None
    done: str | None = None
    """The event id of one that the hub has, or will not have."""


encode_line = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_line = msgspec.json.Decoder(Line).decode


def file_name(url: str, producer_id: str) -> str:
    """Return the name of a producer's spool file; those for one address begin alike."""
    return f"{name_prefix(url)}{producer_id}{SUFFIX}"


def name_prefix(url: str) -> str:
    """Return how the names of spool files for `url` begin; the address itself may hold what no name can."""
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:12] + "-"


def read_lines(data: bytes) -> tuple[Header | None, dict[str, Kept]]:
    """Return what a spool file holds: its header, and what is kept by event id, in order.

    A process that dies while it writes leaves half a line: what cannot be read is passed over.

    Returns:
        No header where it is no spool file of ours.
    """
    first, _, rest = data.partition(b"\n")
    try:
        header = _decode_header(first)
    except msgspec.DecodeError:
        return None, {}
    if header.spool != _FORMAT:
        return None, {}
    return header, _pending(rest.splitlines())


def _pending(lines: Iterable[bytes]) -> dict[str, Kept]:
    pending: dict[str, Kept] = {}
    for text in lines:
        try:
            line = _decode_line(text)
        except msgspec.DecodeError:
            continue
        if line.keep is not None:
            pending[line.keep.draft.event_id] = line.keep
        elif line.done is not None:
            pending.pop(line.done, None)
    return pending
