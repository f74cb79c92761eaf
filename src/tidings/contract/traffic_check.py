"""Check of recorded traffic against a contract: the events that a hub would reject, why, and how often."""

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
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES
from tidings.protocol.strict_json import repair_members

UNREADABLE = ""
"""The type of findings about lines that are not valid envelopes."""
_MAX_FINDINGS = 1_000
"""Maximum number of findings, and of counted types: a recording of garbage must not fill the memory."""
_ITEM = re.compile(r"\[[0-9]+\]")
_HUB_ONLY = frozenset(str(event.type) for event in BUILTIN if not event.publishable)
_OTHER_MESSAGES = frozenset({*COMMANDS, *HUB_MESSAGES})


@dataclass(slots=True)
class TrafficFinding:
    """One kind of fault of one type at one path, or the use of one deprecated type."""

    type: str
    """The event's type; `UNREADABLE` if the line is not a valid envelope."""
    code: str
    path: str
    """JSON path in the message: ``[*]`` stands for every item of an array, ``.*`` for every value of a map."""
    message: str
    """The fault of the first such message."""
    hint: str
    first: str
    """The place of the first such message."""
    count: int = 0
    """Number of such messages."""
    before: int = 0
    """Number of such messages that the old contract rejects too."""


class _FixedDefaults:
    """Constant values instead of a hub's clock and ids, which do not affect the result."""

    def timestamp(self) -> str:
        return "2000-01-01T00:00:00Z"

    def trace_id(self, channel: str, key: str | None) -> str:
        return "0" * 32


_DEFAULTS = _FixedDefaults()


