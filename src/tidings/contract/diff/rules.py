"""What may change in a contract, one row a rule, and what each change does to those who do not know of it yet.

Readers are old readers of what is written from now on; writers are old writers to a hub that speaks the new contract.
A payload's change is compatible for readers where whatever fits the new one fits the old one too, and for writers the
other way round. What nobody told a reader to expect he passes over: members and events that he does not know (§1, §3).

One change, and all of them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct


class Compatibility(StrEnum):
    """What a change does."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    ANNOTATION = "annotation"
    """It is for people: nothing on the wire, and nothing that a program does, depends on it."""


class Effect(Struct, frozen=True):
    """What a change does to one side, and why."""

    verdict: Compatibility
    because: str


class Rule(Struct, frozen=True, kw_only=True):
    """One kind of change."""

    id: str
    """Never changes: scripts may name it."""
    sentence: str
    """What happened."""
    readers: Effect
    writers: Effect


def _breaks(because: str) -> Effect:
    return Effect(Compatibility.BREAKING, because)


def _fits(because: str) -> Effect:
    return Effect(Compatibility.COMPATIBLE, because)


Sides = tuple[Effect, Effect]
"""For readers, for writers."""

_SAME = _fits("nothing changes for them")
_MAY_GET = _breaks("they may get what they do not take")
_MAY_SEND = _breaks("they may be refused what they send")
WIDER: Sides = (_MAY_GET, _fits("what they send is still taken"))
"""More is allowed than before."""
NARROWER: Sides = (_fits("they took more than they will get"), _MAY_SEND)
"""Less is."""
OTHER: Sides = (_MAY_GET, _MAY_SEND)
"""Neither includes the other, or nobody can tell."""
_NOTE = Effect(Compatibility.ANNOTATION, "it is for people")
NOTE: Sides = (_NOTE, _NOTE)
HARMLESS: Sides = (_SAME, _SAME)

ONLY_HUB_WRITES = _fits("only the hub writes this event")
"""For writers of an event that has none but the hub."""

_UNREAD = _fits("they pass over what they do not know")
_UNWRITTEN = _fits("they do not write it")
_WAIT = _breaks("they wait for what never comes")

_CONTRACT: Mapping[str, tuple[str, Sides]] = {
    "channel-added": ("a channel was added", HARMLESS),
    "channel-removed": (
        "a channel was removed",
        (_breaks("subscribing to it is refused"), _breaks("an event that names it is refused")),
    ),
    "revision-changed": ("it is of another revision of the source contract", NOTE),
    "event-added": ("an event was added", (_UNREAD, _UNWRITTEN)),
    "event-removed": ("an event was removed", (_WAIT, _breaks("it is refused: nobody knows it"))),
    "event-renamed": (
        "an event was probably renamed: its payload goes by another name",
        (_breaks("they wait for the old name, and pass over the new one"), _breaks("the old name is refused")),
    ),
    "channel-changed": (
        "the event goes to another channel",
        (_breaks("who subscribed to the old one no longer gets it"), _breaks("who names the old one is refused")),
    ),
    "channel-to-global": (
        "the event goes to `global`",
        (_fits("global is part of every subscription"), _breaks("who names the old channel is refused")),
    ),
    "key-added": (
        "the event has a key",
        (
            _fits("a subscription to the whole channel gets what it got"),
            _breaks("a key is 1–255 bytes without control characters: other texts are refused"),
        ),
    ),
    "key-removed": (
        "the event has no key any more",
        (_breaks("a path with a key gets nothing, and a snapshot holds only the newest of all"), _SAME),
    ),
    "key-changed": (
        "the event goes by another key",
        (
            _breaks("paths, snapshots and conflation go by another field"),
            _breaks("what they send goes by a field that they did not write as a key"),
        ),
    ),
    "class-to-latest": (
        "the event is conflated: a newer one of its key supersedes it",
        (_breaks("they may be spared what they count on"), _SAME),
    ),
    "class-to-durable": (
        "the event is never skipped any more",
        (_fits("they get all, where they got the newest"), _SAME),
    ),
    "class-changed": (
        "the event is of another class",
        (_breaks("it is delivered otherwise"), _breaks("it is taken otherwise, or not at all")),
    ),
    "hub-only": ("only the hub writes the event any more", (_SAME, _breaks("it is refused: it is not publishable"))),
    "publishable": ("others than the hub may write the event", HARMLESS),
    "ends-key-added": (
        "the event ends its key: soon after it, the key's newest events leave the snapshot",
        (_breaks("who comes late no longer finds the key"), _SAME),
    ),
    "ends-key-removed": ("the event does not end its key any more", (_fits("who comes late finds more"), _SAME)),
    "kept-less": (
        "fewer events of one key are kept",
        (_breaks("who comes late no longer finds the older ones"), _SAME),
    ),
    "kept-more": ("more events of one key are kept", (_fits("who comes late finds more"), _SAME)),
    "event-deprecated": ("the event is deprecated", NOTE),
    "event-not-deprecated": ("the event is not deprecated any more", NOTE),
    "deprecation-changed": ("what to publish instead is said otherwise", NOTE),
    "name-changed": ("the payload's struct has another name, and so have the types that are exported", NOTE),
}

