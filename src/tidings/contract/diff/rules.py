"""The rules of contract changes: one row for each kind of change, and its effect on programs of the old contract.

Readers are programs of the old contract that read events of the new one; writers are programs of the old contract that
publish to a hub of the new one. A payload's change is compatible for readers if every value of the new payload is valid
for the old one, and for writers if the reverse holds. Readers ignore unknown members and events
(docs/protocol/events.md, "Reading payloads").
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct


class Compatibility(StrEnum):
    """The verdict on a change for one side."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    ANNOTATION = "annotation"
    """The change is for people: neither the wire nor a program's behaviour depends on it."""


class Effect(Struct, frozen=True):
    """The effect of a change on one side, and the reason."""

    verdict: Compatibility
    because: str


class Rule(Struct, frozen=True, kw_only=True):
    """One kind of change."""

    id: str
    """Name of the rule. It never changes: scripts may use it."""
    sentence: str
    """The change, as a clause."""
    readers: Effect
    writers: Effect


def _breaks(because: str) -> Effect:
    return Effect(Compatibility.BREAKING, because)


def _fits(because: str) -> Effect:
    return Effect(Compatibility.COMPATIBLE, because)


_Sides = tuple[Effect, Effect]
"""The effects on readers and on writers."""

_SAME = _fits("nothing changes for them")
_RECEIVE_INVALID = _breaks("they may receive values that they do not accept")
_SEND_INVALID = _breaks("the hub may reject their events")
_WIDER: _Sides = (_RECEIVE_INVALID, _fits("the hub still accepts their events"))
"""More values are allowed than before."""
_NARROWER: _Sides = (_fits("they accept more than they receive"), _SEND_INVALID)
"""Fewer values are allowed than before."""
_DIFFERENT: _Sides = (_RECEIVE_INVALID, _SEND_INVALID)
"""Neither set of values includes the other, or this cannot be decided."""
_NOTE = Effect(Compatibility.ANNOTATION, "it is for people")
_FOR_PEOPLE: _Sides = (_NOTE, _NOTE)
_HARMLESS: _Sides = (_SAME, _SAME)

ONLY_HUB_WRITES = _fits("only the hub writes this event")
"""The effect on writers of any change of an event that clients cannot publish."""

_IGNORED = _fits("they ignore what they do not know")
_NOT_SENT = _fits("they do not send it")
_REJECTED = _breaks("the hub rejects it")

_CONTRACT: Mapping[str, tuple[str, _Sides]] = {
    "channel-added": ("a channel was added", _HARMLESS),
    "channel-removed": (
        "a channel was removed",
        (_breaks("the hub rejects subscriptions to it"), _breaks("the hub rejects events that name it")),
    ),
    "revision-changed": ("the contract's revision changed", _FOR_PEOPLE),
    "event-added": ("an event was added", (_IGNORED, _NOT_SENT)),
    "event-removed": ("an event was removed", (_breaks("they wait for an event that never arrives"), _REJECTED)),
    "event-renamed": (
        "an event was probably renamed: its payload has another type",
        (_breaks("they wait for the old type, and ignore the new one"), _breaks("the hub rejects the old type")),
    ),
    "channel-changed": (
        "the event moved to another channel",
        (
            _breaks("subscriptions to the old channel no longer receive it"),
            _breaks("the hub rejects events that name the old channel"),
        ),
    ),
    "channel-to-global": (
        "the event moved to `global`",
        (_fits("global is part of every subscription"), _breaks("the hub rejects events that name the old channel")),
    ),
    "key-added": (
        "the event has a key",
        (
            _fits("a subscription to the whole channel receives the same events"),
            _breaks("a key is 1–255 bytes without control characters: the hub rejects other texts"),
        ),
    ),
    "key-removed": (
        "the event no longer has a key",
        (_breaks("a path with a key receives nothing, and a snapshot holds only the newest of all events"), _SAME),
    ),
    "key-changed": (
        "another field is the event's key",
        (
            _breaks("paths, snapshots and conflation use another field"),
            _breaks("they did not write the new field as a key"),
        ),
    ),
    "class-to-latest": (
        "the event is conflated: a newer one of its key supersedes it",
        (_breaks("they may miss events that they need"), _SAME),
    ),
    "class-to-durable": (
        "the event is never skipped",
        (_fits("they receive all events instead of the newest ones"), _SAME),
    ),
    "class-changed": (
        "the event has another class",
        (_breaks("its delivery is different"), _breaks("the hub handles it differently, or rejects it")),
    ),
    "hub-only": ("only the hub may write the event", (_SAME, _breaks("the hub rejects it: it is not publishable"))),
    "publishable": ("clients may publish the event", _HARMLESS),
    "ends-key-added": (
        "the event ends its key: soon after it, the key's newest events leave the snapshot",
        (_breaks("late subscribers no longer find the key"), _SAME),
    ),
    "ends-key-removed": ("the event no longer ends its key", (_fits("late subscribers find more events"), _SAME)),
    "kept-less": (
        "fewer events of one key are stored",
        (_breaks("late subscribers no longer find the older events"), _SAME),
    ),
    "kept-more": ("more events of one key are stored", (_fits("late subscribers find more events"), _SAME)),
    "event-deprecated": ("the event is deprecated", _FOR_PEOPLE),
    "event-not-deprecated": ("the event is no longer deprecated", _FOR_PEOPLE),
    "deprecation-changed": ("the replacement of the deprecated event changed", _FOR_PEOPLE),
    "name-changed": ("the payload's struct has another name, and so have the exported types", _FOR_PEOPLE),
}

