/** What the wall shows: a row for each name, the troubled ones first, as many as fit; the rest is counted. Pure. */

import { isLive, type Look, lookOf } from "../../format/operation.ts";
import type { Row as Operation } from "../../format/row.ts";
import { toMillis } from "../../format/time.ts";

/** One row: the run of a name that matters most. */
export interface WallRow {
  readonly name: string;
  readonly operation: Operation;
  readonly look: Look;
  /** Other live runs of the name. */
  readonly others: number;
  /** The last run that ended has failed, and this one is another. */
  readonly afterFailure: boolean;
}

/** The whole wall. */
export interface WallView {
  readonly rows: readonly WallRow[];
  /** Names that did not fit, and how many of them are in trouble. */
  readonly more: number;
  readonly moreTroubled: number;
  readonly running: number;
  readonly queued: number;
  /** Names whose last run has failed. */
  readonly failed: number;
}

/** Age in milliseconds at which the wall stops showing a failure: a day and a half. */
const MAX_FAILURE_AGE_MS = 36 * 3_600_000;
/** Names that completed stay this long if there is room, in milliseconds. */
const MAX_COMPLETE_AGE_MS = 12 * 3_600_000;

const RANKS: Readonly<Record<Look, number>> = {
  failed: 0,
  away: 1,
  stalled: 2,
  running: 3,
  queued: 4,
  cancelled: 5,
  complete: 5,
};

/**
 * Lay out the wall.
 *
 * @param operations - All that are known.
 * @param capacity - Number of rows that fit.
 * @param now - The hub's time in milliseconds.
 */
export function layOutWall(operations: Iterable<Operation>, capacity: number, now: number): WallView {
  const groups = new Map<string, Operation[]>();
  let running = 0;
  let queued = 0;
  for (const operation of operations) {
    if (operation.state === "running") running++;
    else if (operation.state === "queued") queued++;
    // One without a name is a group of its own; no name begins with NUL.
    const group = operation.name === "" ? `\0${operation.operation_id}` : operation.name;
    const same = groups.get(group);
    if (same === undefined) groups.set(group, [operation]);
    else same.push(operation);
  }
  const rows: WallRow[] = [];
  let failed = 0;
  for (const group of groups.values()) {
    const row = toRow(group, now);
    if (row === null) continue;
    if (row.look === "failed" || row.afterFailure) failed++;
    rows.push(row);
  }
  rows.sort(
    (a, b) => RANKS[a.look] - RANKS[b.look] || changedAt(b.operation) - changedAt(a.operation) || compare(a, b),
  );
  const shown = rows.slice(0, Math.max(0, capacity));
  const hidden = rows.slice(shown.length);
  return {
    rows: shown,
    more: hidden.length,
    moreTroubled: hidden.filter((row) => RANKS[row.look] < RANKS.running).length,
    running,
    queued,
    failed,
  };
}

function toRow(group: readonly Operation[], now: number): WallRow | null {
  const live = group.filter(isLive);
  const ended = group.filter((each) => !isLive(each)).sort((a, b) => changedAt(b) - changedAt(a));
  const last = ended[0];
  const hasFailed = last?.state === "failed" && now - changedAt(last) <= MAX_FAILURE_AGE_MS;
  const shown = live.length > 0 ? gravest(live) : last;
  if (shown === undefined) return null;
  const isOld = live.length === 0 && !hasFailed && now - changedAt(shown) > MAX_COMPLETE_AGE_MS;
  if (isOld || (shown.state === "failed" && !hasFailed)) return null;
  const others = Math.max(0, live.length - 1);
  const name = shown.name === "" ? shown.operation_id : shown.name;
  return { name, operation: shown, look: lookOf(shown), others, afterFailure: live.length > 0 && hasFailed };
}

function gravest(live: readonly Operation[]): Operation | undefined {
  return [...live].sort((a, b) => RANKS[lookOf(a)] - RANKS[lookOf(b)] || changedAt(b) - changedAt(a))[0];
}

/** The time of the change that a row tells: the end, or the beginning. */
function changedAt(operation: Operation): number {
  return toMillis(operation.ended_at ?? operation.started_at ?? operation.queued_at ?? operation.heard_at) ?? 0;
}

function compare(a: WallRow, b: WallRow): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** Number of rows of at least `rowHeight` pixels that fit into `height`. */
export function rowsThatFit(height: number, rowHeight: number): number {
  return rowHeight > 0 ? Math.max(1, Math.floor((height + 0.5) / rowHeight)) : 1;
}

/** The title of a wall: a night belongs to the day on which it began. */
export function describeDay(now: number, timeZone: "local" | "utc"): string {
  const zone = timeZone === "utc" ? { timeZone: "UTC" } : {};
  const hour = Number(new Intl.DateTimeFormat("en-GB", { hour: "2-digit", hourCycle: "h23", ...zone }).format(now));
  const day = (millis: number, weekday: boolean) =>
    new Intl.DateTimeFormat("en-GB", {
      day: "numeric",
      month: "long",
      ...(weekday ? { weekday: "long" as const } : {}),
      ...zone,
    }).format(millis);
  if (hour >= 21) return `Night of ${day(now, false)}`;
  // Nine hours before any time before six is the evening before, also where the clock changed in between.
  return hour < 6 ? `Night of ${day(now - 9 * 3_600_000, false)}` : day(now, true);
}
