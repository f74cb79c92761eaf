"""Export to Go: one file, formatted as by `gofmt`, which imports `encoding/json` and `time` only.

Its names and types are those of Go services that use the original contract (PROTOCOL.md, "Where the contract comes
from").
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import UNSET

from tidings.contract.contract import Contract
from tidings.contract.export import shapes
from tidings.contract.export.constants import (
    CLOSE_CODE_CONSTANTS,
    ERROR_CODES,
    FINAL_CLOSE_CODES,
    FINAL_RANGE,
    TEMPORARY_CLOSE_CODES,
    Constant,
)
from tidings.contract.export.descriptions import describe_kind, describe_limits, to_sentence
from tidings.contract.export.model import (
    Definition,
    Message,
    Model,
    Namer,
    build_model,
    join_names,
    to_class_name,
    to_pascal_case,
)
from tidings.contract.export.shapes import Shape, ShapeField
from tidings.exceptions import ConfigError, InvalidContract
from tidings.protocol import payloads
from tidings.protocol.message_types import ALIASES, MessageType
from tidings.protocol.messages import SUBPROTOCOL

DEFAULT_PACKAGE = "tidings"
"""Default name of the package."""
_PACKAGE = re.compile(r"[a-z][a-z0-9_]*")
_KEYWORDS = """\
break case chan const continue default defer else fallthrough for func go goto if import interface map package range
return select struct switch type var
"""
_ENVELOPE = """\
// WebSocketMessage is the envelope of every message. The hub replaces a zero Timestamp, and adds what is left out.
type WebSocketMessage struct {
	Type      MessageType     `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	TraceID   string          `json:"trace_id,omitempty"`
	Data      json.RawMessage `json:"data"`
	Channel   ChannelType     `json:"channel,omitempty"`
	// Label of a command or an event, which the reply repeats; like the fields below, only with Subprotocol.
	ID string `json:"id,omitempty"`
	// The ID of the message that this one answers.
	ReplyTo string `json:"reply_to,omitempty"`
	// The position in the log, opaque: a later connection resumes after it.
	Position string `json:"position,omitempty"`
	// Id of the event, by which the hub recognises it when it is published again.
	EventID string `json:"event_id,omitempty"`
}

// Subprotocol is the WebSocket subprotocol of connections with ids, replies and positions.
const Subprotocol = "%(subprotocol)s"

// MessageType is the type of a message, <domain>:<action>.
type MessageType string

// ChannelType is the channel of an event.
type ChannelType string

// ErrorCode is the code of an error that a hub sends, as the Code of ErrorData.
type ErrorCode = string
"""
_SHOULD_RECONNECT = """\
// ShouldReconnect returns whether a client reconnects after a hub closed the WebSocket with a code.
func ShouldReconnect(code int) bool {
	switch code {
	case %(codes)s:
		return false
	case %(temporary)s:
		return true
	}
	return code < %(first)d || code > %(last)d
}
"""
_TAKEN = "WebSocketMessage MessageType ChannelType ErrorCode Subprotocol ShouldReconnect NewData"
"""Names that every exported file defines."""
_WORDS = """\
ACL API ASCII CPU CSS DNS EOF GPU GUID HTML HTTP HTTPS ID IP JSON PID QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI
UID URI URL UTC UTF8 UUID VM XML
"""
_INITIALISMS = frozenset(_WORDS.split())
"""Words that Go names write in capitals."""
_ORIGINAL_NAMES = {("SystemStatusData", "active_operations"): "ActiveOps"}
"""Fields whose name in the original contract differs from its own rule."""
_ORIGINAL_TYPES = {("SystemStatusData", "active_operations"): "int", ("OperationProgressData", "total_steps"): "int"}
"""Fields of whole numbers whose type in the original contract is not int64."""
_TAG_NAME = re.compile(r"[\w!#$%&()*+\-./:;<=>?@\[\]^{|}~ ]+")
"""Names that `encoding/json` accepts in a tag."""
_TRIVIAL_LIMIT = "At least 0."
"""The limit of every count, left out of comments."""


def export_go(contract: Contract, package: str = DEFAULT_PACKAGE) -> str:
    """Return the contract as a Go file, as `gofmt` writes it.

    Args:
        contract: The contract.
        package: The name of its package.

    Raises:
        ConfigError: The name of the package is invalid.
        InvalidContract: A payload has a member that Go's `encoding/json` cannot name.
    """
    if _PACKAGE.fullmatch(package) is None or package in _KEYWORDS.split():
        raise ConfigError(
            f"invalid Go package {package!r}", option="package", source="--package", hint="Use a-z, 0-9 and _."
        )
    return _GoFile(build_model(contract), package, is_original=_is_original(contract)).text()


def _is_original(contract: Contract) -> bool:
    """Return whether the contract has the catalogue's events, and not others of the same names."""
    status = contract.events.get(MessageType.SYSTEM_STATUS)
    return status is not None and status.payload is payloads.SystemStatusData


class _GoFile:
    """The exported file, and the names in it."""

    def __init__(self, model: Model, package: str, *, is_original: bool) -> None:
        self._model = model
        self._package = package
        self._namer = Namer(_TAKEN.split())
        self._constants = {
            type: self._namer.take(f"MessageType{to_pascal_case(type)}")
            for type in dict.fromkeys(message.type for message in (*model.messages, *model.commands))
        }
        self._channels = {
            channel: self._namer.take(f"ChannelType{to_pascal_case(channel)}") for channel in model.channels
        }
        self._aliases = {
            self._namer.take("MessageType" + to_pascal_case(alias.lower())): self._constants[MessageType[current]]
            for alias, current in ALIASES.items()
            if MessageType[current] in self._constants
        }
        self._codes = {
            prefix: {each.value: self._namer.take(f"{prefix}{_to_go_name(each.name)}") for each in constants}
            for prefix, constants in (("ErrorCode", ERROR_CODES), ("CloseCode", CLOSE_CODE_CONSTANTS))
        }
        names = {name: self._namer.take(_without_package(to_class_name(name), package)) for name in model.definitions}
        self._types = GoTypes(names, self._namer, is_original=is_original)

    def text(self) -> str:
        """Return the whole file."""
        model, package = self._model, self._package
        definitions = [
            self._types.definition(definition, _describe_use(name, model))
            for name, definition in model.definitions.items()
        ]
        identity = model.identity
        parts = [
            f"// Code generated by tidings from contract {identity.version}, {identity.hash}; DO NOT EDIT.\n",
            f"// Package {package} holds the messages of a tidings hub and their data.\npackage {package}\n",
            'import (\n\t"encoding/json"\n\t"time"\n)\n',
            _ENVELOPE % {"subprotocol": SUBPROTOCOL},
            self._message_types(),
            self._channel_types(),
            self._code_constants("ErrorCode", "Codes of errors that a hub sends.", ERROR_CODES),
            self._code_constants("CloseCode", "Codes with which a hub closes a WebSocket.", CLOSE_CODE_CONSTANTS),
            _SHOULD_RECONNECT
            % {
                "codes": ", ".join(map(str, FINAL_CLOSE_CODES)),
                "first": FINAL_RANGE[0],
                "last": FINAL_RANGE[1],
                "temporary": ", ".join(map(str, TEMPORARY_CLOSE_CODES)),
            },
            *definitions,
            self._new_data(),
        ]
        return "\n".join(parts)

    def _message_types(self) -> str:
        events = self._block("Types of events.", self._model.events)
        old = self._block("Old names of events.", self._model.renamed)
        others = self._block("Types of replies and pushes.", self._model.hub_messages)
        pushed = {message.type for message in self._model.hub_messages}
        commands = self._block(
            "Types of commands; one that is pushed, too, is above.",
            tuple(each for each in self._model.commands if each.type not in pushed),
        )
        aliases = "".join(
            f"\t// Deprecated: use {current}.\n\t{alias} = {current}\n" for alias, current in self._aliases.items()
        )
        legacy = f"// Old names of constants.\nconst (\n{aliases})\n" if aliases else ""
        return "\n".join(filter(None, (events, old, legacy, others, commands)))

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

    def _code_constants(self, prefix: str, about: str, constants: Iterable[Constant]) -> str:
        rows: list[str | tuple[str, ...]] = []
        for each in constants:
            name = self._codes[prefix][each.value]
            rows += [f"\t// {to_one_line(f'{name}: {each.about}')}", (name, f"= {json.dumps(each.value)}")]
        return f"// {about}\nconst (\n{align_columns(rows)})\n"

    def _new_data(self) -> str:
        cases: dict[str, list[str]] = {}
        for message in self._model.messages:
            cases.setdefault(self._types.names[message.payload], []).append(self._constants[message.type])
        rows = "".join(f"\tcase {', '.join(constants)}:\n\t\treturn &{name}{{}}\n" for name, constants in cases.items())
        return (
            "// NewData returns a pointer to an empty payload of a hub's messages of a type, for json.Unmarshal;\n"
            "// it returns nil for an unknown type.\n"
            f"func NewData(t MessageType) any {{\n\tswitch t {{\n{rows}\t}}\n\treturn nil\n}}\n"
        )


def _without_package(name: str, package: str) -> str:
    """Return the name of a type without the package's, which stands before it in other packages."""
    prefix = to_pascal_case(package)
    rest = name.removeprefix(prefix)
    return rest if rest != name and rest[:1].isupper() else name


def _describe_use(definition: str, model: Model) -> str:
    types = [message.type for message in (*model.messages, *model.commands) if message.payload == definition]
    return f"the data of {' and '.join(types)}" if types else "a part of other messages"


class GoTypes:
    """Writes types.

    Args:
        names: Go name of each definition.
        namer: Assigns names to types that have none in the contract.
        is_original: Whether the definitions of the original contract's names are its own.
    """

    def __init__(self, names: Mapping[str, str], namer: Namer, *, is_original: bool) -> None:
        self.names = names
        self._namer = namer
        self._is_original = is_original
        self._structures = {name.removesuffix("Data") for name in names.values()} | set(names.values())
        self._beside: list[str] = []
        """Types that only the current definition uses."""

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as types.

        Args:
            definition: The definition.
            use: Its use, as the predicate of "is".
        """
        name = self.names[definition.name]
        about = f"// {to_one_line(f'{name} is {use}. {definition.about}')}\n"
        if isinstance(definition.shape, shapes.ObjectShape):
            made = f"{about}type {name} {self._structure(name, definition.shape)}\n"
        elif isinstance(definition.shape, shapes.EnumShape) and _is_textual(definition.shape):
            made = about + _enumeration(name, name, definition.shape, self._namer)
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
            name = namer.take(self._original(_ORIGINAL_NAMES, owner, field) or to_field_name(field.name))
            about = to_one_line(_about(field))
            if about:
                # Without a leading letter, Go's tools could read a comment as a list or a directive.
                rows.append(f"\t// {about}" if about[0].isalpha() else f"\t// {name}: {about}")
            kind, empty = self._field(owner, name, field)
            rows.append((name, kind, _tag(field.name, omitted=empty)))
        return f"struct {{\n{align_columns(rows)}}}"

    def _original(self, table: Mapping[tuple[str, str], str], owner: str, field: ShapeField) -> str | None:
        return table.get((owner, field.name)) if self._is_original else None

    def _field(self, owner: str, name: str, field: ShapeField) -> tuple[str, bool]:
        """Return the type of a field, and whether an empty value is left out."""
        plain = self._original(_ORIGINAL_TYPES, owner, field) or self._type(
            join_names(owner, name), shapes.remove_null(field.shape)
        )
        nullable = shapes.is_nullable(field.shape)
        if plain == "any" or plain.startswith(("[]", "map[")):
            return plain, not field.required and field.default is not UNSET
        if field.required:
            return (f"*{plain}" if nullable else plain), False
        if _is_empty_absent(field):
            return plain, True
        if field.default is UNSET and not nullable:  # the contract always writes the default
            return plain, False
        # Zero is a value of its own, different from an absent field.
        return (plain if field.default in (0, False, "") and not nullable else f"*{plain}"), True

    def _type(self, name: str, shape: Shape) -> str:
        match shape:
            case shapes.TextShape(format="date-time"):
                return "time.Time"
            case shapes.TextShape(format="base64"):
                return "[]byte"
            case shapes.TextShape():
                return "string"
            case shapes.NumberShape(integer=True):
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
                return self._enum(name, shape)
            case shapes.TupleShape():
                return "[]any"
            case shapes.ObjectShape():
                return self._inner(name, shape)
        return "any"

    def _value(self, name: str, shape: Shape) -> str:
        plain = self._type(name, shapes.remove_null(shape))
        pointed = shapes.is_nullable(shape) and plain != "any" and not plain.startswith(("[]", "map["))
        return f"*{plain}" if pointed else plain

    def _enum(self, name: str, choice: shapes.EnumShape) -> str:
        if all(isinstance(value, int) and not isinstance(value, bool) for value in choice.values):
            return "int64"
        if not _is_textual(choice):
            return "any"
        if len(choice.values) == 1:
            return "string"
        # A struct and its own field may end in the same word: the type of `verdict` in Verdict is VerdictValue.
        known = self._namer.take(name if name not in self._structures else f"{name}Value")
        self._beside.append(
            f"// {known} is {describe_kind(choice)}.\n" + _enumeration(known, name, choice, self._namer)
        )
        return known

    def _inner(self, name: str, structure: shapes.ObjectShape) -> str:
        known = self._namer.take(name if name not in self._structures else f"{name}Part")
        self._beside.append(
            f"// {known} is a part of another type.\ntype {known} {self._structure(known, structure)}\n"
        )
        return known


def _is_textual(choice: shapes.EnumShape) -> bool:
    return all(isinstance(value, str) for value in choice.values)


def _is_empty_absent(field: ShapeField) -> bool:
    """Return whether an empty text means an absent field, by the default or because no valid text is empty."""
    match shapes.remove_null(field.shape):
        case shapes.EnumShape() as choice:
            return _is_textual(choice) and "" not in choice.values
        case shapes.TextShape(format="date-time"):
            return False
        case shapes.TextShape(min_length=shortest):
            return bool(shortest) or field.default is None or field.default == ""
    return False


def _enumeration(name: str, prefix: str, choice: shapes.EnumShape, namer: Namer) -> str:
    rows: list[str | tuple[str, ...]] = [
        (namer.take(prefix + (to_pascal_case(str(value)) if str(value) else "Empty")), name, f"= {json.dumps(value)}")
        for value in choice.values
    ]
    return f"type {name} string\n\n// Values of {name}.\nconst (\n{align_columns(rows)})\n"


def _tag(name: str, *, omitted: bool) -> str:
    if _TAG_NAME.fullmatch(name) is None:
        raise InvalidContract(
            f"invalid member {name[:80]!r}: Go's encoding/json has no tag for this name",
            type="",
            hint="Rename the member, or export another format.",
        )
    options = ",omitempty" if omitted else "," if name == "-" else ""
    return f'`json:"{name}{options}"`'


def _about(field: ShapeField) -> str:
    limits = to_sentence(describe_limits(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about or limits == _TRIVIAL_LIMIT else limits)))


def to_one_line(text: str) -> str:
    """Return a text as one line, so that `gofmt` finds no heading or list in it."""
    return " ".join(text.split())


def align_columns(rows: Iterable[str | Sequence[str]]) -> str:
    """Return lines of cells in aligned columns; a row that is a text is a line of its own, and ends the alignment."""
    lines: list[str] = []
    group: list[Sequence[str]] = []
    for row in rows:
        if isinstance(row, str):
            lines += [*_align(group), row]
            group = []
        else:
            group.append(row)
    return "".join(f"{line}\n" for line in [*lines, *_align(group)])


def _align(rows: list[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "\t" + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _to_go_name(words: str) -> str:
    return "".join(map(to_field_name, words.split("_")))


def to_field_name(name: str) -> str:
    """Return the exported field of a JSON name: `operation_id` is `OperationID`."""
    words = "".join(char if char.isalpha() or char.isdecimal() else " " for char in name).split()
    made = "".join(word.upper() if word.upper() in _INITIALISMS else word[:1].upper() + word[1:] for word in words)
    return made if made[:1].isupper() else f"N{made}"
