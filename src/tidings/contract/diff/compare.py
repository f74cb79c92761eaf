"""Two contracts, compared: their channels, their events, and each event's row and payload.

A contract as it is compared: what `tidings contract export json` writes, of whichever tidings wrote it.

Not a `Contract`: of one, the events that every hub speaks are this tidings' own, and another's may be others.
"""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

import msgspec
from msgspec import Struct, field

from tidings.contract.contract import Contract
from tidings.contract.diff.rules import ONLY_HUB_WRITES, Change, Compatibility, ContractDiff, make_change
from tidings.contract.diff.schemas import SchemaComparison
from tidings.contract.export.document import build_contract_document
from tidings.contract.json_schema import REFERENCE_PREFIX
from tidings.contract.loading import FORMAT, build_contract
from tidings.exceptions import InvalidContract
from tidings.protocol.message_types import ChannelType, EventClass


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


class ContractDocument(Struct, frozen=True, kw_only=True):
    """One contract, as a document tells it."""

    tidings: str = FORMAT
    version: str = ""
    """The source contract's revision."""
    hash: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[EventRow, ...]
    definitions: dict[str, Any] = field(name="$defs", default_factory=dict)
    """What the payloads refer to."""


def build_document(contract: Contract) -> ContractDocument:
    """Return a contract as a document."""
    return msgspec.convert(build_contract_document(contract), type=ContractDocument)


def read_document(decoded: Any, source: str) -> ContractDocument:
    """Return the document that a decoded file holds: an exported one as it is, a written one with every hub's events.

    Args:
        decoded: Plain values.
        source: Where they are from, for messages.

    Raises:
        InvalidContract: It is no contract.
    """
    if not isinstance(decoded, Mapping) or "hash" not in decoded:
        return build_document(build_contract(decoded, source))
    if decoded.get("tidings", FORMAT) != FORMAT:
        hint = "Use a newer tidings."
        raise InvalidContract(f"{source}: its form is {decoded['tidings']!r}; {FORMAT!r} is read", type="", hint=hint)
    try:
        return msgspec.convert(decoded, type=ContractDocument)
    except msgspec.ValidationError as cause:
        hint = "Export it again: `tidings contract export json`."
        raise InvalidContract(f"{source}: this is no exported contract: {cause}", type="", hint=hint) from cause


_DATA = "$.data"
_SIMILAR = 0.5
"""How alike two names are, of 1, before an event without fields is taken for a renamed one."""


def diff_contracts(old: Contract, new: Contract) -> ContractDiff:
    """Return what changed from one contract to another."""
    return diff_documents(build_document(old), build_document(new))


def diff_documents(old: ContractDocument, new: ContractDocument) -> ContractDiff:
    """Return what changed from one document to another.

    Raises:
        InvalidContract: A payload's schema is none.
    """
    return ContractDiff(tuple(_changes(old, new)))


def _changes(old: ContractDocument, new: ContractDocument) -> Iterator[Change]:
    if old.version != new.version:
        yield make_change("revision-changed", "", "version", old.version, new.version)
    for name in old.channels:
        if name not in new.channels:
            yield make_change("channel-removed", "", f"channels.{name}", name, None)
    for name in new.channels:
        if name not in old.channels:
            yield make_change("channel-added", "", f"channels.{name}", None, name)
    before = {row.type: row for row in old.events}
    after = {row.type: row for row in new.events}
    renamed = _renamed(old, new)
    for type, row in before.items():
        if type in after:
            yield from _compared(row, after[type], old, new)
        elif type in renamed:
            yield _for_hub_alone(make_change("event-renamed", renamed[type], "", type, renamed[type]), row)
            yield from _compared(row, after[renamed[type]], old, new)
        else:
            yield _for_hub_alone(make_change("event-removed", type, "", type, None), row)
    for type in after:
        if type not in before and type not in renamed.values():
            yield make_change("event-added", type, "", None, type)


