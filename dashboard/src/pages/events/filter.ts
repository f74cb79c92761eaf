/** What the Events page shows: the filter, its address, and whether an event matches it. Pure. */

import type { LoggedEvent } from "tidings";

/** An event as the hub sends it; the members of `tidings.v1`. */
export type { LoggedEvent };

/** The choice of events. Empty members choose everything. */
export interface EventFilter {
  readonly channel: string;
  readonly type: string;
  readonly key: string;
  readonly trace: string;
  /** Text that occurs anywhere in the event, whatever the case. */
  readonly text: string;
}

/** The filter that chooses everything. */
export const EVERYTHING: EventFilter = { channel: "", type: "", key: "", trace: "", text: "" };

const MEMBERS = ["channel", "type", "key", "trace"] as const;

/** Read a filter from the query of an address. */
export function readFilter(query: URLSearchParams): EventFilter {
  const read = (name: string) => query.get(name)?.trim() ?? "";
  return { channel: read("channel"), type: read("type"), key: read("key"), trace: read("trace"), text: read("q") };
}

/** Write a filter into the query of an address; what chooses everything is left out. */
export function writeFilter(filter: EventFilter, query: URLSearchParams): URLSearchParams {
  const written = new URLSearchParams(query);
  const set = (name: string, value: string) => (value === "" ? written.delete(name) : written.set(name, value));
  for (const name of MEMBERS) set(name, filter[name]);
  set("q", filter.text);
  return written;
}

/** Whether the filter chooses every event. */
export function choosesEverything(filter: EventFilter): boolean {
  return filter.text === "" && MEMBERS.every((name) => filter[name] === "");
}

/**
 * Read what was typed into the field: `type:operation:failed key:import-1 trace:9c1d… xetra` sets the members that it
 * names; the rest is text. A word with the form of a type, such as `operation:failed`, stays text: it finds the type too.
 *
 * @param typed - The text of the field.
 * @param before - The filter of now, whose channel stays.
 */
export function parseTyped(typed: string, before: EventFilter): EventFilter {
  const named: Record<string, string> = {};
  const text: string[] = [];
  for (const word of typed.split(/\s+/u)) {
    const match = /^(channel|type|key|trace):(.+)$/u.exec(word);
    if (match?.[1] !== undefined && match[2] !== undefined) named[match[1]] = match[2];
    else if (word !== "") text.push(word);
  }
  return { ...before, ...named, text: text.join(" ") };
}

/** Return the paths to subscribe to: as few events as the hub can choose by itself. */
export function pathsOf(filter: EventFilter): readonly string[] {
  if (filter.channel === "") return ["*"];
  // A key may hold characters that a path gives a meaning to; such a key is matched here.
  return [/^[^*%\s]+$/u.test(filter.key) ? `${filter.channel}/${filter.key}` : filter.channel];
}

/** Names the payload field that is the key of each type, as the contract does. */
export type KeyFields = ReadonlyMap<string, string>;

const BUILT_IN_KEYS: KeyFields = new Map([
  ["operation:start", "operation_id"],
  ["operation:progress", "operation_id"],
  ["operation:log", "operation_id"],
  ["operation:complete", "operation_id"],
  ["operation:failed", "operation_id"],
  ["operation:cancelled", "operation_id"],
  ["operation:estimate", "operation_id"],
  ["data:update", "dataset"],
  ["data:processed", "dataset"],
  ["data:error", "dataset"],
  ["report:ready", "report_id"],
  ["system:status", "source"],
  ["system:alert", "alert_id"],
  ["system:metrics", "source"],
]);

/** Return the key of an event; "" where it has none. */
export function keyOf(event: Pick<LoggedEvent, "type" | "data">, fields: KeyFields = BUILT_IN_KEYS): string {
  const field = fields.get(event.type) ?? BUILT_IN_KEYS.get(event.type);
  const data = asObject(event.data);
  const key = field === undefined ? undefined : data[field];
  if (typeof key === "string" && key !== "") return key;
  if (event.type !== "system:alert") return "";
  // An alert without an id of its own is told apart by its code and operation.
  const operation = data["operation_id"];
  return typeof data["code"] === "string" ? data["code"] + (typeof operation === "string" ? `:${operation}` : "") : "";
}

/** Return the members of a JSON object; none of another value. */
export function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/**
 * Return a function that decides for each event. The text of an event is searched last, and only if it is asked for.
 *
 * @param fields - Returns the key of each type, as far as the contract is known by then.
 */
export function matcherOf(filter: EventFilter, fields?: () => KeyFields): (event: LoggedEvent) => boolean {
  const words = filter.text
    .toLowerCase()
    .split(/\s+/u)
    .filter((word) => word !== "");
  return (event) => {
    if (filter.channel !== "" && event.channel !== filter.channel) return false;
    if (filter.type !== "" && !matchesPattern(event.type, filter.type)) return false;
    if (filter.trace !== "" && event.trace_id !== filter.trace) return false;
    if (filter.key !== "" && !matchesPattern(keyOf(event, fields?.()), filter.key)) return false;
    if (words.length === 0) return true;
    const text = `${event.type} ${event.channel} ${event.trace_id} ${JSON.stringify(event.data)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

/** Whether a name is the pattern, or begins like it if the pattern ends in `*`. */
function matchesPattern(name: string, pattern: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
