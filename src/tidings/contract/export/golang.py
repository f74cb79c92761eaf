"""The contract in Go: one file in the source contract's names, which needs `encoding/json` and `time` alone.

Shapes as Go's types.

Pieces of Go as `gofmt` writes them.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET

from tidings.contract.contract import Contract
from tidings.contract.export import shapes
from tidings.contract.export.descriptions import describe_kind, describe_limits, to_sentence
from tidings.contract.export.model import Definition, Message, Model, Namer, build_model, to_class_name, to_pascal_case
from tidings.contract.export.shapes import Shape, ShapeField
from tidings.exceptions import ConfigError, InvalidContract
from tidings.protocol import payloads
from tidings.protocol.message_types import ALIASES, MessageType

_WORDS = """\
ACL API ASCII CPU CSS DNS EOF GPU GUID HTML HTTP HTTPS ID IP JSON PID QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI
UID URI URL UTC UTF8 UUID VM XML
"""
_INITIALISMS = frozenset(_WORDS.split())
"""Words that Go writes in capitals."""


def to_one_line(text: str) -> str:
    """Return a text as one line, so that nothing in it looks like a heading or a list to `gofmt`."""
    return " ".join(text.split())


def align_columns(rows: Iterable[str | Sequence[str]]) -> str:
    """Return lines of cells, each column as wide as its widest; a text is a line of its own, and ends the columns."""
    lines: list[str] = []
    together: list[Sequence[str]] = []
    for row in rows:
        if isinstance(row, str):
            lines += [*_columns(together), row]
            together = []
        else:
            together.append(row)
    return "".join(f"{line}\n" for line in [*lines, *_columns(together)])


def _columns(rows: list[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "\t" + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def to_field_name(name: str) -> str:
    """Return a JSON name as an exported field's: `operation_id` is `OperationID`."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in name).split()
    made = "".join(word.upper() if word.upper() in _INITIALISMS else word[:1].upper() + word[1:] for word in words)
    return made if made[:1].isalpha() else f"N{made}"


_SOURCE_NAMES = {("SystemStatusData", "active_operations"): "ActiveOps"}
"""Fields that the source contract calls otherwise than its own rule would."""
_SOURCE_TYPES = {("SystemStatusData", "active_operations"): "int", ("OperationProgressData", "total_steps"): "int"}
"""Fields that the source contract gives another type than int64."""
_TAGGED = re.compile(r"[\w!#$%&()*+\-./:;<=>?@\[\]^{|}~ ]+")
"""What `encoding/json` takes for a name in a tag."""
_NO_NEWS = "At least 0."
"""What every number of things is."""


