/** What needs attention: operations that failed and were not seen yet, that stall, or whose producer is away. */

import { type Look, lookOf } from "./format/operation.ts";
import type { Row } from "./format/row.ts";
import { toMillis } from "./format/time.ts";

/** Whether a look is one that needs attention. */
export function isTrouble(look: Look): boolean {
  return look === "failed" || look === "stalled" || look === "away";
}

/** Names one trouble of one attempt: what the reader has seen once does not come back, and another trouble does. */
export function troubleKey(row: Row): string {
  return `${lookOf(row)} ${row.attempt} ${row.operation_id}`;
}

/** Keys that are remembered as seen; the oldest leave first. */
export const MAX_SEEN = 1_000;

/** Adds keys to those that were seen. */
export function addSeen(seen: readonly string[], keys: Iterable<string>): readonly string[] {
  return [...new Set([...seen, ...keys])].slice(-MAX_SEEN);
}

/** Removes keys from those that were seen. */
export function removeSeen(seen: readonly string[], keys: Iterable<string>): readonly string[] {
  const gone = new Set(keys);
  return seen.filter((key) => !gone.has(key));
}

/**
 * Operations in trouble. A failed one is not if a run of the same name that ended later was complete.
 *
 * @param rows - All operations that are known: live ones, those that have ended, and those the hub says need attention.
 */
export function troubledIn(rows: Iterable<Row>): readonly Row[] {
  const troubled: Row[] = [];
  const lastComplete = new Map<string, number>();
  for (const row of rows) {
    if (isTrouble(lookOf(row))) troubled.push(row);
    else if (row.state === "complete" && row.name !== "") {
      const ended = toMillis(row.ended_at ?? row.heard_at) ?? 0;
      if (ended > (lastComplete.get(row.name) ?? 0)) lastComplete.set(row.name, ended);
    }
  }
  return troubled.filter((row) => {
    if (row.state !== "failed" || row.name === "") return true;
    return (lastComplete.get(row.name) ?? 0) <= (toMillis(row.ended_at ?? row.heard_at) ?? 0);
  });
}

/** Operations in trouble that the reader has not seen. */
export function unseenOf(troubled: readonly Row[], seen: readonly string[]): readonly Row[] {
  const known = new Set(seen);
  return troubled.filter((row) => !known.has(troubleKey(row)));
}