_MISSING = _breaks("they may receive the event without the field, which they need")
_FIELDS: Mapping[str, tuple[str, _Sides]] = {
    "field-added-required": (
        "a required field was added",
        (_IGNORED, _breaks("the hub rejects events without the field")),
    ),
    "field-added-optional": ("an optional field was added", (_IGNORED, _NOT_SENT)),
    "field-removed-required": (
        "a required field was removed",
        (_MISSING, _fits("the hub forwards members that are not declared")),
    ),
    "field-removed-optional": (
        "an optional field was removed",
        (_fits("they do not need it"), _fits("the hub forwards members that are not declared")),
    ),
    "field-became-required": (
        "an optional field became required",
        (_fits("it is present more often"), _breaks("the hub rejects events without the field")),
    ),
    "field-became-optional": ("a required field became optional", (_MISSING, _fits("they may still send it"))),
    "field-unexpected": (
        "a field was added to an object that allowed no others",
        (_breaks("they reject members that they do not know"), _NOT_SENT),
    ),
    "field-refused": (
        "a field was removed from an object that allows no others",
        (_fits("another change reports whether they need it"), _breaks("the hub rejects events with the field")),
    ),
    "object-closed": ("members that are not declared became invalid", _NARROWER),
    "object-opened": ("members that are not declared became valid", _WIDER),
    "fields-declared": ("an object of any members has declared fields", _NARROWER),
    "fields-undeclared": ("an object with declared fields became one of any members", _WIDER),
    "object-form-changed": (
        "an object with declared fields became one of values by name, or the reverse",
        _DIFFERENT,
    ),
    "variant-added": ("a variant was added", _WIDER),
    "variant-removed": ("a variant was removed", _NARROWER),
    "variants-changed": ("an object has other variants, or another member that distinguishes them", _DIFFERENT),
    "default-changed": (
        "an absent field means another value",
        (
            _breaks("they read an absent field as the old value, where its writer means the new one"),
            _breaks("they omit the field to mean the old value, and the hub reads the new one"),
        ),
    ),
    "default-added": ("the field has a default", _FOR_PEOPLE),
    "default-removed": ("the field no longer has a default", _FOR_PEOPLE),
}

