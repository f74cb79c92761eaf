"""Recorded traffic, held against a contract: what of it would be refused, why, and how often."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN, PayloadType
from tidings.exceptions import ContractError, InvalidPayload, UnknownType
from tidings.protocol.envelope import Envelope, decode_envelope, parse_validation_error
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES, RESERVED_COMMANDS

UNREADABLE = ""
"""The type of what is none."""
_MOST_FINDINGS = 1_000
"""Kinds of faults, and names of types: a recording of garbage must not fill the memory."""
_ITEM = re.compile(r"\[[0-9]+\]")
_HUBS = frozenset(str(event.type) for event in BUILTIN if not event.publishable)
_NO_EVENTS = frozenset({*COMMANDS, *RESERVED_COMMANDS, *HUB_MESSAGES})


@dataclass(slots=True)
class TrafficFinding:
    """One kind of fault, of one type at one path; or the use of one deprecated type."""

    type: str
    """`UNREADABLE` where the line could not be read."""
    code: str
    path: str
    """``[*]`` stands for every item of an array, ``.*`` for every value by name."""
    message: str
    """What is wrong with the first."""
    hint: str
    first: str
    """Where the first is."""
    count: int = 0
    before: int = 0
    """How many of them the old contract refuses, too."""


class _Receipt:
    """Stands for the hub's clock and ids, which decide nothing here."""

    def timestamp(self) -> str:
        return "2000-01-01T00:00:00Z"

    def trace_id(self, channel: str, key: str | None) -> str:
        return "0" * 32


_RECEIPT = _Receipt()


