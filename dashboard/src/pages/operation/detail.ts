/** One operation with all its details, as `GET /v1/operations/{operation_id}` returns it (docs/protocol/http.md). */

import type { Hub } from "tidings";
import type { Row } from "../../format/row.ts";

/** One step of the current attempt. */
export interface Step {
  readonly name: string;
  readonly state: "done" | "running" | "waiting" | "stopped";
  readonly started_at?: string;
  readonly ended_at?: string;
  /** Percent that was done when the step ended. */
  readonly ended_progress?: number;
  /** Usual duration in seconds. */
  readonly usual_s?: number;
}

/** One attempt. */
export interface Attempt {
  readonly attempt: number;
  readonly state: Row["state"];
  readonly queued_at?: string;
  readonly started_at?: string;
  readonly ended_at?: string;
  readonly duration_s?: number;
  /** Place of its first event in the hub's log. */
  readonly position?: string;
  readonly code?: string;
  readonly message?: string;
}

/** A change of state. */
export interface Moment {
  readonly at: string;
  readonly state: Row["state"];
  readonly attempt: number;
  readonly position?: string;
  readonly code?: string;
  readonly message?: string;
}

/** When four of five earlier successful runs had reached a progress: seconds after their start. */
export interface BandPoint {
  readonly progress: number;
  readonly low_s: number;
  readonly likely_s: number;
  readonly high_s: number;
}

/** Figures of the ended runs of a name. */
export interface Usual {
  readonly runs: number;
  readonly failed: number;
  readonly median_duration_s?: number;
  readonly p95_duration_s?: number;
  readonly last_success_at?: string;
  readonly band?: readonly BandPoint[];
}

/** Another run of the same name. */
export interface Run {
  readonly operation_id: string;
  readonly state: Row["state"];
  readonly attempt: number;
  readonly started_at?: string;
  readonly ended_at?: string;
  readonly duration_s?: number;
}

/** The fields of an operation in a list, and those that only its own page has. */
export interface OperationDetail extends Row {
  readonly steps: readonly Step[];
  readonly timeline: readonly Moment[];
  /** Oldest first. */
  readonly attempts?: readonly Attempt[];
  readonly children: readonly Row[];
  readonly result?: unknown;
  readonly usual?: Usual;
  readonly previous?: Run;
  readonly next?: Run;
}

/** What a row lacks. */
export const NO_DETAILS = { steps: [], timeline: [], children: [] } as const;

/**
 * Reads an operation.
 *
 * @throws What the hub answers, such as `operation_unknown`.
 */
export function readDetail(hub: Pick<Hub, "request">, id: string, signal: AbortSignal): Promise<OperationDetail> {
  return hub.request("v1/operation", { query: { operation_id: id }, signal });
}

/**
 * The attempts of an operation, oldest first. A hub that lists none names them in the timeline.
 */
export function attemptsOf(detail: OperationDetail): readonly Attempt[] {
  if (detail.attempts !== undefined && detail.attempts.length > 0) return detail.attempts;
  const found = new Map<number, { -readonly [name in keyof Attempt]: Attempt[name] }>();
  for (const { at, state, attempt, code, message } of detail.timeline) {
    const known = found.get(attempt) ?? { attempt, state };
    known.state = state;
    if (state === "queued") known.queued_at ??= at;
    else if (state === "running") known.started_at ??= at;
    else known.ended_at = at;
    if (code !== undefined) known.code = code;
    if (message !== undefined) known.message = message;
    found.set(attempt, known);
  }
  for (const known of found.values()) {
    const seconds = secondsBetween(known.started_at, known.ended_at);
    if (seconds !== undefined) known.duration_s = seconds;
  }
  return [...found.values()].sort((one, other) => one.attempt - other.attempt);
}

/** Seconds from one RFC 3339 time to another, at least 0; undefined if one is missing or unreadable. */
export function secondsBetween(from: string | undefined, to: string | undefined): number | undefined {
  const seconds = (Date.parse(to ?? "") - Date.parse(from ?? "")) / 1_000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** The details with what is newer in the live row. */
export function merge(detail: OperationDetail | undefined, live: Row | undefined): OperationDetail | undefined {
  if (detail === undefined || live === undefined) return detail;
  const isOlder = live.attempt < detail.attempt || Date.parse(live.heard_at) < Date.parse(detail.heard_at);
  if (isOlder) return detail;
  const merged = { ...detail, ...live };
  if (live.attempt === detail.attempt && live.state === detail.state) {
    // Only the hub knows these; an event alone does not bring them.
    for (const name of ["producer_id", "lease_s", "presence", "progress_of", "step", "step_ends"] as const) {
      if (merged[name] === undefined && detail[name] !== undefined) Object.assign(merged, { [name]: detail[name] });
    }
  }
  return merged;
}