class GoTypes:
    """Writes types.

    Args:
        names: What each definition is called here.
        namer: Gives names to types that have none in the contract.
        of_source: Whether the definitions of the source contract's names are its own.
    """

    def __init__(self, names: Mapping[str, str], namer: Namer, *, of_source: bool) -> None:
        self.names = names
        self._namer = namer
        self._of_source = of_source
        self._beside: list[str] = []
        """Types that the definition at hand needs, and nobody else."""

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as types.

        Args:
            definition: The definition.
            use: What it is used as, after "is".
        """
        name = self.names[definition.name]
        about = f"// {to_one_line(f'{name} is {use}. {definition.about}')}\n"
        if isinstance(definition.shape, shapes.ObjectShape):
            made = f"{about}type {name} {self._structure(name, definition.shape)}\n"
        elif isinstance(definition.shape, shapes.EnumShape) and _is_textual(definition.shape):
            made = about + _enumeration(name, definition.shape, self._namer)
        else:
            made = f"{about}type {name} {self._type(name, definition.shape)}\n"
        beside, self._beside = self._beside, []
        return "\n".join([made, *beside])

    def _structure(self, owner: str, structure: shapes.ObjectShape) -> str:
        if not structure.fields:
            return "struct{}"
        namer = Namer()
        rows: list[str | tuple[str, ...]] = []
        for field in structure.fields:
            name = namer.take(self._source(_SOURCE_NAMES, owner, field) or to_field_name(field.name))
            about = to_one_line(_about(field))
            if about:
                # What begins otherwise could be a list or a directive to Go's tools.
                rows.append(f"\t// {about}" if about[0].isalpha() else f"\t// {name}: {about}")
            kind, empty = self._field(owner, name, field)
            rows.append((name, kind, _tag(field.name, omitted=empty)))
        return f"struct {{\n{align_columns(rows)}}}"

    def _source(self, table: Mapping[tuple[str, str], str], owner: str, field: ShapeField) -> str | None:
        return table.get((owner, field.name)) if self._of_source else None

    def _field(self, owner: str, name: str, field: ShapeField) -> tuple[str, bool]:
        """Return a field's type, and whether it is left out where it is empty."""
        plain = self._source(_SOURCE_TYPES, owner, field) or self._type(owner + name, shapes.remove_null(field.shape))
        nullable = shapes.is_nullable(field.shape)
        if plain == "any" or plain.startswith(("[]", "map[")):
            return plain, not field.required and field.default is not UNSET
        if field.required:
            return (f"*{plain}" if nullable else plain), False
        if _is_empty_nothing(field):
            return plain, True
        if field.default is UNSET and not nullable:  # a default that the contract always writes
            return plain, False
        # Zero is a value here, and not the same as nothing.
        return (plain if field.default in (0, False, "") and not nullable else f"*{plain}"), True

    def _type(self, name: str, shape: Shape) -> str:
        match shape:
            case shapes.TextShape(format="date-time"):
                return "time.Time"
            case shapes.TextShape(format="base64"):
                return "[]byte"
            case shapes.TextShape():
                return "string"
            case shapes.NumberShape(whole=True):
                return "int64"
            case shapes.NumberShape():
                return "float64"
            case shapes.BooleanShape():
                return "bool"
            case shapes.NamedShape(definition):
                return self.names[definition]
            case shapes.ArrayShape(items=items):
                return f"[]{self._type(f'{name}Item', items)}"
            case shapes.MapShape(values=values):
                return f"map[string]{self._value(f'{name}Value', values)}"
            case shapes.EnumShape():
                return self._choice(name, shape)
            case shapes.TupleShape():
                return "[]any"
            case shapes.ObjectShape():
                return self._inner(name, shape)
        return "any"

    def _value(self, name: str, shape: Shape) -> str:
        plain = self._type(name, shapes.remove_null(shape))
        pointed = shapes.is_nullable(shape) and plain != "any" and not plain.startswith(("[]", "map["))
        return f"*{plain}" if pointed else plain

    def _choice(self, name: str, choice: shapes.EnumShape) -> str:
        if all(isinstance(value, int) and not isinstance(value, bool) for value in choice.values):
            return "int64"
        if not _is_textual(choice):
            return "any"
        if len(choice.values) == 1:
            return "string"
        known = self._namer.take(name.replace("Data", "", 1))
        self._beside.append(f"// {known} is {describe_kind(choice)}.\n" + _enumeration(known, choice, self._namer))
        return known

    def _inner(self, name: str, structure: shapes.ObjectShape) -> str:
        known = self._namer.take(name)
        self._beside.append(f"// {known} is a part of another.\ntype {known} {self._structure(known, structure)}\n")
        return known


def _is_textual(choice: shapes.EnumShape) -> bool:
    return all(isinstance(value, str) for value in choice.values)


def _is_empty_nothing(field: ShapeField) -> bool:
    """Return whether an empty text means the same as none, as the contract has it, or could mean nothing else."""
    match shapes.remove_null(field.shape):
        case shapes.EnumShape() as choice:
            return _is_textual(choice) and "" not in choice.values
        case shapes.TextShape(format="date-time"):
            return False
        case shapes.TextShape(shortest=shortest):
            return bool(shortest) or field.default is None or field.default == ""
    return False


def _enumeration(name: str, choice: shapes.EnumShape, namer: Namer) -> str:
    rows: list[str | tuple[str, ...]] = [
        (namer.take(name + (to_pascal_case(str(value)) if str(value) else "Empty")), name, f"= {json.dumps(value)}")
        for value in choice.values
    ]
    return f"type {name} string\n\n// What a {name} may be.\nconst (\n{align_columns(rows)})\n"


def _tag(name: str, *, omitted: bool) -> str:
    if _TAGGED.fullmatch(name) is None:
        raise InvalidContract(
            f"Go's encoding/json cannot name a member {name!r}", type="", hint="Rename it, or export another format."
        )
    options = ",omitempty" if omitted else "," if name == "-" else ""
    return f'`json:"{name}{options}"`'


def _about(field: ShapeField) -> str:
    limits = to_sentence(describe_limits(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about or limits == _NO_NEWS else limits)))


PACKAGE = "tidings"
"""What the package is called unless one says otherwise."""
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_KEYWORDS = """\
break case chan const continue default defer else fallthrough for func go goto if import interface map package range
return select struct switch type var
"""
_ENVELOPE = """\
// WebSocketMessage is what every message is.
type WebSocketMessage struct {
	Type      MessageType     `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	TraceID   string          `json:"trace_id,omitempty"`
	Data      json.RawMessage `json:"data"`
	Channel   ChannelType     `json:"channel,omitempty"`
}

// MessageType is the type of a message, <domain>:<action>.
type MessageType string

// ChannelType is where an event goes.
type ChannelType string
"""