_VALUES: Mapping[str, tuple[str, _Sides]] = {
    "type-changed": ("the type changed", _DIFFERENT),
    "type-added": ("one more type is allowed", _WIDER),
    "type-removed": ("one type is no longer allowed", _NARROWER),
    "type-opened": ("any value is allowed", _WIDER),
    "type-narrowed": ("fewer values are allowed", _NARROWER),
    "integer-to-number": ("a fraction is allowed", _WIDER),
    "number-to-integer": ("a fraction is no longer allowed", _NARROWER),
    "null-allowed": ("null is allowed", _WIDER),
    "null-refused": ("null is no longer allowed", _NARROWER),
    "minimum-raised": ("the minimum is greater", _NARROWER),
    "minimum-lowered": ("the minimum is smaller", _WIDER),
    "maximum-lowered": ("the maximum is smaller", _NARROWER),
    "maximum-raised": ("the maximum is greater", _WIDER),
    "step-added": ("the number must be a multiple", _NARROWER),
    "step-removed": ("the number no longer must be a multiple", _WIDER),
    "step-raised": ("the number must be a multiple of a multiple of the old step", _NARROWER),
    "step-lowered": ("the number must be a multiple of a divisor of the old step", _WIDER),
    "step-changed": ("the number must be a multiple of another step", _DIFFERENT),
    "length-minimum-raised": ("the minimum length is greater", _NARROWER),
    "length-minimum-lowered": ("the minimum length is smaller", _WIDER),
    "length-maximum-lowered": ("the maximum length is smaller", _NARROWER),
    "length-maximum-raised": ("the maximum length is greater", _WIDER),
    "pattern-added": ("the text must match a pattern", _NARROWER),
    "pattern-removed": ("the text no longer must match a pattern", _WIDER),
    "pattern-changed": (
        "the text must match another pattern; whether one includes the other cannot be decided",
        _DIFFERENT,
    ),
    "format-added": ("the text has a format", _NARROWER),
    "format-removed": ("the text no longer has a format", _WIDER),
    "format-changed": ("the text has another format", _DIFFERENT),
    "choice-value-added": ("a value was added to a choice", _WIDER),
    "choice-value-removed": ("a value was removed from a choice", _NARROWER),
    "choice-opened": ("a choice became free", _WIDER),
    "choice-closed": ("a free value became a choice", _NARROWER),
    "choice-changed": ("a choice became free, or the reverse, and has values that the other side rejects", _DIFFERENT),
    "count-minimum-raised": ("the minimum count is greater", _NARROWER),
    "count-minimum-lowered": ("the minimum count is smaller", _WIDER),
    "count-maximum-lowered": ("the maximum count is smaller", _NARROWER),
    "count-maximum-raised": ("the maximum count is greater", _WIDER),
    "unique-added": ("items must differ from each other", _NARROWER),
    "unique-removed": ("items may repeat", _WIDER),
    "array-form-changed": (
        "an array of any length became one of fixed places, or the number of places changed",
        _DIFFERENT,
    ),
    "keyword-changed": ("the schema has a keyword without a rule", _DIFFERENT),
    "title-changed": ("the title changed", _FOR_PEOPLE),
    "description-changed": ("the description changed", _FOR_PEOPLE),
    "examples-changed": ("the examples changed", _FOR_PEOPLE),
    "deprecated-changed": ("the value is deprecated, or no longer is", _FOR_PEOPLE),
    "comment-changed": ("a comment changed", _FOR_PEOPLE),
}

RULES: Mapping[str, Rule] = {
    id: Rule(id=id, sentence=sentence, readers=readers, writers=writers)
    for table in (_CONTRACT, _FIELDS, _VALUES)
    for id, (sentence, (readers, writers)) in table.items()
}
"""All rules by id, in the order of the tables in docs/contract-changes.md."""


Side = Literal["readers", "writers", "any"]

_BY_SEVERITY = (Compatibility.ANNOTATION, Compatibility.COMPATIBLE, Compatibility.BREAKING)


class Change(Struct, frozen=True, kw_only=True):
    """One difference between two contracts."""

    event: str
    """The event's type, by its new name; "" for a change of the contract itself."""
    path: str
    """``$.data.price`` in a message, ``channel`` in the event's row, ``channels.trades`` in the contract, or "" for the
    event itself."""
    rule: Rule
    readers: Effect
    writers: Effect
    before: Any = None
    """The old JSON value; None if there was none."""
    after: Any = None
    """The new JSON value; None if there is none."""

    @property
    def verdict(self) -> Compatibility:
        """The worse verdict of both sides."""
        return max(self.readers.verdict, self.writers.verdict, key=_BY_SEVERITY.index)

    def breaks(self, side: Side) -> bool:
        """Return whether the change breaks readers, writers, or any of them."""
        effects = {"readers": (self.readers,), "writers": (self.writers,), "any": (self.readers, self.writers)}
        return any(effect.verdict is Compatibility.BREAKING for effect in effects[side])


class ContractDiff(Struct, frozen=True):
    """The differences between two contracts, in the order of the old contract's events."""

    changes: tuple[Change, ...]

    def breaking(self, side: Side = "any") -> tuple[Change, ...]:
        """Return the changes that break a side."""
        return tuple(change for change in self.changes if change.breaks(side))

    def count(self, verdict: Compatibility) -> int:
        """Return the number of changes with a verdict."""
        return sum(change.verdict is verdict for change in self.changes)


def make_change(rule: str, event: str, path: str = "", before: Any = None, after: Any = None) -> Change:
    """Return a change by the id of its rule, with the rule's own effects."""
    row = RULES[rule]
    return Change(
        event=event, path=path, rule=row, readers=row.readers, writers=row.writers, before=before, after=after
    )
