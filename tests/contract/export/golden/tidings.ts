// Made by `tidings contract export typescript` from contract 2025-07-30, sha256:86e2c6ba73b69a434200d0e83d1ae084.
// Changes are lost when it is made again.
/* eslint-disable */

/** The types of events. */
export const MessageType = {
  TRADE_EXECUTED: "trade:executed",
  /** @deprecated Publish quote:changed. */
  TRADE_PRICE: "trade:price",
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** What the hub says besides events. */
export const HubMessageType = {
  CHANNEL_SUBSCRIBED: "channel:subscribed",
  CHANNEL_UNSUBSCRIBED: "channel:unsubscribed",
  CHANNEL_LIVE: "channel:live",
  CHANNEL_GAP: "channel:gap",
  CONNECTION_ERROR: "connection:error",
  CONNECTION_NOTICE: "connection:notice",
  CONNECTION_PONG: "connection:pong",
  CONNECTION_POSITION: "connection:position",
  EVENT_ACCEPTED: "event:accepted",
  OPERATION_CANCEL_OUTCOME: "operation:cancel_outcome",
  PRODUCER_ATTACHED: "producer:attached",
} as const;
export type HubMessageType = (typeof HubMessageType)[keyof typeof HubMessageType];

/** The channels of the contract. */
export const ChannelType = {
  GLOBAL: "global",
  OPERATIONS: "operations",
  DATA: "data",
  SYSTEM: "system",
  TRADES: "trades",
} as const;
export type ChannelType = (typeof ChannelType)[keyof typeof ChannelType];

/** What all messages have in common. */
export interface WebSocketMessage {
  /** `<domain>:<action>`. */
  type: string;
  /** RFC 3339, in UTC. */
  timestamp: string;
  /** Of everything that belongs together; the hub always writes one. */
  trace_id?: string;
  data: unknown;
  /** Absent from what is said to one connection. */
  channel?: string;
  /** Only with the subprotocol `tidings.v1`, like those below: names a push to be answered. */
  id?: string;
  /** The id of the command that this answers. */
  reply_to?: string;
  /** Where in the log it is: opaque, and what a later connection resumes at. */
  position?: string;
  event_id?: string;
}

/**
 * Data of `channel:subscribed`: the reply to `channel:subscribe`, sent before the events of the added paths.
 *
 * The data of channel:subscribed.
 */
export interface Subscribed {
  /** All paths that the connection reads now. */
  channels: string[];
  /** Where reading begins for the added paths. */
  position: string;
  /** `live`, `complete`, `snapshot` or `gap`. */
  outcome: string;
}

/**
 * Data of `channel:unsubscribed`: the reply to `channel:unsubscribe`.
 *
 * The data of channel:unsubscribed.
 */
export interface Unsubscribed {
  /** The remaining paths. */
  channels: string[];
}

/**
 * Data of `channel:live`: pushed by the hub when the snapshot or catch-up has ended.
 *
 * The data of channel:live.
 */
export interface Live {
  channels: string[];
  position: string;
}

/**
 * Data of `channel:gap`: pushed by the hub when trimming has overtaken the connection's cursor.
 *
 * The data of channel:gap.
 */
export interface Gap {
  /** The last position that the connection has read. */
  after: string;
  /** End of the gap: durable events after `after` and up to this position may be missing. */
  until: string;
  /** `trimmed`, `epoch` or `future`. */
  reason: string;
}

/**
 * An error, in the form that every part of the contract uses.
 *
 * The data of connection:error.
 */
export interface ErrorData {
  /**
   * Kind of error. Ours are snake_case, from docs/protocol/codes.md; an application defines its own. 1–128 characters.
   */
  code: string;
  /** Description of the error, in one sentence. */
  message: string;
  /** Further facts for a log, such as a stack or the last lines of output. */
  details?: string | null;
  /** Whether trying again may succeed. */
  recoverable: boolean;
  /** Suggested remedy. */
  hint?: string | null;
}

/**
 * Data of `connection:notice`: pushed by the hub when something works but should be done in another way.
 *
 * The data of connection:notice.
 */
export interface Notice {
  code: string;
  message: string;
  hint: string;
}

/**
 * Data of `connection:pong`: the reply to `connection:ping`.
 *
 * The data of connection:pong.
 */
export interface Pong {
  /** The hub's clock, RFC 3339. */
  now: string;
}

/**
 * Data of `connection:position`: pushed to an idle connection when everything up to `position` is delivered.
 *
 * The data of connection:position.
 */
export interface PositionNotice {
  position: string;
  now: string;
}

/**
 * Data of `event:accepted`: the reply to an event, sent when the event is in the log.
 *
 * The data of event:accepted.
 */
export interface Accepted {
  position: string;
  attempt?: number | null;
  /** True where the log already holds the event id; `position` is that of the first event. */
  duplicate?: boolean;
}

/**
 * Data of `operation:cancel_outcome`: the reply to a client's `operation:cancel`.
 *
 * The data of operation:cancel_outcome.
 */
export interface CancelOutcome {
  operation_id: string;
  attempt: number;
  /**
   * `finished_first`: the operation ended another way. `pending`: its holder agreed, and the operation has not ended in time. `unreachable`: no holder is connected, or the holder did not answer.
   */
  outcome: "cancelled" | "finished_first" | "pending" | "refused" | "unreachable";
  /** The operation's state at the time of the reply. */
  state: string;
  /** The holder's reason for refusing. */
  reason?: string | null;
  /** Outcomes of the operation's children, which are cancelled with it. */
  children?: CancelOutcome[] | null;
}

/**
 * Data of `producer:attached`: the reply to `producer:attach`.
 *
 * The data of producer:attached.
 */
export interface Attached {
  producer_id: string;
  /** Default lease of the producer's operations, in seconds. */
  lease_s: number;
  /** One verdict for each claim, in order. */
  operations: Verdict[];
}

/** The hub's decision on a claim, in `producer:attached`. */
export interface Verdict {
  operation_id: string;
  /** The operation's current attempt; absent where the hub has no such operation yet. */
  attempt?: number | null;
  /** `held`: continue. `lost`: the lease expired, or another producer holds it. `finished`: it ended another way. */
  verdict: "finished" | "held" | "lost";
}

/** The data of trade:executed. */
export interface TradeExecutedData {
  trade_id: string;
  price: number;
  tags?: string[] | null;
  side: "buy" | "sell";
}

/**
 * The price of a symbol, as it is now.
 *
 * The data of trade:price.
 */
export interface TradePriceData {
  /** 1–8 characters, matches `^[A-Z]+$`. */
  symbol: string;
  /** Above 0. */
  price: number;
  /** At least 0. */
  volume?: number | null;
  /** At most 3 items. */
  venues?: Venue[] | null;
  extra?: Record<string, number | null> | null;
}

export interface Venue {
  name: string;
  open?: boolean | null;
}

/** On `trades`, durable, its key is `trade_id`. */
export interface TradeExecutedEvent extends WebSocketMessage {
  type: "trade:executed";
  data: TradeExecutedData;
  channel?: "trades" | "global";
}

/**
 * The price of a symbol, as it is now. On `trades`, latest, its key is `symbol`.
 *
 * @deprecated Publish quote:changed.
 */
export interface TradePriceEvent extends WebSocketMessage {
  type: "trade:price";
  data: TradePriceData;
  channel?: "trades" | "global";
}

/** Data of `channel:subscribed`: the reply to `channel:subscribe`, sent before the events of the added paths. */
export interface ChannelSubscribedMessage extends WebSocketMessage {
  type: "channel:subscribed";
  data: Subscribed;
}

/** Data of `channel:unsubscribed`: the reply to `channel:unsubscribe`. */
export interface ChannelUnsubscribedMessage extends WebSocketMessage {
  type: "channel:unsubscribed";
  data: Unsubscribed;
}

/** Data of `channel:live`: pushed by the hub when the snapshot or catch-up has ended. */
export interface ChannelLiveMessage extends WebSocketMessage {
  type: "channel:live";
  data: Live;
}

/** Data of `channel:gap`: pushed by the hub when trimming has overtaken the connection's cursor. */
export interface ChannelGapMessage extends WebSocketMessage {
  type: "channel:gap";
  data: Gap;
}

/** An error, in the form that every part of the contract uses. */
export interface ConnectionErrorMessage extends WebSocketMessage {
  type: "connection:error";
  data: ErrorData;
}

/** Data of `connection:notice`: pushed by the hub when something works but should be done in another way. */
export interface ConnectionNoticeMessage extends WebSocketMessage {
  type: "connection:notice";
  data: Notice;
}

/** Data of `connection:pong`: the reply to `connection:ping`. */
export interface ConnectionPongMessage extends WebSocketMessage {
  type: "connection:pong";
  data: Pong;
}

/** Data of `connection:position`: pushed to an idle connection when everything up to `position` is delivered. */
export interface ConnectionPositionMessage extends WebSocketMessage {
  type: "connection:position";
  data: PositionNotice;
}

/** Data of `event:accepted`: the reply to an event, sent when the event is in the log. */
export interface EventAcceptedMessage extends WebSocketMessage {
  type: "event:accepted";
  data: Accepted;
}

/** Data of `operation:cancel_outcome`: the reply to a client's `operation:cancel`. */
export interface OperationCancelOutcomeMessage extends WebSocketMessage {
  type: "operation:cancel_outcome";
  data: CancelOutcome;
}

/** Data of `producer:attached`: the reply to `producer:attach`. */
export interface ProducerAttachedMessage extends WebSocketMessage {
  type: "producer:attached";
  data: Attached;
}

/** Every event, by its type. */
export interface TidingsEvents {
  "trade:executed": TradeExecutedEvent;
  "trade:price": TradePriceEvent;
}

/** Any event: `type` tells which, and so what `data` holds. */
export type TidingsEvent = TidingsEvents[keyof TidingsEvents];

/** The data of an event of a type. */
export type PayloadOf<T extends keyof TidingsEvents> = TidingsEvents[T]["data"];

/** Anything else that the hub says. */
export type HubMessage =
  | ChannelSubscribedMessage
  | ChannelUnsubscribedMessage
  | ChannelLiveMessage
  | ChannelGapMessage
  | ConnectionErrorMessage
  | ConnectionNoticeMessage
  | ConnectionPongMessage
  | ConnectionPositionMessage
  | EventAcceptedMessage
  | OperationCancelOutcomeMessage
  | ProducerAttachedMessage;

/** Says what is wrong with a value, and where; "" where nothing is. */
type Check = (value: unknown, path: string) => string;

interface TextLimits {
  readonly shortest?: number;
  readonly longest?: number;
  readonly pattern?: RegExp;
  readonly format?: keyof typeof FORMATS;
}

interface NumberLimits {
  readonly whole?: boolean;
  readonly least?: number;
  readonly most?: number;
  readonly above?: number;
  readonly below?: number;
  readonly multipleOf?: number;
}

interface SizeLimits {
  readonly fewest?: number;
  readonly most?: number;
}

const DAY = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])";
const TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?";
const OFFSET = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])";
const FORMATS = {
  "date-time": new RegExp(`^${DAY}[Tt ]${TIME}${OFFSET}$`, "u"),
  date: new RegExp(`^${DAY}$`, "u"),
  time: new RegExp(`^${TIME}${OFFSET}$`, "u"),
  "partial-time": new RegExp(`^${TIME}$`, "u"),
  uuid: /^[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}$/u,
  base64: /^[A-Za-z0-9+/]*={0,2}$/u,
} as const;