_LEFT_OUT = _breaks("they may get it without the field, which they need")
_FIELDS: Mapping[str, tuple[str, Sides]] = {
    "field-added-required": ("a required field was added", (_UNREAD, _breaks("they leave it out, and are refused"))),
    "field-added-optional": ("an optional field was added", (_UNREAD, _UNWRITTEN)),
    "field-removed-required": (
        "a required field was removed",
        (_LEFT_OUT, _fits("members that nobody declared are passed over")),
    ),
    "field-removed-optional": (
        "an optional field was removed",
        (_fits("they do without it"), _fits("members that nobody declared are passed over")),
    ),
    "field-became-required": (
        "an optional field became required",
        (_fits("it is there more often"), _breaks("who leaves it out is refused")),
    ),
    "field-became-optional": ("a required field became optional", (_LEFT_OUT, _fits("it may still be written"))),
    "field-unexpected": (
        "a field was added to an object that allowed no others",
        (_breaks("they refuse members that they do not know"), _UNWRITTEN),
    ),
    "field-refused": (
        "a field was removed from an object that allows no others",
        (_fits("it was told already whether they need it"), _breaks("who writes it is refused")),
    ),
    "object-closed": ("members that nobody declared are refused", NARROWER),
    "object-opened": ("members that nobody declared are allowed", WIDER),
    "fields-declared": ("an object of anything has declared fields", NARROWER),
    "fields-undeclared": ("an object with declared fields is one of anything", WIDER),
    "object-form-changed": (
        "an object with declared fields became one of values by name, or the other way round",
        OTHER,
    ),
    "variant-added": ("a variant was added", WIDER),
    "variant-removed": ("a variant was removed", NARROWER),
    "variants-changed": ("an object has other variants, or is told apart otherwise", OTHER),
    "default-changed": (
        "leaving the field out means another value",
        (
            _breaks("they take it for the old value, where who left it out meant the new one"),
            _breaks("they leave it out and mean the old value, and it is taken for the new one"),
        ),
    ),
    "default-added": ("what leaving the field out means is said", NOTE),
    "default-removed": ("what leaving the field out means is not said any more", NOTE),
}

