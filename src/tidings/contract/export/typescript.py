"""Export to TypeScript: one file without dependencies, of types and of guards that check every field."""

import json
from collections.abc import Iterable, Mapping
from pkgutil import get_data

from tidings.contract.contract import Contract
from tidings.contract.export import shapes
from tidings.contract.export.descriptions import describe_limits, to_sentence
from tidings.contract.export.model import (
    Definition,
    Message,
    Model,
    Namer,
    build_model,
    to_class_name,
    to_constant_case,
    to_pascal_case,
)
from tidings.contract.export.shapes import Shape
from tidings.contract.export.typescript_guards import CheckWriter
from tidings.contract.export.typescript_text import format_comment, format_const, format_member, format_property_name
from tidings.protocol.message_types import ALIASES, MessageType

_RESERVED = """\
WebSocketMessage TidingsEvent TidingsEvents HubMessage MessageType ChannelType HubMessageType PayloadOf InvalidEvent
isTidingsEvent isHubMessage parseEvent parseMessage faultOf
Check TextLimits NumberLimits SizeLimits DAY TIME OFFSET FORMATS EVENTS SAID is isObject first
Array ArrayBuffer BigInt Boolean Date Error Extract Function Infinity JSON Map Math Number Object Omit Partial Pick
Promise Proxy Readonly ReadonlyArray ReadonlyMap Record Reflect RegExp Required Set String Symbol
any boolean never null number object string symbol undefined unknown void
"""
"""Names that every exported file defines or uses."""

_CLOSING = """\
/** A message that does not fit the contract; `message` has the path and the fault. */
export class InvalidEvent extends Error {
  override readonly name = "InvalidEvent";
}

/** Returns the fault of a value as an event or as another message of the hub; "" if it is valid. */
export function faultOf(value: unknown): string {
  if (!isObject(value) || typeof value["type"] !== "string") return "$: expected a message";
  const check = EVENTS.get(value["type"]) ?? SAID.get(value["type"]);
  return check === undefined ? `$.type: unknown type ${JSON.stringify(value["type"])}` : check(value, "$");
}

/** Returns whether a value is an event of this contract. */
export function isTidingsEvent(value: unknown): value is TidingsEvent {
  return isObject(value) && EVENTS.get(String(value["type"]))?.(value, "$") === "";
}

/** Returns whether a value is a reply or a push of the hub. */
export function isHubMessage(value: unknown): value is HubMessage {
  return isObject(value) && SAID.get(String(value["type"]))?.(value, "$") === "";
}

/**
 * Reads a message as an event.
 *
 * @throws {InvalidEvent} The message is not an event of this contract.
 */
export function parseEvent(text: string): TidingsEvent {
  const message = parseMessage(text);
  if (isTidingsEvent(message)) return message;
  throw new InvalidEvent(`$.type: ${message.type} is not an event`);
}

/**
 * Reads a message as an event, a reply or a push.
 *
 * @throws {InvalidEvent} The message is none of them.
 */
export function parseMessage(text: string): TidingsEvent | HubMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidEvent("$: this is not JSON", { cause });
  }
  if (isTidingsEvent(value) || isHubMessage(value)) return value;
  throw new InvalidEvent(faultOf(value));
}
"""

_BASE = (
    format_comment("The members of every message.")
    + "export interface WebSocketMessage {\n"
    + format_member("type", "string", "`<domain>:<action>`.")
    + format_member("timestamp", "string", "RFC 3339, in UTC.")
    + format_member("trace_id?", "string", "The id of the trace; the hub always writes one.")
    + format_member("data", "unknown", "")
    + format_member("channel?", "string", "Absent from messages to one connection.")
    + format_member(
        "id?",
        "string",
        "The id of a push to answer; like the members below, only with the subprotocol `tidings.v1`.",
    )
    + format_member("reply_to?", "string", "The id of the command that this message answers.")
    + format_member("position?", "string", "The position in the log, opaque: a later connection resumes from it.")
    + format_member("event_id?", "string", "")
    + "}\n"
)


def export_typescript(contract: Contract) -> str:
    """Return the contract as a TypeScript file."""
    return _TypeScriptFile(build_model(contract)).text()