def export_go(contract: Contract, package: str = PACKAGE) -> str:
    """Return the contract as a Go file, as `gofmt` writes it.

    Args:
        contract: The contract.
        package: The name of its package.

    Raises:
        ConfigError: No package can be called so.
        InvalidContract: A payload has a member that Go's `encoding/json` has no way to name.
    """
    if _PACKAGE.fullmatch(package) is None or package in _KEYWORDS.split():
        raise ConfigError(
            f"no Go package is called {package!r}", option="package", source="--package", hint="Use a-z, 0-9 and _."
        )
    return _File(build_model(contract), _of_source(contract)).text(package)


def _of_source(contract: Contract) -> bool:
    """Return whether the contract has the source's own events; what only shares their names is somebody else's."""
    status = contract.events.get(MessageType.SYSTEM_STATUS)
    return status is not None and status.payload is payloads.SystemStatusData


class _File:
    """One file, and the names in it."""

    def __init__(self, model: Model, of_source: bool) -> None:
        self._model = model
        self._namer = Namer(["WebSocketMessage", "MessageType", "ChannelType", "NewData"])
        self._constants = {
            message.type: self._namer.take(f"MessageType{to_pascal_case(message.type)}") for message in model.messages
        }
        self._channels = {
            channel: self._namer.take(f"ChannelType{to_pascal_case(channel)}") for channel in model.channels
        }
        self._aliases = {
            self._namer.take("MessageType" + to_pascal_case(alias.lower())): self._constants[MessageType[current]]
            for alias, current in ALIASES.items()
            if MessageType[current] in self._constants
        }
        names = {name: self._namer.take(to_class_name(name)) for name in model.definitions}
        self._types = GoTypes(names, self._namer, of_source=of_source)

    def text(self, package: str) -> str:
        model = self._model
        definitions = [
            self._types.definition(definition, _use(name, model)) for name, definition in model.definitions.items()
        ]
        identity = model.identity
        parts = [
            f"// Code generated by tidings from contract {identity.version}, {identity.hash}; DO NOT EDIT.\n",
            f"// Package {package} holds the messages of a tidings hub and what they carry.\npackage {package}\n",
            'import (\n\t"encoding/json"\n\t"time"\n)\n',
            _ENVELOPE,
            self._message_types(),
            self._channel_types(),
            *definitions,
            self._new_data(),
        ]
        return "\n".join(parts)

    def _message_types(self) -> str:
        events = self._block("Events, by their types.", self._model.events)
        old = self._block("Old names of events.", self._model.renamed)
        said = self._block("What the hub says besides events.", self._model.said)
        aliases = "".join(
            f"\t// Deprecated: use {current}.\n\t{alias} = {current}\n" for alias, current in self._aliases.items()
        )
        legacy = f"// Old names of constants.\nconst (\n{aliases})\n" if aliases else ""
        return "\n".join(filter(None, (events, old, legacy, said)))

    def _block(self, about: str, messages: tuple[Message, ...]) -> str:
        if not messages:
            return ""
        rows: list[str | tuple[str, ...]] = []
        for message in messages:
            if message.deprecated:
                rows.append(f"\t// Deprecated: {to_one_line(message.deprecated)}")
            rows.append((self._constants[message.type], "MessageType", f"= {json.dumps(message.type)}"))
        return f"// {about}\nconst (\n{align_columns(rows)})\n"

    def _channel_types(self) -> str:
        rows: list[str | tuple[str, ...]] = [
            (name, "ChannelType", f"= {json.dumps(channel)}") for channel, name in self._channels.items()
        ]
        return f"// The channels of the contract.\nconst (\n{align_columns(rows)})\n"

    def _new_data(self) -> str:
        cases: dict[str, list[str]] = {}
        for message in self._model.messages:
            cases.setdefault(self._types.names[message.payload], []).append(self._constants[message.type])
        rows = "".join(f"\tcase {', '.join(constants)}:\n\t\treturn &{name}{{}}\n" for name, constants in cases.items())
        return (
            "// NewData returns a pointer to an empty payload of messages of a type, for json.Unmarshal;\n"
            "// nil where there is no such type.\n"
            f"func NewData(t MessageType) any {{\n\tswitch t {{\n{rows}\t}}\n\treturn nil\n}}\n"
        )


def _use(definition: str, model: Model) -> str:
    types = [message.type for message in model.messages if message.payload == definition]
    return f"the data of {' and '.join(types)}" if types else "a part of other messages"