def _compared(old: EventRow, new: EventRow, before: ContractDocument, after: ContractDocument) -> Iterator[Change]:
    comparison = SchemaComparison(new.type, before.definitions, after.definitions)
    changes = [*_row(old, new), *comparison.compare(old.payload, new.payload, _DATA)]
    # An event's description is the first paragraph of its payload's: one change of both is told once.
    if any(each.rule.id == "description-changed" and not each.path for each in changes):
        changes = [each for each in changes if (each.rule.id, each.path) != ("description-changed", _DATA)]
    yield from (_for_hub_alone(each, old) for each in changes)


def _row(old: EventRow, new: EventRow) -> Iterator[Change]:
    type = new.type
    if old.channel != new.channel:
        to_global = new.channel == ChannelType.GLOBAL and old.channel is not None
        yield make_change(
            "channel-to-global" if to_global else "channel-changed", type, "channel", old.channel, new.channel
        )
    if old.key != new.key:
        rule = "key-added" if old.key is None else "key-removed" if new.key is None else "key-changed"
        yield make_change(rule, type, "key", old.key, new.key)
    if old.event_class != new.event_class:
        logged = {old.event_class, new.event_class} == {EventClass.DURABLE, EventClass.LATEST}
        yield make_change(
            f"class-to-{new.event_class}" if logged else "class-changed",
            type,
            "class",
            old.event_class,
            new.event_class,
        )
    if old.publishable is not new.publishable:
        rule = "publishable" if new.publishable else "hub-only"
        yield make_change(rule, type, "publishable", old.publishable, new.publishable)
    if old.ends_key is not new.ends_key:
        rule = "ends-key-added" if new.ends_key else "ends-key-removed"
        yield make_change(rule, type, "ends_key", old.ends_key, new.ends_key)
    if old.keep_newest != new.keep_newest:
        less = old.keep_newest is None or (new.keep_newest is not None and new.keep_newest < old.keep_newest)
        yield make_change("kept-less" if less else "kept-more", type, "keep_newest", old.keep_newest, new.keep_newest)
    if old.deprecated != new.deprecated:
        said = bool(old.deprecated), bool(new.deprecated)
        rule = {(False, True): "event-deprecated", (True, False): "event-not-deprecated"}.get(
            said, "deprecation-changed"
        )
        yield make_change(rule, type, "deprecated", old.deprecated or None, new.deprecated or None)
    if old.name != new.name:
        yield make_change("name-changed", type, "name", old.name or None, new.name or None)
    if old.description != new.description:
        yield make_change("description-changed", type, "", old.description or None, new.description or None)


def _for_hub_alone(found: Change, old: EventRow) -> Change:
    """Return a change of an event that had no writers but the hub: for them it changes nothing."""
    if old.publishable or found.writers.verdict is not Compatibility.BREAKING:
        return found
    return msgspec.structs.replace(found, writers=ONLY_HUB_WRITES)


def _renamed(old: ContractDocument, new: ContractDocument) -> dict[str, str]:
    """Return, by the old name, events that probably have a new one: gone here, come there, and otherwise the same."""
    gone = [row for row in old.events if all(row.type != each.type for each in new.events)]
    come = [row for row in new.events if all(row.type != each.type for each in old.events)]
    likeness = sorted(
        ((SequenceMatcher(None, one.type, other.type).ratio(), one, other) for one in gone for other in come),
        key=lambda each: -each[0],
    )
    found: dict[str, str] = {}
    for ratio, one, other in likeness:
        if one.type in found or other.type in found.values():
            continue
        telling = bool(one.payload) and (_has_fields(one, old) or ratio >= _SIMILAR)
        if telling and (one.key, one.event_class) == (other.key, other.event_class) and _is_same(one, other, old, new):
            found[one.type] = other.type
    return found


def _has_fields(row: EventRow, document: ContractDocument) -> bool:
    name = str(row.payload.get("$ref", "")).removeprefix(REFERENCE_PREFIX)
    schema = document.definitions.get(name, row.payload)
    return bool(schema.get("properties")) if isinstance(schema, dict) else False


def _is_same(one: EventRow, other: EventRow, old: ContractDocument, new: ContractDocument) -> bool:
    """Return whether two payloads allow the same."""
    found = SchemaComparison(other.type, old.definitions, new.definitions).compare(one.payload, other.payload, _DATA)
    return all(each.verdict is Compatibility.ANNOTATION for each in found)
