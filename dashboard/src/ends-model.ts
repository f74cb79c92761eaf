/** Which changes of operations are worth telling: ends, and troubles. */

import { isTrouble } from "./attention-model.ts";
import { announcementOf, isLive, type Look, lookOf } from "./format/operation.ts";
import type { Row } from "./format/row.ts";

/** Looks of operations, by id. */
export function looksOf(rows: readonly Row[]): ReadonlyMap<string, Look> {
  return new Map(rows.map((row) => [row.operation_id, lookOf(row)]));
}

/** Sentences for operations that were live and have ended since, or have come into trouble. */
export function sentencesFor(known: ReadonlyMap<string, Look>, rows: readonly Row[]): readonly string[] {
  return rows.filter((row) => isNews(known.get(row.operation_id), row)).map(announcementOf);
}

function isNews(before: Look | undefined, row: Row): boolean {
  const look = lookOf(row);
  if (before === undefined || before === look) return false;
  const wasLive = before === "running" || before === "queued" || before === "stalled" || before === "away";
  return wasLive && (!isLive(row) || isTrouble(look));
}
