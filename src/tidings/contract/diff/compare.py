"""Comparison of two contracts: their channels, their events, and the row and the payload of each event.

Contracts are compared as documents, which `tidings contract export json` writes, and not as `Contract`s: a `Contract`
has this version's own catalogue, and another version of tidings may have exported another one.
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

_DATA = "$.data"
_MIN_SIMILARITY = 0.5
"""Minimum similarity of two names, from 0 to 1, for an event without fields to count as renamed."""


class EventRow(Struct, frozen=True, kw_only=True):
    """One event of a document."""

    type: str
    channel: str | None = None
    key: str | None = None
    event_class: str = field(name="class", default="durable")
    publishable: bool = True
    ends_key: bool = False
    keep_newest: int | None = None
    deprecated: str = ""
    name: str = ""
    """Name of the payload's struct."""
    description: str = ""
    payload: dict[str, Any]
    """The JSON Schema of the payload."""


class ContractDocument(Struct, frozen=True, kw_only=True):
    """One contract as a document."""

    tidings: str = FORMAT
    version: str = ""
    """The contract's revision, a date."""
    hash: str = ""
    channels: tuple[str, ...] = ()
    events: tuple[EventRow, ...]
    definitions: dict[str, Any] = field(name="$defs", default_factory=dict)
    """The definitions that the payloads refer to."""


def build_document(contract: Contract) -> ContractDocument:
    """Return a contract as a document."""
    return msgspec.convert(build_contract_document(contract), type=ContractDocument)


def read_document(decoded: Any, source: str) -> ContractDocument:
    """Return the document of a decoded file: unchanged if exported, with the catalogue added if written by a person.

    Args:
        decoded: The file's plain values.
        source: Name of the file, for errors.

    Raises:
        InvalidContract: The file is not a valid contract.
    """
    if not isinstance(decoded, Mapping) or "hash" not in decoded:
        return build_document(build_contract(decoded, source))
    if decoded.get("tidings", FORMAT) != FORMAT:
        fault = f"unknown format {str(decoded['tidings'])[:80]!r}: expected {FORMAT!r}"
        raise InvalidContract(f"{source}: {fault}", type="", hint="Upgrade tidings.")
    try:
        return msgspec.convert(decoded, type=ContractDocument)
    except msgspec.ValidationError as cause:
        hint = "Export it again with `tidings contract export json`."
        raise InvalidContract(f"{source}: invalid exported contract: {cause}", type="", hint=hint) from cause


def diff_contracts(old: Contract, new: Contract) -> ContractDiff:
    """Return the changes from one contract to another."""
    return diff_documents(build_document(old), build_document(new))


def diff_documents(old: ContractDocument, new: ContractDocument) -> ContractDiff:
    """Return the changes from one document to another.

    Raises:
        InvalidContract: The schema of a payload is invalid.
    """
    return ContractDiff(tuple(_compare_documents(old, new)))


def _compare_documents(old: ContractDocument, new: ContractDocument) -> Iterator[Change]:
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
    renamed = _find_renamed(old, new)
    for type, row in before.items():
        if type in after:
            yield from _compare_events(row, after[type], old, new)
        elif type in renamed:
            yield _spare_writers(make_change("event-renamed", renamed[type], "", type, renamed[type]), row)
            yield from _compare_events(row, after[renamed[type]], old, new)
        else:
            yield _spare_writers(make_change("event-removed", type, "", type, None), row)
    for type in after:
        if type not in before and type not in renamed.values():
            yield make_change("event-added", type, "", None, type)


def _compare_events(
    old: EventRow, new: EventRow, before: ContractDocument, after: ContractDocument
) -> Iterator[Change]:
    comparison = SchemaComparison(new.type, before.definitions, after.definitions)
    changes = [*_compare_rows(old, new), *comparison.compare(old.payload, new.payload, _DATA)]
    # An event's description is the first paragraph of its payload's: a change of both is reported once.
    if any(each.rule.id == "description-changed" and not each.path for each in changes):
        changes = [each for each in changes if (each.rule.id, each.path) != ("description-changed", _DATA)]
    yield from (_spare_writers(each, old) for each in changes)


def _compare_rows(old: EventRow, new: EventRow) -> Iterator[Change]:
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
        was_and_is = bool(old.deprecated), bool(new.deprecated)
        rule = {(False, True): "event-deprecated", (True, False): "event-not-deprecated"}.get(
            was_and_is, "deprecation-changed"
        )
        yield make_change(rule, type, "deprecated", old.deprecated or None, new.deprecated or None)
    if old.name != new.name:
        yield make_change("name-changed", type, "name", old.name or None, new.name or None)
    if old.description != new.description:
        yield make_change("description-changed", type, "", old.description or None, new.description or None)


def _spare_writers(found: Change, old: EventRow) -> Change:
    """Return the change, compatible for writers if only the hub writes the event."""
    if old.publishable or found.writers.verdict is not Compatibility.BREAKING:
        return found
    return msgspec.structs.replace(found, writers=ONLY_HUB_WRITES)


def _find_renamed(old: ContractDocument, new: ContractDocument) -> dict[str, str]:
    """Return the new types of events that were probably renamed, by their old ones: equal but for the type."""
    removed = [row for row in old.events if all(row.type != each.type for each in new.events)]
    added = [row for row in new.events if all(row.type != each.type for each in old.events)]
    by_similarity = sorted(
        ((SequenceMatcher(None, one.type, other.type).ratio(), one, other) for one in removed for other in added),
        key=lambda each: -each[0],
    )
    found: dict[str, str] = {}
    for ratio, one, other in by_similarity:
        if one.type in found or other.type in found.values():
            continue
        distinctive = bool(one.payload) and (_has_fields(one, old) or ratio >= _MIN_SIMILARITY)
        same_row = (one.key, one.event_class) == (other.key, other.event_class)
        if distinctive and same_row and _is_equal_payload(one, other, old, new):
            found[one.type] = other.type
    return found


def _has_fields(row: EventRow, document: ContractDocument) -> bool:
    name = str(row.payload.get("$ref", "")).removeprefix(REFERENCE_PREFIX)
    schema = document.definitions.get(name, row.payload)
    return bool(schema.get("properties")) if isinstance(schema, dict) else False


def _is_equal_payload(one: EventRow, other: EventRow, old: ContractDocument, new: ContractDocument) -> bool:
    """Return whether two payloads allow the same values."""
    found = SchemaComparison(other.type, old.definitions, new.definitions).compare(one.payload, other.payload, _DATA)
    return all(each.verdict is Compatibility.ANNOTATION for each in found)