@dataclass(slots=True)
class TrafficCheck:
    """Takes messages one by one, and remembers what is wrong with them: counts and first examples, no messages.

    Args:
        contract: What is to be spoken.
        old: What was spoken, if it matters which faults are new.
        passed_over: Types of lines that are no messages.
    """

    contract: Contract
    old: Contract | None = None
    passed_over: frozenset[str] = frozenset()
    events: int = 0
    """Events, and lines that are no envelopes."""
    messages: int = 0
    """Commands, replies and pushes, which are no events."""
    refused: int = 0
    refused_before: int = 0
    """Of these, how many the old contract refuses, too."""
    accepted_now: int = 0
    """What the old contract refuses, and this one takes."""
    undeclared: int = 0
    """Events of types that are not declared, and taken because the contract is lenient."""
    by_type: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str, str], TrafficFinding] = field(default_factory=dict)
    """By type, code and path."""
    deprecated: dict[str, TrafficFinding] = field(default_factory=dict)
    """By type."""
    untold: int = 0
    """Faults that are counted in `refused`, and in no finding: there were too many kinds."""

    @property
    def newly_refused(self) -> int:
        """What would be refused that was not: what a change of the contract breaks."""
        return self.refused - self.refused_before

    def take_line(self, body: bytes, place: str) -> None:
        """Check one message as it was sent.

        Args:
            body: Its text.
            place: Where it stands, for people.
        """
        try:
            envelope = decode_envelope(body)
        except ContractError as error:
            self.events += 1
            self.refused += 1
            self.refused_before += self.old is not None  # what is no envelope never was one
            self._note(UNREADABLE, error.code, error.path, error, place, before=self.old is not None)
            return
        self.take(envelope, place)

    def take(self, envelope: Envelope, place: str) -> None:
        """Check one envelope; see `take_line`."""
        type = envelope.type
        if type in _NO_EVENTS or type in self.passed_over:
            self.messages += 1
            return
        self.events += 1
        if type in self.by_type or len(self.by_type) < _MOST_FINDINGS:
            self.by_type[type] += 1
        if type in self.contract.deprecated:
            self._use_of_deprecated(type, place, envelope)
        error = self._refusal(self.contract, envelope)
        before = None if self.old is None else self._refusal(self.old, envelope)
        if error is None:
            self.accepted_now += before is not None
            self.undeclared += self.contract.lenient and type not in self.contract.events and type not in LEGACY_TYPES
            return
        self.refused += 1
        self.refused_before += before is not None
        for path, message in self._faults(envelope, error):
            self._note(type, error.code, path, error, place, before=before is not None, message=message, of=envelope)

    def _refusal(self, contract: Contract, envelope: Envelope) -> ContractError | None:
        type = envelope.type
        if type not in contract.events and type not in LEGACY_TYPES and not contract.lenient:
            # Its error names the nearest of all names, which takes longer than everything else: once is enough.
            told = (type, UnknownType.code, "$.type") in self.findings or len(self.findings) >= _MOST_FINDINGS
            if told or contract is self.old:
                return _STILL_UNKNOWN
        try:
            contract.read(envelope, _RECEIPT, by_hub=type in _HUBS)
        except ContractError as error:
            return error
        return None

    def _faults(self, envelope: Envelope, error: ContractError) -> Sequence[tuple[str, str]]:
        """Return a path and a message for each field of a payload that is wrong; of others there is one fault."""
        event = self.contract.events.get(str(LEGACY_TYPES.get(envelope.type, envelope.type)))
        if event is None or not isinstance(error, InvalidPayload):
            return [(error.path, error.message)]
        return list(find_field_faults(event.payload, b"" + envelope.data)) or [(error.path, error.message)]

    def _note(
        self,
        type: str,
        code: str,
        path: str,
        error: ContractError,
        place: str,
        *,
        before: bool,
        message: str = "",
        of: Envelope | None = None,
    ) -> None:
        kind = _ITEM.sub("[*]", path).replace("[...]", ".*")
        found = self.findings.get((type, code, kind))
        if found is None:
            if len(self.findings) >= _MOST_FINDINGS:
                self.untold += 1
                return
            hint = f"Did you mean {error.suggestion!r}?" if isinstance(error, UnknownType) and error.suggestion else ""
            found = TrafficFinding(type, code, kind, _sentence(message or error.message, path), hint, _at(place, of))
            self.findings[type, code, kind] = found
        found.count += 1
        found.before += before

    def _use_of_deprecated(self, type: str, place: str, envelope: Envelope) -> None:
        found = self.deprecated.get(type)
        if found is None:
            hint = self.contract.deprecated[type]
            found = self.deprecated[type] = TrafficFinding(
                type, "deprecated", "$.type", f"{type} is deprecated", hint, _at(place, envelope)
            )
        found.count += 1


_STILL_UNKNOWN = UnknownType("", type="")
"""Stands for the same error again."""


def _at(place: str, envelope: Envelope | None) -> str:
    position = None if envelope is None else envelope.position
    return place if not position or position in place else f"{place}, position {position[:64]}"


def _sentence(message: str, path: str) -> str:
    return message.removeprefix(f"{path}: ")


def find_field_faults(payload: PayloadType, data: bytes) -> Iterator[tuple[str, str]]:
    """Yield, for each field of `payload` that is wrong in `data`, its JSON path in the message and what is wrong.

    A decoder stops at the first. Nothing is yielded where the fault is not in a field: `data` is no object, or it has
    members that may not be there.
    """
    try:
        members = _decode_members(data)
    except (msgspec.DecodeError, RecursionError):
        return
    for each in _fields(payload):
        path = f"$.data.{each.name}"
        value = members.get(each.name)
        if value is None:
            if each.required:
                yield path, "a required field is missing"
            continue
        try:
            each.decoder.decode(value)
        except msgspec.ValidationError as cause:
            message, at = parse_validation_error(cause, path)
            yield at, message


class _Field(Struct, frozen=True):
    name: str
    required: bool
    decoder: msgspec.json.Decoder[Any]


@lru_cache(maxsize=1024)
def _fields(payload: PayloadType) -> tuple[_Field, ...]:
    fields = msgspec.structs.fields(payload)
    return tuple(_Field(each.encode_name, each.required, msgspec.json.Decoder(each.type)) for each in fields)


_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
