/** Words of a row of the wall. Pure. */

import { ageOrigin, messageOf, remainingOf } from "../../format/operation.ts";
import type { Row } from "../../format/row.ts";
import { formatAgo, formatSpan } from "../../format/span.ts";
import { plain } from "../../format/text.ts";
import { ageSeconds } from "../../format/time.ts";
import type { WallRow } from "./layout.ts";

/** What a row says below its name: the reason of a failure without its code, the trouble, or the step. */
export function sayOf({ operation, look, others, afterFailure }: WallRow, now: number): string {
  const parts = [
    look === "failed" ? plain(operation.error?.message) || messageOf(operation, now) : troubleOf(operation, look, now),
  ];
  if (afterFailure) parts.push("the run before failed");
  if (others > 0) parts.push(`and ${others} more of it`);
  return parts.filter(Boolean).join("; ");
}

/** The wall has a column of its own for how long is left. */
function troubleOf(operation: Row, look: WallRow["look"], now: number): string {
  if (look === "away") {
    const away = ageSeconds(operation.away_since, now);
    return away === undefined ? "producer away" : `producer away for ${formatSpan(away)}`;
  }
  return messageOf(operation, now);
}

/** What stands at the end of a row: how long is left, or since when it is so. */
export function timeOf({ operation, look }: WallRow, now: number, usualS: number | undefined): string {
  const age = ageSeconds(ageOrigin(operation), now);
  switch (look) {
    case "failed":
    case "cancelled":
    case "complete":
      return age === undefined ? look : `${look} ${formatAgo(age)}`;
    case "away": {
      const away = ageSeconds(operation.away_since, now);
      if (away === undefined || operation.lease_s === undefined) return "";
      return `fails in ${formatSpan(Math.max(0, operation.lease_s - away))}`;
    }
    case "stalled":
      return usualS === undefined ? "" : `usually ${formatSpan(usualS)}`;
    case "queued":
      return age === undefined ? "" : `waits for ${formatSpan(age)}`;
    case "running":
      return remainingOf(operation) || (age === undefined ? "" : `for ${formatSpan(age)}`);
  }
}

/** Return the last midnight before `now` in a zone, in milliseconds since 1970. */
export function midnightBefore(now: number, zone: "local" | "utc"): number {
  const day = new Date(now);
  if (zone === "utc") day.setUTCHours(0, 0, 0, 0);
  else day.setHours(0, 0, 0, 0);
  return day.getTime();
}
