/** What a row says about an operation: words, percent and times, by the design guide's wording. */

import type { Row } from "./row.ts";
import { counted, formatAgo, formatRate, formatRemaining, formatSpan, ordinal } from "./span.ts";
import { plain } from "./text.ts";
import { ageSeconds } from "./time.ts";

/** The state of an operation as it is shown: the five states, and the two troubles of a running one. */
export type Look = "queued" | "running" | "stalled" | "away" | "complete" | "failed" | "cancelled";

/** The words of states; there are no others, not even in tooltips. */
export const LOOK_WORDS: Readonly<Record<Look, string>> = {
  queued: "queued",
  running: "running",
  stalled: "stalled",
  away: "producer away",
  complete: "complete",
  failed: "failed",
  cancelled: "cancelled",
};

/** The look of an operation. */
export function lookOf(operation: Row): Look {
  if (operation.state !== "running") return operation.state;
  if (operation.presence === "away") return "away";
  return operation.stalled === true ? "stalled" : "running";
}

/** Whether an operation has not ended. */
export function isLive(operation: Row): boolean {
  return operation.state === "running" || operation.state === "queued";
}

/** The name of an operation; its id where it has none. */
export function nameOf(operation: Row): string {
  return plain(operation.name) || plain(operation.operation_id);
}

/** Percent done as a whole number, rounded down so that 100 means the end; undefined where it is unknown. */
export function percentOf(operation: Row): number | undefined {
  if (operation.progress === undefined || operation.indeterminate === true) return undefined;
  return Math.min(100, Math.max(0, Math.floor(operation.progress)));
}

/** `3rd attempt`; empty for the first. */
export function attemptOf(operation: Row): string {
  return operation.attempt > 1 ? `${ordinal(operation.attempt)} attempt` : "";
}

/** The most useful sentence about an operation in a list: its step, its trouble or its outcome. */
export function messageOf(operation: Row, now: number): string {
  switch (lookOf(operation)) {
    case "queued":
      return stoppingOf(operation) || plain(operation.message) || "Waiting for a worker";
    case "away":
      return stoppingOf(operation) || awayOf(operation, now);
    case "stalled":
      return stoppingOf(operation) || stalledOf(operation, now);
    case "failed":
      return errorOf(operation) || plain(operation.message);
    case "cancelled":
      return cancelledOf(operation);
    case "complete":
      return plain(operation.message);
    case "running":
      return [...new Set([stoppingOf(operation), stepOf(operation), plain(operation.message)])]
        .filter(Boolean)
        .join(", ");
  }
}

function stepOf(operation: Row): string {
  if (operation.progress_of === "children" && !operation.current_step) return "by the progress of its children";
  const step = plain(operation.current_step);
  if (step === "" || operation.step === undefined || operation.total_steps === undefined) return step;
  return `${step}, ${operation.step} of ${operation.total_steps}`;
}

function stoppingOf(operation: Row): string {
  if (operation.cancel_requested_at === undefined) return "";
  return operation.cancelled_by ? `Stopping, asked by ${plain(operation.cancelled_by)}` : "Stopping, as requested";
}

function awayOf(operation: Row, now: number): string {
  const away = ageSeconds(operation.away_since, now);
  const head = away === undefined ? "Producer away" : `Producer away for ${formatSpan(away)}`;
  if (away === undefined || operation.lease_s === undefined) return `${head}; fails unless it comes back`;
  return `${head}; fails in ${formatSpan(Math.max(0, operation.lease_s - away))} unless it comes back`;
}

function stalledOf(operation: Row, now: number): string {
  const idle = ageSeconds(operation.advanced_at ?? operation.started_at, now);
  const at = operation.current_step ? `, in ${plain(operation.current_step)}` : "";
  return idle === undefined ? `No progress${at}` : `No progress for ${formatSpan(idle)}${at}`;
}

/** `code: message` of a failure; empty without one. */
export function errorOf(operation: Row): string {
  const error = operation.error;
  return error === undefined || error === null ? "" : `${plain(error.code)}: ${plain(error.message)}`;
}

function cancelledOf(operation: Row): string {
  const by = operation.cancelled_by ? ` by ${plain(operation.cancelled_by)}` : "";
  const reason = operation.reason ? `: ${plain(operation.reason)}` : "";
  return `Cancelled${by}${reason}`;
}

/** The remaining time of a running operation, or what an ended one took; empty where it is unknown. */
export function remainingOf(operation: Row): string {
  if (!isLive(operation)) {
    return operation.duration_s === undefined ? "" : `took ${formatSpan(operation.duration_s)}`;
  }
  const estimate = operation.estimate;
  if (lookOf(operation) !== "running" || estimate?.remaining_s === undefined || estimate.stalled) return "";
  return formatRemaining(estimate.remaining_s, estimate.remaining_low_s, estimate.remaining_high_s);
}

/** The rate of a running operation; empty where it is unknown. */
export function rateOf(operation: Row): string {
  return lookOf(operation) === "running" ? formatRate(operation.estimate?.rate) : "";
}

/** The time from which the age of an operation counts: its end, its begin, or when it was queued. */
export function ageOrigin(operation: Row): string | undefined {
  if (!isLive(operation)) return operation.ended_at ?? operation.heard_at;
  return operation.state === "queued" ? (operation.queued_at ?? operation.heard_at) : operation.started_at;
}

/** The age of an operation: since it began, or `12 min ago` since it ended. */
export function ageOf(operation: Row, now: number): string {
  const age = ageSeconds(ageOrigin(operation), now);
  if (age === undefined) return "";
  return isLive(operation) ? formatSpan(age) : formatAgo(age);
}

/** Who runs an operation: the host, or the producer's id. */
export function producerOf(operation: Row): string {
  return plain(operation.host) || plain(operation.producer_id);
}

/** One sentence for the live region: `Import prices failed: …`. */
export function announcementOf(operation: Row): string {
  const name = nameOf(operation);
  const look = lookOf(operation);
  if (look === "failed") return `${name} failed: ${errorOf(operation)}`;
  if (look === "away") return `${name}: its producer is away`;
  if (look === "stalled") return `${name} makes no progress`;
  return `${name} is ${LOOK_WORDS[look]}`;
}

/** `2 failed since you last looked, 1 stalled`; empty for none. */
export function troublesIn(looks: Iterable<Look>): string {
  let failed = 0;
  let stalled = 0;
  let away = 0;
  for (const look of looks) {
    if (look === "failed") failed += 1;
    else if (look === "stalled") stalled += 1;
    else if (look === "away") away += 1;
  }
  const parts = [
    failed > 0 ? `${failed} failed since you last looked` : "",
    stalled > 0 ? `${stalled} stalled` : "",
    away > 0 ? counted(away, "with its producer away", "with their producers away") : "",
  ];
  return parts.filter(Boolean).join(", ");
}
