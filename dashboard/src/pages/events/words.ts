/** Words of the Events page, and where it begins to read. Pure. */

import { grouped } from "../../format/span.ts";
import type { Beginning } from "./feed.ts";
import { DRAWN_PER_TICK } from "./tail.ts";

/** Choices of where to begin; "" is wherever the log begins. */
export const SINCE_CHOICES = ["", "24h", "1h", "15m", "1m", "now"] as const;

// Maps, because an address may say anything, also the names of members that every object has.
const WORDS: ReadonlyMap<string, string> = new Map([
  ["", "any time"],
  ["1m", "last minute"],
  ["15m", "last 15 minutes"],
  ["1h", "last hour"],
  ["24h", "last 24 hours"],
  ["now", "now"],
  ["first", "the beginning"],
]);

const MINUTES: ReadonlyMap<string, number> = new Map([
  ["1m", 1],
  ["15m", 15],
  ["1h", 60],
  ["24h", 1_440],
]);

/** Ticks in a second. */
const TICKS_PER_S = 4;

/** Return where to begin in words; a position or a time stays what it is. */
export function describeSince(since: string): string {
  return WORDS.get(since) ?? since;
}

/**
 * Return where a feed begins.
 *
 * @param since - A choice, or a position or time from an address, from which the log is read forward.
 * @param now - The hub's time in milliseconds.
 */
export function beginningOf(since: string, now: number): Beginning {
  const minutes = MINUTES.get(since);
  if (minutes !== undefined) return { at: "newest", after: new Date(now - minutes * 60_000).toISOString() };
  if (since === "") return { at: "newest", after: "first" };
  return since === "now" ? { at: "now" } : { at: "position", after: since };
}

/** Describe how fast events come, and whether all of them are drawn. */
export function describeRate(perSecond: number | null): string {
  if (perSecond === null) return "";
  const drawn = DRAWN_PER_TICK * TICKS_PER_S;
  if (perSecond <= drawn) {
    const rate =
      perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1).replace(/\.0$/u, "") : grouped(Math.round(perSecond));
    return `${rate} events/s, newest first`;
  }
  const share = Math.min(99, Math.floor((1 - drawn / perSecond) * 100));
  return `${grouped(Math.round(perSecond))} events/s, ${share}% too fast to draw: filter, or press “Show them”`;
}
