/** What an element says about an operation: words for its state, and how long it took or will take. */

import type { Operation } from "../operations/operation.ts";

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;

/** Returns a duration in one or two units: `40 s`, `12 min`, `2 h 5 min`, `3 d 4 h`. */
export function describeDuration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`;
  if (seconds < MINUTE_S) return `${Math.floor(seconds)} s`;
  if (seconds < HOUR_S) return `${Math.floor(seconds / MINUTE_S)} min`;
  if (seconds < DAY_S) return twoUnits(seconds, HOUR_S, "h", MINUTE_S, "min");
  return twoUnits(seconds, DAY_S, "d", HOUR_S, "h");
}

function twoUnits(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${largeUnit}${rest === 0 ? "" : ` ${rest} ${smallUnit}`}`;
}

/** How an operation is shown: its state, or what is wrong with it while it runs. */
export type Look = Operation["state"] | "away" | "stalled" | "stopping";

/** Returns how an operation is shown. */
export function lookOf(operation: Operation): Look {
  if (operation.state !== "running") return operation.state;
  if (operation.presence === "away") return "away";
  if (operation.cancel_requested_at !== undefined) return "stopping";
  return operation.stalled === true ? "stalled" : "running";
}

const WORDS: Readonly<Record<Look, string>> = {
  queued: "queued",
  running: "running",
  complete: "complete",
  failed: "failed",
  cancelled: "cancelled",
  away: "producer away",
  stalled: "stalled",
  stopping: "stopping",
};

/** Returns the word for how an operation is shown. */
export function wordOf(look: Look): string {
  return WORDS[look];
}

/** Returns the progress as people read it, such as `40%`; "" where it is unknown. */
export function describeProgress({ indeterminate, progress }: Operation): string {
  if (indeterminate || progress === undefined) return "";
  // 100% belongs to what is complete.
  return `${progress >= 100 ? 100 : Math.floor(progress)}%`;
}

/** Returns how long an operation took, or probably still takes; "" where that is unknown. */
export function describeTime(operation: Operation): string {
  const { duration_s, estimate, state } = operation;
  if (duration_s !== undefined) return `took ${describeDuration(duration_s)}`;
  if (state !== "running" || estimate?.remaining_s === undefined) return "";
  const { remaining_s, remaining_low_s: low = remaining_s, remaining_high_s: high = remaining_s } = estimate;
  const [from, to] = [describeDuration(low), describeDuration(high)];
  if (from === to) return `${from} left`;
  const [number, unit, more] = from.split(" ");
  const isOneUnit = more === undefined && new RegExp(`^\\d+ ${unit}$`).test(to);
  return `${isOneUnit ? number : from} to ${to} left`;
}

/** Returns what an operation does, or how it ended. */
export function describeActivity({ current_step, error, message, reason, state }: Operation): string {
  if (state === "failed") return error === undefined ? "" : `${error.code}: ${error.message}`;
  if (state === "cancelled") return reason ?? "";
  if (state === "complete") return message ?? "";
  return [current_step, message].filter(Boolean).join(" – ");
}

/** Returns the name of an operation for people: its id where it has none. */
export function titleOf({ name, operation_id }: Operation): string {
  return name || operation_id;
}
