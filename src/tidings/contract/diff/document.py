"""A contract as it is compared: what `tidings contract export json` writes, of whichever tidings wrote it.

Not a `Contract`: of one, the events that every hub speaks are this tidings' own, and another's may be others.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from tidings.contract.contract import Contract
from tidings.contract.export.document import contract_document
from tidings.contract.files import FORMAT, contract_of
from tidings.exceptions import InvalidContract


class EventRow(Struct, frozen=True, kw_only=True):
    """One event, as a document tells it."""

    type: str
    channel: str | None = None
    key: str | None = None
    event_class: str = field(name="class", default="durable")
    publishable: bool = True
    ends_key: bool = False
    keep_newest: int | None = None
    deprecated: str = ""
    name: str = ""
    """Its struct's."""
    description: str = ""
    payload: dict[str, Any]
    """A JSON Schema."""


class Document(Struct, frozen=True, kw_only=True):
    """One contract, as a document tells it."""

    tidings: str = FORMAT
    version: str = ""
    """The source contract's revision."""
    hash: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[EventRow, ...]
    definitions: dict[str, Any] = field(name="$defs", default_factory=dict)
    """What the payloads refer to."""


def document_of(contract: Contract) -> Document:
    """Return a contract as a document."""
    return msgspec.convert(contract_document(contract), type=Document)


def read_document(decoded: Any, source: str) -> Document:
    """Return the document that a decoded file holds: an exported one as it is, a written one with every hub's events.

    Args:
        decoded: Plain values.
        source: Where they are from, for messages.

    Raises:
        InvalidContract: It is no contract.
    """
    if not isinstance(decoded, Mapping) or "hash" not in decoded:
        return document_of(contract_of(decoded, source))
    if decoded.get("tidings", FORMAT) != FORMAT:
        hint = "Use a newer tidings."
        raise InvalidContract(f"{source}: its form is {decoded['tidings']!r}; {FORMAT!r} is read", type="", hint=hint)
    try:
        return msgspec.convert(decoded, type=Document)
    except msgspec.ValidationError as cause:
        hint = "Export it again: `tidings contract export json`."
        raise InvalidContract(f"{source}: this is no exported contract: {cause}", type="", hint=hint) from cause