const is = {
  anything(): Check {
    return () => "";
  },

  nothing(): Check {
    return (value, path) => (value === null ? "" : `${path}: not null`);
  },

  flag(): Check {
    return (value, path) => (typeof value === "boolean" ? "" : `${path}: neither true nor false`);
  },

  text(limits: TextLimits = {}): Check {
    const { shortest = 0, longest = Infinity, pattern, format } = limits;
    return (value, path) => {
      if (typeof value !== "string") return `${path}: not a string`;
      if (shortest > 0 || longest < Infinity) {
        const characters = [...value].length;
        if (characters < shortest) return `${path}: shorter than ${shortest}`;
        if (characters > longest) return `${path}: longer than ${longest}`;
      }
      if (pattern !== undefined && !pattern.test(value)) return `${path}: does not match ${pattern.source}`;
      return format === undefined || FORMATS[format].test(value) ? "" : `${path}: no ${format}`;
    };
  },

  number(limits: NumberLimits = {}): Check {
    const { whole = false, least = -Infinity, most = Infinity, above = -Infinity, below = Infinity } = limits;
    const { multipleOf } = limits;
    return (value, path) => {
      if (typeof value !== "number" || !Number.isFinite(value)) return `${path}: not a number`;
      if (whole && !Number.isInteger(value)) return `${path}: not a whole number`;
      if (value < least || value <= above) return `${path}: too small`;
      if (value > most || value >= below) return `${path}: too large`;
      const times = multipleOf === undefined ? 0 : value / multipleOf;
      return Math.abs(times - Math.round(times)) < 1e-9 ? "" : `${path}: no multiple of ${multipleOf}`;
    };
  },

  choice(...values: readonly (string | number | boolean | null)[]): Check {
    return (value, path) =>
      values.some((each) => each === value) ? "" : `${path}: none of ${values.map((each) => JSON.stringify(each)).join(", ")}`;
  },

  array(items: Check, limits: SizeLimits = {}): Check {
    const { fewest = 0, most = Infinity } = limits;
    return (value, path) => {
      if (!Array.isArray(value)) return `${path}: not an array`;
      if (value.length < fewest) return `${path}: fewer than ${fewest}`;
      if (value.length > most) return `${path}: more than ${most}`;
      return first(value, (item, index) => items(item, `${path}[${index}]`));
    };
  },

  row(items: readonly Check[], fewest: number, most: number): Check {
    return (value, path) => {
      if (!Array.isArray(value)) return `${path}: not an array`;
      if (value.length < fewest) return `${path}: fewer than ${fewest}`;
      if (value.length > most) return `${path}: more than ${most}`;
      return first(items.slice(0, value.length), (check, index) => check(value[index], `${path}[${index}]`));
    };
  },

  map(values: Check, names: Check = is.text(), limits: SizeLimits = {}): Check {
    const { fewest = 0, most = Infinity } = limits;
    return (value, path) => {
      if (!isObject(value)) return `${path}: not an object`;
      const entries = Object.entries(value);
      if (entries.length < fewest) return `${path}: fewer than ${fewest}`;
      if (entries.length > most) return `${path}: more than ${most}`;
      return first(entries, ([name, item]) => names(name, `${path}: the name`) || values(item, `${path}.${name}`));
    };
  },

  object(required: Readonly<Record<string, Check>>, optional: Readonly<Record<string, Check>> = {}, closed = false): Check {
    const needed = Object.entries(required);
    const possible = Object.entries(optional);
    const known = new Set([...needed, ...possible].map(([name]) => name));
    return (value, path) => {
      if (!isObject(value)) return `${path}: not an object`;
      const more = closed ? Object.keys(value).find((name) => !known.has(name)) : undefined;
      if (more !== undefined) return `${path}.${more}: not expected`;
      return (
        first(needed, ([name, check]) =>
          Object.hasOwn(value, name) ? check(value[name], `${path}.${name}`) : `${path}.${name}: missing`,
        ) ||
        first(possible, ([name, check]) => (Object.hasOwn(value, name) ? check(value[name], `${path}.${name}`) : ""))
      );
    };
  },

  either(...options: readonly Check[]): Check {
    return (value, path) => {
      const faults = options.map((option) => option(value, path));
      if (faults.includes("")) return "";
      return faults.length > 2 ? `${path}: fits nothing that it may be` : (faults[0] ?? "");
    };
  },

  /** For definitions that refer to each other. */
  later(check: () => Check): Check {
    return (value, path) => check()(value, path);
  },

  message(type: string, channels: readonly string[], data: Check): Check {
    const name = is.text({ longest: 64 });
    return is.object(
      { type: is.choice(type), timestamp: is.text({ format: "date-time" }), data },
      {
        trace_id: is.text({ longest: 128 }),
        channel: channels.length > 0 ? is.choice(...channels) : is.text(),
        id: name,
        reply_to: name,
        position: name,
        event_id: name,
      },
    );
  },
} as const;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function first<T>(items: readonly T[], fault: (item: T, index: number) => string): string {
  for (const [index, item] of items.entries()) {
    const found = fault(item, index);
    if (found !== "") return found;
  }
  return "";
}