class _TypeScriptFile:
    """The exported file, and the names in it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        # Types and values share their names here, so that none hides another.
        namer = Namer(_RESERVED.split())
        self._messages = {message.type: namer.take(_envelope_name(message, model)) for message in model.messages}
        self._definitions = {name: namer.take(to_class_name(name)) for name in model.definitions}
        self._guards = {message.type: namer.take(f"is{to_pascal_case(message.type)}") for message in model.messages}
        self._checks = {name: namer.take(f"check{known}") for name, known in self._definitions.items()}

    def text(self) -> str:
        model = self._model
        types = TypeWriter(self._definitions)
        checks = CheckWriter(self._checks)
        parts = [
            self._head(),
            self._constants(),
            _BASE,
            *(
                types.definition(definition, _describe_use(name, model))
                for name, definition in model.definitions.items()
            ),
            *map(self._envelope, model.messages),
            self._unions(),
            _read_checks(),
            *map(checks.definition, model.definitions.values()),
            self._table("EVENTS", (*model.events, *model.renamed)),
            self._table("SAID", model.hub_messages),
            *map(self._guard, model.messages),
            _CLOSING,
        ]
        return "\n".join(parts)

    def _head(self) -> str:
        identity = self._model.identity
        return (
            f"// Generated by `tidings contract export typescript` from contract {identity.version}, {identity.hash}.\n"
            "// The next export overwrites changes.\n"
            "/* eslint-disable */\n"
        )

    def _constants(self) -> str:
        model = self._model
        messages = _constants(model.events)
        by_type = {type: name for name, (type, _) in messages.items()}
        old = {
            to_constant_case(message.type): (message.type, message.deprecated)
            for message in model.renamed
            if to_constant_case(message.type) not in messages
        }
        aliases = {
            alias: (str(MessageType[current]), f"Renamed to {by_type[MessageType[current]]}.")
            for alias, current in ALIASES.items()
            if MessageType[current] in by_type and alias not in messages
        }
        channels = {to_constant_case(channel): (channel, "") for channel in model.channels}
        return "\n".join(
            (
                format_const("MessageType", "The types of events.", {**messages, **old, **aliases}),
                format_const("HubMessageType", "The types of replies and pushes.", _constants(model.hub_messages)),
                format_const("ChannelType", "The channels of the contract.", channels),
            )
        )

    def _envelope(self, message: Message) -> str:
        data = self._definitions[message.payload] + (" | null" if message.empty else "")
        lines = [f"export interface {self._messages[message.type]} extends WebSocketMessage {{"]
        lines.append(f"  type: {json.dumps(message.type)};")
        lines.append(f"  data: {data};")
        if message.channel is not None:
            lines.append(f"  channel?: {' | '.join(map(json.dumps, _channels(message)))};")
        return (
            format_comment(_message_comment(message), deprecated=message.deprecated) + "\n".join([*lines, "}"]) + "\n"
        )

    def _unions(self) -> str:
        model = self._model
        events = (*model.events, *model.renamed)
        rows = "".join(f"  {json.dumps(event.type)}: {self._messages[event.type]};\n" for event in events)
        others = "".join(f"\n  | {self._messages[message.type]}" for message in model.hub_messages)
        return (
            format_comment("Every event by its type.") + f"export interface TidingsEvents {{\n{rows}}}\n\n"
            "/** Any event: `type` determines the type of `data`. */\n"
            "export type TidingsEvent = TidingsEvents[keyof TidingsEvents];\n\n"
            "/** The data of an event of a type. */\n"
            'export type PayloadOf<T extends keyof TidingsEvents> = TidingsEvents[T]["data"];\n\n'
            f"/** Any reply or push of the hub. */\nexport type HubMessage ={others};\n"
        )

    def _table(self, name: str, messages: Iterable[Message]) -> str:
        rows = []
        for message in messages:
            check = self._checks[message.payload]
            data = f"is.either({check}, is.nothing())" if message.empty else check
            channels = ", ".join(map(json.dumps, _channels(message)))
            type = json.dumps(message.type)
            rows.append(f"  [{type}, is.message({type}, [{channels}], {data})],\n")
        return f"const {name}: ReadonlyMap<string, Check> = new Map([\n{''.join(rows)}]);\n"

    def _guard(self, message: Message) -> str:
        type = json.dumps(message.type)
        table = "SAID" if message in self._model.hub_messages else "EVENTS"
        name, envelope = self._guards[message.type], self._messages[message.type]
        return (
            format_comment(
                f"Returns whether a value is a message of type {message.type}.", deprecated=message.deprecated
            )
            + f"export function {name}(value: unknown): value is {envelope} {{\n"
            + f'  return {table}.get({type})?.(value, "$") === "";\n}}\n'
        )


def _read_checks() -> str:
    text = get_data(__package__, "checks.ts")
    assert text is not None
    return text.decode()


def _envelope_name(message: Message, model: Model) -> str:
    return to_pascal_case(message.type) + ("Message" if message in model.hub_messages else "Event")


def _constants(messages: Iterable[Message]) -> Mapping[str, tuple[str, str]]:
    """Return the type and the deprecation notice of each constant, by its name."""
    namer = Namer()
    return {namer.take(to_constant_case(message.type)): (message.type, message.deprecated) for message in messages}


def _channels(message: Message) -> list[str]:
    return [] if message.channel is None else list(dict.fromkeys((message.channel, "global")))


def _message_comment(message: Message) -> str:
    facts = [] if message.channel is None else [f"On `{message.channel}`, {message.event_class}"]
    if facts and message.key:
        facts.append(f"its key is `{message.key}`")
    return " ".join(filter(None, (message.about, ", ".join(facts) + "." if facts else "")))


def _describe_use(definition: str, model: Model) -> str:
    types = [message.type for message in model.messages if message.payload == definition]
    return f"The data of {' and '.join(types)}." if types else ""


class TypeWriter:
    """Writes types.

    Args:
        names: TypeScript name of each definition.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as an exported type.

        Args:
            definition: The definition.
            use: Its use, as a sentence.
        """
        name = self._names[definition.name]
        about = format_comment(definition.about, use)
        if isinstance(definition.shape, shapes.ObjectShape):
            return f"{about}export interface {name} {self._structure(definition.shape, '')}\n"
        return f"{about}export type {name} = {self.type(definition.shape)};\n"

    def type(self, shape: Shape, indent: str = "") -> str:
        """Return the type of a shape."""
        match shape:
            case shapes.TextShape():
                return "string"
            case shapes.NumberShape():
                return "number"
            case shapes.BooleanShape():
                return "boolean"
            case shapes.NullShape():
                return "null"
            case shapes.AnyShape():
                return "unknown"
            case shapes.NamedShape(name):
                return self._names[name]
            case shapes.EnumShape(values):
                return " | ".join(map(json.dumps, values))
            case shapes.UnionShape(options):
                return " | ".join(dict.fromkeys(self.type(option, indent) for option in options))
            case shapes.ArrayShape():
                return self._array(shape, indent)
            case shapes.TupleShape():
                return self._tuple(shape, indent)
            case shapes.MapShape():
                return f"Record<string, {self.type(shape.values, indent)}>"
            case shapes.ObjectShape():
                return self._structure(shape, indent)

    def _array(self, shape: shapes.ArrayShape, indent: str) -> str:
        items = self.type(shape.items, indent)
        return f"({items})[]" if " | " in items else f"{items}[]"

    def _tuple(self, shape: shapes.TupleShape, indent: str) -> str:
        items = [self.type(item, indent) for item in shape.items]
        for index, item in enumerate(items[shape.min_length :], shape.min_length):
            items[index] = f"({item})?" if " | " in item else f"{item}?"
        return f"[{', '.join(items if shape.closed else [*items, '...unknown[]'])}]"

    def _structure(self, structure: shapes.ObjectShape, indent: str) -> str:
        inner = f"{indent}  "
        lines = []
        for field in structure.fields:
            mark = "" if field.required else "?"
            lines.append(format_comment(_field_comment(field), indent=inner))
            lines.append(f"{inner}{format_property_name(field.name)}{mark}: {self.type(field.shape, inner)};\n")
        return f"{{\n{''.join(lines)}{indent}}}" if lines else "{}"


def _field_comment(field: shapes.ShapeField) -> str:
    default = "" if field.required or not field.default else f"Default: {json.dumps(field.default)}."
    limits = to_sentence(describe_limits(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about else limits, default)))