_VALUES: Mapping[str, tuple[str, Sides]] = {
    "type-changed": ("it is of another type", OTHER),
    "type-added": ("it may be of one more type", WIDER),
    "type-removed": ("it may be of one type less", NARROWER),
    "type-opened": ("it may be anything", WIDER),
    "type-narrowed": ("it may not be just anything any more", NARROWER),
    "integer-to-number": ("it may have a fraction", WIDER),
    "number-to-integer": ("it may have no fraction any more", NARROWER),
    "null-allowed": ("it may be null", WIDER),
    "null-refused": ("it may not be null any more", NARROWER),
    "minimum-raised": ("the smallest number is greater", NARROWER),
    "minimum-lowered": ("the smallest number is smaller", WIDER),
    "maximum-lowered": ("the greatest number is smaller", NARROWER),
    "maximum-raised": ("the greatest number is greater", WIDER),
    "step-added": ("it is a multiple of a number", NARROWER),
    "step-removed": ("it need not be a multiple any more", WIDER),
    "step-raised": ("it is a multiple of a multiple", NARROWER),
    "step-lowered": ("it is a multiple of a part", WIDER),
    "step-changed": ("it is a multiple of another number", OTHER),
    "length-minimum-raised": ("the shortest text is longer", NARROWER),
    "length-minimum-lowered": ("the shortest text is shorter", WIDER),
    "length-maximum-lowered": ("the longest text is shorter", NARROWER),
    "length-maximum-raised": ("the longest text is longer", WIDER),
    "pattern-added": ("a text must fit a pattern", NARROWER),
    "pattern-removed": ("a text need not fit a pattern any more", WIDER),
    "pattern-changed": ("a text must fit another pattern; whether one includes the other, nobody can tell", OTHER),
    "format-added": ("a text has a form", NARROWER),
    "format-removed": ("a text has no form any more", WIDER),
    "format-changed": ("a text has another form", OTHER),
    "choice-value-added": ("a value was added to a choice", WIDER),
    "choice-value-removed": ("a value was removed from a choice", NARROWER),
    "choice-opened": ("a choice became free", WIDER),
    "choice-closed": ("what was free became a choice", NARROWER),
    "choice-changed": ("what was a choice, or becomes one, has values that the other side does not take", OTHER),
    "count-minimum-raised": ("the smallest count is greater", NARROWER),
    "count-minimum-lowered": ("the smallest count is smaller", WIDER),
    "count-maximum-lowered": ("the greatest count is smaller", NARROWER),
    "count-maximum-raised": ("the greatest count is greater", WIDER),
    "unique-added": ("no item may repeat another", NARROWER),
    "unique-removed": ("items may repeat", WIDER),
    "array-form-changed": ("an array of one kind became one of fixed places, or of more or fewer places", OTHER),
    "keyword-changed": ("its schema says something that no rule knows", OTHER),
    "title-changed": ("its title is another", NOTE),
    "description-changed": ("its description is another", NOTE),
    "examples-changed": ("its examples are others", NOTE),
    "deprecated-changed": ("it is deprecated, or no longer is", NOTE),
    "comment-changed": ("a comment is another", NOTE),
}

RULES: Mapping[str, Rule] = {
    id: Rule(id=id, sentence=sentence, readers=readers, writers=writers)
    for table in (_CONTRACT, _FIELDS, _VALUES)
    for id, (sentence, (readers, writers)) in table.items()
}
"""The one table."""


Side = Literal["readers", "writers", "any"]


class Change(Struct, frozen=True, kw_only=True):
    """One difference between two contracts."""

    event: str
    """The type that it is about, by its new name; "" for the contract itself."""
    path: str
    """``$.data.price`` in a message, ``channel`` in the event's row, ``channels.trades`` in the contract, or "": the
    event itself."""
    rule: Rule
    readers: Effect
    writers: Effect
    before: Any = None
    """A JSON value; None where there was nothing."""
    after: Any = None

    @property
    def verdict(self) -> Compatibility:
        """The worse of both sides'."""
        return max(self.readers.verdict, self.writers.verdict, key=_SEVERITY.index)

    def breaks(self, side: Side) -> bool:
        """Return whether it breaks readers, writers, or any of them."""
        looked_at = {"readers": (self.readers,), "writers": (self.writers,), "any": (self.readers, self.writers)}
        return any(effect.verdict is Compatibility.BREAKING for effect in looked_at[side])


_SEVERITY = (Compatibility.ANNOTATION, Compatibility.COMPATIBLE, Compatibility.BREAKING)


class ContractDiff(Struct, frozen=True):
    """All that differs between two contracts, in the order of the old one's events."""

    changes: tuple[Change, ...]

    def breaking(self, side: Side = "any") -> tuple[Change, ...]:
        """Return the changes that break a side."""
        return tuple(change for change in self.changes if change.breaks(side))

    def count(self, verdict: Compatibility) -> int:
        """Return how many changes are of a verdict."""
        return sum(change.verdict is verdict for change in self.changes)


def make_change(rule: str, event: str, path: str = "", before: Any = None, after: Any = None) -> Change:
    """Return a change by its rule's id, with the rule's own effects."""
    row = RULES[rule]
    return Change(
        event=event, path=path, rule=row, readers=row.readers, writers=row.writers, before=before, after=after
    )