const checkSubscribed: Check = is.object(
  { channels: is.array(is.text()), position: is.text(), outcome: is.text() },
);

const checkUnsubscribed: Check = is.object({ channels: is.array(is.text()) });

const checkLive: Check = is.object({ channels: is.array(is.text()), position: is.text() });

const checkGap: Check = is.object({ after: is.text(), until: is.text(), reason: is.text() });

const checkErrorData: Check = is.object(
  { code: is.text({ shortest: 1, longest: 128 }), message: is.text(), recoverable: is.flag() },
  { details: is.either(is.text(), is.nothing()), hint: is.either(is.text(), is.nothing()) },
);

const checkNotice: Check = is.object({ code: is.text(), message: is.text(), hint: is.text() });

const checkPong: Check = is.object({ now: is.text() });

const checkPositionNotice: Check = is.object({ position: is.text(), now: is.text() });

const checkAccepted: Check = is.object(
  { position: is.text() },
  { attempt: is.either(is.number({ whole: true }), is.nothing()), duplicate: is.flag() },
);

const checkCancelOutcome: Check = is.object(
  {
    operation_id: is.text(),
    attempt: is.number({ whole: true }),
    outcome: is.choice("cancelled", "finished_first", "pending", "refused", "unreachable"),
    state: is.text(),
  },
  {
    reason: is.either(is.text(), is.nothing()),
    children: is.either(is.array(is.later(() => checkCancelOutcome)), is.nothing()),
  },
);

