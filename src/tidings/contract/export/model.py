"""The model that exports to other languages share: messages, the definitions of their payloads, and unique names."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.contract.event_types import FILLED_IN
from tidings.contract.export.document import build_payload_schemas, summarize_struct
from tidings.contract.export.shapes import Shape, list_references, read_shape
from tidings.contract.json_schema import REFERENCE_PREFIX
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import COMMANDS, DIRECT_EVENTS, HUB_MESSAGES, MessageSpec, Nothing
from tidings.protocol.payloads import ContractIdentity


class Definition(Struct, frozen=True, kw_only=True):
    """A shape with a name."""

    name: str
    """Name of the definition in the contract's document."""
    shape: Shape
    about: str
    """Description of the definition, one paragraph."""


class Message(Struct, frozen=True, kw_only=True):
    """One type of message that a client receives or sends."""

    type: str
    payload: str
    """Name of the definition of its data; "" for a command without data."""
    empty: bool
    """Whether its data may be null: no field is required."""
    about: str
    """Description of the message, one paragraph."""
    channel: str | None = None
    """The channel; None for a message to one connection."""
    event_class: str = ""
    key: str | None = None
    publishable: bool = False
    deprecated: str = ""
    """The replacement, as a sentence; "" if the message is not deprecated."""
    filled_in: frozenset[str] = frozenset()
    """Fields that publishers may leave out and readers always receive."""
    answered_by: str = ""
    """Type of the reply; "" for a message that is not answered."""


class Model(Struct, frozen=True, kw_only=True):
    """The messages and definitions of a contract, in an order that is always the same."""

    identity: ContractIdentity
    channels: tuple[str, ...]
    events: tuple[Message, ...]
    renamed: tuple[Message, ...]
    """Events under their old names."""
    hub_messages: tuple[Message, ...]
    """The hub's replies and pushes."""
    commands: tuple[Message, ...]
    """Messages that clients send besides events: commands, and the reply to the push of `operation:cancel`."""
    definitions: dict[str, Definition]
    """Definitions by name, each before those that it refers to; those of an application's own events come last."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """All types of messages that a client receives."""
        return (*self.events, *self.renamed, *self.hub_messages)

    @property
    def received(self) -> frozenset[str]:
        """Names of the definitions of what a client receives; the others are parts of commands only."""
        found: set[str] = set()
        waiting = [message.payload for message in self.messages]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += list_references(self.definitions[name].shape)
        return frozenset(found)


def build_model(contract: Contract) -> Model:
    """Return the model of `contract`."""
    rows = [*_HUB_MESSAGES, *_COMMANDS]
    others = {f"{spec.direction} {spec.name}": spec.data for spec in rows}
    payloads, schemas = build_payload_schemas(contract, others=others)
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
            filled_in=FILLED_IN.get(event.payload, frozenset()),
        )
        for event in contract.events.values()
    )
    hub_messages, commands = (
        tuple(_message(spec, names[f"{spec.direction} {spec.name}"]) for spec in specs)
        for specs in (_HUB_MESSAGES, _COMMANDS)
    )
    return Model(
        identity=contract.identity,
        channels=contract.channels,
        events=events,
        renamed=_renamed(events),
        hub_messages=hub_messages,
        commands=commands,
        definitions=_read_definitions(_in_order(contract, events, (*hub_messages, *commands)), schemas),
    )


_HUB_MESSAGES = tuple(spec for spec in HUB_MESSAGES.values() if spec not in DIRECT_EVENTS)
_COMMANDS = tuple(COMMANDS.values())


def _message(spec: MessageSpec, payload: str) -> Message:
    return Message(
        type=spec.name,
        payload=payload if spec.data is not Nothing else "",
        empty=_is_empty(spec.data),
        about=summarize_struct(spec.data),
        answered_by=spec.answered_by or "",
    )


def _in_order(contract: Contract, events: tuple[Message, ...], others: tuple[Message, ...]) -> list[str]:
    """Return the names of the payloads, an application's last, so that its names never change those of the others."""
    own = {str(event.type) for event in contract.own}
    messages = [*(event for event in events if event.type not in own), *others]
    messages += [event for event in events if event.type in own]
    return [message.payload for message in messages if message.payload]


def _renamed(events: tuple[Message, ...]) -> tuple[Message, ...]:
    by_type = {event.type: event for event in events}
    return tuple(
        msgspec.structs.replace(by_type[new], type=old, deprecated=f"Renamed to {new}.")
        for old, new in LEGACY_TYPES.items()
        if new in by_type
    )


def _is_empty(payload: type[Struct]) -> bool:
    return not any(field.required for field in msgspec.structs.fields(payload))


def _read_definitions(names: list[str], schemas: dict[str, Any]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    waiting = list(reversed(names))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        schema = schemas[name]
        about = " ".join(str(schema.get("description", "")).split("\n\n")[0].split())
        found[name] = Definition(name=name, shape=read_shape(schema), about=about)
        waiting.extend(reversed(list_references(found[name].shape)))
    return found


def _split(text: str) -> list[str]:
    """Return the parts of a text that may stand in names: letters of any script, and digits."""
    return "".join(char if char.isalpha() or char.isdecimal() else " " for char in text).split()


def to_pascal_case(text: str) -> str:
    """Return `operation:cancel_outcome` as `OperationCancelOutcome`; capital letters stay."""
    name = "".join(word[:1].upper() + word[1:] for word in _split(text))
    return name if name[:1].isalpha() else f"N{name}"


def to_constant_case(text: str) -> str:
    """Return `operation:start` as `OPERATION_START`."""
    name = "_".join(word.upper() for word in _split(text))
    return name if name[:1].isalpha() else f"N{name}"


def to_class_name(definition: str) -> str:
    """Return the class name of a definition, whose name may begin with the class's module."""
    return to_pascal_case(definition.rpartition(".")[2])


_WORD_STARTS = re.compile(r"(?<=[^A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def join_names(owner: str, field: str) -> str:
    """Return the name of a field's own type without repetition: `Order` and `order_side` give `OrderSide`.

    Args:
        owner: Class name of the struct.
        field: Name of the field in JSON.
    """
    before, after = (_WORD_STARTS.split(name) for name in (owner.removesuffix("Data") or owner, to_pascal_case(field)))
    common = next((size for size in range(len(after), 0, -1) if before[-size:] == after[:size]), 0)
    return "".join([*before, *after[common:]])


class Namer:
    """Assigns unique names.

    Args:
        taken: Names that are never assigned.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, name: str) -> str:
        """Return `name`, followed by a number if it is taken."""
        unique, number = name, 2
        while unique in self._taken:
            unique, number = f"{name}{number}", number + 1
        self._taken.add(unique)
        return unique
