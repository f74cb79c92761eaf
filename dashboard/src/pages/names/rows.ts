/** The rows of the Names page: what the hub knows about each name, with its live runs. Pure. */

import { isLive, type Look, lookOf } from "../../format/operation.ts";
import type { Row as Operation } from "../../format/row.ts";
import { ageSeconds, toMillis } from "../../format/time.ts";
import { describeStrip, type Run, SLOTS } from "./strip.ts";
import { describeTrend, type Trend } from "./trend.ts";

/** An ended attempt, as `GET /v1/operation-names` lists it. */
export interface RecentRun {
  readonly operation_id: string;
  readonly attempt: number;
  readonly state: "complete" | "failed" | "cancelled";
  readonly ended_at?: string;
  readonly duration_s?: number;
}

/** A name, as `GET /v1/operation-names` lists it. Durations are in seconds. */
export interface NameView {
  readonly name: string;
  readonly newest?: Operation;
  readonly runs: number;
  readonly failed: number;
  /** Runs that the hub counts as live now; the live events may not have come yet. */
  readonly running?: number;
  readonly last_success_at?: string;
  readonly median_duration_s?: number;
  readonly p95_duration_s?: number;
  /** The newest twenty ended attempts, oldest first. */
  readonly recent?: readonly RecentRun[];
}

/** One row. */
export interface NameRow {
  readonly name: string;
  readonly look: Look;
  /** The runs of the strip, the newest last. */
  readonly runs: readonly Run[];
  readonly strip: string;
  readonly trend: Trend;
  readonly medianS: number | undefined;
  readonly p95S: number | undefined;
  readonly lastSuccessAt: string | undefined;
  /** Number of ended runs, and of failed ones. */
  readonly ended: number;
  readonly failed: number;
  readonly live: number;
  /** Time of the newest change, in milliseconds since 1970, by which rows of one rank are ordered. */
  readonly changedAt: number;
}

/** Which rows: all, those whose last run failed, those that became slower. */
export type Which = "all" | "failed" | "slower";

/**
 * Make the rows, in their order: trouble first, then running, queued and ended ones, each with the newest change first.
 *
 * @param views - The names that the hub knows.
 * @param operations - Operations of the live store; those that have ended are used where the hub's answer is older.
 * @param now - The hub's time in milliseconds.
 */
export function nameRows(views: readonly NameView[], operations: Iterable<Operation>, now: number): NameRow[] {
  const live = new Map<string, Operation[]>();
  for (const operation of operations) {
    if (operation.name === "" || !isLive(operation)) continue;
    const same = live.get(operation.name);
    if (same === undefined) live.set(operation.name, [operation]);
    else same.push(operation);
  }
  const rows = views.map((view) => nameRow(view, live.get(view.name) ?? [], now));
  const known = new Set(views.map((view) => view.name));
  for (const [name, runs] of live) {
    if (!known.has(name)) rows.push(nameRow({ name, runs: 0, failed: 0 }, runs, now));
  }
  return rows.sort((a, b) => rank(a) - rank(b) || b.changedAt - a.changedAt || (a.name < b.name ? -1 : 1));
}

function nameRow(view: NameView, live: readonly Operation[], now: number): NameRow {
  const begun = [...live].sort((a, b) => (beganAt(a) ?? 0) - (beganAt(b) ?? 0));
  const ended: Run[] = (view.recent ?? []).map(({ operation_id, state, duration_s }) => ({
    operation_id,
    state,
    duration_s,
  }));
  const runs = [...ended, ...begun.filter((each) => each.state !== "queued").map((each) => toRun(each, now))].slice(
    -SLOTS,
  );
  const newest = begun.findLast((each) => each.state === "running") ?? begun.at(-1) ?? view.newest;
  const changed = begun.map((each) => beganAt(each) ?? 0);
  return {
    name: view.name,
    look: newest === undefined ? (ended.at(-1)?.state ?? (view.running ? "running" : "queued")) : lookOf(newest),
    runs,
    strip: describeStrip(runs),
    trend: describeTrend(runs),
    medianS: view.median_duration_s,
    p95S: view.p95_duration_s,
    lastSuccessAt: view.last_success_at,
    ended: view.runs,
    failed: view.failed,
    live: live.length,
    changedAt: Math.max(toMillis(view.newest?.ended_at ?? view.recent?.at(-1)?.ended_at) ?? 0, ...changed),
  };
}

function beganAt(operation: Operation): number | undefined {
  return toMillis(operation.started_at ?? operation.queued_at ?? operation.heard_at);
}

function toRun(operation: Operation, now: number): Run {
  const look = lookOf(operation);
  return { operation_id: operation.operation_id, state: look, duration_s: ageSeconds(operation.started_at, now) };
}

function rank(row: NameRow): number {
  if (lastFailed(row) || row.look === "stalled" || row.look === "away") return 0;
  if (row.look === "running") return 1;
  return row.look === "queued" ? 2 : 3;
}

/** Whether the last run that ended has failed. */
export function lastFailed(row: NameRow): boolean {
  const ended = row.runs.findLast(
    (run) => run.state === "complete" || run.state === "failed" || run.state === "cancelled",
  );
  return ended === undefined ? row.look === "failed" : ended.state === "failed";
}

/** Whether a row is one of those asked for. */
export function isOf(row: NameRow, which: Which): boolean {
  if (which === "failed") return lastFailed(row);
  return which === "all" || row.trend.kind === "slower";
}

/** Whether all words of a text occur in a name, whatever the case. */
export function matchesText(name: string, text: string): boolean {
  const lower = name.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/u)
    .every((word) => lower.includes(word));
}