const checkAttached: Check = is.object(
  { producer_id: is.text(), lease_s: is.number(), operations: is.array(is.later(() => checkVerdict)) },
);

const checkVerdict: Check = is.object(
  { operation_id: is.text(), verdict: is.choice("finished", "held", "lost") },
  { attempt: is.either(is.number({ whole: true }), is.nothing()) },
);

const checkTradeExecutedData: Check = is.object(
  { trade_id: is.text(), price: is.number(), side: is.choice("buy", "sell") },
  { tags: is.either(is.array(is.text()), is.nothing()) },
);

const checkTradePriceData: Check = is.object(
  {
    symbol: is.text({ shortest: 1, longest: 8, pattern: new RegExp("^[A-Z]+$", "u") }),
    price: is.number({ above: 0 }),
  },
  {
    volume: is.either(is.number({ whole: true, least: 0 }), is.nothing()),
    venues: is.either(is.array(is.later(() => checkVenue), { most: 3 }), is.nothing()),
    extra: is.either(is.map(is.either(is.number(), is.nothing())), is.nothing()),
  },
);

const checkVenue: Check = is.object({ name: is.text() }, { open: is.either(is.flag(), is.nothing()) });

const EVENTS: ReadonlyMap<string, Check> = new Map([
  ["trade:executed", is.message("trade:executed", ["trades", "global"], checkTradeExecutedData)],
  ["trade:price", is.message("trade:price", ["trades", "global"], checkTradePriceData)],
]);

