"""Export to TypeScript: one file without dependencies, of types and of guards that check every field."""

import json
from collections.abc import Iterable, Mapping
from pkgutil import get_data

from tidings.contract.contract import Contract
from tidings.contract.export.constants import (
    CLOSE_CODE_CONSTANTS,
    ERROR_CODES,
    FINAL_CLOSE_CODES,
    FINAL_RANGE,
    TEMPORARY_CLOSE_CODES,
    Constant,
)
from tidings.contract.export.model import (
    Message,
    Model,
    Namer,
    build_model,
    to_class_name,
    to_constant_case,
    to_pascal_case,
)
from tidings.contract.export.typescript.guards import PURE, CheckWriter
from tidings.contract.export.typescript.text import format_comment, format_const, format_member
from tidings.contract.export.typescript.types import TypeWriter
from tidings.protocol.message_types import ALIASES, MessageType
from tidings.protocol.messages import SUBPROTOCOL

_RESERVED = """\
WebSocketMessage TidingsEvent TidingsEvents HubMessage MessageType ChannelType HubMessageType PayloadOf InvalidEvent
UnknownMessage ClientMessage Publication Publications InputOf Command Commands CommandType
Replies ReplyOf ErrorCode CloseCode SUBPROTOCOL shouldReconnect UNKNOWN
isTidingsEvent isHubMessage isUnknown parseEvent parseMessage faultOf
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

function isUnknown(value: unknown): value is WebSocketMessage {
  if (UNKNOWN(value, "$") !== "") return false;
  const { type } = value as WebSocketMessage;
  return !EVENTS.has(type) && !SAID.has(type);
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
  throw new InvalidEvent(
    message.type === "unknown" ? faultOf(message.message) : `$.type: ${message.type} is not an event`,
  );
}

/**
 * Reads a message as an event, a reply or a push. A message of a type that this file does not have is passed on as an
 * `UnknownMessage`: a client ignores it, so that a newer hub may send more.
 *
 * @throws {InvalidEvent} The text is not a message, or does not fit its type.
 */
export function parseMessage(text: string): TidingsEvent | HubMessage | UnknownMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidEvent("$: this is not JSON", { cause });
  }
  if (isTidingsEvent(value) || isHubMessage(value)) return value;
  if (isUnknown(value)) return { type: "unknown", message: value };
  throw new InvalidEvent(faultOf(value));
}
"""

_V1 = "Only with the subprotocol `tidings.v1`, like the members below."
_BASE = (
    format_comment("The members of every message of a hub.")
    + "export interface WebSocketMessage {\n"
    + format_member("type", "string", "`<domain>:<action>`.")
    + format_member("timestamp", "string", "RFC 3339, in UTC.")
    + format_member("trace_id", "string", "The id of the trace.")
    + format_member("data", "unknown", "")
    + format_member("channel?", "string", "Absent from messages to one connection.")
    + format_member("id?", "string", f"The id of a push to answer. {_V1}")
    + format_member("reply_to?", "string", "The id of the command that this message answers.")
    + format_member("position?", "string", "The position in the log, opaque: a later connection resumes from it.")
    + format_member("event_id?", "string", "")
    + "}\n\n"
    + format_comment("The members of every message of a client.")
    + "export interface ClientMessage {\n"
    + format_member("type", "string", "`<domain>:<action>`.")
    + format_member("data?", "unknown", "")
    + format_member("timestamp?", "string", "RFC 3339; absent means the hub's clock.")
    + format_member("trace_id?", "string", "The id of the trace; absent means that the hub chooses one.")
    + format_member("id?", "string", f"The label that the reply repeats. {_V1}")
    + format_member("reply_to?", "string", "The id of the push that this message answers.")
    + format_member("event_id?", "string", "The id by which the hub recognises an event that is published again.")
    + "}\n\n"
    + format_comment("A message of a type that this file does not have, such as one of a newer hub.")
    + "export interface UnknownMessage {\n"
    + format_member("type", '"unknown"', "No type of a message has this form.")
    + format_member("message", "WebSocketMessage", "The message, unchanged.")
    + "}\n"
)
_SHOULD_RECONNECT = """\
/** Returns whether a client reconnects after the hub closed the WebSocket with a code. */
export function shouldReconnect(code: number): boolean {
  return ![%(codes)s].includes(code) && (code < %(first)d || code > %(last)d || [%(temporary)s].includes(code));
}
"""


