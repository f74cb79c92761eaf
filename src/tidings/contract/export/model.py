"""A contract as a writer of another language needs it: messages, and what their payloads are made of.

Names for other languages, made of the contract's own, and no two alike.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.contract.export.document import build_payload_schemas, summarize_struct
from tidings.contract.export.shapes import Shape, list_references, read_shape
from tidings.contract.json_schema import REFERENCE_PREFIX
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import REPLIES_AND_PUSHES
from tidings.protocol.payloads import ContractIdentity


class Definition(Struct, frozen=True, kw_only=True):
    """A shape that has a name."""

    name: str
    """As the contract's document has it."""
    shape: Shape
    about: str


class Message(Struct, frozen=True, kw_only=True):
    """One type of message that a client may read."""

    type: str
    payload: str
    """The name of its definition."""
    empty: bool
    """Whether its data may be null."""
    about: str
    channel: str | None = None
    """None for what is said to one connection."""
    event_class: str = ""
    key: str | None = None
    publishable: bool = False
    deprecated: str = ""
    """What to use instead, as a sentence."""


class Model(Struct, frozen=True, kw_only=True):
    """All of it, in an order that is always the same."""

    identity: ContractIdentity
    channels: tuple[str, ...]
    events: tuple[Message, ...]
    renamed: tuple[Message, ...]
    """Events by names that they once had."""
    said: tuple[Message, ...]
    """What the hub says besides events."""
    definitions: dict[str, Definition]
    """By name, each before what it is made of; those that only an application's events need are the last."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """All types of messages."""
        return (*self.events, *self.renamed, *self.said)


def build_model(contract: Contract) -> Model:
    """Return `contract` as other languages need it."""
    payloads, schemas = build_payload_schemas(contract, said=REPLIES_AND_PUSHES)
    names = {type: str(schema["$ref"]).removeprefix(REFERENCE_PREFIX) for type, schema in payloads.items()}
    events = tuple(
        Message(
            type=str(event.type),
            payload=names[str(event.type)],
            empty=_is_empty(event.payload),
            about=summarize_struct(event.payload),
            channel=None if event.channel is None else str(event.channel),
            event_class=str(event.event_class),
            key=event.key,
            publishable=event.publishable,
            deprecated=event.deprecated,
        )
        for event in contract.events.values()
    )
    said = tuple(
        Message(type=type, payload=names[type], empty=_is_empty(payload), about=summarize_struct(payload))
        for type, payload in REPLIES_AND_PUSHES.items()
    )
    return Model(
        identity=contract.identity,
        channels=contract.channels,
        events=events,
        renamed=_renamed(events),
        said=said,
        definitions=_definitions(_in_order(contract, events, said), schemas),
    )


def _in_order(contract: Contract, events: tuple[Message, ...], said: tuple[Message, ...]) -> list[str]:
    """Return the payloads, an application's last: its names give way, and never change what the others are called."""
    own = {str(event.type) for event in contract.own}
    messages = [*(event for event in events if event.type not in own), *said]
    return [message.payload for message in [*messages, *(event for event in events if event.type in own)]]


def _renamed(events: tuple[Message, ...]) -> tuple[Message, ...]:
    by_type = {event.type: event for event in events}
    return tuple(
        msgspec.structs.replace(by_type[new], type=old, deprecated=f"It is called {new} now.")
        for old, new in LEGACY_TYPES.items()
        if new in by_type
    )


def _is_empty(payload: type[Struct]) -> bool:
    return not any(field.required for field in msgspec.structs.fields(payload))


def _definitions(wanted: list[str], schemas: dict[str, Any]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    waiting = list(reversed(wanted))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        schema = schemas[name]
        about = " ".join(str(schema.get("description", "")).split("\n\n")[0].split())
        found[name] = Definition(name=name, shape=read_shape(schema), about=about)
        waiting.extend(reversed(list_references(found[name].shape)))
    return found


_NO_WORD = re.compile(r"[^A-Za-z0-9]+")


def to_pascal_case(text: str) -> str:
    """Return `operation:cancel_outcome` as `OperationCancelOutcome`; what is capital stays so."""
    name = "".join(word[:1].upper() + word[1:] for word in _NO_WORD.split(text) if word)
    return name if name[:1].isalpha() else f"N{name}"


def to_constant_case(text: str) -> str:
    """Return `operation:start` as `OPERATION_START`."""
    name = "_".join(word.upper() for word in _NO_WORD.split(text) if word)
    return name if name[:1].isalpha() else f"N{name}"


def to_class_name(definition: str) -> str:
    """Return the class's own name of a definition's, which may have the module's before it."""
    return to_pascal_case(definition.rpartition(".")[2])


class Namer:
    """Gives out names, each once.

    Args:
        taken: Names that it never gives.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, wanted: str) -> str:
        """Return `wanted`, with a number behind it where somebody has it already."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{number}", number + 1
        self._taken.add(name)
        return name