const SAID: ReadonlyMap<string, Check> = new Map([
  ["channel:subscribed", is.message("channel:subscribed", [], checkSubscribed)],
  ["channel:unsubscribed", is.message("channel:unsubscribed", [], checkUnsubscribed)],
  ["channel:live", is.message("channel:live", [], checkLive)],
  ["channel:gap", is.message("channel:gap", [], checkGap)],
  ["connection:error", is.message("connection:error", [], checkErrorData)],
  ["connection:notice", is.message("connection:notice", [], checkNotice)],
  ["connection:pong", is.message("connection:pong", [], checkPong)],
  ["connection:position", is.message("connection:position", [], checkPositionNotice)],
  ["event:accepted", is.message("event:accepted", [], checkAccepted)],
  ["operation:cancel_outcome", is.message("operation:cancel_outcome", [], checkCancelOutcome)],
  ["producer:attached", is.message("producer:attached", [], checkAttached)],
]);

/** Returns whether a value is a message of type trade:executed. */
export function isTradeExecuted(value: unknown): value is TradeExecutedEvent {
  return EVENTS.get("trade:executed")?.(value, "$") === "";
}

/**
 * Returns whether a value is a message of type trade:price.
 *
 * @deprecated Publish quote:changed.
 */
export function isTradePrice(value: unknown): value is TradePriceEvent {
  return EVENTS.get("trade:price")?.(value, "$") === "";
}