def export_typescript(contract: Contract) -> str:
    """Return the contract as a TypeScript file."""
    return _TypeScriptFile(build_model(contract)).text()


class _TypeScriptFile:
    """The exported file, and the names in it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        # Types and values share their names here, so that none hides another.
        self._namer = namer = Namer(_RESERVED.split())
        self._filled_in = {event.payload: event.filled_in for event in model.events}
        self._messages = {message.type: namer.take(_envelope_name(message, model)) for message in model.messages}
        self._commands = {message.type: namer.take(_command_name(message)) for message in model.commands}
        self._definitions = {name: namer.take(to_class_name(name)) for name in model.definitions}
        self._inputs = {
            event.payload: namer.take(f"{self._definitions[event.payload].removesuffix('Data')}Input")
            for event in model.events
            if event.publishable and event.filled_in
        }
        self._guards = {message.type: namer.take(f"is{to_pascal_case(message.type)}") for message in model.messages}
        self._checks = {name: namer.take(f"check{known}") for name, known in self._definitions.items()}

    def text(self) -> str:
        model = self._model
        types = TypeWriter(self._definitions, self._namer, self._filled_in)
        checks = CheckWriter(self._checks, self._filled_in)
        parts = [
            self._head(),
            self._constants(),
            _BASE,
            *(
                types.definition(definition, _describe_use(name, model))
                for name, definition in model.definitions.items()
            ),
            *map(self._input, self._inputs),
            *map(self._envelope, model.messages),
            *map(self._command, model.commands),
            self._unions(),
            self._publications(),
            _read_checks(),
            *(checks.definition(each) for name, each in model.definitions.items() if name in model.received),
            self._table("EVENTS", (*model.events, *model.renamed)),
            self._table("SAID", model.hub_messages),
            f"const UNKNOWN: Check = {PURE} (() => is.message(undefined, [], is.anything()))();\n",
            *map(self._guard, model.messages),
            _CLOSING,
            _SHOULD_RECONNECT
            % {
                "codes": ", ".join(map(str, FINAL_CLOSE_CODES)),
                "first": FINAL_RANGE[0],
                "last": FINAL_RANGE[1],
                "temporary": ", ".join(map(str, TEMPORARY_CLOSE_CODES)),
            },
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
            to_constant_case(message.type): (message.type, _deprecation(message.deprecated))
            for message in model.renamed
            if to_constant_case(message.type) not in messages
        }
        aliases = {
            alias: (str(MessageType[current]), f"@deprecated Renamed to {by_type[MessageType[current]]}.")
            for alias, current in ALIASES.items()
            if MessageType[current] in by_type and alias not in messages
        }
        channels = {to_constant_case(channel): (channel, "") for channel in model.channels}
        return "\n".join(
            (
                format_const("MessageType", "The types of events.", {**messages, **old, **aliases}),
                format_const("HubMessageType", "The types of replies and pushes.", _constants(model.hub_messages)),
                format_const(
                    "CommandType", "The types of what a client sends besides events.", _constants(model.commands)
                ),
                format_const("ChannelType", "The channels of the contract.", channels),
                format_const("ErrorCode", "Codes of errors that a hub sends.", _codes(ERROR_CODES)),
                format_const("CloseCode", "Codes with which a hub closes a WebSocket.", _codes(CLOSE_CODE_CONSTANTS)),
                f"/** The subprotocol of connections with ids, replies and positions. */\n"
                f'export const SUBPROTOCOL = "{SUBPROTOCOL}";\n',
            )
        )

    def _envelope(self, message: Message) -> str:
        data = self._definitions[message.payload] + (" | null" if message.empty else "")
        lines = [f"export interface {self._messages[message.type]} extends WebSocketMessage {{"]
        lines.append(f"  type: {json.dumps(message.type)};")
        lines.append(f"  data: {data};")
        if message.channel is not None:
            lines.append(f"  channel: {' | '.join(map(json.dumps, _channels(message)))};")
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

    def _input(self, payload: str) -> str:
        """Return the type of a payload that a client publishes, where it differs from the one that it reads."""
        known, fields = self._definitions[payload], " | ".join(map(json.dumps, sorted(self._filled_in[payload])))
        about = format_comment(f"{known} as it is published: the hub fills in the other members.")
        return f"{about}export type {self._inputs[payload]} = Omit<{known}, {fields}> & Partial<{known}>;\n"

    def _command(self, message: Message) -> str:
        data = self._definitions.get(message.payload, "")
        lines = [f"export interface {self._commands[message.type]} extends ClientMessage {{"]
        lines.append(f"  type: {json.dumps(message.type)};")
        lines.append(f"  data: {data};" if data else "  data?: null;")
        lines.append("  id: string;" if message.answered_by else "  reply_to: string;")
        return format_comment(message.about) + "\n".join([*lines, "}"]) + "\n"

    def _publications(self) -> str:
        """Return what a client sends: events to publish, and commands with their replies."""
        rows, members = [], []
        for event in (each for each in self._model.events if each.publishable):
            data = self._inputs.get(event.payload, self._definitions[event.payload])
            type, channels = json.dumps(event.type), " | ".join(map(json.dumps, _channels(event)))
            rows.append(f"  {type}: {data};\n")
            member = f"data?: {data} | null" if event.empty else f"data: {data}"
            members.append(f"\n  | (ClientMessage & {{ type: {type}; {member}; channel?: {channels} }})")
        commands = self._model.commands
        replies = {
            each.type: self._messages[each.answered_by] for each in commands if each.answered_by in self._messages
        }
        return (
            "/** The data of every event that a client publishes, by its type. */\n"
            f"export interface Publications {{\n{''.join(rows)}}}\n\n"
            "/** The data of an event that a client publishes. */\n"
            "export type InputOf<T extends keyof Publications> = Publications[T];\n\n"
            f"/** An event as a client publishes it. */\nexport type Publication ={''.join(members)};\n\n"
            "/** What a client sends besides events, by its type. */\n"
            f"export interface Commands {{\n"
            f"{''.join(f'  {json.dumps(type)}: {name};{chr(10)}' for type, name in self._commands.items())}}}\n\n"
            "/** What a client sends besides events. */\nexport type Command = Commands[keyof Commands];\n\n"
            "/** The reply to each command. */\n"
            f"export interface Replies {{\n"
            f"{''.join(f'  {json.dumps(type)}: {name};{chr(10)}' for type, name in replies.items())}}}\n\n"
            "/** The reply to a command of a type. */\n"
            "export type ReplyOf<T extends keyof Replies> = Replies[T];\n"
        )

    def _table(self, name: str, messages: Iterable[Message]) -> str:
        rows = []
        for message in messages:
            check = self._checks[message.payload]
            data = f"is.either({check}, is.nothing())" if message.empty else check
            channels = ", ".join(map(json.dumps, _channels(message)))
            type = json.dumps(message.type)
            rows.append(f"  [{type}, is.message({type}, [{channels}], {data})],\n")
        return f"const {name}: ReadonlyMap<string, Check> = {PURE} (() => new Map([\n{''.join(rows)}]))();\n"

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


def _command_name(message: Message) -> str:
    return to_pascal_case(message.type) + ("Command" if message.answered_by else "Message")


def _codes(constants: Iterable[Constant]) -> Mapping[str, tuple[str | int, str]]:
    return {to_constant_case(each.name): (each.value, each.about) for each in constants}


def _constants(messages: Iterable[Message]) -> Mapping[str, tuple[str | int, str]]:
    """Return the type and the comment of each constant, by its name."""
    namer = Namer()
    return {
        namer.take(to_constant_case(message.type)): (message.type, _deprecation(message.deprecated))
        for message in messages
    }


def _deprecation(text: str) -> str:
    return f"@deprecated {text}" if text else ""


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