@dataclass(slots=True)
class TrafficCheck:
    """Checks messages one by one, and keeps the counts and the first place of each fault, but no message.

    Args:
        contract: The contract to check against.
        old: The contract that the traffic was written for, to separate new faults from old ones.
        ignored_types: Types of lines that are not messages.
    """

    contract: Contract
    old: Contract | None = None
    ignored_types: frozenset[str] = frozenset()
    events: int = 0
    """Number of events, including lines that are not valid envelopes."""
    messages: int = 0
    """Number of commands, replies and pushes, which are not events."""
    refused: int = 0
    """Number of events that the contract rejects."""
    refused_before: int = 0
    """Number of events that both contracts reject."""
    accepted_now: int = 0
    """Number of events that only the old contract rejects."""
    undeclared: int = 0
    """Number of events of undeclared types, accepted because the contract is lenient."""
    by_type: Counter[str] = field(default_factory=Counter)
    """Number of events of each type."""
    findings: dict[tuple[str, str, str], TrafficFinding] = field(default_factory=dict)
    """Faults by type, code and path."""
    deprecated: dict[str, TrafficFinding] = field(default_factory=dict)
    """Uses of deprecated types, by type."""
    unlisted: int = 0
    """Number of faults without a finding, because there were too many kinds; `refused` includes them."""

    @property
    def newly_refused(self) -> int:
        """Number of events that only the new contract rejects: those that the change of the contract breaks."""
        return self.refused - self.refused_before

    def check_line(self, body: bytes, place: str) -> None:
        """Check one message as it was sent.

        Args:
            body: The text of the message.
            place: The place of the message, for people.
        """
        try:
            envelope = decode_envelope(body)
        except ContractError as error:
            self.events += 1
            self.refused += 1
            self.refused_before += self.old is not None  # no contract accepts an invalid envelope
            self._note(UNREADABLE, error.code, error.path, error, place, before=self.old is not None)
            return
        self.check(envelope, place, body)

    def check(self, envelope: Envelope, place: str, body: bytes = b"") -> None:
        """Check one envelope, which was sent as `body`; see `check_line`."""
        type = envelope.type
        if type in _OTHER_MESSAGES or type in self.ignored_types:
            self.messages += 1
            return
        self.events += 1
        if type in self.by_type or len(self.by_type) < _MAX_FINDINGS:
            self.by_type[type] += 1
        if type in self.contract.deprecated:
            self._note_deprecated(type, place, envelope)
        error = self._find_error(self.contract, envelope, body)
        before = None if self.old is None else self._find_error(self.old, envelope, body)
        if error is None:
            self.accepted_now += before is not None
            self.undeclared += self.contract.lenient and type not in self.contract.events and type not in LEGACY_TYPES
            return
        self.refused += 1
        self.refused_before += before is not None
        for path, message in self._list_faults(envelope, error):
            self._note(type, error.code, path, error, place, before=before is not None, message=message, of=envelope)

    def _find_error(self, contract: Contract, envelope: Envelope, body: bytes) -> ContractError | None:
        type = envelope.type
        if type not in contract.events and type not in LEGACY_TYPES and not contract.lenient:
            # The error suggests the nearest of all names, which takes longer than the rest of a check: once is enough.
            noted = (type, UnknownType.code, "$.type") in self.findings or len(self.findings) >= _MAX_FINDINGS
            if noted or contract is self.old:
                return _UNKNOWN_AGAIN
        try:
            contract.read(envelope, _DEFAULTS, by_hub=type in _HUB_ONLY, body=body)
        except ContractError as error:
            return error
        return None

    def _list_faults(self, envelope: Envelope, error: ContractError) -> Sequence[tuple[str, str]]:
        """Return the path and the message of each invalid field of a payload, or else those of `error`."""
        event = self.contract.events.get(str(LEGACY_TYPES.get(envelope.type, envelope.type)))
        if event is None or not isinstance(error, InvalidPayload):
            return [(error.path, error.message)]
        data = b"" + envelope.data
        repaired = repair_members(data, event.payload)
        return list(find_field_faults(event.payload, repaired or data)) or [(error.path, error.message)]

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
        pattern = _ITEM.sub("[*]", path).replace("[...]", ".*")
        found = self.findings.get((type, code, pattern))
        if found is None:
            if len(self.findings) >= _MAX_FINDINGS:
                self.unlisted += 1
                return
            hint = f"Did you mean {error.suggestion!r}?" if isinstance(error, UnknownType) and error.suggestion else ""
            found = TrafficFinding(
                type, code, pattern, (message or error.message).removeprefix(f"{path}: "), hint, _locate(place, of)
            )
            self.findings[type, code, pattern] = found
        found.count += 1
        found.before += before

    def _note_deprecated(self, type: str, place: str, envelope: Envelope) -> None:
        found = self.deprecated.get(type)
        if found is None:
            hint = self.contract.deprecated[type]
            found = self.deprecated[type] = TrafficFinding(
                type, "deprecated", "$.type", f"{type} is deprecated", hint, _locate(place, envelope)
            )
        found.count += 1


_UNKNOWN_AGAIN = UnknownType("", type="")
"""The error for a type whose error was noted before."""


def _locate(place: str, envelope: Envelope | None) -> str:
    position = None if envelope is None else envelope.position
    return place if not position or position in place else f"{place}, position {position[:64]}"


def find_field_faults(payload: PayloadType, data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the JSON path in the message and the fault of each field of `payload` that is invalid in `data`.

    A decoder stops at the first fault. Yields nothing if the fault is not in a field: `data` is not an object, or has
    members that the payload forbids.
    """
    try:
        members = _decode_members(data)
    except (msgspec.DecodeError, RecursionError):
        return
    for each in _list_fields(payload):
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
    """A field of a payload, and the decoder of its values."""

    name: str
    required: bool
    decoder: msgspec.json.Decoder[Any]


@lru_cache(maxsize=1024)
def _list_fields(payload: PayloadType) -> tuple[_Field, ...]:
    fields = msgspec.structs.fields(payload)
    return tuple(_Field(each.encode_name, each.required, msgspec.json.Decoder(each.type)) for each in fields)


_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
