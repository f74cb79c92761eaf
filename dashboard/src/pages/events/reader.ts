/** Reads matching events from the log, page by page, as `GET /v1/events` returns them. */

import { EVERYTHING, type EventFilter, type LoggedEvent, matcherOf } from "./filter.ts";

/** What the hub answers. */
export interface HistoryAnswer {
  readonly events: readonly LoggedEvent[];
  /** The `since` of the request that follows. */
  readonly next: string;
  /** The head of the log; `next` equals it at the end. */
  readonly position: string;
  /** With `last`: the `until` of the request for the events before; absent if there are none. */
  readonly earlier?: string;
  readonly gap?: { readonly reason: string; readonly after: string; readonly until: string };
}

/** Sends one request, such as `hub.request`. */
export type Request = (path: string, signal: AbortSignal) => Promise<HistoryAnswer>;

/** What was read. */
export interface Reading {
  /** Matching events, oldest first. */
  readonly events: readonly LoggedEvent[];
  /** The position to go on from. */
  readonly next: string;
  /** True: everything up to the head of the log, or to the end of the range, was read. */
  readonly done: boolean;
  readonly gap: HistoryAnswer["gap"];
}

/** What was read backwards. */
export interface EarlierReading {
  /** Matching events, oldest first. */
  readonly events: readonly LoggedEvent[];
  /** The position up to which the log was not searched; null: all of it was. */
  readonly earlier: string | null;
  readonly gap: HistoryAnswer["gap"];
}

/** Where to read. */
export interface Range {
  /** A position, a time in RFC 3339, or `first`. */
  readonly after: string;
  /** The last position of the range; null up to the head. */
  readonly until: string | null;
  /** Positions of events that come after the range: one of them ends it, in case that its own last event is gone. */
  readonly beyond?: ReadonlySet<string>;
}

/** Most events of one answer. */
const PAGE = 1_000;
/** Requests after which reading stops, found or not: each searches the log for a quarter of a second. */
const MAX_REQUESTS = 20;

/**
 * Read up to `limit` matching events.
 *
 * @param request - Sends one request.
 * @param filter - What the hub can choose by itself is chosen there; the text is searched here.
 * @param limit - Number of matching events after which reading stops.
 * @throws What `request` throws.
 */
export async function readEvents(
  request: Request,
  filter: EventFilter,
  range: Range,
  limit: number,
  signal: AbortSignal,
): Promise<Reading> {
  const matches = matcherOf(filter);
  const events: LoggedEvent[] = [];
  let after = range.after;
  let gap: HistoryAnswer["gap"];
  for (let count = 0; count < MAX_REQUESTS; count++) {
    // Where the hub chooses everything, one more than is wanted would be read again.
    const wanted = filter.text === "" ? Math.min(PAGE, limit - events.length) : PAGE;
    const answer = await request(historyPath(filter, { since: after, limit: wanted }), signal);
    gap ??= answer.gap;
    for (const event of answer.events) {
      if (range.beyond?.has(event.position)) return { events, next: after, done: true, gap };
      after = event.position;
      if (matches(event)) events.push(event);
      if (event.position === range.until) return { events, next: after, done: true, gap };
      if (events.length >= limit) return { events, next: after, done: false, gap };
    }
    const stands = answer.next === after && answer.events.length === 0;
    after = answer.next;
    if (after === answer.position || stands) return { events, next: after, done: true, gap };
  }
  return { events, next: after, done: false, gap };
}

/**
 * Read the newest matching events of a range, up to `limit`.
 *
 * @param range - After a position, a time or `first`, up to a position.
 * @throws What `request` throws.
 */
export async function readEarlier(
  request: Request,
  filter: EventFilter,
  range: { readonly after: string; readonly until: string },
  limit: number,
  signal: AbortSignal,
): Promise<EarlierReading> {
  const matches = matcherOf(filter);
  const found: LoggedEvent[] = [];
  let until = range.until;
  for (let count = 0; count < MAX_REQUESTS; count++) {
    const last = filter.text === "" ? Math.min(PAGE, limit - found.length) : PAGE;
    const answer = await request(historyPath(filter, { since: range.after, last, until }), signal);
    for (const event of answer.events.toReversed()) {
      // The range ends with its last event: this one is for the reading after.
      if (found.length >= limit) return { events: found.reverse(), earlier: event.position, gap: undefined };
      if (matches(event)) found.push(event);
    }
    if (answer.earlier === undefined) return { events: found.reverse(), earlier: null, gap: answer.gap };
    until = answer.earlier;
    if (found.length >= limit) break;
  }
  return { events: found.reverse(), earlier: until, gap: undefined };
}

/** Read the event at a position; null if the hub no longer keeps it. */
export async function readEvent(
  request: (path: string) => Promise<HistoryAnswer>,
  position: string,
): Promise<LoggedEvent | null> {
  const { events } = await request(historyPath(EVERYTHING, { since: "first", last: 1, until: position }));
  const event = events[0];
  return event?.position === position ? event : null;
}

/** A part of the log: the oldest events of it (`limit`), or the newest (`last`). */
type Part =
  | { readonly since: string; readonly limit: number }
  | { readonly since: string; readonly last: number; readonly until: string };

/** Return the address of a part of the log, relative to the hub. */
export function historyPath(filter: EventFilter, part: Part): string {
  const query = new URLSearchParams();
  if (filter.channel !== "") query.set("channel", filter.channel);
  // Patterns are searched here: the hub takes whole types and keys.
  if (filter.type !== "" && !filter.type.endsWith("*")) query.set("type", filter.type);
  if (filter.key !== "" && !filter.key.endsWith("*")) query.set("key", filter.key);
  if (filter.trace !== "") query.set("trace_id", filter.trace);
  for (const [name, value] of Object.entries(part)) query.set(name, String(value));
  return `v1/events?${query}`;
}