/** Returns whether a value is a message of type channel:subscribed. */
export function isChannelSubscribed(value: unknown): value is ChannelSubscribedMessage {
  return SAID.get("channel:subscribed")?.(value, "$") === "";
}

/** Returns whether a value is a message of type channel:unsubscribed. */
export function isChannelUnsubscribed(value: unknown): value is ChannelUnsubscribedMessage {
  return SAID.get("channel:unsubscribed")?.(value, "$") === "";
}

/** Returns whether a value is a message of type channel:live. */
export function isChannelLive(value: unknown): value is ChannelLiveMessage {
  return SAID.get("channel:live")?.(value, "$") === "";
}

/** Returns whether a value is a message of type channel:gap. */
export function isChannelGap(value: unknown): value is ChannelGapMessage {
  return SAID.get("channel:gap")?.(value, "$") === "";
}

/** Returns whether a value is a message of type connection:error. */
export function isConnectionError(value: unknown): value is ConnectionErrorMessage {
  return SAID.get("connection:error")?.(value, "$") === "";
}

/** Returns whether a value is a message of type connection:notice. */
export function isConnectionNotice(value: unknown): value is ConnectionNoticeMessage {
  return SAID.get("connection:notice")?.(value, "$") === "";
}

/** Returns whether a value is a message of type connection:pong. */
export function isConnectionPong(value: unknown): value is ConnectionPongMessage {
  return SAID.get("connection:pong")?.(value, "$") === "";
}

/** Returns whether a value is a message of type connection:position. */
export function isConnectionPosition(value: unknown): value is ConnectionPositionMessage {
  return SAID.get("connection:position")?.(value, "$") === "";
}

/** Returns whether a value is a message of type event:accepted. */
export function isEventAccepted(value: unknown): value is EventAcceptedMessage {
  return SAID.get("event:accepted")?.(value, "$") === "";
}

/** Returns whether a value is a message of type operation:cancel_outcome. */
export function isOperationCancelOutcome(value: unknown): value is OperationCancelOutcomeMessage {
  return SAID.get("operation:cancel_outcome")?.(value, "$") === "";
}

/** Returns whether a value is a message of type producer:attached. */
export function isProducerAttached(value: unknown): value is ProducerAttachedMessage {
  return SAID.get("producer:attached")?.(value, "$") === "";
}

/** A message that is not what the contract says; its message says where. */
export class InvalidEvent extends Error {
  override readonly name = "InvalidEvent";
}

/** Returns what is wrong with a value as an event or as another message of the hub; "" where nothing is. */
export function faultOf(value: unknown): string {
  if (!isObject(value) || typeof value["type"] !== "string") return "$: no message";
  const check = EVENTS.get(value["type"]) ?? SAID.get(value["type"]);
  return check === undefined ? `$.type: nothing is called ${JSON.stringify(value["type"])}` : check(value, "$");
}

/** Returns whether a value is an event of this contract. */
export function isTidingsEvent(value: unknown): value is TidingsEvent {
  return isObject(value) && EVENTS.get(String(value["type"]))?.(value, "$") === "";
}

/** Returns whether a value is something else that the hub says. */
export function isHubMessage(value: unknown): value is HubMessage {
  return isObject(value) && SAID.get(String(value["type"]))?.(value, "$") === "";
}

/**
 * Reads a message as an event.
 *
 * @throws {InvalidEvent} It is none of this contract's.
 */
export function parseEvent(text: string): TidingsEvent {
  const message = parseMessage(text);
  if (isTidingsEvent(message)) return message;
  throw new InvalidEvent(`$.type: ${message.type} is no event`);
}

/**
 * Reads a message as an event, or as something else that the hub says.
 *
 * @throws {InvalidEvent} It is neither.
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
